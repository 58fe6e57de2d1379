"""Trying to prove a run wrong: checks, and the verdict that they leave.

- ``validate``: all of it; ``verdict``: what the checks come to; ``thresholds``: what decides.
- ``check``: the outcome of one check; ``sentences``: its words, from ``sentences.toml``.
- ``baselines``, ``action_sensitivity``: predictions beside simpler ones.
- ``coverage``, ``group_coverage``: does the band hold?
- ``reference_shift``, ``identity_swap``, ``data_overlap``: what data a run is tried on.
- ``model_checks``: the model by itself; ``page_data``: what the page draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.validation.check import Check
    from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds
    from twinfold.validation.validate import Validation

_HOME = {
    "THRESHOLDS": "twinfold.validation.thresholds",
    "Check": "twinfold.validation.check",
    "Validation": "twinfold.validation.validate",
    "ValidationThresholds": "twinfold.validation.thresholds",
}

__all__ = [
    "THRESHOLDS",
    "Check",
    "Validation",
    "ValidationThresholds",
]

__getattr__ = lazy_exports(__name__, _HOME)
