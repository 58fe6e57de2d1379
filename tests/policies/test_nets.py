"""Networks against a loop over NumPy arrays, and what they earn against stepping by hand."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.policies.measure import episode_returns
from twinfold.policies.nets import Layers, forward, greedy
from twinfold.tasks import get_task


def network(sizes: tuple[int, ...], seed: int = 0) -> Layers:
    rng = np.random.default_rng(seed)
    return tuple(
        (
            rng.normal(size=(a, b)).astype(np.float32),
            rng.normal(size=b).astype(np.float32),
        )
        for a, b in itertools.pairwise(sizes)
    )


def by_hand(layers: Layers, state: np.ndarray) -> np.ndarray:
    for i, (weight, bias) in enumerate(layers):
        out = np.zeros(len(bias))
        for j in range(len(bias)):
            out[j] = bias[j] + sum(state[k] * weight[k, j] for k in range(len(state)))
            if i < len(layers) - 1:
                out[j] = max(out[j], 0.0)
        state = out
    return state


@pytest.mark.parametrize("sizes", [(4, 2), (4, 5, 2), (4, 5, 6, 3)])
def test_a_network_is_what_its_formula_says(sizes: tuple[int, ...]):
    layers, state = network(sizes), np.array([0.3, -1.0, 2.0, 0.1], np.float32)
    np.testing.assert_allclose(
        forward(layers, jnp.asarray(state)), by_hand(layers, state), rtol=1e-4
    )


def test_a_discrete_policy_takes_the_action_of_the_highest_value():
    task, layers = get_task("cart_pole"), network((4, 8, 2))
    for state in np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32):
        action = greedy(task, layers, jnp.asarray(state))
        assert jnp.issubdtype(action.dtype, jnp.integer)
        assert int(action) == int(np.argmax(by_hand(layers, state)))


def test_a_continuous_policy_fills_the_bounds_of_its_actions():
    class Valve:
        n_actions = None
        action_low, action_high = np.array([-1.0, 2.0]), np.array([1.0, 6.0])

    task: Any = Valve()
    layers = ((np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),)
    for outputs, action in (([0, 0], [0, 4]), ([50, -50], [1, 2]), ([-50, 50], [-1, 6])):
        found = greedy(task, layers, jnp.asarray(outputs, jnp.float32))
        np.testing.assert_allclose(found, action, atol=1e-5)


def test_returns_are_those_of_stepping_by_hand():
    task, layers = get_task("cart_pole"), network((4, 8, 2))
    found = episode_returns(task, layers, task.test_agents, 3, 7)
    assert found.shape == (5, 3)
    keys = jax.random.split(jax.random.key(7), 15).reshape(5, 3)
    step = jax.jit(task.step)
    for n, p in ((0, 0), (3, 2), (4, 1)):
        own = task.covariates(task.test_agents[n])
        state, total = task.reset(own, keys[n, p]), 0.0
        for _ in range(task.max_steps):
            state = step(own, state, greedy(task, layers, state))
            total += 1.0
            if task.terminated(state):
                break
        assert found[n, p] == total
