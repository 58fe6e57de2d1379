"""A control: a model of one agent's own trajectory. It shows what other agents' data is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinfold.benchmark.methods.method import FitRequest
from twinfold.benchmark.methods.simulators import ONE_STRENGTH, SimulatorMethod

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset


@dataclass(frozen=True, kw_only=True)
class PerAgent(SimulatorMethod):
    """A simulator of one agent, from its single trajectory."""

    def panel(self, request: FitRequest) -> PanelDataset:
        """Return the data of the agent."""
        assert request.agent is not None
        return request.dataset.select_agents([request.agent])


PER_AGENT = PerAgent(
    name="per-agent",
    title="per agent (control)",
    role="control",
    shrinkages=ONE_STRENGTH,
    abilities=frozenset({"predict", "plan"}),
    per_agent=True,
    about="The nets and the search of PerSim for every agent alone, from its single trajectory.",
)
