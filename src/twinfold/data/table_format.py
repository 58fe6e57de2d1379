"""How the values of a table are written: decimal marks, dates, texts for no value, bounds.

``settle`` turns the columns of a stranger's table into what the rest of twinfold reads: numbers
with a point, times of ISO 8601, and missing values that are missing.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from twinfold.data.calendars import date_text
from twinfold.data.columns import DECIMAL, distinct_values, says_null
from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import problem_lines

_MINUS = re.compile("^[\u2012\u2013\u2212\ufe63\uff0d](?=[0-9.,])")
_BOUND = re.compile(rf"[<>≤≥]=?\s*([+-]?{DECIMAL}(?:e[+-]?[0-9]+)?)", re.IGNORECASE)
_UNDETECTED = re.compile(
    r"(?:[<>≤≥]|below|under|above)?\s*(?:the )?(?:[lu]?lo[dq]|b[lq]?[lq]|bloq|bdl|nd|n\.\s?d\.|"
    r"(?:detection |quantification )?limit(?: of (?:detection|quantification))?)|"
    r"not? detect(?:ed|able)|undetect(?:ed|able)|none detected|traces?",
    re.IGNORECASE,
)
_BLANKS = "[ \u00a0\u202f\u2009]"  # what stands between thousands where a blank does


class TableFormat(BaseModel):
    """How the values of a table are written, where that is not the plain way.

    Attributes:
        decimal: mark before the decimals of a number.
        thousands: mark between the thousands of a number; empty if there is none.
        date_format: how times are written, in the codes of ``strptime`` such as ``%d.%m.%Y``;
            None for numbers, durations and dates of ISO 8601.
        time_zone: of local times, such as ``Europe/Berlin``; where its clock repeats an hour, the
            first of two rows of an agent with one time comes first.
        missing: texts and numbers that stand for no value, besides blanks and ``NA``; never of ids.
        censored: take a text such as ``<0.05`` as its bound; as missing otherwise, as are always
            words such as ``BLQ`` and ``<LOD``, which have no bound.
        encoding: of a text file.
        join_ids: take ids that differ in case, blanks, forms of letters or leading zeros only
            for one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'", "_"] = ""
    date_format: str | None = Field(default=None, max_length=100)
    time_zone: str | None = Field(default=None, max_length=100)
    missing: tuple[str, ...] = ()
    censored: bool = False
    encoding: str = Field(default="utf-8", max_length=100)
    join_ids: bool = False

    @field_validator("missing", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        values = [value] if isinstance(value, str | int | float) else value
        plain = isinstance(values, list | tuple) and all(
            isinstance(part, str | int | float) for part in values
        )
        return tuple(map(str, values)) if plain else values

    @field_validator("date_format")
    @classmethod
    def _codes(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            pd.to_datetime(pd.Series(["x"], dtype=object), format=value, errors="coerce")
        except (ValueError, TypeError, re.error) as error:
            raise ValueError(f"no form of dates: {error}; {_A_FORM}") from None
        if "%" not in value.replace("%%", ""):  # "mixed" would have pandas guess
            raise ValueError(f"no form of dates: it has no code; {_A_FORM}")
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            found = codecs.lookup(value)
            "".encode(found.name).decode(found.name)
        except (LookupError, ValueError, TypeError):  # unknown, or of bytes to bytes
            raise ValueError("no encoding of text; common ones are utf-8, utf-16, cp1252") from None
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        try:
            found = pd.DatetimeIndex([], tz=value).tz
        except (LookupError, ValueError, TypeError, OSError):
            found = None
        if found is None and value is not None:
            raise ValueError("no time zone; one is such as Europe/Berlin or UTC")
        return value

    @model_validator(mode="after")
    def _two_marks(self) -> TableFormat:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; they must differ")
        return self

    @classmethod
    def parse(cls, given: TableFormat | Mapping[str, Any] | None) -> TableFormat:
        """A format from a mapping such as a manifest's; the plain one of None.

        Raises:
            UsageError: a setting is unknown or malformed; the message names it.
        """
        if isinstance(given, TableFormat):
            return given
        try:
            return cls.model_validate({} if given is None else given)
        except ValidationError as error:
            lines = problem_lines(error.errors(), lambda place: one_of(cls.model_fields))
            raise UsageError("\n".join(f"format of the table: {line}" for line in lines)) from None

    def given(self) -> dict[str, Any]:
        """Return what is not the plain way, ready for JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def plain_numbers(self) -> bool:
        """Whether numbers are written as programs write them."""
        return self.decimal == "." and not self.thousands


_A_FORM = "one is such as %d.%m.%Y or %Y%m%d %H:%M"

PLAIN = TableFormat()
"""Numbers with a point, times of ISO 8601, blanks for no value."""


@dataclass(frozen=True)
class Settled:
    """A column after its format: its values, and the rows ``(R,)`` that held a bound only."""

    series: pd.Series
    censored: NDArray[np.bool_]


def settle_numbers(series: pd.Series, form: TableFormat) -> Settled:
    """Read the numbers of a column: those of its format, no values, and bounds such as ``<0.05``.

    What is neither stays as it is, for the checks to name.
    """
    none = np.zeros(len(series), bool)
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        series = series.astype(dtype.categories.dtype)
    if not _holds_text(series):
        if not form.missing or not pd.api.types.is_numeric_dtype(series.dtype):
            return Settled(series, none)
        gone = _sentinels(series, form)
        return Settled(series.mask(pd.Series(gone, series.index)) if gone.any() else series, none)
    codes, distinct = distinct_values(series)
    missing = _is_missing(form)
    # Where no value is a number, "<50" and ">=50" are words.
    numeric = any(_is_number(value, form) for value in distinct)
    values: list[Any] = []
    censored = np.zeros(len(distinct) + 1, bool)
    changed = False
    for i, value in enumerate(distinct):
        new = value
        if missing(value):
            new = None
        elif isinstance(value, str):
            text = _typed(value)
            bound = _BOUND.fullmatch(_plain(text, form)) if numeric else None
            if bound is not None:
                censored[i] = True
                new = bound.group(1) if form.censored else None
            elif numeric and _UNDETECTED.fullmatch(text):
                censored[i], new = True, None
            elif not form.plain_numbers and not says_null(text):
                new = _plain(text, form)
            elif text != value.strip() and _number(text) is not None:
                new = text
        changed |= new is not value
        values.append(new)
    if not changed:
        return Settled(series, none)
    taken = np.array([*values, None], dtype=object)[codes]
    return Settled(_as_narrow(taken, series), censored[codes])


def settle_times(series: pd.Series, form: TableFormat, agent: pd.Series | None = None) -> pd.Series:
    """Read a column of times by its format; what does not fit stays as it is.

    Args:
        series: the column.
        form: how it is written.
        agent: whose the rows are; with a time zone, an hour that is there twice is told by it.
    """
    if form.missing:
        gone = _gone(series, form)
        series = series.mask(pd.Series(gone, series.index)) if gone.any() else series
    if form.date_format is not None and getattr(series.dtype, "kind", "O") not in "mM":
        series = _dates(series, form.date_format)
    elif not form.plain_numbers:
        series = settle_numbers(series, form).series
    return series if form.time_zone is None else _zoned(series, form.time_zone, agent)


def _dates(series: pd.Series, date_format: str) -> pd.Series:
    """Dates of a column; if some are none, as text of ISO 8601 beside what these are.

    What is in another form says so: it might be read as a number, or as a date of ISO 8601.
    """
    codes, distinct = distinct_values(series)
    texts = pd.Series([date_text(value, date_format) for value in distinct], dtype=object)
    try:
        dates = pd.to_datetime(texts, format=date_format, errors="coerce")
    except (ValueError, TypeError):  # offsets from UTC that change, as where a clock does
        dates = pd.to_datetime(texts, format=date_format, errors="coerce", utc=True)
    lost = dates.isna().to_numpy()
    if not lost.any() and (codes >= 0).all():
        return pd.Series(dates.iloc[codes].array, series.index, name=series.name)
    values = [date.isoformat() if not gone else None if says_null(text) else
              f"{text} (not {date_format})"
              for text, date, gone in zip(texts, dates, lost, strict=True)]  # fmt: skip
    taken = np.array([*values, None], dtype=object)[codes]
    return pd.Series(taken, series.index, name=series.name)


def _zoned(series: pd.Series, zone: str, agent: pd.Series | None) -> pd.Series:
    """Local dates with their time zone; times that are no dates, or have a zone, as they are."""
    if getattr(series.dtype, "kind", "O") != "M":
        if not _holds_text(series):
            return series
        dates = pd.to_datetime(series, errors="coerce", format="ISO8601")
        if getattr(dates.dtype, "kind", "O") != "M" or (dates.isna() & series.notna()).any():
            return series
        series = pd.Series(dates.array, series.index, name=series.name)
    if series.dt.tz is not None:
        return series
    owner = pd.Series(0, series.index) if agent is None else agent
    again = series.groupby([owner.to_numpy(), series.to_numpy()]).cumcount().to_numpy()
    return series.dt.tz_localize(zone, ambiguous=again == 0, nonexistent="shift_forward")


def as_written(times: pd.Series, form: TableFormat) -> pd.Series:
    """Return times as a table of a format writes them; those that are no dates as they are."""
    if getattr(times.dtype, "kind", "O") != "M":
        return times
    if form.time_zone is not None and times.dt.tz is not None:
        times = times.dt.tz_convert(form.time_zone).dt.tz_localize(None)
    return times if form.date_format is None else times.dt.strftime(form.date_format)


def _holds_text(series: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(series.dtype) or pd.api.types.is_string_dtype(series.dtype)


def _is_missing(form: TableFormat) -> Callable[[Any], bool]:
    """Return the test for a value that stands for none."""
    texts = {text.strip() for text in form.missing}
    numbers = {number for text in texts if (number := _number(text)) is not None}

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return value.strip() in texts or _number(_plain(value.strip(), form)) in numbers
        plain = isinstance(value, int | float | np.integer | np.floating)
        return plain and float(value) in numbers

    return test if texts else lambda value: False


def _sentinels(series: pd.Series, form: TableFormat) -> NDArray[np.bool_]:
    """Rows of a numeric column whose number stands for no value."""
    numbers = [number for text in form.missing if (number := _number(text)) is not None]
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.isin(values, numbers)


def _gone(series: pd.Series, form: TableFormat) -> NDArray[np.bool_]:
    """Rows of any column whose value stands for none."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        return _sentinels(series, form)
    if not _holds_text(series):
        return np.zeros(len(series), bool)
    codes, distinct = distinct_values(series)
    missing = _is_missing(form)
    return np.array([*(missing(value) for value in distinct), False])[codes]


def _is_number(value: Any, form: TableFormat) -> bool:
    if isinstance(value, str):
        return _number(_plain(_typed(value), form)) is not None
    return isinstance(value, int | float | np.integer | np.floating)


def _typed(text: str) -> str:
    """A text without blanks around it, and with the minus that keyboards have before a number."""
    return _MINUS.sub("-", text.strip())


def _number(text: str) -> float | None:
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def _plain(text: str, form: TableFormat) -> str:
    """A number of the format as programs write it; other texts as they are.

    A number in another format is none: under a decimal comma, 1.5 may be anything.
    """
    if form.plain_numbers:
        return text
    sign, rest = "", text
    found = re.match(r"([<>≤≥]=?\s*)(.*)", text, re.DOTALL)
    if found:
        sign, rest = found.groups()
    if not _pattern(form).fullmatch(rest):
        return f"{text} (decimal {form.decimal})" if _number(rest) is not None else text
    if form.thousands:
        between = _BLANKS if form.thousands == " " else re.escape(form.thousands)
        rest = re.sub(between, "", rest)
    return sign + rest.replace(form.decimal, ".")


def _pattern(form: TableFormat) -> re.Pattern[str]:
    """Numbers of a format; ``re`` keeps what it has compiled."""
    digits, mark = "[0-9]+", re.escape(form.decimal)
    if form.thousands:
        between = _BLANKS if form.thousands == " " else re.escape(form.thousands)
        digits = rf"(?:[0-9]{{1,3}}(?:{between}[0-9]{{3}})+|[0-9]+)"
    return re.compile(
        rf"[+-]?(?:{digits}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE
    )


def _as_narrow(values: NDArray[Any], series: pd.Series) -> pd.Series:
    """Values as numbers, if all are."""
    out = pd.Series(values, series.index, dtype=object, name=series.name)
    there = out.dropna()
    if len(there) and all(isinstance(v, str) and _number(v) is not None for v in set(there)):
        return out.astype(np.float64)
    return out


def settle_frame(
    df: pd.DataFrame, ids: tuple[str, ...], form: TableFormat, time: str | None
) -> Any:
    """Settle every column of a table but ids: numbers, and the times of one.

    Args:
        df: the table.
        ids: columns that stay as they are.
        form: how its values are written.
        time: the column of times.

    Returns:
        The table; the same one if its format is the plain one.
    """
    if form == PLAIN:
        return df
    columns = {}
    for i, name in enumerate(df.columns):
        series = df.iloc[:, i]
        if str(name) == time:
            series = settle_times(series, form)
        elif str(name) not in ids:
            series = settle_numbers(series, form).series
        columns[i] = series
    out = pd.DataFrame(columns, index=df.index)
    out.columns = df.columns
    out.attrs = dict(df.attrs)
    return out
