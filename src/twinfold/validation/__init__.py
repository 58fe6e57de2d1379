"""Trying to prove a run wrong: checks, and the verdict that they leave.

- ``validate``: all of it; ``verdict``: what the checks come to; ``thresholds``: what decides.
- ``check``: the outcome of one check; ``sentences``: its words, from ``sentences.toml``.
- ``baselines``, ``action_sensitivity``: predictions beside simpler ones.
- ``coverage``, ``group_coverage``: does the band hold?
- ``reference_shift``, ``identity_swap``, ``data_overlap``: what data a run is tried on.
- ``model_checks``: the model by itself; ``page_data``: what the page draws.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
