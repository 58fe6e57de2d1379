"""MountainCar against Gymnasium and against the equations written down again in NumPy."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.tasks import get_task
from twinfold.tasks.mountain_car import GOAL, MountainCarCovariates

TASK = get_task("mountain_car")
# One compiled batch size for every test.
_STEP = jax.jit(jax.vmap(TASK.step))
_REWARD = jax.jit(jax.vmap(TASK.reward))
_TERMINATED = jax.jit(jax.vmap(TASK.terminated))
N = 256


def draw(seed: int) -> tuple[Any, Any, Any]:
    """Covariates, states and actions over the whole box, walls and speed limits included."""
    rng = np.random.default_rng(seed)
    gravity = rng.uniform(TASK.covariate_low, TASK.covariate_high, (N, 1))
    states = rng.uniform(TASK.state_low, TASK.state_high, (N, 2))
    states[:32, 0] = rng.uniform(-1.2, -1.15, 32)
    states[32:64, 0] = rng.uniform(0.45, 0.6, 32)
    states[64:96, 1] = 0.07
    states[96:128, 1] = -0.07
    return gravity[:, 0].astype(np.float32), states.astype(np.float32), rng.integers(0, 3, N)


def by_hand(gravity: Any, states: Any, actions: Any) -> npt.NDArray[np.float64]:
    x, v = states.astype(np.float64).T
    v = np.minimum(np.maximum(v + (actions - 1) * 0.001 - gravity * np.cos(3 * x), -0.07), 0.07)
    x = np.minimum(np.maximum(x + v, -1.2), 0.6)
    v[(x == -1.2) & (v < 0)] = 0.0
    return np.stack([x, v], axis=1)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_steps_follow_the_equations(seed: int):
    gravity, states, actions = draw(seed)
    reached = _STEP(MountainCarCovariates(gravity), states, actions)
    np.testing.assert_allclose(reached, by_hand(gravity, states, actions), atol=2e-7)


def test_steps_equal_gymnasiums():
    gravity, states, actions = draw(0)
    reached = np.asarray(_STEP(MountainCarCovariates(gravity), states, actions))
    ended = np.asarray(_TERMINATED(reached))
    env: Any = gymnasium.make("MountainCar-v0").unwrapped
    env.reset(seed=0)
    for i in range(N):
        env.gravity = float(gravity[i])
        env.state = states[i].astype(np.float64)
        expected, _, terminated, _, _ = env.step(int(actions[i]))
        np.testing.assert_allclose(reached[i], expected, atol=2e-7)
        # Gymnasium also asks for a speed that is not negative, which no arrival from the left has.
        if expected[1] >= 0:
            assert ended[i] == terminated
    assert ended.any()
    assert not ended.all()


def test_the_default_agent_is_gymnasiums():
    assert MountainCarCovariates(*TASK.test_agents[3]).gravity == 0.0025
    env: Any = gymnasium.make("MountainCar-v0").unwrapped
    assert env.gravity == 0.0025
    assert env.goal_position == GOAL


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_states_stay_in_the_box(seed: int):
    gravity, states, actions = draw(seed)
    reached = np.asarray(_STEP(MountainCarCovariates(gravity), states, actions))
    assert np.all(reached >= TASK.state_low.astype(np.float32))
    assert np.all(reached <= TASK.state_high.astype(np.float32))


def test_reward_is_minus_one_until_the_goal():
    reached = jnp.array([[0.49999, 0.01], [0.5, 0.0], [0.6, 0.07], [-1.2, 0.0]])
    zeros = jnp.zeros((4, 2))
    np.testing.assert_array_equal(_REWARD(zeros, jnp.zeros(4, int), reached), [-1, 0, 0, -1])
    np.testing.assert_array_equal(_TERMINATED(reached), [False, True, True, False])


def test_episodes_start_at_rest_in_the_valley():
    own = TASK.covariates(TASK.test_agents[0])
    starts = np.asarray(
        jax.vmap(lambda key: TASK.reset(own, key))(jax.random.split(jax.random.key(0), 500))
    )
    assert np.all(starts[:, 1] == 0)
    assert starts[:, 0].min() == pytest.approx(-0.6, abs=0.01)
    assert starts[:, 0].max() == pytest.approx(-0.4, abs=0.01)
    assert np.all((starts[:, 0] >= -0.6) & (starts[:, 0] <= -0.4))
