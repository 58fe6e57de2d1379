"""Rows that a change of the clock, a weekend, another day off or a night explains."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.faults.settings import FAULTS

Dates = NDArray[Any]

ZONES = (
    *("Europe/Berlin", "Europe/London", "Europe/Athens", "Europe/Moscow", "Atlantic/Azores"),
    *("America/New_York", "America/Havana", "America/Santiago", "America/Sao_Paulo"),
    *("America/Asuncion", "America/Mexico_City", "America/St_Johns", "Asia/Tehran"),
    *("Asia/Jerusalem", "Asia/Beirut", "Asia/Amman", "Africa/Cairo", "Africa/Casablanca"),
    *("Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham"),
)
"""One of every kind of places whose clocks change at the same local times."""


def gap_words(before: Dates, after: Dates, step: float) -> str:
    """Return what explains gaps, as the end of a sentence; empty if nothing does.

    Args:
        before: local times of the rows before the gaps, datetime64.
        after: those after.
        step: the usual time between rows, in nanoseconds.
    """
    over, off = weekends(before, after), _day_off(before, after)
    whole = all(bool((pd.DatetimeIndex(t) == pd.DatetimeIndex(t).normalize()).all())
                for t in (before, after))  # fmt: skip
    working = " (--calendar business counts working days)" if whole else ""
    explained = [
        (over, f"weekends, from a Friday to the Monday after{working}"),
        (off.hits & ~over, off.words),
        (
            skipped_hours(before, after, step),
            "the hour that clocks skip in spring: give --time-zone, such as Europe/Berlin, or "
            "times in UTC",
        ),
    ]
    night = _night(before, after)
    explained.append((night.hits & ~explained[-1][0], night.words))
    found = [f"{hits.sum()} of {len(hits)} are {what}" for hits, what in explained if hits.any()]
    return "".join(f"; {words}" for words in found)


class ClockChange(NamedTuple):
    """The day on which clocks change, and a zone in which they do."""

    day: str
    zone: str


def repeated_hour(twice: Dates) -> ClockChange | None:
    """Return the change of the clock that explains all times that are there twice, if one does.

    Args:
        twice: local times that occur twice, datetime64.
    """
    if not len(twice):
        return None
    times: Any = pd.DatetimeIndex(np.unique(twice))
    explained, first = np.zeros(len(times), bool), ""
    for zone in ZONES:
        told = times.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
        explained |= np.asarray(told.isna())
        first = first or (zone if bool(told.isna()[0]) else "")
    return ClockChange(str(times[0].date()), first) if bool(explained.all()) else None


def skipped_hours(before: Dates, after: Dates, step: float) -> NDArray[np.bool_]:
    """Return which gaps are the hour that clocks skip in spring, ``(n,)``.

    There is a zone in which the usual time went by, though its clocks show more.

    Args:
        before: local times of the rows before the gaps, datetime64.
        after: those after.
        step: the usual time between rows, in nanoseconds.
    """
    first: Any = pd.DatetimeIndex(before)
    second: Any = pd.DatetimeIndex(after)
    usual = pd.Timedelta(round(step), unit="ns")
    found = np.zeros(len(first), bool)
    for zone in ZONES:
        begun, ended = (
            each.tz_localize(zone, ambiguous=np.ones(len(each), bool), nonexistent="shift_forward")
            for each in (first, second)
        )
        found |= np.asarray((ended - begun == usual) & (second - first > usual))
    return found


class _Usual(NamedTuple):
    """Gaps that come back in the same way, ``(n,)``, and what they are."""

    hits: NDArray[np.bool_]
    words: str


def _day_off(before: Dates, after: Dates) -> _Usual:
    """The gaps over the same days of the week, three at most, if most gaps are such."""
    first: Any = pd.DatetimeIndex(before)
    second: Any = pd.DatetimeIndex(after)
    days = np.asarray((second.normalize() - first.normalize()).days)
    kind = np.where((days > 1) & (days <= 4), 7 * days + np.asarray(first.day_of_week), -1)
    hits, place = _most(kind, before)
    return _Usual(hits, f"from a {first[place].day_name()} to the {second[place].day_name()} after")


def _night(before: Dates, after: Dates) -> _Usual:
    """The gaps from one time of the day to one of the day after, if most gaps are such."""
    first: Any = pd.DatetimeIndex(before)
    second: Any = pd.DatetimeIndex(after)
    begun, ended = first.normalize(), second.normalize()
    next_day = np.asarray((ended - begun).days) == 1
    minutes = [np.asarray((t - day) // pd.Timedelta("1min")) for t, day in
               ((first, begun), (second, ended))]  # fmt: skip
    kind = np.where(next_day & (minutes[0] > minutes[1]), 1440 * minutes[0] + minutes[1], -1)
    hits, place = _most(kind, before)
    return _Usual(hits, f"nights, from {first[place]:%H:%M} to {second[place]:%H:%M}")


def _most(kind: NDArray[Any], before: Dates) -> tuple[NDArray[np.bool_], int]:
    """Which gaps are of the commonest kind, and one of them; none if others are more, or it is -1.

    What many agents have at one time is counted once: a holiday is no day off.

    Args:
        kind: ``(n,)``, whole numbers; -1 for gaps that are of none.
        before: ``(n,)``, when they begin.
    """
    once = kind[np.unique(before, return_index=True)[1]]
    kinds, counts = np.unique(once, return_counts=True)
    best = int(np.argmax(np.where(kinds >= 0, counts, 0)))
    hits = kind == kinds[best]
    enough = counts[best] >= max(FAULTS.same_gap, FAULTS.same_gap_share * len(once))
    return hits & bool(kinds[best] >= 0 and enough), int(np.argmax(hits))


def weekends(before: Dates, after: Dates) -> NDArray[np.bool_]:
    """Return which gaps are weekends, ``(n,)``: from a Friday to the Monday after."""
    first: Any = pd.DatetimeIndex(before)
    second: Any = pd.DatetimeIndex(after)
    days = np.asarray((second.normalize() - first.normalize()).days)
    return np.asarray((first.day_of_week == 4) & (second.day_of_week == 0)) & (days == 3)
