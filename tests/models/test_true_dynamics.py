"""The true task behind the model interface."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.models.true_dynamics import TaskDynamics
from twinfold.tasks import TASK_NAMES, Task, get_task


def actions_of(task: Task) -> jax.Array:
    """Five actions, levels ``(5,)`` or quantities ``(5, A)``."""
    levels = jnp.array([0, 1, 1, 0, 1])
    if task.n_actions is not None:
        return levels
    return jnp.tile(levels[:, None] - 0.5, (1, len(task.action_names)))


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_rollout_steps_the_task(name: str):
    task = get_task(name)
    own = task.covariates(task.test_agents[4])
    dynamics = TaskDynamics(task, own)
    actions = actions_of(task)
    expected = state = task.reset(own, jax.random.key(0))
    carry = dynamics.init(state)
    for code in jax.vmap(dynamics.encode)(actions):
        carry, state = dynamics.step(carry, code)
    for action in actions:
        expected = task.step(own, expected, action)
    np.testing.assert_array_equal(state, expected)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_stack_is_mapped_over_like_members(name: str):
    task = get_task(name)
    stack, action = TaskDynamics(task, task.covariates(task.test_agents)), actions_of(task)[0]
    # Away from the middle, where some agents would move alike.
    start = jnp.full(len(task.state_names), 0.05)

    @eqx.filter_jit
    def one_step(stack: TaskDynamics) -> jax.Array:
        def step(member: TaskDynamics) -> jax.Array:
            return member.step(member.init(start), member.encode(action))[1]

        return eqx.filter_vmap(step)(stack)

    reached = one_step(stack)
    assert reached.shape == (5, len(task.state_names))
    assert len(np.unique(np.asarray(reached), axis=0)) == 5
    for values, state in zip(task.test_agents, reached, strict=True):
        alone = task.step(task.covariates(values), start, action)
        np.testing.assert_allclose(state, alone, atol=1e-6)
