"""A member folded for an agent: what it predicts is what the rollout predicts, memory included."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import rollout_members

Build = Callable[..., FittedModel]


def rolled(dynamics: Any, state: Any, actions: Any) -> Any:
    """The states ``(H, D)`` that one member predicts."""
    carry, path = dynamics.init(jnp.asarray(state, jnp.float32)), []
    for action in actions:
        carry, after = dynamics.step(carry, dynamics.encode(jnp.asarray(action)))
        path.append(after)
    return np.array(path)


@pytest.mark.parametrize("features", ["separable", "joint"])
@pytest.mark.parametrize("discrete", [True, False])
def test_it_begins_after_the_history_that_it_was_told(
    random_model: Build, discrete: bool, features: str
) -> None:
    model = random_model(
        history=3, angles=(1,), direct=(2,), discrete=discrete, features=features, members=2
    )
    rng = np.random.default_rng(0)
    states = model.normalizer.decode_state(0.3 * rng.normal(size=(4, 3)))
    actions: Any = rng.integers(0, 4, 6) if discrete else rng.normal(size=(6, 2))
    stack = model.dynamics("u2")
    history = stack.blank_history()
    for k, (before, after) in enumerate(itertools.pairwise(states)):
        history = stack.observed(history, *map(jnp.asarray, (before, actions[k], after)))
    stack = stack.with_history(history)
    changes = np.diff(states, axis=0)
    changes[:, 1] = np.arctan2(np.sin(changes[:, 1]), np.cos(changes[:, 1]))
    did = np.eye(4)[actions] if discrete else actions
    start = np.concatenate([states[-1], changes[-1], did[2], changes[-2], did[1]])
    paths = rollout_members(
        model.members, model.normalizer, np.array([2]), start[None], actions[None]
    )[:, 0]
    for m in range(2):
        member = jax.tree.map(lambda leaf, m=m: leaf[m], eqx.filter(stack, eqx.is_array))
        member = eqx.combine(member, stack)
        found = rolled(member, states[-1], actions)
        np.testing.assert_allclose(found, paths[m], rtol=1e-3, atol=1e-3)


def test_what_is_not_known_of_the_history_is_as_usual(random_model: Build) -> None:
    model = random_model(history=4, members=2)
    state = model.normalizer.decode_state(np.zeros(3))
    actions = np.zeros((1, 5), int)
    stack = model.dynamics("u0")
    member = jax.tree.map(lambda leaf: leaf[0], eqx.filter(stack, eqx.is_array))
    found = rolled(eqx.combine(member, stack), state, actions[0])
    unknown = np.concatenate([state, np.full(3 * 7, np.nan)])
    paths = rollout_members(
        model.members, model.normalizer, np.zeros(1, int), unknown[None], actions
    )
    np.testing.assert_allclose(found, paths[0, 0], rtol=1e-3, atol=1e-3)


def test_without_a_memory_there_is_no_history(random_model: Build) -> None:
    stack = random_model(members=2).dynamics("u0")
    assert stack.blank_history() is None
    assert stack.with_history(None) is stack
