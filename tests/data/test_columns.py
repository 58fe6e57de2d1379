"""Columns of every kind that a table may bring are read to the same numbers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from twinfold.data.columns import as_flags, as_numbers, as_times


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1, 2, None]),
        pd.Series([1, 2, None], dtype="Int64"),
        pd.Series([1, 2, None], dtype="Float32"),
        pd.Series([1, 2, None], dtype=pd.ArrowDtype(pa.int16())),
        pd.Series([1, 2, None], dtype="category"),
        pd.Series(["1", " 2.0 ", "n/a"]),
        pd.Series(["1", "2", "NaN"], dtype="category"),
        pd.Series([1, "2", None], dtype=object),
        pd.Series([Decimal(1), Decimal("2.0"), None], dtype=object),
        pd.Series([True, 2, pd.NA], dtype=object),
    ],
    ids=lambda series: str(series.dtype),
)
def test_numbers_of_every_kind(series: pd.Series) -> None:
    numbers = as_numbers(series)
    np.testing.assert_array_equal(numbers.values, [1, 2, np.nan])
    assert numbers.values.dtype == np.float64
    assert numbers.null.tolist() == [False, False, True]
    assert not numbers.bad.any()


@pytest.mark.parametrize(
    ("series", "bad"),
    [
        (pd.Series(["1", "left", None]), [False, True, False]),
        (pd.Series(["left", "right", None], dtype="category"), [True, True, False]),
        (pd.Series([[1], 2.0, None], dtype=object), [True, False, False]),
        (pd.Series(pd.to_datetime(["2026-01-01", None])), [True, False]),
        (pd.Series([1 + 2j, 3]), [True, True]),
        (pd.Series(["0,5", "1"]), [True, False]),
    ],
)
def test_what_is_no_number(series: pd.Series, bad: list[bool]) -> None:
    numbers = as_numbers(series)
    assert numbers.bad.tolist() == bad
    assert np.isnan(numbers.values[numbers.bad]).all()


def test_infinity_is_a_number_for_the_caller_to_judge() -> None:
    numbers = as_numbers(pd.Series(["inf", "1"]))
    assert np.isinf(numbers.values[0])
    assert not numbers.bad.any()


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        [1, 0, np.nan],
        ["True", "false", ""],
        ["yes", "NO", None],
        pd.array([True, False, pd.NA], dtype="boolean"),
    ],
)
def test_flags(values: Any) -> None:
    flags, bad = as_flags(pd.Series(values))
    assert flags.tolist() == [True, False, False]
    assert not bad.any()


def test_what_is_no_flag() -> None:
    assert as_flags(pd.Series(["true", "maybe", "2"]))[1].tolist() == [False, True, True]
    assert as_flags(pd.Series([0.0, 0.5, np.inf]))[1].tolist() == [False, True, True]


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
    ],
)
def test_what_is_no_time(values: Any, null: list[bool], bad: list[bool]) -> None:
    times = as_times(pd.Series(values))
    assert times.null.tolist() == [bool(value) for value in null]
    assert times.bad.tolist() == [bool(value) for value in bad]


def test_large_integer_times_stay_exact() -> None:
    times = as_times(pd.Series([2**60, 2**60 + 1]))
    assert np.diff(times.ticks).tolist() == [1]
