"""Turning one column of a stranger's table into an array, keeping note of what could not be read.

Rows are positions in the table, from 0. Nothing here raises on bad values: the caller reports them.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.ids import UNHASHABLE

Mask = NDArray[np.bool_]

NULL_TEXTS = frozenset(
    ["", ".", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nat", "#na"]
)
"""Texts read as "no value" in number, flag and time columns (lower case). Never in id columns."""

_TRUE = frozenset(["true", "t", "yes", "1", "1.0"])
_FALSE = frozenset(["false", "f", "no", "0", "0.0"])
# One way to read each text: with two, a long one that is no number would take for ever.
DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(rf"[+-]?(?:{DECIMAL}(?:e[+-]?[0-9]+)?|inf|infinity)", re.IGNORECASE)
LARGEST_EXACT = 2.0**53  # integers beyond are not exact as floats


@dataclass(frozen=True)
class Numbers:
    """A numeric column: ``values`` ``(R,)`` float64, NaN where ``null`` or ``bad`` (not a number).

    Infinity is a value here.
    """

    values: NDArray[np.float64]
    null: Mask
    bad: Mask


def as_numbers(series: pd.Series) -> Numbers:
    """Read a column as numbers, be it numeric, nullable, boolean, categorical or numeric text."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = as_numbers(pd.Series(dtype.categories))
        codes = series.cat.codes.to_numpy()
        null = codes < 0
        if not len(levels.values):
            return Numbers(np.full(len(series), np.nan), null, np.zeros(len(series), bool))
        values = np.where(null, np.nan, levels.values[codes])
        return Numbers(values, null | (levels.null[codes] & ~null), levels.bad[codes] & ~null)
    if pd.api.types.is_bool_dtype(dtype) or (
        pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
    ):
        with np.errstate(over="ignore"):  # numbers of more than double precision
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        null = np.isnan(values)
        return Numbers(values, null, np.zeros_like(null))
    if not (pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype)):
        null = series.isna().to_numpy(dtype=bool)  # dates, complex numbers, lists: no numbers
        return Numbers(np.full(len(series), np.nan), null, ~null)
    codes, distinct = distinct_values(series)
    null = np.array([*(says_null(value) for value in distinct), True])[codes]
    values = np.array([*map(_number_or_nan, distinct), np.nan])[codes]
    return Numbers(values, null, np.isnan(values) & ~null)


def as_flags(series: pd.Series) -> tuple[Mask, Mask]:
    """Read a column of flags; returns the flags and a mask of values that are none.

    A missing flag is False: many loggers only write the flags that are set.
    """
    numbers = as_numbers(series)
    flags = numbers.values == 1
    bad = ~numbers.null & ~flags & (numbers.values != 0)
    if bad.any():
        texts = [as_text(value).lower() for value in series[bad]]
        flags[bad] = [text in _TRUE for text in texts]
        bad[bad] = [text not in _TRUE | _FALSE for text in texts]
    return flags, bad


def distinct_values(series: pd.Series) -> tuple[NDArray[np.int64], list[Any]]:
    """Index ``(R,)`` of each value among the distinct ones, and these; -1 where there is none."""
    try:
        codes, distinct = pd.factorize(series, use_na_sentinel=True)
    except UNHASHABLE:
        values = list(series)
        null = np.array([_is_none(value) for value in values])
        return np.where(null, -1, np.arange(len(values))), values
    return np.asarray(codes, np.int64), list(distinct)


def _is_none(value: Any) -> bool:
    nan = isinstance(value, float) and math.isnan(value)
    return nan or value is None or value is pd.NA or value is pd.NaT


def says_null(value: Any) -> bool:
    """Return whether a value is text for "no value"."""
    return isinstance(value, str) and value.strip().lower() in NULL_TEXTS


def _number_or_nan(value: Any) -> float:
    """Numbers, flags and the text of numbers; no dates, complex numbers or lists."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return float("nan")
    if not isinstance(value, str | int | float | Decimal | np.integer | np.floating | np.bool_):
        return float("nan")
    if isinstance(value, np.timedelta64):  # to NumPy an integer
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return math.inf if int(value) > 0 else -math.inf
    except ValueError:  # a Decimal that signals
        return float("nan")


def as_text(value: Any) -> str:
    """A value as text, durations as pandas writes them; "?" if it has none."""
    try:
        if isinstance(value, datetime.timedelta | np.timedelta64):
            value = pd.Timedelta(value)
        return str(value).strip()
    except ValueError:  # an endless integer, a number of years
        return "?"
