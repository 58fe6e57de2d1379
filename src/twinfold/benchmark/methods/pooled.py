"""A control: the same nets for all agents alike. It shows what personal simulators are worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twinfold.benchmark.methods.method import FitRequest
from twinfold.benchmark.methods.simulators import ONE_STRENGTH, SimulatorMethod

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset

EVERYBODY = 0
"""The only agent of a pooled fit."""


@dataclass(frozen=True, kw_only=True)
class Pooled(SimulatorMethod):
    """One simulator of all agents: their trajectories are those of a single one."""

    def panel(self, request: FitRequest) -> PanelDataset:
        """Return the data with every trajectory given to one agent; segments stay apart."""
        import numpy as np

        dataset = request.dataset
        return replace(
            dataset,
            agent_ids=(EVERYBODY,),
            left_out=(),
            agent=np.zeros_like(dataset.agent),
            static=None,
        )

    def agent_of(self, agent: int) -> int:
        """Return the one agent that there is."""
        return EVERYBODY


POOLED = Pooled(
    name="pooled",
    title="pooled (control)",
    role="control",
    shrinkages=ONE_STRENGTH,
    abilities=frozenset({"predict", "plan"}),
    about="The nets and the search of PerSim without agents: all trajectories are of one agent.",
)
