"""Rows that a change of the clock or a weekend explains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Dates = NDArray[Any]


def gap_words(before: Dates, after: Dates, step: float) -> str:
    """Return what explains gaps, as the end of a sentence; empty if nothing does.

    Args:
        before: local times of the rows before the gaps, datetime64.
        after: those after.
        step: the usual time between rows, in nanoseconds.
    """
    found = [
        f"{hits.sum()} of {len(hits)} are {what}"
        for hits, what in (
            (
                weekends(before, after),
                "weekends, from a Friday to the Monday after (--calendar business counts working "
                "days)",
            ),
            (
                skipped_hours(before, after, step),
                "the hour that clocks skip in spring: give --time-zone, such as Europe/Berlin, or "
                "times in UTC",
            ),
        )
        if hits.any()
    ]
    return "".join(f"; {words}" for words in found)


def repeated_hour(twice: Dates) -> str | None:
    """Return the day if all times that are there twice are of an hour that a clock repeats.

    Clocks go back on the night to a Sunday: in Europe the last of October, in America the first of
    November, in the south the first of April.

    Args:
        twice: local times that occur twice, datetime64.
    """
    if not len(twice):
        return None
    times: Any = pd.DatetimeIndex(twice)
    late = (times.month == 10) & (times.day >= 25)
    early = (times.month.isin([4, 11])) & (times.day <= 7)
    nights = (times.day_of_week == 6) & (times.hour <= 3) & (late | early)
    return str(times[0].date()) if bool(nights.all()) else None


def skipped_hours(before: Dates, after: Dates, step: float) -> NDArray[np.bool_]:
    """Return which gaps are the hour that clocks skip in spring, ``(n,)``.

    Args:
        before: local times of the rows before the gaps, datetime64.
        after: those after.
        step: the usual time between rows, in nanoseconds.
    """
    first: Any = pd.DatetimeIndex(before)
    second: Any = pd.DatetimeIndex(after)
    hour = pd.Timedelta(hours=1)
    over = np.asarray(second - first - pd.Timedelta(round(step), unit="ns") == hour)
    spring = (second.month == 3) & (second.day >= 8) | (second.month.isin([9, 10]))
    spring |= (second.month == 4) & (second.day <= 7)
    return np.asarray(over & (second.day_of_week == 6) & (second.hour <= 4) & spring)


def weekends(before: Dates, after: Dates) -> NDArray[np.bool_]:
    """Return which gaps are weekends, ``(n,)``: from a Friday to the Monday after."""
    first: Any = pd.DatetimeIndex(before)
    second: Any = pd.DatetimeIndex(after)
    days = np.asarray((second.normalize() - first.normalize()).days)
    return np.asarray((first.day_of_week == 4) & (second.day_of_week == 0)) & (days == 3)
