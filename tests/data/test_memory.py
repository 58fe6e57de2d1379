"""What a model with memory reads: the changes before a state, against a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.data.memory import per_usual_step, turned
from twinfold.data.panel import PanelDataset
from twinfold.data.windows import hold_out, split_ends

ROLES = {
    "agent": "unit",
    "time": "t",
    "state": ["x", "angle"],
    "action": ["a"],
    "action_type": "continuous",
    "angle": ["angle"],
    "exogenous": ["w"],
}


def panel(lengths: list[int], seed: int) -> PanelDataset:
    rng = np.random.default_rng(seed)
    tables = []
    for n, length in enumerate(lengths):
        times = np.arange(length) + 3 * (np.arange(length) >= 4)  # a gap after four rows
        table = {"unit": n, "t": times, "x": rng.normal(size=length), "a": rng.normal(size=length)}
        table["w"] = rng.normal(size=length)
        table["angle"] = rng.uniform(-np.pi, np.pi, length)
        tables.append(pd.DataFrame(table))
    return PanelDataset.from_frame(pd.concat(tables), ROLES, time_step=1.0)


def looped(data: PanelDataset, row: int, history: int) -> Any:
    """The steps that led to a row, the latest first, NaN before the trajectory begins."""
    found = []
    for back in range(1, history):
        now, before = row - back + 1, row - back
        if before < 0 or data.segment[before] != data.segment[row]:
            found.append(np.full(4, np.nan))
            continue
        change = data.state[now] - data.state[before]
        change[1] = np.arctan2(np.sin(change[1]), np.cos(change[1]))
        acted: Any = data.exogenous
        found.append(np.r_[change, data.action[before], acted[before]])
    return np.stack(found)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    history=st.integers(2, 6),
    seed=st.integers(0, 99),
)
def test_the_memory_of_a_transition_is_that_of_a_plain_loop(
    lengths: list[int], history: int, seed: int
) -> None:
    data = panel(lengths, seed)
    found = data.transitions(history)
    rows = np.flatnonzero(data.segment[1:] == data.segment[:-1])
    expected = np.array([looped(data, int(row), history) for row in rows])
    assert found.memory is not None
    np.testing.assert_allclose(found.memory, expected, atol=1e-12)
    np.testing.assert_array_equal(found.start[:, :2], data.transitions().state)
    some = found.select(np.arange(len(found))[::2])
    np.testing.assert_array_equal(some.start, found.start[::2])


def test_without_a_history_there_is_no_memory() -> None:
    data = panel([5, 3], 0).transitions()
    assert data.memory is None
    np.testing.assert_array_equal(data.start, np.c_[data.state, data.known])


def test_a_memory_may_be_of_changes_alone() -> None:
    data = panel([5, 6], 0)
    whole: Any = data.transitions(3)
    changes: Any = data.transitions(3, changes_alone=True)
    np.testing.assert_array_equal(changes.memory, whole.memory[..., :2])
    np.testing.assert_array_equal(changes.known, whole.known)


def test_a_level_is_remembered_as_indicators_and_nothing_of_an_only_one() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"unit": 0, "t": range(9), "x": rng.normal(size=9), "a": 3})
    roles = {"agent": "unit", "time": "t", "state": ["x"], "action": ["a"]}
    only = PanelDataset.from_frame(table, {**roles, "action_type": "discrete"}).transitions(2)
    assert only.memory is not None
    assert only.memory.shape == (8, 1, 1)
    table["a"] = [3, 1, 7, 7, 1, 3, 3, 1, 7]
    data = PanelDataset.from_frame(table, {**roles, "action_type": "discrete"})
    found: Any = data.transitions(2).memory
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:, 0, 1:] @ [1, 3, 7], table["a"][:7])


@pytest.mark.parametrize("history", [1, 3])
def test_windows_remember_what_came_before_them(history: int) -> None:
    data = panel([9, 8, 9], 1)
    whole = data.transitions(history)
    by_state = {state.tobytes(): row for state, row in zip(whole.state, whole.start, strict=True)}
    for windows in (split_ends(whole)[1], hold_out(data, share=1.0, history=history)[1]):
        assert len(windows.agent)
        for start in windows.start:
            np.testing.assert_array_equal(start, by_state[start[:2].tobytes()])
        for start in windows.before[windows.mask]:
            np.testing.assert_array_equal(start, by_state[start[:2].tobytes()])


def test_changes_of_angles_go_the_short_way() -> None:
    roles = panel([3], 0).roles
    change = turned(np.array([[4.0, 4.0], [-4.0, -4.0]]), roles)
    np.testing.assert_allclose(change, [[4.0, 4.0 - 2 * np.pi], [-4.0, 2 * np.pi - 4.0]])


@given(st.floats(0.01, 30), st.floats(-5, 5))
def test_a_short_step_says_little_and_a_long_one_its_slope(length: float, change: float) -> None:
    slope = per_usual_step(change, length)
    assert abs(slope) <= abs(change / length) + 1e-12
    if length >= 10:
        assert slope == pytest.approx(change / length, rel=0.01)
    # Noise of the two values does not grow without limit as they come close.
    assert abs(slope) <= abs(change) + 1e-12
