"""The time step, and which rows it joins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data.time_step import find_step, joins, step_from_ticks, ticks_from_step
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
    for step, kind in (("soon", "M"), (1.0, "M"), ("1h", "f"), (-1.0, "f"), (0, "i")):
        with pytest.raises(UsageError, match="time step"):
            ticks_from_step(step, kind)
