"""Turning one column of a stranger's table into an array, keeping note of what could not be read.

Rows are positions in the table, from 0. Nothing here raises on bad values: the caller reports them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

NULL_TEXTS = frozenset(
    ["", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nat", "#na"]
)
"""Texts read as "no value" in number, flag and time columns (lower case). Never in id columns."""

_TRUE = frozenset(["true", "t", "yes", "1", "1.0"])
_FALSE = frozenset(["false", "f", "no", "0", "0.0"])
_FIRST_YEAR, _LAST_YEAR = 1678, 2261  # what 64-bit nanoseconds can hold


@dataclass(frozen=True)
class Numbers:
    """A numeric column: ``values`` ``(R,)`` float64, NaN where ``null`` or ``bad`` (not a number).

    Infinity is a value here.
    """

    values: NDArray[np.float64]
    null: Mask
    bad: Mask


@dataclass(frozen=True)
class Times:
    """A time column: int64, float64, datetime64[ns] (UTC) or timedelta64[ns], ``(R,)``."""

    values: NDArray[Any]
    null: Mask
    bad: Mask
    zone: str | None = None

    @property
    def ticks(self) -> NDArray[Any]:
        """The same times as plain numbers, nanoseconds for dates; these sort and subtract."""
        return self.values.view(np.int64) if self.values.dtype.kind in "mM" else self.values


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
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        null = np.isnan(values)
        return Numbers(values, null, np.zeros_like(null))
    if not (pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype)):
        null = series.isna().to_numpy(dtype=bool)  # dates, complex numbers, lists: no numbers
        return Numbers(np.full(len(series), np.nan), null, ~null)
    null = _is_null(series)
    try:
        coerced: Any = pd.to_numeric(series, errors="coerce")
        values = coerced.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    except (TypeError, ValueError):  # lists or dictionaries among the values
        values = np.array([_number_or_nan(value) for value in series], dtype=np.float64)
    values[null] = np.nan
    return Numbers(values, null, np.isnan(values) & ~null)


def as_flags(series: pd.Series) -> tuple[Mask, Mask]:
    """Read a column of flags; returns the flags and a mask of values that are none.

    A missing flag is False: many loggers only write the flags that are set.
    """
    numbers = as_numbers(series)
    flags = numbers.values == 1
    bad = ~numbers.null & ~flags & (numbers.values != 0)
    if bad.any():
        text: Any = pd.Series(series[bad]).astype(str).str.strip().str.lower()
        flags[bad] = text.isin(_TRUE).to_numpy(dtype=bool)
        bad[bad] = ~text.isin(_TRUE | _FALSE).to_numpy(dtype=bool)
    return flags, bad


def as_times(series: pd.Series) -> Times:
    """Read a column of times: numbers, dates (with or without zone), durations, or their text."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        return _dates(series, np.zeros(len(series), bool))
    if kind == "m":
        return _durations(series, np.zeros(len(series), bool))
    numbers = as_numbers(series)
    used = int((~numbers.null).sum())
    if used and numbers.bad.sum() > used / 2:
        text = series.mask(pd.Series(numbers.null, index=series.index))
        dates = _parse_dates(text)
        wrong = dates.isna().to_numpy(dtype=bool) & ~numbers.null
        if wrong.sum() <= used / 2:
            return _dates(dates, wrong)
        durations = pd.to_timedelta(text.astype(str), errors="coerce")
        wrong = durations.isna().to_numpy(dtype=bool) & ~numbers.null
        if wrong.sum() <= used / 2:
            return _durations(durations, wrong)
    bad = numbers.bad | np.isinf(numbers.values)
    values: NDArray[Any] = numbers.values
    if kind in "iu" and not numbers.null.any():
        exact = series.to_numpy()
        if kind == "i" or exact.max(initial=0) <= np.iinfo(np.int64).max:
            values = exact.astype(np.int64)
    elif used == len(values) and not bad.any() and kind not in "fb" and _all_whole(values):
        values = values.astype(np.int64)
    return Times(values, numbers.null, bad)


def _parse_dates(text: pd.Series) -> pd.Series:
    """ISO 8601 texts, ``datetime`` or ``date`` objects as dates, NaT where it cannot be one."""
    try:
        return pd.to_datetime(text, errors="coerce", format="ISO8601")
    except ValueError:  # more than one offset from UTC
        return pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)


def _dates(series: pd.Series, bad: Mask) -> Times:
    null = series.isna().to_numpy(dtype=bool) & ~bad
    zone = getattr(series.dt, "tz", None)
    if zone is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    year = series.dt.year.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = bad | (year < _FIRST_YEAR) | (year > _LAST_YEAR)
    if bad.any():
        series = series.mask(pd.Series(bad, index=series.index))
    values = series.to_numpy(dtype="datetime64[ns]", na_value=np.datetime64("NaT"))
    return Times(values, null, bad, None if zone is None else str(zone))


def _durations(series: pd.Series, bad: Mask) -> Times:
    null = series.isna().to_numpy(dtype=bool) & ~bad
    values = series.to_numpy(dtype="timedelta64[ns]", na_value=np.timedelta64("NaT"))
    return Times(values, null, bad)


def _is_null(series: pd.Series) -> Mask:
    """Missing values and texts that say so."""
    null = series.isna().to_numpy(dtype=bool)
    try:
        codes, distinct = pd.factorize(series)
    except TypeError:  # unhashable values
        return null
    says_null = [
        isinstance(value, str) and value.strip().lower() in NULL_TEXTS for value in list(distinct)
    ]
    return null | np.array([*says_null, False], dtype=bool)[np.asarray(codes)]


def _number_or_nan(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _all_whole(values: NDArray[np.float64]) -> bool:
    return bool(np.all(np.abs(values) < 2.0**53) and np.all(values == np.floor(values)))
