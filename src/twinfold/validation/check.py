"""What one check found, and the correction for making many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from twinfold.data.ids import AgentId

Status = Literal["pass", "warn", "fail", "unknown"]
Needed = Literal["", "prediction", "planning"]


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: what was checked.
        status: pass, warn or fail; unknown if it could not be made.
        figure: the figure, as text.
        expected: what it is compared with, as text.
        advice: what it means, and what to do, in a sentence.
        planning: whether it is about planning only: prediction along recorded actions may be fine.
        needed: the verdict that needs it to pass, "prediction" or "planning"; empty for none.
        agents: ids of agents that are concerned, the worst first.
        values: plain numbers behind it.
    """

    name: str
    status: Status
    figure: str
    expected: str
    advice: str
    planning: bool = False
    needed: Needed = ""
    agents: tuple[AgentId, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "agents": list(self.agents)}


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses are rejected at a level for all of them together (Holm 1979)."""
    order = np.argsort(p_values)
    rejected = [False] * len(p_values)
    for done, k in enumerate(order):
        if p_values[k] > level / (len(p_values) - done):
            break
        rejected[int(k)] = True
    return rejected
