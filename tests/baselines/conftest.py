"""A panel of two kinds of agents, and small settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.baselines import CaDMSettings
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles


def _walkers(lengths: list[int], order: list[int] | None = None) -> PanelDataset:
    """One state; action 1 moves agents of even number up by 1, those of odd number down."""
    rows = []
    for agent in order or range(len(lengths)):
        rng, x = np.random.default_rng(agent), 0.1 * agent
        for t in range(lengths[agent] + 1):
            act = int(rng.integers(2))
            rows.append((f"walker {agent}", t, x, act if t < lengths[agent] else None))
            x += act * (1.0 if agent % 2 == 0 else -1.0)
    frame = pd.DataFrame(rows, columns=["agent_id", "t", "x", "push"])
    roles = Roles(
        agent="agent_id", time="t", state=("x",), action=("push",), action_type="discrete"
    )
    return PanelDataset.from_frame(frame, roles)


@pytest.fixture(scope="session")
def walkers() -> Callable[..., PanelDataset]:
    """Make agents that go opposite ways, by the lengths of their trajectories."""
    return _walkers


@pytest.fixture(scope="session")
def small() -> Callable[..., CaDMSettings]:
    """Make settings of nets that train in a moment."""

    def make(**changes: Any) -> CaDMSettings:
        base = {
            "hidden": (16,),
            "encoder": (8,),
            "context": 2,
            "history": 4,
            "future": 3,
            "batch": 32,
            "steps": 3,
            "members": 2,
            "particles": 4,
        }
        return CaDMSettings.parse({**base, **changes})

    return make
