"""Small models with known answers, as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from twinfold.models.dynamics import Dynamics
from twinfold.planning import Objective


class Integrator(Dynamics):
    """s' = s + gain * (sum of action - 1) in every coordinate."""

    gain: jax.Array

    def init(self, state: Any) -> Any:
        return state

    def encode(self, action: Any) -> Any:
        return self.gain * (jnp.sum(action) - 1.0)

    def step(self, carry: Any, code: Any) -> Any:
        state = carry + code
        return state, state


def _integrator(*gains: float) -> Integrator:
    return Integrator(jnp.asarray(gains, jnp.float32))


def _reward(state: Any, action: Any, next_state: Any) -> Any:
    return -jnp.sum((next_state - 0.3) ** 2) - 0.01 * jnp.sum(action) + 0.1 * jnp.sum(state)


def _outside(next_state: Any) -> Any:
    return jnp.abs(next_state[0]) > 1.0


@pytest.fixture
def integrator() -> Callable[..., Dynamics]:
    """An ensemble with one gain per member."""
    return _integrator


@pytest.fixture
def objective() -> Objective:
    return Objective(reward=_reward, terminated=_outside)
