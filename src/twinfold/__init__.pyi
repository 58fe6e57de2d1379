from .adaptation.adapt import adapt as adapt, forget as forget
from .adaptation.online import Tracker as Tracker
from .benchmark.collect import collect as collect
from .config import FitConfig as FitConfig
from .data.io import load_panel as load_panel
from .data.panel import PanelDataset as PanelDataset
from .data.roles import Roles as Roles
from .errors import (
    InvalidDataError as InvalidDataError,
    RunError as RunError,
    TwinfoldError as TwinfoldError,
    UsageError as UsageError,
)
from .models.fitted_model import FittedModel as FittedModel
from .ope.policy_value import policy_value as policy_value
from .simulation.simulator import Rollout as Rollout, Simulator as Simulator
from .simulation.what_if import answer as answer
from .training.fit import fit as fit
from .training.run_directory import load_run as load_run
from .training.run_writer import save_run as save_run
from .validation.validate import validate as validate

__version__: str
