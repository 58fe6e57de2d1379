"""Integer times that are dates are counted as such, and shown as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data import PanelDataset, check
from twinfold.data.calendars import compact_form, find_calendar, from_counts, is_date, to_counts

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip
FORMS = {"month": ("M", "%Y%m"), "day": ("D", "%Y%m%d"), "quarter": ("Q", "%Yq"), "week": ("W", "")}


def integers(calendar: str, start: str, periods: int) -> Any:
    span = pd.period_range(start, periods=periods, freq=FORMS[calendar][0])
    if calendar == "quarter":
        return (span.year * 10 + span.quarter).to_numpy()
    if calendar == "week":
        iso = span.to_timestamp().isocalendar()
        return (iso.year * 100 + iso.week).to_numpy(np.int64)
    return span.strftime(FORMS[calendar][1]).astype(np.int64).to_numpy()


@pytest.mark.parametrize("calendar", FORMS)
@given(year=st.integers(1800, 1970), periods=st.integers(60, 900))
def test_counts_agree_with_pandas(calendar: Any, year: int, periods: int) -> None:
    times = integers(calendar, f"{year}-03", periods)
    assert find_calendar(times) == calendar
    counts = to_counts(times, calendar)
    assert (np.diff(counts) == 1).all()
    assert (from_counts(counts, calendar) == times).all()
    assert is_date(times, calendar).all()


@pytest.mark.parametrize(
    "times",
    [np.arange(2000, 2030), np.arange(20231, 20260), np.arange(202300, 202400), [202301, 202302],
     np.arange(20231201, 20231240), [0, 1, 2], np.arange(202310, 202340),
     np.arange(10**6, 10**6 + 50), [20231, 20232, 20233]],
)  # fmt: skip
def test_numbers_are_no_dates(times: Any) -> None:
    assert find_calendar(np.asarray(times, np.int64)) is None


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"id": np.repeat(["A", "B"], 24), "t": np.tile(integers("month", "2023-01", 24), 2)}
    )
    return frame.assign(x=rng.normal(size=48), a=rng.normal(size=48))


def test_there_is_no_gap_at_new_year() -> None:
    frame = table()
    panel = PanelDataset.from_frame(frame, ROLES)
    assert panel.n_transitions == 46
    assert panel.time_step == 1
    assert panel.roles.calendar == "month"
    assert panel.warnings == (
        "column 't' (time): integers are read as months (YYYYMM): 202412 is followed by 202501; "
        "--calendar none takes them for numbers",
    )
    assert panel.to_frame()["t"].tolist() == frame["t"].tolist()
    again = PanelDataset.from_frame(panel.to_frame(), panel.roles)
    assert again.fingerprint() == panel.fingerprint()
    assert again.warnings == ()
    as_numbers = PanelDataset.from_frame(frame, {**ROLES, "calendar": "none"})
    assert as_numbers.n_transitions == 44


def test_an_integer_that_is_no_month_is_named() -> None:
    frame = table()
    frame.loc[12, "t"] = 202313
    report = check(frame, {**ROLES, "calendar": "month"})
    assert report.problems[0].startswith(
        "column 't' (time): 202313 is no time at row 12, agent 'A'; the times are months (YYYYMM)"
    )


@pytest.mark.parametrize(
    ("form", "freq", "start"),
    [
        ("%Y%m%d%H", "h", "2023-12-31 10:00"),
        ("%Y%m%d%H%M", "20min", "2023-12-31 10:00"),
        ("%Y%m%d%H%M%S", "90s", "2023-12-31 10:00"),
        ("%Y%j", "D", "2023-12-20"),
        ("%y%m", "MS", "2022-08-01"),
    ],
)
def test_other_integers_that_are_dates_are_told_by_how_even_they_make_times(
    form: str, freq: str, start: str
) -> None:
    dates = pd.date_range(start, periods=40, freq=freq)
    times = dates.strftime(form).astype(np.int64).to_numpy()
    assert compact_form(times) == form
    frame = pd.DataFrame({"id": "A", "t": times, "x": np.sin(np.arange(40)), "a": 0.0})
    assert f"give --date-format {form}" in check(frame, ROLES).warnings[0]
    panel = PanelDataset.from_frame(frame, ROLES, form={"date_format": form})
    assert panel.n_transitions == 39
    assert not any("(time)" in line or "gap" in line for line in panel.warnings)


@pytest.mark.parametrize(
    "times",
    [
        np.arange(1990, 2021),
        np.arange(2001, 2012),
        1_700_000_000 + 3600 * np.arange(40),
        np.arange(45_000, 45_040),
        np.arange(40),
        np.array([800, 815, 830, 845, 900, 915, 930, 945, 1000]),
    ],
)
def test_other_integers_are_numbers(times: Any) -> None:
    assert compact_form(times) is None


def test_quarters_written_as_months_are_suspected() -> None:
    times = [100 * year + part for year in range(2020, 2025) for part in range(1, 5)]
    frame = pd.DataFrame({"id": "A", "t": times, "x": np.sin(np.arange(20)), "a": np.arange(20.0)})
    assert any("if these are quarters" in line for line in check(frame, ROLES).warnings)
