"""Columns of every kind that a table may bring are read to the same numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from twinfold.data.columns import as_flags, as_numbers


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


def test_long_texts_are_soon_told_from_numbers() -> None:
    assert as_numbers(pd.Series(["1" * 100_000 + "x", "1"])).bad.tolist() == [True, False]


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
