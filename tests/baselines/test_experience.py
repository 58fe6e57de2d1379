"""Rewards are the task's; an episode that the task ended is told from one that was cut off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.baselines.experience import Experience, experience_of, joined
from twinfold.benchmark.collect import collect, task_roles
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.tasks.registry import get_task
from twinfold.tasks.task import Task

CAR = get_task("mountain_car")


def car_panel(courses: dict[int, list[tuple[float, float]]], actions: list[int]) -> PanelDataset:
    """Cars by their positions and velocities; their actions follow each other from a list."""
    rows, n = [], 0
    for agent, states in courses.items():
        for t, (x, v) in enumerate(states):
            last = t == len(states) - 1
            rows.append((agent, t, x, v, None if last else actions[n % len(actions)]))
            n += not last
    frame = pd.DataFrame(rows, columns=["agent_id", "t", "position", "velocity", "action"])
    changes = {"reward": None, "terminated": None, "truncated": None}
    return PanelDataset.from_frame(frame, task_roles(CAR).model_copy(update=changes))


def test_a_goal_is_an_end_and_the_last_row_of_a_recording_is_not() -> None:
    data = car_panel(
        {
            0: [(0.40, 0.05), (0.45, 0.05), (0.51, 0.06)],  # reaches the goal
            1: [(0.00, 0.01), (0.01, 0.01), (0.02, 0.01)],  # is cut off
            2: [(0.48, 0.03), (0.52, 0.04), (0.55, 0.03), (0.30, 0.0)],  # recorded beyond the goal
        },
        [2, 0],
    )
    found = experience_of(data, CAR)
    np.testing.assert_array_equal(found.reward, [-1, 0, -1, -1, 0, 0, -1])
    np.testing.assert_array_equal(found.terminal, [0, 1, 0, 0, 1, 1, 0])
    np.testing.assert_array_equal(found.timeout, [0, 0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(found.episode, [0, 0, 1, 1, 2, 3, 4])
    # Level 1 was never taken: an action is the task's, not its place among those in the data.
    np.testing.assert_array_equal(found.action, [2, 0, 2, 0, 2, 0, 2])


@pytest.fixture(scope="module")
def cars() -> tuple[Task, PanelDataset]:
    task = replace(CAR, max_steps=120)
    return task, collect(task, "pure", 12, 3)


@pytest.mark.parametrize("name", ["poles", "cars"])
def test_every_transition_is_the_one_of_the_table(
    name: str, request: pytest.FixtureRequest
) -> None:
    if name == "poles":
        task, data = request.getfixturevalue("pole"), request.getfixturevalue("poles")
    else:
        task, data = request.getfixturevalue("cars")
    found = experience_of(data, task)
    n, ends = 0, 0
    for agent, rows in data.to_frame().groupby("agent_id", sort=False):
        states = rows[list(task.state_names)].to_numpy(np.float32)
        columns = ("action", "reward", "terminated", "truncated")
        action, reward, terminated, truncated = (rows[name].tolist() for name in columns)
        for t in range(len(rows) - 1):
            assert np.array_equal(found.state[n], states[t]), (agent, t)
            assert np.array_equal(found.next_state[n], states[t + 1])
            assert found.action[n] == action[t]
            assert found.reward[n] == reward[t]  # as the true task paid it
            assert found.terminal[n] == terminated[t + 1]
            assert found.timeout[n] == truncated[t + 1]
            n, ends = n + 1, ends + terminated[t + 1]
    assert len(found) == n
    assert 0 < ends < 12  # of both kinds


def test_continuous_actions_and_rewards_are_those_of_the_data() -> None:
    pytest.importorskip("mujoco")  # of another extra
    task = replace(get_task("half_cheetah"), max_steps=6)
    data = collect(task, "random", 2, 0)
    found = experience_of(data, task)
    assert found.action.shape == (12, 6)
    assert data.reward is not None
    paid = data.reward[~np.isnan(data.reward)]  # by a compiled program, which rounds elsewhere
    np.testing.assert_allclose(found.reward, paid, rtol=1e-5)
    np.testing.assert_array_equal(np.flatnonzero(found.timeout), [5, 11])


def some_experience(lengths: list[int]) -> Experience:
    n = sum(lengths)
    state = np.arange(2.0 * n, dtype=np.float32).reshape(n, 2)
    episode = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    zeros = np.zeros(n, np.float32)
    return Experience(state, zeros.astype(np.int32), zeros, state + 1, zeros > 0, episode)


LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(st.lists(LENGTHS, min_size=1, max_size=3))
def test_parts_are_joined_in_order_and_share_no_episode(parts: list[list[int]]) -> None:
    whole = joined([some_experience(lengths) for lengths in parts])
    flat = [length for lengths in parts for length in lengths]
    np.testing.assert_array_equal(np.bincount(whole.episode), flat)
    assert whole.timeout.sum() == len(flat)  # the task ended none
    states = np.concatenate([some_experience(lengths).state for lengths in parts])
    np.testing.assert_array_equal(whole.state, states)


def with_roles(data: PanelDataset, **changes: Any) -> PanelDataset:
    return replace(data, roles=data.roles.model_copy(update=changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: with_roles(data, state=("a", "b", "c", "d")),
            "does not fit task 'cart_pole'",
        ),
        (lambda data: with_roles(data, action_type="continuous"), "with a continuous action"),
        (
            lambda data: replace(data, action_levels=np.array([0, 7])),
            "has the action 7; task 'cart_pole' has 0 to 1",
        ),
    ],
)
def test_data_of_something_else_is_refused(
    pole: Task, poles: PanelDataset, change: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        experience_of(change(poles), pole)
