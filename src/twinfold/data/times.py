"""Turning a time column into an array, keeping note of what could not be read.

Text is a time in three forms only, so that nothing is taken for a time that was none: a number, a
date of ISO 8601, or a duration with its units.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.calendars import find_calendar, is_date, to_counts, to_working_days
from twinfold.data.columns import (
    DECIMAL,
    LARGEST_EXACT,
    Mask,
    Numbers,
    as_numbers,
    as_text,
    distinct_values,
    says_null,
)
from twinfold.data.roles import Calendar

_FIRST_YEAR, _LAST_YEAR = 1678, 2261  # what 64-bit nanoseconds can hold
_MOST_DAYS = 106_751

_CLOCK = r"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]+)?)?)?"
_OFFSET = r"(?P<offset> ?(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))"
_FORM = re.compile(
    rf"(?P<number>[+-]?{DECIMAL}(?:e[+-]?[0-9]+)?)"
    rf"|(?P<date>(?:[0-9]{{4}}(?P<dash>[-/])[0-9]{{2}}(?:(?P=dash)[0-9]{{2}})?|[0-9]{{8}}(?=T))"
    rf"(?:[T ]{_CLOCK}{_OFFSET}?)?)"
    rf"|(?P<duration>P(?=.)(?:[0-9]+D)?(?:T(?:{DECIMAL}[HMS])+)?"
    r"|[+-]?(?:[0-9]+ days?,? ?)?[+-]?[0-9]+:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    rf"|[+-]?(?:{DECIMAL} ?[a-zµ]+ ?)+)",
    re.IGNORECASE,
)
_FORMS = ("number", "date", "duration")


@dataclass(frozen=True)
class Times:
    """A time column: int64, float64, datetime64[ns] (UTC) or timedelta64[ns], ``(R,)``."""

    values: NDArray[Any]
    null: Mask
    bad: Mask
    zone: str | None = None
    calendar: Calendar | None = None
    """Of integers, or dates, that are counted in ``values``."""

    @property
    def ticks(self) -> NDArray[Any]:
        """The same times as plain numbers, nanoseconds for dates; these sort and subtract."""
        return self.values.view(np.int64) if self.values.dtype.kind in "mM" else self.values

    @property
    def local(self) -> NDArray[Any]:
        """Dates as the clocks of their zone show them."""
        if self.zone is None:
            return self.values
        dates = pd.DatetimeIndex(self.values, tz="UTC").tz_convert(self.zone)
        return dates.tz_localize(None).to_numpy()


def as_times(series: pd.Series, calendar: Calendar | None = "none") -> Times:
    """Read a column of times: numbers, dates (with or without zone), durations, or their text.

    The form of most rows is that of the column; all others are ``bad``.

    Args:
        series: the column.
        calendar: of integers; told from them when None. ``"business"`` is one of dates.
    """
    times = _as_times(series)
    if calendar == "business":
        dates = times.local
        if dates.dtype.kind != "M":
            dates = np.full(len(dates), np.datetime64("NaT"), "datetime64[ns]")
        counts, fine = to_working_days(dates)
        return Times(counts, times.null, ~fine & ~times.null, calendar=calendar)
    values, fine = times.values, ~times.null & ~times.bad
    if values.dtype.kind not in "if" or calendar == "none":
        return times
    values = values[fine]
    if values.dtype.kind == "f":  # integers beside missing ones, or written with a point
        if np.any(values != np.floor(values)) or np.any(np.abs(values) > LARGEST_EXACT):
            return times
        values = values.astype(np.int64)
    found = find_calendar(values) if calendar is None else calendar
    if found is None:
        return times
    dates = is_date(values, found)
    bad = times.bad.copy()
    bad[np.flatnonzero(fine)[~dates]] = True
    counts = np.zeros(len(fine), np.int64)
    counts[np.flatnonzero(fine)[dates]] = to_counts(values[dates], found)
    return Times(counts, times.null, bad, calendar=found)


def _as_times(series: pd.Series) -> Times:
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.dtype.categories.dtype)
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if str(series.dtype).startswith("date32"):  # Arrow's days; read as those of Python
        return _text_times(series.astype(object))
    kind = getattr(series.dtype, "kind", "O")
    if kind == "M":
        return _dates(series)
    if kind == "m":
        return _durations(series)
    if kind in "iu":
        return _whole_times(series)
    return _float_times(as_numbers(series)) if kind == "f" else _text_times(series)


def offset_of(text: str) -> str | None:
    """Return how a date's text ends, if it gives an offset from UTC: ``Z``, ``+02:00``."""
    found = _FORM.fullmatch(text.strip())
    return found.group("offset") if found else None


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


def _dates(series: pd.Series) -> Times:
    null = series.isna().to_numpy(dtype=bool)
    zone = getattr(series.dt, "tz", None)
    if zone is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    bad = _out_of_years(series)
    values = series.mask(pd.Series(bad, index=series.index)).to_numpy(
        dtype="datetime64[ns]", na_value=np.datetime64("NaT")
    )
    return Times(values, null, bad, None if zone is None else str(zone))


def _durations(series: pd.Series) -> Times:
    null = series.isna().to_numpy(dtype=bool)
    bad = np.abs(series.dt.days.to_numpy(dtype=np.float64, na_value=np.nan)) >= _MOST_DAYS
    values = series.mask(pd.Series(bad, index=series.index)).to_numpy(
        dtype="timedelta64[ns]", na_value=np.timedelta64("NaT")
    )
    return Times(values, null, bad)


def _out_of_years(dates: pd.Series) -> Mask:
    year = dates.dt.year.to_numpy(dtype=np.float64, na_value=np.nan)
    return (year < _FIRST_YEAR) | (year > _LAST_YEAR)


def _text_times(series: pd.Series) -> Times:
    """Times in text, or among objects of several types.

    The distinct values are read, with one more at their end for no value, which has code -1.
    """
    codes, distinct = distinct_values(series)
    null = np.array([*(says_null(value) for value in distinct), True])[codes]
    found = [_FORM.fullmatch(as_text(value)) for value in distinct]
    which = np.array([_FORMS.index(m.lastgroup or "") if m else -1 for m in [*found, None]])
    counts = np.bincount(codes[codes >= 0], minlength=len(which))
    form = int(np.argmax([counts[which == i].sum() for i in range(len(_FORMS))]))
    fits = which == form
    texts = [m.group() if m and fit else None for m, fit in zip([*found, None], fits, strict=True)]
    zone = None
    if _FORMS[form] == "number":
        values, lost = _numbers_of(texts)
    elif _FORMS[form] == "duration":
        values, lost = _durations_of(texts)
    else:
        offsets = [
            m.group("offset") if m and fit else None for m, fit in zip(found, fits, strict=False)
        ]
        values, lost, zone = _dates_of(texts, [*offsets, None], counts)
    bad = (~fits | lost)[codes] & ~null
    values = values[codes]
    if values.dtype.kind == "i" and (null | bad).any():
        values = np.where(null | bad, np.nan, values)
    return Times(values, null, bad, zone)


def _numbers_of(texts: Sequence[str | None]) -> tuple[NDArray[Any], Mask]:
    """Numbers, and which of the texts they cannot hold; integers, exact, if all are whole."""
    values = np.array([np.nan if text is None else float(text) for text in texts])
    lost = np.zeros(len(values), bool)
    large = np.flatnonzero(np.abs(values) >= LARGEST_EXACT).tolist()
    exact = {i: Decimal(texts[i] or "") for i in large}
    for i, value in exact.items():
        lost[i] = not -(2**63) <= value < 2**63
    exact = {i: value for i, value in exact.items() if not lost[i]}
    known = values[~np.isnan(values) & ~lost]
    if np.all(known == np.floor(known)) and all(value % 1 == 0 for value in exact.values()):
        whole = np.where(np.isnan(values) | (np.abs(values) >= LARGEST_EXACT), 0, values)
        whole = whole.astype(np.int64)
        for i, value in exact.items():
            whole[i] = int(value)
        return whole, lost
    for i, value in exact.items():
        lost[i] = value != Decimal(values[i])
    return np.where(lost, np.nan, values), lost


def _durations_of(texts: Sequence[str | None]) -> tuple[NDArray[Any], Mask]:
    """Durations, and which of the texts are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas would rather have 1D than 1d
        found = pd.to_timedelta(pd.Series(texts, dtype=object), errors="coerce")
    values = found.to_numpy("timedelta64[ns]")
    return values, np.isnat(values)


def _dates_of(
    texts: Sequence[str | None], offsets: Sequence[str | None], counts: NDArray[np.integer]
) -> tuple[NDArray[Any], Mask, str | None]:
    """Dates in UTC, which of the texts are none, and their zone, if they have an offset.

    Where some have an offset from UTC and some do not, those of the smaller part are no times: when
    they were is not known.
    """
    aware = np.array([offset is not None for offset in offsets])
    naive = np.array([text is not None for text in texts]) & ~aware
    in_utc = bool(counts[aware].sum() > counts[naive].sum())
    kept = aware if in_utc else naive
    known = [text if keep else None for text, keep in zip(texts, kept, strict=True)]
    column = pd.Series(known, dtype=object)
    dates = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=in_utc)
    dates = dates.dt.tz_localize(None) if in_utc else dates
    values = dates.mask(_out_of_years(dates)).to_numpy(dtype="datetime64[ns]")
    zones = {str(zone_of(offset)) for offset in set(offsets) if offset is not None}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    return values, np.isnat(values), zone if in_utc else None


def zone_of(offset: str) -> Any:
    """Return the time zone of an offset from UTC."""
    return pd.Timestamp(f"2000-01-01T00:00{offset}").tz
