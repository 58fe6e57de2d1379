"""A toy whose best policy is known, as a world; small settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float

from twinfold.models.dynamics import Dynamics
from twinfold.policy_learning import (
    ActionSpace,
    Policy,
    PolicyLearningSettings,
    StateScale,
    TrainedPolicy,
    World,
)
from twinfold.policy_learning.actor_critic import random_policy
from twinfold.policy_learning.policy import PolicyInfo


class Walk(Dynamics):
    """Walk on a line: the state moves by ``gain`` times the action, or by one level."""

    gain: Float[Array, ""]

    def init(self, state: Any) -> Any:
        return state

    def encode(self, action: Any) -> Any:
        return action

    def step(self, carry: Any, code: Any) -> Any:
        push = code - 1.0 if code.ndim == 0 else code[0]
        after = carry + self.gain * push
        return after, after


def reward(state: Any, action: Any, next_state: Any) -> Any:
    """Best at zero."""
    return -jnp.abs(next_state[0])


def terminated(next_state: Any) -> Any:
    return jnp.abs(next_state[0]) > 9.5


def make_world(kind: str = "discrete", gains: tuple[float, ...] = (1.0,), **fields: Any) -> World:
    actions = ActionSpace(3) if kind == "discrete" else ActionSpace(0, [-1.0], [3.0])
    base: dict[str, Any] = {
        "dynamics": Walk(jnp.array(gains)),
        "starts": jnp.tile(jnp.linspace(-4.0, 4.0, 9)[None, :, None], (len(gains), 1, 1)),
        "scale": StateScale([0.0], [4.0]),
        "actions": actions,
        "reward": reward,
        "terminated": terminated,
        "max_steps": 12,
    }
    return World(**{**base, **fields})


@pytest.fixture(scope="session")
def walk() -> Callable[..., World]:
    """Make a world in which a policy should walk to zero and stay there."""
    return make_world


def untrained(kind: str = "discrete", **fields: Any) -> TrainedPolicy:
    """A policy as training begins with it, but surer of what to do."""
    settings, world = PolicyLearningSettings(hidden=(16,)), make_world(kind, **fields)
    policy = random_policy(jax.random.key(0), settings, world.scale, world.actions)
    actor = jax.tree.map(lambda leaf: 30.0 * leaf, policy.nets.actor)
    policy = Policy(policy.nets._replace(actor=actor), policy.scale, policy.actions)
    info = PolicyInfo(
        twinfold="0", jax="0", device="none", models=1, steps=0, history=(None, 1.5),
        halted=None, seconds=0.0,
    )  # fmt: skip
    return TrainedPolicy(policy, settings, info)


@pytest.fixture(scope="session")
def made() -> Callable[..., TrainedPolicy]:
    """Make a policy that took no training."""
    return untrained


@pytest.fixture(scope="session")
def small() -> Callable[..., PolicyLearningSettings]:
    """Make settings of a training that takes a moment."""

    def make(**changes: Any) -> PolicyLearningSettings:
        base = {"hidden": (16,), "steps": 256, "environments": 8, "unroll": 8, "minibatches": 2}
        return PolicyLearningSettings.parse({**base, **changes})

    return make
