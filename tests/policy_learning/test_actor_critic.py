"""Probabilities against SciPy, actions within their bounds, angles read as waves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from twinfold.policy_learning import ActionSpace, Policy, PolicyLearningSettings, StateScale
from twinfold.policy_learning.actor_critic import random_policy
from twinfold.tasks import get_task

SETTINGS = PolicyLearningSettings(hidden=(8,), log_sd=-0.5)
CONTINUOUS = ActionSpace(0, [-1.0, 0.0], [1.0, 10.0])


def policy_of(actions: ActionSpace, gain: float = 30.0) -> Policy:
    """A policy that is sure of something: fresh ones are nearly indifferent."""
    policy = random_policy(jax.random.key(1), SETTINGS, StateScale([1.0, 2.0], [2.0, 4.0]), actions)
    actor = jax.tree.map(lambda leaf: gain * leaf, policy.nets.actor)
    return Policy(policy.nets._replace(actor=actor), policy.scale, policy.actions)


def test_a_levels_probability_is_how_often_it_is_chosen() -> None:
    policy, state = policy_of(ActionSpace(3), 10.0), jnp.array([0.3, -1.0])
    logs, entropy = jax.vmap(policy.log_likelihood, (None, 0))(state, jnp.arange(3))
    shares = np.exp(logs)
    assert shares.sum() == pytest.approx(1.0, abs=1e-5)
    assert float(entropy[0]) == pytest.approx(stats.entropy(shares), rel=1e-4)
    drawn = jax.vmap(policy.choose, (None, 0))(state, jax.random.split(jax.random.key(0), 4000))
    found = np.bincount(np.asarray(drawn), minlength=3) / 4000
    np.testing.assert_allclose(found, shares, atol=0.03)
    assert int(policy.act(state)) == int(np.argmax(shares))


def test_a_continuous_choice_is_gaussian() -> None:
    policy, state = policy_of(CONTINUOUS), jnp.array([0.3, -1.0])
    mean = np.asarray(policy._outputs(state))
    choice = mean + np.array([0.2, -0.7], np.float32)
    log, entropy = policy.log_likelihood(state, jnp.asarray(choice))
    normal: Any = stats.multivariate_normal(mean, np.exp(-1.0) * np.eye(2))
    assert float(log) == pytest.approx(normal.logpdf(choice), rel=1e-4)
    assert float(entropy) == pytest.approx(normal.entropy(), rel=1e-4)


def test_actions_stay_within_their_bounds_and_come_back_as_choices() -> None:
    policy = policy_of(CONTINUOUS)
    keys = jax.random.split(jax.random.key(0), 200)
    drawn = np.asarray(jax.vmap(policy.act, (None, 0))(jnp.zeros(2), keys))
    assert (drawn >= [-1, 0]).all()
    assert (drawn <= [1, 10]).all()
    assert (drawn.max(axis=0) - drawn.min(axis=0) > [0.5, 2.5]).all()
    choice = jnp.array([-0.25, 0.75])
    np.testing.assert_allclose(policy.action(choice), [-0.25, 8.75], rtol=1e-6)
    np.testing.assert_allclose(policy.choice(policy.action(choice)), choice, rtol=1e-5)


def test_a_full_turn_changes_nothing() -> None:
    scale = StateScale([5.0, 1.0, 0.0], [2.0, 3.0, 1.0], angles=(1,))
    state = jnp.array([9.0, 0.7, -3.0])
    found = scale(state)
    np.testing.assert_allclose(found, [2.0, -3.0, np.sin(0.7), np.cos(0.7)], rtol=1e-6)
    turned = scale(state.at[1].add(2 * np.pi))
    np.testing.assert_allclose(found, turned, atol=1e-5)
    assert scale.size == 4


def test_natural_ranges_of_a_task_become_the_unit_interval() -> None:
    task = get_task("mountain_car")
    scale = StateScale.of_task(task)
    for end, wanted in ((task.state_low, -1.0), (task.state_high, 1.0)):
        np.testing.assert_allclose(scale(jnp.asarray(end, jnp.float32)), wanted, atol=1e-5)
