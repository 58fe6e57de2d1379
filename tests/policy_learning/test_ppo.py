"""The loss against a loop, the scale of rewards against NumPy, counts of updates."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.policy_learning import ActionSpace, Policy, PolicyLearningSettings, StateScale
from twinfold.policy_learning.actor_critic import random_policy
from twinfold.policy_learning.ppo import (
    Batch,
    ReturnScale,
    _rescaled,
    episodes_each,
    loss_of,
    n_updates,
)
from twinfold.policy_learning.world import Outcome


@pytest.mark.parametrize("actions", [ActionSpace(3), ActionSpace(0, [-1.0], [1.0])])
def test_the_loss_is_that_of_a_loop(actions: ActionSpace) -> None:
    settings = PolicyLearningSettings(hidden=(6,), clip=0.1, entropy_weight=0.3, value_weight=0.7)
    policy = random_policy(jax.random.key(0), settings, StateScale([0.0], [1.0]), actions)
    actor = jax.tree.map(lambda leaf: 50.0 * leaf, policy.nets.actor)
    policy = Policy(policy.nets._replace(actor=actor), policy.scale, actions)
    rng = np.random.default_rng(0)
    state = jnp.asarray(rng.normal(size=(9, 1)), jnp.float32)
    choice = jax.vmap(policy.choose)(state, jax.random.split(jax.random.key(3), 9))
    log, entropy = (np.asarray(x) for x in jax.vmap(policy.log_likelihood)(state, choice))
    value = np.asarray(jax.vmap(policy.value)(state))
    # Some ratios lie beyond the clip, on both sides.
    before = log + rng.normal(size=9).astype(np.float32) * 0.2
    advantage, target = rng.normal(size=(2, 9)).astype(np.float32)
    standard = (advantage - advantage.mean()) / advantage.std()
    gains, errors = [], []
    for i in range(9):
        ratio = math.exp(log[i] - before[i])
        gains.append(min(ratio * standard[i], min(max(ratio, 0.9), 1.1) * standard[i]))
        errors.append((value[i] - target[i]) ** 2)
    wanted = 0.35 * np.mean(errors) - np.mean(gains) - 0.3 * entropy.mean()
    batch = Batch(*map(jnp.asarray, (state, choice, before, advantage, target)))
    assert float(loss_of(policy, batch, settings)) == pytest.approx(wanted, rel=1e-4)


def test_rewards_are_scaled_by_the_spread_of_discounted_sums() -> None:
    rng = np.random.default_rng(0)
    reward = rng.normal(3.0, 2.0, (3, 5, 1, 2)).astype(np.float32)
    ended = rng.random((3, 5, 1, 2)) < 0.3
    zero = jnp.zeros(())
    scale = ReturnScale(zero, zero, zero, jnp.zeros((1, 2)))
    assert float(scale.unit()) == 1.0
    sums, running = [], np.zeros((1, 2))
    for part in range(3):
        no = jnp.asarray(ended[part])
        outcome = Outcome(no, jnp.asarray(reward[part]), no, no & False, no & False)
        scale = _rescaled(scale, outcome, 0.5)
        for t in range(5):
            running = 0.5 * running + reward[part, t]
            sums.append(running.copy())
            running[ended[part, t]] = 0.0
    assert float(scale.unit()) == pytest.approx(np.std(sums), rel=1e-4)


def test_all_steps_are_simulated_and_each_model_has_an_episode(small: Any) -> None:
    settings = small(steps=100, environments=8, unroll=8)
    assert (episodes_each(settings, 1), n_updates(settings, 1)) == (8, 2)
    assert (episodes_each(settings, 3), n_updates(settings, 3)) == (2, 3)
    assert (episodes_each(settings, 20), n_updates(settings, 20)) == (1, 1)
