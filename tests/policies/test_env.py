"""The training environment is the task: every step of it, for every task."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from twinfold.policies.env import TaskEnv
from twinfold.tasks import TASK_NAMES, Task, get_task


@pytest.fixture(params=TASK_NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return get_task(request.param)


@pytest.mark.parametrize("agent", [0, 4])
def test_a_step_is_the_tasks_own(task: Task, agent: int):
    covariates = task.test_agents[agent]
    own, env = task.covariates(covariates), TaskEnv(task, tuple(covariates))
    step, reward = jax.jit(task.step), jax.jit(task.reward)
    env.action_space.seed(agent)
    state, _ = env.reset(seed=agent)
    for _ in range(60):
        action = env.action_space.sample()
        reached, gained, end, cut, _ = env.step(action)
        expected = step(own, state, action)
        np.testing.assert_allclose(reached, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(gained, reward(state, action, expected), rtol=1e-5, atol=1e-5)
        assert end == bool(task.terminated(expected))
        assert not cut
        assert env.observation_space.contains(reached)
        state = env.reset()[0] if end else reached


def test_an_episode_is_cut_off_after_the_longest_one():
    task = get_task("mountain_car")
    env = TaskEnv(task, (0.0025,))
    env.reset(seed=0)
    flags = [env.step(1)[2:4] for _ in range(task.max_steps)]
    assert flags[-1] == (False, True)
    assert not any(end or cut for end, cut in flags[:-1])


def test_starts_follow_from_the_seed(task: Task):
    env = TaskEnv(task, tuple(task.test_agents[0]))
    first = env.reset(seed=5)[0]
    second = env.reset()[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(env.reset(seed=5)[0], first)
    np.testing.assert_array_equal(env.reset()[0], second)
