"""Integer times that are dates: 202312 is followed by 202401, and not by 202313; working days.

Such a time is counted: months, days, quarters or weeks, so that the step is one of them all over.
What users see is the integer again. Dates can be counted in working days, Monday to Friday, if
users say so; what they see is the date.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.roles import Calendar

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class CalendarSettings:
    """Numbers from which on integers are taken for dates.

    Attributes:
        first_year: earliest year.
        last_year: latest year.
        fewest: distinct times of a column.
    """

    first_year: int = 1800
    last_year: int = 2199
    fewest: int = 3


CALENDAR = CalendarSettings()
"""Those of every table."""

NAMES = {
    "month": "months (YYYYMM)",
    "day": "days (YYYYMMDD)",
    "quarter": "quarters (YYYYQ)",
    "week": "weeks (YYYYWW)",
    "business": "working days (Monday to Friday, without a time of day)",
}
"""What the times of a calendar are called."""

_COMPACT = {
    4: ("%y%m",),
    6: ("%y%m%d", "%d%m%y"),
    7: ("%Y%j",),
    8: ("%d%m%Y", "%m%d%Y"),
    10: ("%Y%m%d%H",),
    12: ("%Y%m%d%H%M",),
    14: ("%Y%m%d%H%M%S",),
}
_DIGITS = {"Y": 4, "j": 3} | dict.fromkeys("ymdHMS", 2)
_SCALE = {"month": 100, "day": 10_000, "quarter": 10, "week": 100}
_PARTS = {"month": 12, "quarter": 4}
_FIRST = np.datetime64("1970-01-01")  # a Thursday


def find_calendar(times: NDArray[Any]) -> Calendar | None:
    """Return the calendar of a column of integers; None if they are numbers.

    All must be dates of it, and there must be three. Quarters and weeks, which many numbers could
    be, must besides go past the end of a year.

    Args:
        times: ``(R,)``.
    """
    if times.dtype.kind != "i" or not len(times):
        return None
    low, high = int(times.min()), int(times.max())
    calendars: tuple[Calendar, ...] = ("month", "day", "quarter", "week")
    fitting: list[Calendar] = [
        calendar for calendar in calendars if _digits_fit(low, high, calendar)
    ]
    distinct = np.unique(times) if fitting else times
    for calendar in fitting:
        if len(distinct) < CALENDAR.fewest or not is_date(distinct, calendar).all():
            continue
        counts = to_counts(distinct, calendar)
        turn = (counts[1:] - counts[:-1] == 1) & (distinct[1:] - distinct[:-1] != 1)
        if calendar in ("month", "day") or turn.any():
            return calendar
    return None


def is_date(times: Whole, calendar: Calendar) -> NDArray[np.bool_]:
    """Return which integers are dates of a calendar, ``(R,)``."""
    if calendar == "day":
        counts, fine = _days(times)
        return fine & (_from_days(counts) == times)
    if calendar == "week":
        part = times % 100
        known = np.where((times > 0) & (part >= 1) & (part <= 53), times, 197001)
        return (known == times) & (_from_weeks(_weeks(known)) == known)
    part = times % _SCALE[calendar]
    return (times > 0) & (part >= 1) & (part <= _PARTS[calendar])


def to_counts(times: Whole, calendar: Calendar) -> Whole:
    """Return dates as how many months, days or quarters they are after a first one."""
    if calendar == "day":
        return _days(times)[0]
    if calendar == "week":
        return _weeks(times)
    year, part = np.divmod(times, _SCALE[calendar])
    return year * _PARTS[calendar] + part - 1


def to_working_days(dates: NDArray[Any]) -> tuple[Whole, NDArray[np.bool_]]:
    """Return how many working days after the first of 1970 dates are, and which are such days.

    Args:
        dates: ``(R,)`` datetime64; NaT, a Saturday, a Sunday or a time of day is none.
    """
    days = dates.astype("datetime64[D]")
    fine = ~np.isnat(dates) & (days == dates)
    fine &= np.is_busday(np.where(fine, days, _FIRST))
    return np.busday_count(_FIRST, np.where(fine, days, _FIRST)).astype(np.int64), fine


def from_counts(counts: NDArray[Any], calendar: Calendar) -> NDArray[Any]:
    """The inverse of ``to_counts``; counts between two dates are rounded.

    Of working days the inverse of ``to_working_days``, dates: ``(R,)`` datetime64[ns].
    """
    whole = np.rint(counts).astype(np.int64)
    if calendar == "business":
        dates = np.busday_offset(_FIRST, whole)
        return dates.astype("datetime64[ns]")
    if calendar == "day":
        return _from_days(whole)
    if calendar == "week":
        return _from_weeks(whole)
    year, part = np.divmod(whole, _PARTS[calendar])
    return year * _SCALE[calendar] + part + 1


def calendar_line(column: str, counts: Whole, calendar: Calendar) -> str:
    """Return one line that says what integer times are taken for, at a turn of the year."""
    year = from_counts(counts.max(keepdims=True), calendar)[0] // _SCALE[calendar]
    first = {"month": 1, "day": 101, "quarter": 1, "week": 1}[calendar]
    turn = to_counts(np.array([(year + 1) * _SCALE[calendar] + first]), calendar)
    last, after = from_counts(np.append(turn - 1, turn), calendar)
    line = (
        f"column {column!r} (time): integers are read as {NAMES[calendar]}: {last} is followed by "
        f"{after}; --calendar none takes them for numbers"
    )
    parts = np.unique(from_counts(counts, calendar) % _SCALE[calendar])
    if calendar == "month" and parts.tolist() == [1, 2, 3, 4]:
        line += "; if these are quarters, since none but 1 to 4 occur, write 20241 for 202401"
    return line


def compact_form(times: NDArray[Any]) -> str | None:
    """Return the form, in the codes of ``strptime``, of integers that are dates of another kind.

    2024013123 (an hour), 202401312359, 20240131235959, 2024031 (the day of the year), 2401 (a
    month), 240131, 31012024 (1022024 on the day after: integers have no zeros ahead): all must be
    dates of it, and times must be more even by it.

    Args:
        times: ``(R,)``, integers.
    """
    distinct = np.unique(times)
    if len(distinct) < CALENDAR.fewest or distinct[0] <= 0:
        return None
    shortest, longest = (len(str(value)) for value in distinct[[0, -1]])
    for length, forms in _COMPACT.items():
        for form in forms:
            fewest = length if form.startswith("%Y") else length - 1
            if fewest <= shortest and longest <= length and _more_even(distinct, length, form):
                return form
    return None


def _more_even(distinct: NDArray[Any], length: int, form: str) -> bool:
    """Whether all integers are dates of a form, by which the times are more even."""
    import pandas as pd

    texts = pd.Series(distinct).astype(str).str.zfill(length)
    dates = pd.to_datetime(texts, format=form, errors="coerce")
    years = dates.dt.year
    if dates.isna().any() or years.min() < CALENDAR.first_year or years.max() > CALENDAR.last_year:
        return False
    unit = "M" if form == "%y%m" else "s"
    steps = np.unique(np.diff(np.sort(dates.to_numpy().astype(f"datetime64[{unit}]"))))
    return len(steps) < len(np.unique(np.diff(distinct)))


def date_text(value: Any, date_format: str) -> str:
    """A time as text: ``20240131`` of a number, with the zeros ahead that a number has lost.

    Args:
        value: a text or a number.
        date_format: of the column, in the codes of ``strptime``; only digits have zeros ahead.
    """
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    if whole or isinstance(value, int | np.integer):
        widths = [_DIGITS.get(code) for code in date_format.split("%")[1:]]
        return str(int(value)).zfill(0 if None in widths else sum(w or 0 for w in widths))
    return str(value).strip()


def _digits_fit(low: int, high: int, calendar: str) -> bool:
    scale = _SCALE[calendar]
    return low // scale >= CALENDAR.first_year and high // scale <= CALENDAR.last_year


def _days(times: Whole) -> tuple[Whole, NDArray[np.bool_]]:
    """Days since 1970 of 20231231, and which can be such; of the others 0."""
    year, rest = np.divmod(times, 10_000)
    month, day = np.divmod(rest, 100)
    fine = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = np.where(fine, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + np.where(fine, day - 1, 0)
    return days, fine


def _from_days(days: Whole) -> Whole:
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    year, part = np.divmod(month.astype(np.int64), 12)
    day = (date - month.astype("datetime64[D]")).astype(np.int64) + 1
    return (year + 1970) * 10_000 + (part + 1) * 100 + day


def _weeks(times: Whole) -> Whole:
    """Weeks since 1970, by their Monday, of 202352: week 1 of ISO 8601 has the 4th of January."""
    year, week = np.divmod(times, 100)
    fourth = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64) + 3
    monday = fourth - (fourth + 3) % 7  # 1970 began on a Thursday
    return (monday + 3) // 7 + week - 1


def _from_weeks(weeks: Whole) -> Whole:
    thursday = (7 * weeks).astype("datetime64[D]")  # whose year is that of the week
    year = thursday.astype("datetime64[Y]")
    day = (thursday - year.astype("datetime64[D]")).astype(np.int64)
    return (year.astype(np.int64) + 1970) * 100 + day // 7 + 1
