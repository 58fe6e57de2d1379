"""Turning one column of a stranger's table into an array, keeping note of what could not be read.

Rows are positions in the table, from 0. Nothing here raises on bad values: the caller reports them.
"""

from __future__ import annotations

import datetime
import math
import re
import warnings
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.ids import UNHASHABLE

Mask = NDArray[np.bool_]

NULL_TEXTS = frozenset(
    ["", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nat", "#na"]
)
"""Texts read as "no value" in number, flag and time columns (lower case). Never in id columns."""

_TRUE = frozenset(["true", "t", "yes", "1", "1.0"])
_FALSE = frozenset(["false", "f", "no", "0", "0.0"])
_FIRST_YEAR, _LAST_YEAR = 1678, 2261  # what 64-bit nanoseconds can hold
_MOST_DAYS = 106_751
_LARGEST = 2.0**53  # integers beyond are not exact as floats

_DIGITS = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}(?:e[+-]?[0-9]+)?|inf|infinity)", re.IGNORECASE)
_CLOCK = r"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]+)?)?)?"
_FORMS = {
    "number": re.compile(rf"[+-]?{_DIGITS}(?:e[+-]?[0-9]+)?", re.IGNORECASE),
    "date": re.compile(
        rf"(?:[0-9]{{4}}([-/])[0-9]{{2}}(?:\1[0-9]{{2}})?|[0-9]{{8}}(?=T))"
        rf"(?:[T ]{_CLOCK}(?P<offset> ?(?:Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?))?)?",
        re.IGNORECASE,
    ),
    "duration": re.compile(
        rf"P(?=.)(?:[0-9]+D)?(?:T(?:{_DIGITS}[HMS])+)?"
        r"|[+-]?(?:[0-9]+ days?,? ?)?[+-]?[0-9]+:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
        rf"|[+-]?(?:{_DIGITS} ?[a-zµ]+ ?)+",
        re.IGNORECASE,
    ),
}
"""How a time is written: a number, an ISO 8601 date, or a duration with its units."""


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
        with np.errstate(over="ignore"):  # numbers of more than double precision
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        null = np.isnan(values)
        return Numbers(values, null, np.zeros_like(null))
    if not (pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype)):
        null = series.isna().to_numpy(dtype=bool)  # dates, complex numbers, lists: no numbers
        return Numbers(np.full(len(series), np.nan), null, ~null)
    codes, distinct = _distinct(series)
    null = np.array([*(_says_null(value) for value in distinct), True])[codes]
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
        texts = [_text(value).lower() for value in series[bad]]
        flags[bad] = [text in _TRUE for text in texts]
        bad[bad] = [text not in _TRUE | _FALSE for text in texts]
    return flags, bad


def as_times(series: pd.Series) -> Times:
    """Read a column of times: numbers, dates (with or without zone), durations, or their text.

    Text is a time only in one of the forms of ``_FORMS``; the form of most rows is that of the
    column, and all others are ``bad``.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    kind = getattr(series.dtype, "kind", "O")
    if str(series.dtype).startswith("date32"):  # Arrow's days; read as those of Python
        return _text_times(series.astype(object))
    if kind == "M":
        return _dates(series, np.zeros(len(series), bool))
    if kind == "m":
        return _durations(series)
    if kind in "iu":
        return _whole_times(series)
    return _float_times(as_numbers(series)) if kind == "f" else _text_times(series)


def _whole_times(series: pd.Series) -> Times:
    """Integers of any type, exact; those beyond 64 bits with a sign are ``bad``."""
    null = series.isna().to_numpy(dtype=bool)
    whole = series.fillna(0).to_numpy() if null.any() else series.to_numpy()
    whole = whole.astype(np.uint64 if getattr(series.dtype, "kind", "i") == "u" else np.int64)
    bad = whole > np.iinfo(np.int64).max
    return Times(np.where(bad, 0, whole).astype(np.int64), null, bad)


def _float_times(numbers: Numbers) -> Times:
    beyond = np.abs(numbers.values) >= 2.0**63  # infinity, or more than an answer could hold
    return Times(np.where(beyond, np.nan, numbers.values), numbers.null, numbers.bad | beyond)


def _text_times(series: pd.Series) -> Times:
    """Times in text, or among objects of several types."""
    codes, distinct = _distinct(series)
    texts = [_text(value) for value in distinct]
    null = np.array([*(_says_null(value) for value in distinct), True])[codes]
    fits = {
        form: np.array([*(bool(pattern.fullmatch(text)) for text in texts), False])
        for form, pattern in _FORMS.items()
    }
    form = max(fits, key=lambda name: int(fits[name][codes].sum()))
    bad = ~fits[form][codes] & ~null
    known = [text if fit else None for text, fit in zip(texts, fits[form], strict=False)]
    if form == "number":
        values, lost = _numbers_of(known)
        bad |= lost[codes]
        none = null | bad
        return Times(np.where(none, np.nan, values[codes]) if none.any() else values[codes],
                     null, bad)  # fmt: skip
    if form == "duration":
        parsed, zone = _durations_of(known), None
    else:
        parsed, zone = _dates_of(known, np.bincount(codes[codes >= 0], minlength=len(known) + 1))
    return Times(parsed[codes], null, bad | (np.isnat(parsed)[codes] & ~null), zone)


def _numbers_of(texts: list[str | None]) -> tuple[NDArray[Any], Mask]:
    """Numbers, and which of them a number cannot hold; with one more at the end for no value.

    Integers if all are whole: exact up to 64 bits.
    """
    values = np.array([np.nan if text is None else float(text) for text in texts] + [np.nan])
    lost = np.zeros(len(values), bool)
    exact = {int(i): Decimal(texts[i] or "") for i in np.flatnonzero(np.abs(values) >= _LARGEST)}
    for i, value in exact.items():
        lost[i] = not -(2**63) <= value < 2**63
    exact = {i: value for i, value in exact.items() if not lost[i]}
    known = values[~np.isnan(values) & ~lost]
    if np.all(known == np.floor(known)) and all(value % 1 == 0 for value in exact.values()):
        whole = np.where(np.isnan(values) | (np.abs(values) >= _LARGEST), 0, values)
        whole = whole.astype(np.int64)
        for i, value in exact.items():
            whole[i] = int(value)
        return whole, lost
    for i, value in exact.items():
        lost[i] = value != Decimal(values[i])
    return values, lost


def _durations_of(texts: list[str | None]) -> NDArray[Any]:
    """Durations; with one more at the end for no value."""
    column = pd.Series([*texts, None], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas would rather have 1D than 1d
        return pd.to_timedelta(column, errors="coerce").to_numpy("timedelta64[ns]")


def _dates_of(
    texts: list[str | None], counts: NDArray[np.integer]
) -> tuple[NDArray[Any], str | None]:
    """Dates in UTC, and their zone, if they have an offset; with one more at the end for no value.

    Where some have an offset from UTC and some do not, those of the smaller part are no times: when
    they were is not known.
    """
    offsets = [None if text is None else offset_of(text) for text in texts]
    aware = np.array([offset is not None for offset in offsets] + [False])
    with_offset = int(counts[aware].sum())
    naive = np.array([text is not None for text in texts] + [False]) & ~aware
    use_offset = with_offset > int(counts[naive].sum())
    kept = aware if use_offset else naive
    known = [text if keep else None for text, keep in zip(texts, kept, strict=False)]
    column = pd.Series([*known, None], dtype=object)
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=use_offset)
    zones = {str(pd.Timestamp(f"2000-01-01T00:00{offset}").tz) for offset in set(offsets) if offset}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    year = dates.dt.year.to_numpy(dtype=np.float64, na_value=np.nan)
    dates = dates.mask((year < _FIRST_YEAR) | (year > _LAST_YEAR))
    if use_offset:
        dates = dates.dt.tz_localize(None)
    return dates.to_numpy(dtype="datetime64[ns]"), zone if use_offset else None


def offset_of(text: str) -> str | None:
    """Return how a date's text ends, if it gives an offset from UTC: ``Z``, ``+02:00``."""
    found = _FORMS["date"].fullmatch(text.strip())
    return found.group("offset") if found else None


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


def _durations(series: pd.Series) -> Times:
    null = series.isna().to_numpy(dtype=bool)
    days = series.dt.days.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.abs(days) >= _MOST_DAYS
    if bad.any():
        series = series.mask(pd.Series(bad, index=series.index))
    values = series.to_numpy(dtype="timedelta64[ns]", na_value=np.timedelta64("NaT"))
    return Times(values, null, bad)


def _distinct(series: pd.Series) -> tuple[NDArray[np.int64], list[Any]]:
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


def _says_null(value: Any) -> bool:
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
        return math.inf if value > 0 else -math.inf
    except ValueError:  # a Decimal that signals
        return float("nan")


def _text(value: Any) -> str:
    """A value as text, durations as pandas writes them; "?" if it has none."""
    try:
        if isinstance(value, datetime.timedelta | np.timedelta64):
            value = pd.Timedelta(value)
        return str(value).strip()
    except ValueError:  # an endless integer, a number of years
        return "?"
