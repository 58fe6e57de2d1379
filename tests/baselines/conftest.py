"""A panel of two kinds of agents, and small settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold.baselines import (
    AugmentationSettings,
    CaDMSettings,
    MOReL,
    MOReLSettings,
    OfflinePolicy,
    OfflineSettings,
    fit_morel,
)
from twinfold.baselines.experience import Experience
from twinfold.baselines.offline_policy import OfflineInfo, blank_actor
from twinfold.benchmark.collect import collect
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.tasks.registry import get_task
from twinfold.tasks.task import Task


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


def _offline_policy(
    algorithm: Any, kind: str, agents: tuple[Any, ...] | None = None, augmented: int = 0
) -> OfflinePolicy:
    """A policy of random nets for three states and two levels, or two actions in [-1, 2]."""
    settings = OfflineSettings(hidden=(8,), bcq_candidates=6, steps=3)
    blank = blank_actor(algorithm, settings, 3, 2, kind == "discrete")
    rng = np.random.default_rng(1)
    actor = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), blank)
    low = None if kind == "discrete" else jnp.full(2, -1.0)
    high = None if kind == "discrete" else jnp.full(2, 2.0)
    return OfflinePolicy(
        actor=replace(actor, action_low=low, action_high=high, state_scale=jnp.ones(3)),
        algorithm=algorithm,
        task="walk",
        settings=settings,
        seed=0,
        augmentation=AugmentationSettings(trajectories=augmented) if augmented else None,
        info=OfflineInfo(
            twinfold="0",
            d3rlpy="0",
            torch="0",
            created="today",
            fingerprint="abc",
            source={"policy": "random"},
            agents=agents,
            episodes=1,
            transitions=2,
            ends=0,
            simulated=0,
            steps=3,
            losses={"loss": 0.5, "other": None},
            seconds=1.0,
        ),
    )


@pytest.fixture(scope="session")
def offline_policy() -> Callable[..., OfflinePolicy]:
    """Make policies of random nets."""
    return _offline_policy


_POLE = replace(get_task("cart_pole"), max_steps=20)
# Continuous actions without a physics engine: the states of the pole, two actions.
_GLIDER = replace(
    _POLE,
    name="glider",
    action_names=("left", "right"),
    action_type="continuous",
    n_actions=None,
    action_low=np.array([-2.0, 0.0]),
    action_high=np.array([2.0, 10.0]),
)


@pytest.fixture(scope="session")
def pole() -> Task:
    """CartPole with short episodes."""
    return _POLE


@pytest.fixture(scope="session")
def poles(pole: Task) -> PanelDataset:
    """Twelve poles, some of which fall before the episode is over."""
    return collect(pole, "random", 12, 3)


@pytest.fixture(params=["discrete", "continuous"])
def either_task(request: pytest.FixtureRequest) -> Task:
    """A task of each kind of actions."""
    return _POLE if request.param == "discrete" else _GLIDER


@pytest.fixture(scope="session")
def lived() -> Callable[..., Experience]:
    """Make random transitions of four states in five episodes, of which two have an end."""

    def make(task: Task, n: int = 60, seed: int = 0) -> Experience:
        """Random transitions in five episodes, of which two have an end."""
        rng = np.random.default_rng(seed)
        states = rng.normal(size=(n + 1, 4)).astype(np.float32)
        low, high = task.action_low, task.action_high
        if low is None or high is None:
            action: Any = rng.integers(0, task.n_actions or 0, n).astype(np.int32)
        else:
            action = rng.uniform(low, high, (n, 2)).astype(np.float32)
        episode = np.arange(n, dtype=np.int32) // (n // 5)
        last = np.r_[episode[1:] != episode[:-1], True]
        # What is best depends on the state.
        reward = (5 * states[:-1, 0] * (2 * action.reshape(n, -1)[:, 0] - 1)).astype(np.float32)
        return Experience(
            states[:-1], action, reward, states[1:], last & (episode % 2 == 1), episode
        )

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
