"""Names and values of columns of words: one column of 0 and 1 for each of their levels.

Axes: R rows, E coded columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Levels = Mapping[str, tuple[str, ...]]
"""The levels of every column of words, by its name."""


def coded_names(columns: Sequence[str], levels: Levels) -> tuple[str, ...]:
    """Return the names of coded columns: ``weekday=Mon`` for a level, else the column's own."""
    return tuple(
        name
        for column in columns
        for name in (
            (f"{column}={level}" for level in levels[column]) if column in levels else (column,)
        )
    )


def coded_places(columns: Sequence[str], levels: Levels) -> list[tuple[str, slice]]:
    """Return each of the user's columns with its places among the coded ones."""
    found, first = [], 0
    for column in columns:
        size = len(levels[column]) if column in levels else 1
        found.append((column, slice(first, first + size)))
        first += size
    return found


def decoded(
    values: NDArray[np.float64], columns: Sequence[str], levels: Levels
) -> dict[str, NDArray[Any]]:
    """Return the user's columns of coded ones ``(R, E)``: numbers, or words and None."""
    found = {}
    for column, place in coded_places(columns, levels):
        own = values[:, place]
        if column not in levels:
            found[column] = own[:, 0]
            continue
        words = np.array([*levels[column], None], dtype=object)
        found[column] = words[np.where((own == 1).any(axis=1), (own == 1).argmax(axis=1), -1)]
    return found
