"""Advantages against a loop, and what must hold of any episode."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.policy_learning.advantages import advantages


def draw(seed: int, length: int, episodes: int) -> list[Any]:
    """Rewards, values, next values, and two kinds of ends."""
    rng = np.random.default_rng(seed)
    numbers = [rng.normal(size=(length, episodes)).astype(np.float32) for _ in range(3)]
    terminated = rng.random((length, episodes)) < 0.2
    ended = terminated | (rng.random((length, episodes)) < 0.2)
    return [*numbers, terminated, ended]


def found_of(steps: list[Any], discount: float = 0.9, trace: float = 0.8) -> Any:
    reward, value, next_value, terminated, ended = map(jnp.asarray, steps)
    return advantages(reward, value, next_value, terminated, ended, discount, trace)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    discount=st.sampled_from([0.0, 0.9, 0.99]),
    trace=st.sampled_from([0.0, 0.95, 1.0]),
)
def test_advantages_are_those_of_a_loop(seed: int, discount: float, trace: float) -> None:
    reward, value, next_value, terminated, ended = steps = draw(seed, 7, 3)
    wanted = np.zeros((7, 3))
    for e in range(3):
        after = 0.0
        for t in reversed(range(7)):
            if ended[t, e]:
                after = 0.0  # the next step belongs to another episode
            beyond = 0.0 if terminated[t, e] else discount * next_value[t, e]
            after = reward[t, e] + beyond - value[t, e] + discount * trace * after
            wanted[t, e] = after
    found = found_of(steps, discount, trace)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_episodes_side_by_side_do_not_know_of_each_other() -> None:
    steps = draw(3, 6, 5)
    order = np.array([4, 2, 0, 1, 3])
    found = found_of(steps)
    mixed = found_of([x[:, order] for x in steps])
    np.testing.assert_array_equal(mixed, np.asarray(found)[:, order])


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_a_cut_episode_keeps_the_worth_of_its_end(kind: str) -> None:
    zeros, yes = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    found = advantages(zeros, zeros, zeros + 5.0, yes & (kind == "terminated"), yes, 0.5, 1.0)
    assert float(found[0, 0]) == (0.0 if kind == "terminated" else 2.5)


def test_with_a_full_trace_advantages_are_returns_minus_values() -> None:
    reward = jnp.array([[1.0], [2.0], [4.0]])
    value = jnp.array([[10.0], [20.0], [30.0]])
    nothing, no = jnp.zeros((3, 1)), jnp.zeros((3, 1), bool)
    end = no.at[2].set(True)
    # Consistent next values: those of the following states.
    following = jnp.concatenate([value[1:], nothing[:1]])
    found = advantages(reward, value, following, end, end, 0.5, 1.0)
    np.testing.assert_allclose(found[:, 0], [1 + 1 + 1 - 10, 2 + 2 - 20, 4 - 30])
