"""Rows that a change of the clock or a weekend explains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import PanelDataset, check

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip


def table(times: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"id": "A", "t": times, "x": rng.normal(size=len(times)),
                         "a": rng.normal(size=len(times))})  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "autumn", "spring"),
    [
        ("Europe/Berlin", "2026-10-25", "2026-03-29"),
        ("America/New_York", "2026-11-01", "2026-03-08"),
        ("Australia/Sydney", "2026-04-05", "2026-10-04"),
    ],
)
def test_changes_of_the_clock(zone: str, autumn: str, spring: str) -> None:
    for day in (autumn, spring):
        start = pd.Timestamp(day, tz=zone) - pd.Timedelta("6h")
        hours = pd.date_range(start, periods=24, freq="h")
        frame = table(hours.tz_localize(None))
        report = check(frame, ROLES)
        if day == autumn:
            assert f"a change of the clock explains it ({day})" in report.problems[0]
        else:
            assert "1 of 1 are the hour that clocks skip" in report.warnings[0]
        for times in (frame["t"], frame["t"].astype(str)):
            panel = PanelDataset.from_frame(frame.assign(t=times), ROLES, form={"time_zone": zone})
            assert panel.n_transitions == 23
            assert panel.warnings == ()
            assert panel.to_frame()["t"].tolist() == hours.tolist()


def test_other_repeated_times_are_no_change_of_the_clock() -> None:
    frame = table([*pd.date_range("2026-10-24", periods=5, freq="h"), "2026-10-24 02:00"])
    frame["t"] = pd.to_datetime(frame["t"])
    (problem,) = check(frame, ROLES).problems
    assert "keep one of them" in problem
    assert "explains it" not in problem


def test_weekends_are_said() -> None:
    for zone in (None, "Asia/Tokyo", "America/Los_Angeles"):
        days = pd.bdate_range("2026-01-05", periods=20, tz=zone)
        explained = (
            "3 of 3 are weekends, from a Friday to the Monday after (--calendar business counts "
            "working days)"
        )
        assert check(table(days), ROLES, time_step="regular").warnings[0].endswith(explained)
        long = table(pd.bdate_range("2026-01-05", periods=200, tz=zone))
        assert f"of the unusual steps {explained.replace('3', '39')}" in check(long, ROLES).warnings


@pytest.mark.parametrize(
    ("zone", "day", "freq"),
    [
        ("America/Sao_Paulo", "2018-11-04", "h"),  # at midnight
        ("America/Santiago", "2026-09-06", "30min"),
        ("Africa/Cairo", "2024-04-26", "h"),  # a Friday
        ("Australia/Lord_Howe", "2026-10-04", "30min"),  # half an hour
        ("Asia/Tehran", "2021-03-22", "15min"),
    ],
)
def test_clocks_of_other_places_skip_an_hour_too(zone: str, day: str, freq: str) -> None:
    start = pd.Timestamp(day).tz_localize(zone, nonexistent="shift_forward")
    times = pd.date_range(start - pd.Timedelta("6h"), periods=60, freq=freq)
    frame = table(times.tz_localize(None))
    report = check(frame, ROLES)
    assert report.ok
    assert "1 of 1 are the hour that clocks skip" in report.warnings[0]
    assert check(frame, ROLES, form={"time_zone": zone}).warnings == ()


def test_a_gap_of_an_hour_on_another_night_is_none_that_clocks_skip() -> None:
    times = [*pd.date_range("2026-06-06 20:00", periods=8, freq="h"),
             *pd.date_range("2026-06-07 05:00", periods=8, freq="h")]  # fmt: skip
    assert "clocks skip" not in check(table(pd.to_datetime(times)), ROLES).warnings[0]


def test_another_zone_than_that_given_is_named() -> None:
    start = pd.Timestamp("2026-11-01", tz="America/New_York") - pd.Timedelta("6h")
    frame = table(pd.date_range(start, periods=24, freq="h").tz_localize(None))
    (problem,) = check(frame, ROLES, form={"time_zone": "Europe/Berlin"}).problems
    assert "t 2026-11-01 01:00:00 is also in row" in problem  # as the table has it
    assert "another --time-zone than Europe/Berlin, such as America/New_York" in problem


@pytest.mark.parametrize(
    ("off", "words"),
    [
        ((6,), "10 of 10 are from a Saturday to the Monday after"),
        ((4, 5), "10 of 10 are from a Thursday to the Sunday after"),
        ((2,), "10 of 10 are from a Tuesday to the Thursday after"),
    ],
)
def test_other_days_off_are_said(off: tuple[int, ...], words: str) -> None:
    days = pd.date_range("2026-01-05", periods=72)
    days = days[~days.day_of_week.isin(off)]
    assert check(table(days), ROLES, time_step="regular").warnings[0].endswith(words)


def test_nights_are_said_beside_weekends() -> None:
    hours = pd.date_range("2026-01-05", periods=24 * 14, freq="h")
    hours = hours[(hours.day_of_week < 5) & (hours.hour >= 8) & (hours.hour < 18)]
    line = check(table(hours), ROLES, time_step="regular").warnings[0]
    assert "1 of 9 are weekends, from a Friday" in line
    assert line.endswith("8 of 9 are nights, from 17:00 to 08:00")


def test_gaps_here_and_there_are_no_days_off() -> None:
    days = pd.date_range("2026-01-05", periods=60).delete([9, 20, 31, 44])  # 9 and 44: Wednesdays
    agents = [table(days).assign(id=name) for name in "ABCD"]
    assert " are from a " not in check(pd.concat(agents), ROLES, time_step="regular").warnings[0]
