"""Behaviour cloning against the least squares that it should find."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from twinfold.policy_learning import ActionSpace, PolicyLearningSettings, StateScale, clone_actions
from twinfold.policy_learning.actor_critic import random_policy


def test_a_continuous_clone_takes_the_mean_of_what_was_done() -> None:
    actions = ActionSpace(0, [-2.0], [4.0])
    settings = PolicyLearningSettings(hidden=(16,))
    policy = random_policy(jax.random.key(0), settings, StateScale([0.0], [1.0]), actions)
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (400, 1))
    done = 1.0 + 0.8 * states + rng.normal(0, 0.1, states.shape)
    found = clone_actions(policy, states, done, jax.random.key(1), steps=500, learning_rate=5e-3)
    took = np.asarray(jax.vmap(found.act)(jnp.asarray(states, jnp.float32)))
    assert np.abs(took - (1.0 + 0.8 * states)).max() < 0.2
    # Neither the spread nor the value has moved.
    for name in ("log_sd", "critic"):
        before, after = (jax.tree.leaves(getattr(p.nets, name)) for p in (policy, found))
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_no_steps_change_nothing() -> None:
    settings = PolicyLearningSettings(hidden=(4,))
    policy = random_policy(jax.random.key(0), settings, StateScale([0.0], [1.0]), ActionSpace(2))
    assert clone_actions(policy, [[0.0]], [1], jax.random.key(0), steps=0) is policy
