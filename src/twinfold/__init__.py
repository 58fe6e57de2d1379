"""A digital twin for every agent, from one trajectory each.

What most programs need is here; each package exports the rest (``twinfold.planning``,
``twinfold.ope``, ...). A name that is also the name of its module (``fit``, ``adapt``,
``validate``, ``policy_value``, ``collect``) is exported here only: in its package the module would
hide it.

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
    from twinfold.benchmark.collect import collect
    from twinfold.config import FitConfig
    from twinfold.data.io import load_panel
    from twinfold.data.panel import PanelDataset
    from twinfold.data.roles import Roles
    from twinfold.errors import InvalidDataError, RunError, TwinfoldError, UsageError
    from twinfold.models.fitted_model import FittedModel
    from twinfold.ope.policy_value import policy_value
    from twinfold.simulation.simulator import Rollout, Simulator
    from twinfold.simulation.what_if import answer
    from twinfold.training.fit import fit
    from twinfold.training.run_directory import load_run
    from twinfold.training.run_writer import save_run
    from twinfold.validation.validate import validate

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
    "collect": "twinfold.benchmark.collect",
    "fit": "twinfold.training.fit",
    "forget": "twinfold.adaptation.adapt",
    "load_panel": "twinfold.data.io",
    "load_run": "twinfold.training.run_directory",
    "policy_value": "twinfold.ope.policy_value",
    "save_run": "twinfold.training.run_writer",
    "validate": "twinfold.validation.validate",
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
    "collect",
    "fit",
    "forget",
    "load_panel",
    "load_run",
    "policy_value",
    "save_run",
    "validate",
]

__getattr__ = lazy_exports(__name__, _HOME)
