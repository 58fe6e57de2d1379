"""Policies get better; a training follows from its key; progress is told."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twinfold.models.true_dynamics import TaskDynamics
from twinfold.policy_learning import (
    PolicyLearningSettings,
    World,
    clone_actions,
    train_policy,
    world_returns,
)
from twinfold.tasks import get_task


def test_one_policy_balances_two_agents_on_their_true_dynamics() -> None:
    task = get_task("cart_pole")
    own = task.covariates(task.test_agents[1])
    stack = TaskDynamics(task, task.covariates(task.test_agents[[1, 3]]))
    keys = jax.random.split(jax.random.key(0), 50)
    world = World.of_task(task, stack, jax.vmap(lambda key: task.reset(own, key))(keys))
    trained = train_policy(world, PolicyLearningSettings(steps=49_152), jax.random.key(0))
    assert trained.info.steps == 49_152
    assert trained.info.models == 2
    returns = world_returns(trained.policy, world, jax.random.key(1), 50)
    assert (returns.mean(axis=1) > 190).all()


def test_a_continuous_policy_learns_to_walk_home(walk: Any, small: Any) -> None:
    def goes_on(state: Any) -> Any:  # or it would learn to run away, which ends what costs
        return jnp.zeros((), bool)

    starts = jnp.array([[[-4.0], [4.0]]])
    world = walk("continuous", starts=starts, terminated=goes_on)
    settings = small(
        steps=12_000, unroll=24, learning_rate=1e-2, environments=16, least_log_sd=-0.5
    )
    trained = train_policy(world, settings, jax.random.key(1))
    found = world_returns(trained.policy, world, jax.random.key(2), 20).mean()
    # Steps ahead are up to three long, steps back up to one: the best is 1 and 3 + 2 + 1.
    # Standing still costs 48.
    assert found > -9.0
    first, last = trained.info.history[0], trained.info.history[-1]
    assert first is not None
    assert last is not None
    assert last > first
    # It would be surer of itself, if it might.
    np.testing.assert_allclose(np.asarray(trained.policy.nets.log_sd), -0.5, atol=0.05)
    assert (np.asarray(trained.policy.nets.log_sd) >= -0.5).all()


def test_a_training_follows_from_its_key(walk: Any, small: Any) -> None:
    world, settings = walk(), small()
    calls: list[tuple[str, int, int]] = []

    def leaves(seed: int) -> list[Any]:
        trained = train_policy(
            world, settings, jax.random.key(seed), lambda *call: calls.append(call)
        )
        return jax.tree.leaves(trained.policy.nets)

    first, again, other = leaves(0), leaves(0), leaves(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert calls[-1] == ("training of a policy", 4, 4)
    assert [done for _, done, _ in calls[:10]] == sorted(done for _, done, _ in calls[:10])


def test_a_training_goes_on_from_a_clone(walk: Any, small: Any) -> None:
    states = np.linspace(-3, 3, 50)[:, None]
    actions = np.where(states[:, 0] > 0.5, 2, 0)  # away from home

    def before(policy: Any) -> Any:
        return clone_actions(
            policy, states, actions, jax.random.key(0), steps=300, learning_rate=1e-2
        )

    made, random = (
        train_policy(walk(), small(), jax.random.key(0), before=begin) for begin in (before, None)
    )
    # Four updates change little of what was learned in 300 steps.
    assert np.mean(made.act(states) == actions) > 0.9
    assert np.mean(random.act(states) == actions) < 0.5


def test_a_training_that_ends_no_episode_has_no_history(walk: Any, small: Any) -> None:
    # Four updates of eight steps: twelve, had they been cut off there.
    world = walk(starts=jnp.zeros((1, 9, 1)), gains=(0.0,), max_steps=12)
    trained = train_policy(world, small(), jax.random.key(0))
    assert None in trained.info.history
    assert 0.0 in trained.info.history
