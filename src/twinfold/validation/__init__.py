"""Trying to prove a run wrong: checks, and the verdict that they leave.

- ``validate``: the whole way (``validate`` is exported by ``twinfold``).
- ``verdict``: what the checks come to; ``thresholds``: what decides; ``check``: what one found.
- ``baselines``, ``action_sensitivity``: predictions beside simpler ones.
- ``coverage``, ``group_coverage``: whether the band holds.
- ``reference_shift``, ``identity_swap``, ``data_overlap``: what data a run is tried on.
- ``model_checks``: the model by itself; ``page_data``: what the page draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.validation.check import Check
    from twinfold.validation.thresholds import Criteria
    from twinfold.validation.validate import Validation

_HOME = {
    "Check": "twinfold.validation.check",
    "Criteria": "twinfold.validation.thresholds",
    "Validation": "twinfold.validation.validate",
}

__all__ = [
    "Check",
    "Criteria",
    "Validation",
]

__getattr__ = lazy_exports(__name__, _HOME)
