"""Times of every kind are read exactly; what is no time is told from one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from twinfold.data.times import as_times

DAYS = np.array(["2026-01-31", "2026-02-01"], dtype="datetime64[ns]")


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2026-01-31", "2026-02-01"]),
        pd.to_datetime(["2026-01-31", "2026-02-01"]).as_unit("s"),
        ["2026-01-31", "2026-02-01"],
        ["2026-01-31T00:00:00", "2026-02-01 00:00"],
        [dt.date(2026, 1, 31), dt.date(2026, 2, 1)],
        pd.PeriodIndex(["2026-01-31", "2026-02-01"], freq="D"),
        pd.Categorical(["2026-01-31", "2026-02-01"]),
        pd.array(pd.to_datetime(["2026-01-31", "2026-02-01"]), pd.ArrowDtype(pa.timestamp("s"))),
    ],
    ids=lambda values: type(values).__name__,
)  # fmt: skip
def test_dates_of_every_kind(values: Any) -> None:
    times = as_times(pd.Series(values))
    assert times.values.dtype == np.dtype("datetime64[ns]")
    np.testing.assert_array_equal(times.values, DAYS)
    assert not (times.null | times.bad).any()
    assert times.zone is None


def test_zones_become_utc() -> None:
    local = pd.date_range("2026-03-29", periods=4, freq="h", tz="Europe/Berlin")
    times = as_times(pd.Series(local))
    assert times.zone == "Europe/Berlin"
    assert np.all(np.diff(times.ticks) == 3_600_000_000_000)  # over the change to summer time
    mixed = as_times(pd.Series(["2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00+00:00"]))
    assert np.diff(mixed.ticks).tolist() == [3_600_000_000_000]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 2], "i"),
        (["0", "1", "2"], "i"),
        (pd.array([0, 1, 2], dtype="Int32"), "i"),
        (np.array([0, 1, 2], dtype=np.uint8), "i"),
        ([0.0, 0.5, 1.0], "f"),
        (pd.to_timedelta([0, 1, 2], unit="h"), "m"),
        (["0 days 00:00:00", "0 days 01:00:00", "0 days 02:00:00"], "m"),
    ],
)
def test_other_times(values: Any, kind: str) -> None:
    times = as_times(pd.Series(values))
    assert times.values.dtype.kind == kind
    assert not (times.null | times.bad).any()
    assert np.all(np.diff(times.ticks) > 0)


@pytest.mark.parametrize(
    ("values", "null", "bad"),
    [
        ([0.0, np.nan, np.inf], [False, True, False], [False, False, True]),
        (["0", "", "noon"], [False, True, False], [False, False, True]),
        (["2026-01-01", None, "noon", "2026-01-02"], [0, 1, 0, 0], [0, 0, 1, 0]),
        (["2026-01-01", "9999-12-31"], [0, 0], [0, 1]),
        (["morning", "noon"], [0, 0], [1, 1]),
        (["now", "today", "2026-01-01"], [0, 0, 0], [1, 1, 0]),
        (["0,5", "1,000", "1,5"], [0, 0, 0], [1, 1, 1]),
        (["1,000", "1", "2"], [0, 0, 0], [1, 0, 0]),
        (["2026-031", "2026-01-01"], [0, 0], [1, 0]),
        (["2026-02-30", "2026-01-31"], [0, 0], [1, 0]),
        (["2026-01-01T00:00", "2026-01-01T00:00Z", "2026-01-02T00:00Z"], [0, 0, 0], [1, 0, 0]),
        (["2026-01-01T00:00+99:00"], [0], [1]),
        (["1 apple", "2h", "3000 years"], [0, 0, 0], [1, 0, 1]),
        ([True, False], [0, 0], [1, 1]),
        (np.array([2**64 - 1, 5], np.uint64), [0, 0], [1, 0]),
        ([2**63, 5], [0, 0], [1, 0]),
        ([1.0, 1e300], [0, 0], [0, 1]),
        (["1e999999999", "1"], [0, 0], [1, 0]),
        (["9007199254740993.0", "1.5"], [0, 0], [1, 0]),
        ([10**5000, 1], [0, 0], [1, 0]),
        ([[1], {}], [0, 0], [1, 1]),
        (["\ud800", "1"], [0, 0], [1, 0]),
        (np.array([10**15, 1], "timedelta64[s]"), [0, 0], [1, 0]),
    ],
)
def test_what_is_no_time(values: Any, null: list[bool], bad: list[bool]) -> None:
    dtype = object if isinstance(values, list) else None
    times = as_times(pd.Series(values, dtype=dtype))
    assert times.null.tolist() == [bool(value) for value in null]
    assert times.bad.tolist() == [bool(value) for value in bad]


@pytest.mark.parametrize("text", ["11a" * 40 + "!", "P" + "T11H" * 40, "1" * 100_000 + "x"])
def test_long_texts_are_soon_told_from_times(text: str) -> None:
    assert as_times(pd.Series([text, "2026-01-01"])).bad.tolist() == [True, False]


@pytest.mark.parametrize(
    "values",
    [
        [2**60, 2**60 + 1],
        [2**63 - 2, 2**63 - 1],
        [-(2**63), -(2**63) + 1],
        ["9007199254740992", "9007199254740993"],
        ["9007199254740992.0", "9007199254740993.0"],
        ["9223372036854775806", "9223372036854775807"],
        pd.array([2**60, 2**60 + 1], dtype="UInt64"),
    ],
)
def test_large_integer_times_stay_exact(values: Any) -> None:
    times = as_times(pd.Series(values))
    assert np.diff(times.ticks).tolist() == [1]
    assert times.values.tolist() == [int(str(value).removesuffix(".0")) for value in values]


@pytest.mark.parametrize(
    ("texts", "hours"),
    [
        (["2026-10-25T02:00Z", "2026-10-25T05:00+02:00"], 1),
        (["2026-10-25 02:00:00+02:00", "2026-10-25 02:00:00+01:00"], 1),
        (["20261025T0000", "20261025T0130"], 1.5),
        (["1d", "30 h"], 6),
        (["1 day, 1:00:00", "1 days 02:00:00"], 1),
        (["P1DT2H", "P2D"], 22),
    ],
)
def test_texts_of_several_forms(texts: list[str], hours: float) -> None:
    times = as_times(pd.Series(texts))
    assert np.diff(times.ticks).tolist() == [hours * 3_600_000_000_000]
