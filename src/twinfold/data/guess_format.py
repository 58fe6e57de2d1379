"""How the values of a text file are written, told from the values.

A mark is believed if columns become numbers by it that are none without; a text is one for "no
value" if it stands among numbers; a form of dates if every value has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from twinfold.data.columns import NULL_TEXTS, as_numbers
from twinfold.data.faults.sentinels import KNOWN, sentinel
from twinfold.data.faults.settings import FAULTS
from twinfold.data.table_format import TableFormat, settle_numbers
from twinfold.data.text_source import read_text
from twinfold.data.times import as_times
from twinfold.errors import InvalidDataError
from twinfold.utils.text import clipped


@dataclass(frozen=True)
class GuessSettings:
    """Numbers that decide how a table is taken to be written.

    Attributes:
        numbers: share of a column's values that are numbers, so that the others stand for none.
        tokens: different texts for no value of a column, at most.
        looked_at: distinct values of a column that forms of dates are tried on.
        day_share: share of a column's values that are within a first day or month of 12, so that
            day and month could be either way round.
    """

    numbers: float = 0.5
    tokens: int = 3
    looked_at: int = 5000


GUESS = GuessSettings()
"""Those of every table."""


class Guess(NamedTuple):
    """What is taken for a setting, and why."""

    value: Any
    why: str


_MARKS = ((",", ""), (",", "."), (",", " "), (".", ","), (".", " "), (".", "'"))
_DAYS = (
    "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d",
    "%Y/%m/%d", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y",
    "%b %d, %Y", "%B %d, %Y",
    "%d%b%Y", "%d-%b-%y", "%b-%y", "%b %y", "%b-%Y", "%b %Y", "%B %Y", "%Y-%b", "%Y %b", "%m/%Y",
    "%m.%Y", "%m-%Y", "%Y/%m", "%Y.%m", "%YM%m",
)  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", " %H:%M:%S.%f",
           " %H:%M:%S,%f", " %H:%M %z", " %H:%M:%S %z")  # fmt: skip
_DIGIT = re.compile("[0-9]")
_AMBIGUOUS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+")
_BOUND = re.compile(r"[<>≤≥]=?\s*[0-9.,]+")


def guess_encoding(file: Path) -> Guess | None:
    """Return a text file's encoding; None for UTF-8."""
    try:
        data = read_text(file, "utf-8")
    except InvalidDataError as error:
        mark = re.search(r" is (UTF-16|UTF-32) text", str(error))
        if mark is None:
            raise
        return Guess(mark[1].lower(), f"it begins with the mark of {mark[1]}")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Guess("cp1252", f"byte {error.start} is no UTF-8")
    return None


def guess_marks(columns: dict[str, pd.Series], separator: str) -> Guess | None:
    """Return the marks (decimal, thousands) of a table's numbers; None if they are plain."""
    distinct = {name: _values(series) for name, series in columns.items()}
    plain = {name for name, values in distinct.items() if _numeric(values, TableFormat())}
    open_columns = {
        name: values
        for name, values in distinct.items()
        if name not in plain and any(_DIGIT.search(value) for value in values)
    }
    gained = {}
    for decimal, thousands in _MARKS:
        form = TableFormat(decimal=decimal, thousands=thousands)  # pyright: ignore[reportArgumentType]
        gained[decimal, thousands] = [n for n, v in open_columns.items() if _numeric(v, form)]
    best = max(gained, key=lambda marks: len(gained[marks]))
    names = gained[best]
    if not names:
        return None
    sample = next(value for value in open_columns[names[0]] if not _is_plain(value))
    if best == (",", "") and separator != ";":
        values = [v for n in names for v in open_columns[n] if "," in v]
        if all(_AMBIGUOUS.fullmatch(value) for value in values):
            return Guess((".", ","), f"{clipped(sample)} in {names[0]!r}: three digits after each")
    return Guess(best, f"{clipped(sample)} in {names[0]!r} is a number then")


def guess_missing(columns: dict[str, pd.Series], marks: tuple[str, str] = (".", "")) -> list[Guess]:
    """Return texts and numbers that stand for no value, besides blanks and ``NA``."""
    form = TableFormat(decimal=marks[0], thousands=marks[1])  # pyright: ignore[reportArgumentType]
    found: dict[str, str] = {}
    numeric: dict[str, Any] = {}
    for name, series in columns.items():
        numbers = as_numbers(settle_numbers(series, form).series)
        there = ~numbers.null & (series.str.lower() != "").to_numpy()
        texts = sorted(set(series[numbers.bad]))
        texts = [text for text in texts if not (_BOUND.fullmatch(text) or _is_written(text))]
        share = 1 - numbers.bad[there].mean() if there.any() else 0.0
        if share >= GUESS.numbers:
            numeric[name] = numbers.values
            if 0 < len(texts) <= GUESS.tokens:
                found |= {
                    text: f"{int((series == text).sum())} among numbers of {name!r}"
                    for text in texts
                }
    for name, values in numeric.items():
        known = values[pd.notna(values)]
        told = sentinel(known)
        # Others may be numbers of agents or years: the checks tell of them, once roles are known.
        if told is None or told[0] not in KNOWN or -10 < told[0] < 1000:
            continue
        if told[1] < FAULTS.sentinel_times:
            continue  # it may be a value
        others = [n for n, v in numeric.items() if n != name and (v == told[0]).any()]
        if all(sentinel(v := numeric[n][pd.notna(numeric[n])]) == told or
               (sentinel(v) or (None,))[0] == told[0] for n in others):  # fmt: skip
            found.setdefault(f"{told[0]:.10g}", f"{told[1]} times in {name!r}, far from all others")
    return [Guess(text, why) for text, why in found.items()]


def guess_date_format(series: pd.Series) -> Guess | None:
    """Return the form of a column of dates that are none of ISO 8601; None if it has none.

    Where day and month could be either way round, the steps are the more even one's.
    """
    values = list(_values(series))[: GUESS.looked_at]
    if not values or not all(_DIGIT.search(value) for value in values):
        return None
    if not as_times(pd.Series(values)).bad.any():
        return None
    texts = pd.Series(values, dtype=object)
    fits = {form: dates for form in _forms() if (dates := _parsed(texts, form)) is not None}
    if not fits:
        return None
    if len(fits) == 1:
        form = next(iter(fits))
        return Guess(form, f"all {len(values)} times have that form, such as {clipped(values[0])}")
    form = min(fits, key=lambda form: _unevenness(fits[form]))
    return Guess(form, f"{' and '.join(fits)} both fit; times are most even by it")


def _forms() -> Iterator[str]:
    yield from (day + clock for clock in _CLOCKS for day in _DAYS)
    yield from ("%a %b %d %Y", "%a %b %d %H:%M:%S %Y", "%H:%M")


def _parsed(texts: pd.Series, form: str) -> pd.Series | None:
    utc = "%z" in form
    if pd.to_datetime(texts.iloc[:1], format=form, errors="coerce", utc=utc).isna().any():
        return None
    dates = pd.to_datetime(texts, format=form, errors="coerce", utc=utc)
    return None if dates.isna().any() else dates


def _unevenness(dates: pd.Series) -> float:
    """Distinct steps between the distinct times, by their number; of equal ones, the span."""
    steps = dates.sort_values().diff().dropna()
    return len(set(steps)) + (dates.max() - dates.min()).total_seconds() * 1e-12


def _values(series: pd.Series) -> list[str]:
    """The distinct texts of a column that are values."""
    return [text for text in series.unique() if text.lower() not in NULL_TEXTS]


def _is_plain(text: str) -> bool:
    return not as_numbers(pd.Series([text], dtype=object)).bad[0]


def _is_written(text: str) -> bool:
    """Whether a text is a number in some dialect: a fault then, and not one for no value."""
    series = pd.Series([text], dtype=object)
    forms = (TableFormat(decimal=d, thousands=t) for d, t in ((".", ""), *_MARKS))  # pyright: ignore[reportArgumentType]
    return bool(_DIGIT.search(text)) and any(
        not as_numbers(settle_numbers(series, form).series).bad[0] for form in forms
    )


def _numeric(values: list[str], form: TableFormat) -> bool:
    """Whether values are numbers by a format, up to a few texts for no value and bounds."""
    if not values:
        return False
    column = settle_numbers(pd.Series(values, dtype=object), form)
    bad = as_numbers(column.series).bad & ~column.censored
    return bool(bad.sum() <= GUESS.tokens and bad.mean() < GUESS.numbers)
