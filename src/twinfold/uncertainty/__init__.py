"""How far predictions may be off, and how far the data carries them.

- ``holdout_evaluation``: predictions of ends of trajectories, beside controls.
- ``controls``: what one would predict without the model.
- ``conformal``: calibration on reserved agents; ``intervals``: the band that follows.
- ``support``: how close a question is to the data.
"""
