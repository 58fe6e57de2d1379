"""A panel of two kinds of agents, and small settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold.baselines import CaDMSettings, MOReL, MOReLSettings, fit_morel
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.tasks import Task


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


@pytest.fixture(scope="session")
def uphill() -> Task:
    """The walkers' task: as high as can be; its physics are never asked for."""

    def never(*_: Any) -> Any:
        raise AssertionError("a learned policy must not see the true physics")

    return Task(
        name="uphill",
        state_names=("x",),
        action_names=("push",),
        action_type="discrete",
        n_actions=2,
        action_low=None,
        action_high=None,
        covariate_names=(),
        covariate_low=np.zeros(0),
        covariate_high=np.zeros(0),
        test_agents=np.zeros((5, 0)),
        max_steps=8,
        state_low=np.array([-10.0]),
        state_high=np.array([10.0]),
        make_covariates=never,
        reset=never,
        step=never,
        reward=lambda state, action, next_state: next_state[0] - state[0],
        terminated=lambda next_state: jnp.abs(next_state[0]) > 100.0,
    )


@pytest.fixture(scope="session")
def quick() -> Callable[..., MOReLSettings]:
    """Make settings of a MOReL that is fitted in a moment."""

    def make(**changes: Any) -> MOReLSettings:
        policy = {
            "hidden": [16],
            "steps": 8000,
            "environments": 16,
            "unroll": 16,
            "minibatches": 4,
            "learning_rate": 1e-2,
            "discount": 0.5,  # a longer view needs longer episodes
        }
        base = {"hidden": [16], "members": 3, "batch": 32, "steps": 700, "cloning_steps": 50}
        return MOReLSettings.parse({**base, "policy": policy, **changes})

    return make


@pytest.fixture(scope="session")
def climber(walkers: Any, uphill: Task, quick: Any) -> MOReL:
    """Fit a MOReL on agents of even numbers alone, whose pushes all go up."""
    ids = [f"walker {n}" for n in (4, 0, 2)]
    source = {"covariates": {}, "task": "walk"}
    return fit_morel(walkers([30, 1, 30, 1, 30]), uphill, ids, quick(), 3, source=source)
