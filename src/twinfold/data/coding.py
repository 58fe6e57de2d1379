"""Columns of words among the known inputs and static columns, as columns of 0 and 1.

A column of words becomes one column for each of its levels. A word that is none of the levels is
unknown: no level holds.

Axes: R rows, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.columns import Mask, Numbers, as_numbers, as_text, distinct_values, says_null
from twinfold.data.ids import natural_key
from twinfold.data.issues import Notes, number_advice
from twinfold.data.levels import Levels
from twinfold.data.table_settings import TABLE
from twinfold.utils.text import clipped

Floats = NDArray[np.float64]


class Words(NamedTuple):
    """A column of words.

    Attributes:
        code: ``(R,)``, index into ``levels``; -1 where there is no word.
        levels: the distinct words, in their natural order.
    """

    code: NDArray[np.int64]
    levels: tuple[str, ...]

    @property
    def null(self) -> Mask:
        """Rows without a word, ``(R,)``."""
        return self.code < 0

    def indicators(self, levels: Sequence[str] | None = None) -> Floats:
        """Return ``(R, L)``: 1 where a row has the level, NaN where it has no word.

        Args:
            levels: the columns, those of the data if None; other words are 0 in all of them.
        """
        levels = self.levels if levels is None else levels
        place = {level: k for k, level in enumerate(levels)}
        index = np.array([place.get(level, -1) for level in self.levels] + [-1])[self.code]
        out = (index[:, None] == np.arange(len(levels))).astype(np.float64)
        out[self.null] = np.nan
        return out


def as_words(series: pd.Series) -> Words:
    """Read a column as words; what says "no value" is none."""
    codes, distinct = distinct_values(series)
    texts = [as_text(value) for value in distinct]
    levels = tuple(sorted({t for t in texts if not says_null(t)}, key=natural_key))
    place = {level: k for k, level in enumerate(levels)}
    index = np.array([*(place.get(text, -1) for text in texts), -1])
    return Words(index[codes].astype(np.int64), levels)


def holds_words(series: pd.Series) -> bool:
    """Return whether a column is one of words: it has text, and not one number."""
    numbers = as_numbers(series)
    text = [value for value in series[numbers.bad] if isinstance(value, str)]
    return bool(numbers.bad.any()) and bool((numbers.null | numbers.bad).all()) and bool(text)


def read_coded(
    columns: Sequence[pd.Series], role: str, notes: Notes, levels: Levels | None = None
) -> tuple[Floats, dict[str, tuple[str, ...]]]:
    """Read columns of numbers or words, coded side by side; problems go to ``notes``.

    Args:
        columns: of one role.
        role: its name.
        notes: receives what is wrong.
        levels: of the columns of words, if they are known; others are then unknown words.

    Returns:
        ``(R, E)``, NaN where there is no value; and the levels of the columns of words.
    """
    parts, found = [], {}
    for series in columns:
        column = str(series.name)
        if column in levels if levels is not None else holds_words(series):
            words = coded_words(series, role, notes)
            found[column] = words.levels if levels is None else levels[column]
            parts.append(words.indicators(found[column]))
            continue
        parts.append(_numbers(series, column, role, notes).values[:, None])
    size = len(columns[0]) if columns else 0
    return np.concatenate(parts, axis=1) if parts else np.zeros((size, 0)), found


def coded_words(series: pd.Series, role: str, notes: Notes) -> Words:
    """Read a column of words; a problem if they are too many to be told apart."""
    words = as_words(series)
    if len(words.levels) > TABLE.most_words:
        notes.problems.append(
            f"column {str(series.name)!r} ({role}) has {len(words.levels)} distinct words, such as "
            f"{clipped(words.levels[0])}; {TABLE.most_words} are the most: group them, or leave "
            "the column out"
        )
    return words


def _numbers(series: pd.Series, column: str, role: str, notes: Notes) -> Numbers:
    """Read a column of numbers; text, infinity and numbers that are too large are problems."""
    numbers = as_numbers(series)
    if numbers.bad.any():
        value = series.iloc[int(np.argmax(numbers.bad))]
        advice = number_advice(value, "numbers are needed, or words in every row")
        notes.bad_rows(column, role, f"{clipped(value)} is no number", numbers.bad, advice)
    infinite = np.isinf(numbers.values)
    notes.bad_rows(column, role, "infinity", infinite, "correct it, or leave it empty")
    large = (np.abs(numbers.values) > TABLE.largest) & ~infinite
    if large.any():
        what = f"{numbers.values[np.argmax(large)]:g} is too large"
        advice = f"correct it, or change the column's unit: {TABLE.largest:g} is the most"
        notes.bad_rows(column, role, what, large, advice)
    return numbers


def filled_forward(values: Floats, group: NDArray[np.integer]) -> Floats:
    """Return columns ``(R, E)`` without gaps: the last value of the group, else its first one.

    A column of which a group has no value is its mean over all others.

    Args:
        values: NaN where there is no value.
        group: ``(R,)``, of each row; rows of a group follow each other.
    """
    out = values.copy()
    if not np.isnan(out).any():
        return out
    frame = pd.DataFrame(out)
    by = frame.groupby(np.asarray(group))
    frame = by.ffill().fillna(by.bfill())
    return frame.fillna(frame.mean()).to_numpy(np.float64)
