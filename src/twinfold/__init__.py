"""A digital twin for every agent, from one trajectory each.

Names are loaded when they are first used: ``import twinfold`` is instant and loads neither JAX nor
pandas.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from twinfold.config import FitConfig
    from twinfold.data.io import load_panel
    from twinfold.data.panel import PanelDataset
    from twinfold.data.roles import Roles
    from twinfold.errors import InvalidDataError, RunError, TwinfoldError, UsageError
    from twinfold.fit import fit
    from twinfold.models.checkpoint import load_run, save_run
    from twinfold.models.ensemble import FittedModel
    from twinfold.simulate import Rollout, Simulator
    from twinfold.whatif import answer

_HOME = {
    "FitConfig": "twinfold.config",
    "FittedModel": "twinfold.models.ensemble",
    "InvalidDataError": "twinfold.errors",
    "PanelDataset": "twinfold.data.panel",
    "Roles": "twinfold.data.roles",
    "Rollout": "twinfold.simulate",
    "RunError": "twinfold.errors",
    "Simulator": "twinfold.simulate",
    "TwinfoldError": "twinfold.errors",
    "UsageError": "twinfold.errors",
    "answer": "twinfold.whatif",
    "fit": "twinfold.fit",
    "load_panel": "twinfold.data.io",
    "load_run": "twinfold.models.checkpoint",
    "save_run": "twinfold.models.checkpoint",
}

__all__ = [
    "FitConfig",
    "FittedModel",
    "InvalidDataError",
    "PanelDataset",
    "Roles",
    "Rollout",
    "RunError",
    "Simulator",
    "TwinfoldError",
    "UsageError",
    "answer",
    "fit",
    "load_panel",
    "load_run",
    "save_run",
]


class _Package(ModuleType):
    """Keeps public names what they are: ``fit`` is also the name of the module it lives in."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):  # what an import would set
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'twinfold' has no attribute {name!r}")
