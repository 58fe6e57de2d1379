"""Integer times that are dates are counted as such, and shown as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data import PanelDataset, check
from twinfold.data.calendars import (
    compact_form,
    find_calendar,
    from_counts,
    is_date,
    to_counts,
    to_working_days,
)

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
        ("%y%m", "MS", "2008-08-01"),
        ("%y%m%d", "D", "2023-12-20"),
        ("%y%m%d", "D", "2009-12-20"),
        ("%d%m%Y", "D", "2023-12-20"),
        ("%m%d%Y", "D", "2023-08-20"),
        ("%d%m%y", "7D", "2023-12-20"),
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
        np.cumsum(np.random.default_rng(0).integers(1, 9, 60)) + 99_000,
        100_000 * np.arange(1, 40),
        np.arange(1, 40) ** 3 * 1000,
    ],
)
def test_other_integers_are_numbers(times: Any) -> None:
    assert compact_form(times) is None


def test_quarters_written_as_months_are_suspected() -> None:
    times = [100 * year + part for year in range(2020, 2025) for part in range(1, 5)]
    frame = pd.DataFrame({"id": "A", "t": times, "x": np.sin(np.arange(20)), "a": np.arange(20.0)})
    assert any("if these are quarters" in line for line in check(frame, ROLES).warnings)


def working_days(start: str, count: int) -> pd.DataFrame:
    """A level that halves and moves by the action at every working day."""
    dates, rng, rows = pd.bdate_range(start, periods=count), np.random.default_rng(0), []
    for who in ("A", "B", "C"):
        level = 5.0
        for date in dates:
            action = rng.normal()
            rows.append((who, date, level, action))
            level = 0.5 * level + action
    return pd.DataFrame(rows, columns=["id", "t", "x", "a"])


@given(first=st.integers(-20_000, 30_000))
def test_working_days_are_counted_one_by_one(first: int) -> None:
    days = np.datetime64("1970-01-01") + np.arange(first, first + 30)
    counts, fine = to_working_days(days.astype("datetime64[ns]"))
    weekday = (days.astype(np.int64) + 3) % 7  # the first of 1970 was a Thursday
    np.testing.assert_array_equal(fine, weekday < 5)
    assert (np.diff(counts[fine]) == 1).all()
    np.testing.assert_array_equal(from_counts(counts[fine], "business"), days[fine])
    assert not to_working_days(days + np.timedelta64(90, "m"))[1].any()


def test_friday_to_monday_is_one_step_where_working_days_are_counted() -> None:
    from twinfold import FitConfig, answer, fit

    frame = working_days("2026-01-05", 30)
    roles = {**ROLES, "calendar": "business"}
    panel = PanelDataset.from_frame(frame, roles)
    assert panel.n_transitions == 87
    assert panel.warnings == ()
    assert not panel.uneven
    assert panel.to_frame()["t"].tolist() == frame["t"].tolist()
    again = PanelDataset.from_frame(panel.to_frame(), panel.roles)
    assert again.fingerprint() == panel.fingerprint()
    assert PanelDataset.from_frame(frame.astype({"t": str}), roles).fingerprint() == (
        panel.fingerprint()
    )
    model = fit(panel, FitConfig(linear="pooled", rank=0, behaviour_steps=0), reserve=0)
    question = pd.DataFrame(
        {"query_id": 1, "id": "A", "t": ["2026-02-20", "2026-02-23"], "x": [4.0, np.nan], "a": 1.0}
    )
    found = answer(model, question)
    assert found["t"].tolist() == ["2026-02-23", "2026-02-24"]
    np.testing.assert_allclose(found["x"], [3.0, 2.5], atol=1e-3)


def test_weekends_are_named_where_working_days_are_counted() -> None:
    frame = working_days("2026-01-05", 30)
    plain = check(frame, ROLES)
    assert any("--calendar business" in line for line in plain.warnings)
    frame.loc[4, "t"] += pd.Timedelta("1D")
    report = check(frame, {**ROLES, "calendar": "business"})
    assert len(report.problems) == 1
    assert "2026-01-10" in report.problems[0]
    assert "the times are working days (Monday to Friday" in report.problems[0]
    numbers = check(frame.assign(t=range(90)), {**ROLES, "calendar": "business"})
    assert any("is no time" in line for line in numbers.problems)
