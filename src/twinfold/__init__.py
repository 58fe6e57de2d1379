"""A digital twin for every agent, from one trajectory each.

Names are loaded when they are first used: ``import twinfold`` is instant and loads neither JAX nor
pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

__version__ = "0.1.0"

if TYPE_CHECKING:
    from twinfold.adaptation.adapt import adapt, forget
    from twinfold.adaptation.online import Tracker
    from twinfold.config import FitConfig
    from twinfold.data.io import load_panel
    from twinfold.data.panel import PanelDataset
    from twinfold.data.roles import Roles
    from twinfold.errors import InvalidDataError, RunError, TwinfoldError, UsageError
    from twinfold.models.fitted_model import FittedModel
    from twinfold.simulation.simulator import Rollout, Simulator
    from twinfold.simulation.what_if import answer
    from twinfold.training.fit import fit
    from twinfold.training.run_directory import load_run, save_run

_HOME = {
    "FitConfig": "twinfold.config",
    "FittedModel": "twinfold.models.fitted_model",
    "InvalidDataError": "twinfold.errors",
    "PanelDataset": "twinfold.data.panel",
    "Roles": "twinfold.data.roles",
    "Rollout": "twinfold.simulation.simulator",
    "RunError": "twinfold.errors",
    "Simulator": "twinfold.simulation.simulator",
    "Tracker": "twinfold.adaptation.online",
    "TwinfoldError": "twinfold.errors",
    "UsageError": "twinfold.errors",
    "adapt": "twinfold.adaptation.adapt",
    "answer": "twinfold.simulation.what_if",
    "fit": "twinfold.training.fit",
    "forget": "twinfold.adaptation.adapt",
    "load_panel": "twinfold.data.io",
    "load_run": "twinfold.training.run_directory",
    "save_run": "twinfold.training.run_directory",
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
    "Tracker",
    "TwinfoldError",
    "UsageError",
    "adapt",
    "answer",
    "fit",
    "forget",
    "load_panel",
    "load_run",
    "save_run",
]

__getattr__ = lazy_exports(__name__, _HOME)
