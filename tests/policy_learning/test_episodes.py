"""Returns of a policy against an episode in Python."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twinfold.policy_learning import world_returns
from twinfold.policy_learning.actor_critic import random_policy


def test_returns_are_those_of_a_loop(walk: Any, small: Any) -> None:
    world = walk(gains=(1.0, 4.0), starts=jnp.array([[[3.0]], [[-2.0]]]))
    policy = random_policy(jax.random.key(7), small(), world.scale, world.actions)
    wanted = []
    for gain, begun in ((1.0, 3.0), (4.0, -2.0)):
        state, total = begun, 0.0
        for _ in range(12):
            state += gain * (int(policy.act(jnp.array([state]))) - 1)
            total -= abs(state)
            if abs(state) > 9.5:
                break
        wanted.append([total] * 3)
    found = world_returns(policy, world, jax.random.key(0), 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_random_actions_make_episodes_differ(walk: Any, small: Any) -> None:
    world = walk(starts=jnp.zeros((1, 1, 1)))
    policy = random_policy(jax.random.key(7), small(), world.scale, world.actions)
    found = world_returns(policy, world, jax.random.key(0), 8, random=True)
    assert len(np.unique(found)) > 2
    again = world_returns(policy, world, jax.random.key(0), 8, random=True)
    np.testing.assert_array_equal(found, again)
