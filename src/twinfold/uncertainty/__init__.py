"""Errors that predictions may have, and support by the data.

- ``holdout_evaluation``: predictions of ends of trajectories, beside controls; ``column_draws``,
  ``one_step_residuals``: parts of it.
- ``controls``: what one would predict without the model.
- ``conformal``: calibration on reserved agents; ``band_form``, ``few_rows``: how it grows with the
  horizon, and what it must be for agents known by few rows; ``intervals``: the band that follows.
- ``support``: how close a question is to the data.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
