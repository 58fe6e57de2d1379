"""Errors that predictions may have, and support by the data.

- ``holdout_evaluation``: predictions of ends of trajectories, beside controls.
- ``controls``: what one would predict without the model.
- ``conformal``: calibration on reserved agents; ``intervals``: the band that follows.
- ``support``: how close a question is to the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.uncertainty.conformal import calibrate, reserve
    from twinfold.uncertainty.support import Support

_HOME = {
    "Support": "twinfold.uncertainty.support",
    "calibrate": "twinfold.uncertainty.conformal",
    "reserve": "twinfold.uncertainty.conformal",
}

__all__ = [
    "Support",
    "calibrate",
    "reserve",
]

__getattr__ = lazy_exports(__name__, _HOME)
