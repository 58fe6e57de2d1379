"""Trying to prove a run wrong: checks, and the verdict that they leave.

- ``validate``: the whole way; ``verdict``: what the checks come to; ``thresholds``: what decides.
- ``check``: what one check found.
- ``baselines``, ``action_sensitivity``: predictions beside simpler ones.
- ``coverage``, ``group_coverage``: whether the band holds.
- ``reference_shift``, ``identity_swap``, ``data_overlap``: what data a run is tried on.
- ``model_checks``: the model by itself; ``page_data``: what the page draws.
"""
