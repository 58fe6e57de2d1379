"""A policy that is cloned does what was done, also where agents differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from twinfold.baselines.action_clone import CloneSettings, clone_actions
from twinfold.baselines.experience import Experience

SETTINGS = CloneSettings(hidden=(16,), steps=300, batch=64, rate=1e-2)


def experience(model: Any, agents: np.ndarray, action: Callable[..., np.ndarray]) -> Experience:
    """States around the model's mean, and what an agent does there."""
    n, norm = len(agents), model.normalizer
    state = norm.state_mean + norm.state_scale * np.random.default_rng(2).normal(size=(n, 3))
    right = state[:, 1] > norm.state_mean[1]
    zeros = np.zeros(n, np.float32)
    return Experience(
        state.astype(np.float32),
        action(right, agents).astype(np.int32),
        zeros,
        state.astype(np.float32),
        zeros > 0,
        np.arange(n, dtype=np.int32),
    )


def share_right(model: Any, clone: Any, given: Experience, expected: np.ndarray) -> float:
    """Share of the states in which the most probable action is the expected one."""
    norm = model.normalizer.on_device()
    inputs = jax.vmap(lambda s: norm.inputs(norm.encode_state(s)))(jnp.asarray(given.state))
    logits = jax.vmap(clone.logits, in_axes=(0, None))(inputs, clone.factors)
    return float(np.mean(np.argmax(logits, axis=1) == expected))


def test_what_depends_on_the_state_and_the_agent_is_learned(random_model: Any) -> None:
    model = random_model(n_agents=4)
    factors = np.zeros((3, 4, 3))
    factors[:, 2:] = 1.0  # of two kinds, which act differently
    kinds = eqx.tree_at(lambda m: m.agents, model.members, jnp.asarray(factors, jnp.float32))
    model = replace(model, members=kinds)
    agents = np.arange(400) % 4
    given = experience(model, agents, lambda right, n: np.where(n < 2, right, 3 * ~right))
    clones = [clone_actions(model, n, given, agents, 4, SETTINGS, 0) for n in (0, 3)]
    right = given.state[:, 1] > model.normalizer.state_mean[1]
    assert share_right(model, clones[0], given, right) > 0.9
    assert share_right(model, clones[1], given, 3 * ~right) > 0.9


def test_actions_are_drawn_as_often_as_they_were_taken(random_model: Any) -> None:
    model = random_model(n_agents=4)
    rng = np.random.default_rng(0)
    agents = np.arange(400) % 4
    given = experience(model, agents, lambda right, n: rng.choice(3, len(n), p=[0.6, 0.1, 0.3]))
    clone = clone_actions(model, 1, given, agents, 4, SETTINGS, 0)
    keys = jax.random.split(jax.random.key(0), 400)
    drawn = np.asarray(jax.vmap(clone)(jnp.asarray(given.state), keys))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 400, [0.6, 0.1, 0.3, 0], atol=0.1)
