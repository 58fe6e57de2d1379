"""CartPole against Gymnasium and against the equations written down again in NumPy."""

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
from twinfold.tasks.cart_pole import CartPoleCovariates

TASK = get_task("cart_pole")
_STEP = jax.jit(jax.vmap(TASK.step))
_TERMINATED = jax.jit(jax.vmap(TASK.terminated))
N = 256


def draw(seed: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    own = rng.uniform(TASK.covariate_low, TASK.covariate_high, (N, 2)).astype(np.float32)
    states = rng.uniform(TASK.state_low, TASK.state_high, (N, 4)).astype(np.float32)
    states[: N // 2] *= [0.5, 1.0, 0.5, 1.0]
    return own, states, rng.integers(0, 2, N)


def by_hand(own: Any, states: Any, actions: Any) -> npt.NDArray[np.float64]:
    """Florian's equations solved as the linear system of the two accelerations."""
    reached = []
    for (force, half), (x, x_dot, theta, theta_dot), action in zip(
        own.astype(np.float64), states.astype(np.float64), actions, strict=True
    ):
        push, sin, cos = force * (2 * action - 1), np.sin(theta), np.cos(theta)
        mass, pole = 1.1, 0.1
        # (M) x'' + (m l cos) theta'' = F + m l theta'^2 sin;  cos x'' + (4/3) l theta'' = g sin
        matrix = [[mass, pole * half * cos], [cos, 4 / 3 * half]]
        x_acc, theta_acc = np.linalg.solve(
            matrix, [push + pole * half * theta_dot**2 * sin, 9.8 * sin]
        )
        reached.append(
            [
                x + 0.02 * x_dot,
                x_dot + 0.02 * x_acc,
                theta + 0.02 * theta_dot,
                theta_dot + 0.02 * theta_acc,
            ]
        )
    return np.array(reached)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_steps_solve_the_equations_of_motion(seed: int):
    own, states, actions = draw(seed)
    reached = _STEP(CartPoleCovariates(own[:, 0], own[:, 1]), states, actions)
    np.testing.assert_allclose(reached, by_hand(own, states, actions), rtol=1e-5, atol=5e-6)


def test_steps_equal_gymnasiums():
    own, states, actions = draw(0)
    own[:5] = TASK.test_agents
    reached = np.asarray(_STEP(CartPoleCovariates(own[:, 0], own[:, 1]), states, actions))
    ended = np.asarray(_TERMINATED(reached))
    env: Any = gymnasium.make("CartPole-v1").unwrapped
    for i in range(N):
        env.reset(seed=0)
        env.force_mag, env.length = own[i].astype(float)
        env.polemass_length = env.masspole * env.length
        env.state = states[i].astype(np.float64)
        expected, reward, terminated, _, _ = env.step(int(actions[i]))
        np.testing.assert_allclose(reached[i], expected, rtol=1e-5, atol=5e-6)
        assert ended[i] == terminated
        assert float(TASK.reward(states[i], actions[i], reached[i])) == reward
    assert ended.any()
    assert not ended.all()


def test_the_default_agent_is_gymnasiums():
    env: Any = gymnasium.make("CartPole-v1").unwrapped
    assert tuple(TASK.test_agents[1]) == (env.force_mag, env.length)


def test_a_whole_episode_equals_gymnasiums():
    env: Any = gymnasium.make("CartPole-v1").unwrapped
    start, _ = env.reset(seed=3)
    own, state, ended = TASK.covariates(TASK.test_agents[1]), jnp.asarray(start), False
    step = jax.jit(TASK.step)
    rng = np.random.default_rng(3)
    steps = 0
    while not ended:
        action = int(rng.integers(0, 2))
        state = step(own, state, action)
        expected, _, ended, _, _ = env.step(action)
        np.testing.assert_allclose(state, expected, rtol=1e-4, atol=1e-5)
        assert bool(TASK.terminated(state)) == ended
        steps += 1
    assert steps > 5


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_left_and_right_are_alike(seed: int):
    """Mirroring the state and the push mirrors the motion."""
    own, states, actions = draw(seed)
    covariates = CartPoleCovariates(own[:, 0], own[:, 1])
    mirrored = _STEP(covariates, -states, 1 - actions)
    np.testing.assert_allclose(mirrored, -_STEP(covariates, states, actions), rtol=1e-6, atol=1e-6)


def test_episodes_start_near_the_upright_pole():
    own = TASK.covariates(TASK.test_agents[0])
    starts = jax.vmap(lambda key: TASK.reset(own, key))(jax.random.split(jax.random.key(0), 500))
    assert float(jnp.abs(starts).max()) == pytest.approx(0.05, abs=0.001)
    assert float(jnp.abs(starts.mean(axis=0)).max()) < 0.006
