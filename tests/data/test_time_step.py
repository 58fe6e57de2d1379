"""The time step, and which rows it joins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data.panel import PanelDataset
from twinfold.data.time_step import find_step, joins, step_from_ticks, step_text, ticks_from_step
from twinfold.errors import UsageError


@pytest.mark.parametrize(
    ("differences", "step"),
    [
        ([1, 1, 1, 7, 50], 1),
        ([5, 1, 1], 1),
        ([], None),
        ([0, -3, np.nan], None),
        ([4.0], 4),
        (list(range(1, 12)), 6),  # irregular: none is common, so the median
    ],
)
def test_most_common_step(differences: list[float], step: float | None) -> None:
    assert find_step(np.array(differences, dtype=float)) == step


@given(st.floats(1e-6, 1e6), st.integers(2, 200), st.floats(0, 1e6))
def test_rounding_of_times_does_not_hide_the_step(step: float, n: int, start: float) -> None:
    times = step * (start + np.arange(n))  # neighbouring differences differ in their last digits
    found = find_step(np.diff(times))
    assert found is not None
    assert found == pytest.approx(step, rel=1e-3)
    assert joins(np.diff(times), found).all()


def test_a_noisy_step_is_found_among_many_other_differences() -> None:
    steps = 0.1 + 1e-9 * np.arange(40)  # no two alike, as in rounded times
    others = np.linspace(5, 50, 60)
    assert find_step(np.r_[others, steps]) == pytest.approx(0.1, rel=1e-6)


def test_half_to_one_and_a_half_steps_join() -> None:
    gaps = np.array([0.0, 0.5, 0.51, 1.0, 1.49, 1.5, 2.0, -1.0])
    assert joins(gaps, 1.0).tolist() == [False, False, True, True, True, False, False, False]


def test_steps_in_the_terms_of_the_user() -> None:
    hour = 3.6e12
    assert step_from_ticks(0.5, "f") == 0.5
    assert step_from_ticks(hour, "M") == pd.Timedelta("1h")
    assert ticks_from_step(str(pd.Timedelta("1h")), "M") == hour
    assert ticks_from_step(0.5, "i") == 0.5
    for step, kind in (
        ("soon", "M"),
        (1.0, "M"),
        ("1", "M"),
        ("1e3", "m"),
        ("1h", "f"),
        (-1.0, "f"),
        (0, "i"),
    ):
        with pytest.raises(UsageError, match="time step"):
            ticks_from_step(step, kind)


def _visits(gaps: list[list[float]]) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"id": name, "t": np.r_[0.0, np.cumsum(own)], "x": 0.5, "a": 1.0})
        for name, own in enumerate(gaps)
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize(
    ("gaps", "uneven"),
    [
        ([[1, 1, 1, 1, 3] * 10], False),  # ten weekends: rows may be lost
        ([[1, 1, 1, 1, 3] * 20], True),
        ([[2, 12, 12, 12]] * 8, True),  # a first sample soon after the dose
        ([[1.0] * 60 + [2.0] * 5], False),
        ([[0.25, 0.4, 1.1, 2.3, 0.7, 1.6, 3.1, 0.5, 1.9, 0.3]], True),
        ([[1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8] * 3], False),  # nothing is lost
        ([[1.0] * 40, [0.25] * 40], True),
        ([[0.5], [1.2], [2.9], [4.0]], True),  # two visits each: three of four would be lost
        ([[1.0], [1.1], [2.9], [0.9]], False),
        ([[1.0, 1.0, 1.0, 1.0, 500.0] * 30], False),  # trajectories of five rows
    ],
)
def test_uneven_times_are_found_where_steps_would_be_lost(
    gaps: list[list[float]], uneven: bool
) -> None:
    df = _visits(gaps)
    roles = {"agent": "id", "time": "t", "state": "x", "action": "a", "action_type": "continuous"}
    panel = PanelDataset.from_frame(df, roles)
    assert panel.uneven is uneven
    assert any("times are uneven" in line for line in panel.warnings) is uneven
    every = sum(map(len, gaps))
    if uneven:
        assert panel.n_transitions == every
        known = panel.transitions().known
        assert known is not None
        assert isinstance(panel.time_step, float)
        np.testing.assert_allclose(known[:, -1] * panel.time_step, np.concatenate(gaps))
    for word in ("regular", "variable"):
        found = PanelDataset.from_frame(df, roles, time_step=word)
        assert found.uneven is (word == "variable")
        assert not any("times are uneven" in line for line in found.warnings)
    with pytest.raises(UsageError, match="'often' does not fit the time column: it must be a num"):
        PanelDataset.from_frame(df, roles, time_step="often")


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (pd.Timedelta("1D"), "1 day"),
        (pd.Timedelta("14D"), "14 days"),
        (pd.Timedelta("1h"), "1 h"),
        (pd.Timedelta("36h"), "36 h"),
        (pd.Timedelta("90s"), "90 s"),
        (pd.Timedelta("15min"), "15 min"),
        (pd.Timedelta("1500ms"), "0 days 00:00:01.500000"),
        (1.3000000000000007, "1.3"),
    ],
)
def test_a_step_is_told_in_the_largest_unit_that_fits(step: Any, text: str) -> None:
    assert step_text(step) == text
    if not isinstance(step, float):
        assert pd.Timedelta(text) == step
