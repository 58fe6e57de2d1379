from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.models.dynamics import Dynamics
from twinfold.models.true_dynamics import TaskDynamics
from twinfold.planning import (
    RandomShooting,
    make_evaluate,
    plan_config,
    run_agents,
    run_episodes,
    stack_of_one,
    task_objective,
    task_planner,
)
from twinfold.planning.objective import Objective
from twinfold.tasks import get_task

OPTIMUM = (-44.6, -49.7, -63.3, -96.6, -117.1)  # dynamic programming, 901 x 561 grid


def true_returns(name: str, n_episodes: int) -> np.ndarray:
    """Returns (5, E) of the test agents, planned with their true dynamics."""
    task = get_task(name)
    config = plan_config(name, task.action_type)
    covariates = [task.covariates(row) for row in task.test_agents]
    stacks = [stack_of_one(TaskDynamics(task, row)) for row in covariates]
    objectives = [task_objective(config, task, stack) for stack in stacks]
    keys = jax.random.split(jax.random.key(0), (5, n_episodes))
    planner = task_planner(config, task)
    results = run_agents(task, covariates, stacks, planner, objectives, keys)
    return np.stack([result.returns for result in results])


def test_mountain_car_is_driven_within_two_percent_of_the_optimum() -> None:
    returns = true_returns("mountain_car", 40).mean(axis=1)
    assert (returns >= 1.02 * np.array(OPTIMUM)).all(), returns


def test_every_cart_pole_is_balanced() -> None:
    np.testing.assert_array_equal(true_returns("cart_pole", 10), 200.0)


class Forgetful(Dynamics):
    """True dynamics that are wrong until enough true steps were seen."""

    inner: TaskDynamics
    seen: jax.Array

    def init(self, state: Any) -> Any:
        return self.inner.init(state), self.seen

    def encode(self, action: Any) -> Any:
        return self.inner.encode(action)

    def step(self, carry: Any, code: Any) -> Any:
        inside, after = self.inner.step(carry[0], code)
        return (inside, carry[1]), jnp.where(carry[1] < 3, -after, after)

    def blank_history(self) -> Any:
        return jnp.zeros(())

    def observed(self, history: Any, state: Any, action: Any, next_state: Any) -> Any:
        return history + 1

    def with_history(self, history: Any) -> Forgetful:
        return Forgetful(self.inner, jnp.broadcast_to(history, self.seen.shape))


@pytest.mark.parametrize(
    ("name", "forgetful"), [("cart_pole", False), ("mountain_car", False), ("cart_pole", True)]
)
def test_an_episode_equals_a_plain_loop(name: str, forgetful: bool) -> None:
    task = get_task(name)
    covariates = task.covariates(task.test_agents[1])
    stack: Dynamics = TaskDynamics(task, task.covariates(task.test_agents[1:3]))
    if forgetful:
        stack = Forgetful(stack, jnp.zeros(2))
    planner = RandomShooting(task.n_actions, candidates=30, horizon=5)  # type: ignore[arg-type]
    objective = Objective.of_task(task)
    key = jax.random.key(7)
    got = run_episodes(task, covariates, stack, planner, objective, key[None])

    @jax.jit
    def plan(memory: Any, observation: Any, key: Any, history: Any) -> Any:
        evaluate = make_evaluate(stack.with_history(history), objective)
        return planner.plan(memory, evaluate, observation, key)[:2]

    step = jax.jit(task.step)
    key, key_reset, key_init = jax.random.split(key, 3)
    state: Any = task.reset(covariates, key_reset)
    memory = planner.init(key_init)
    total, length = 0.0, 0
    history = stack.blank_history()
    while length < task.max_steps:
        key, key_plan = jax.random.split(key)
        action, memory = plan(memory, state, key_plan, history)
        after = step(covariates, state, action)
        history = stack.observed(history, state, action, after)
        total += float(task.reward(state, action, after))
        length += 1
        state = after
        if bool(task.terminated(after)):
            break
    assert (float(got.returns[0]), int(got.lengths[0])) == (total, length)


def test_other_agents_need_no_new_program() -> None:
    task = get_task("cart_pole")
    traces = []

    def reward(state, action, after):
        traces.append(1)
        return task.reward(state, action, after)

    planner = RandomShooting(2, candidates=5, horizon=3)
    objective = Objective(reward, task.terminated)
    keys = jax.random.split(jax.random.key(0), 2)
    counts = []
    for row in task.test_agents[:3]:
        stack = stack_of_one(TaskDynamics(task, task.covariates(row)))
        run_episodes(task, task.covariates(row), stack, planner, objective, keys)
        counts.append(len(traces))
    assert counts[0] > 0
    assert counts[0] == counts[-1]


def test_threads_and_batches_change_nothing() -> None:
    task = get_task("cart_pole")
    planner = RandomShooting(2, candidates=20, horizon=4)
    covariates = [task.covariates(row) for row in task.test_agents[:2]]
    stacks = [stack_of_one(TaskDynamics(task, row)) for row in covariates]
    objectives = [Objective.of_task(task)] * 2
    keys = jax.random.split(jax.random.key(3), (2, 5))
    ticks = []
    several = run_agents(
        task, covariates, stacks, planner, objectives, keys, threads=2,
        progress=lambda done, of: ticks.append((done, of)),
    )  # fmt: skip
    assert ticks == [(i, 10) for i in range(1, 11)]  # one per episode
    for agent in range(2):
        one = run_episodes(
            task, covariates[agent], stacks[agent], planner, objectives[agent], keys[agent],
            batch_size=2,
        )  # fmt: skip
        assert several[agent].returns.shape == (5,)
        np.testing.assert_array_equal(several[agent].returns, one.returns)
        np.testing.assert_array_equal(several[agent].lengths, one.lengths)
        assert len(set(several[agent].lengths.tolist())) > 1


def test_no_agents() -> None:
    task = get_task("cart_pole")
    planner = RandomShooting(2, candidates=5, horizon=3)
    assert run_agents(task, [], [], planner, [], jnp.zeros((0, 4, 2), jnp.uint32)) == []
