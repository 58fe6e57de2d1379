"""PerSim as twinfold learns it: a simulator per agent from all agents' data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinfold.benchmark.methods.method import FitRequest
from twinfold.benchmark.methods.simulators import SimulatorMethod

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset


@dataclass(frozen=True, kw_only=True)
class PerSim(SimulatorMethod):
    """Simulators of all agents, fitted together."""

    def panel(self, request: FitRequest) -> PanelDataset:
        """Return the data as it is."""
        return request.dataset

    def owns(self, model: Any) -> bool:
        """Return whether this is a run; the controls' are too, and are told by their method."""
        from twinfold.models.fitted_model import FittedModel

        return isinstance(model, FittedModel)


PERSIM = PerSim(
    name="persim",
    title="PerSim",
    role="ours",
    abilities=frozenset({"predict", "plan"}),
    about="Simulators of all agents, learned together by twinfold from one trajectory each.",
)
