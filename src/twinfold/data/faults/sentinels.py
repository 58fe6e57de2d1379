"""Numbers that stand for no value, and actions of which a few rows say all there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.faults.settings import FAULTS
from twinfold.data.issues import Notes
from twinfold.data.outliers import spikes
from twinfold.utils.text import counted, listed

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Columns = Mapping[str, NDArray[Any]]

KNOWN = frozenset(
    [sign * float("9" * length) for sign in (1, -1) for length in range(2, 8)]
    + [sign * float(digit * length) for sign in (1, -1) for digit in "78" for length in (2, 3, 4)]
    + [-1.0, -9.0, -99.9, -999.9, -9999.9, -32768.0, 32767.0, -2147483648.0, 2147483647.0]
)
"""Numbers that are often written where there is no value."""


def sentinel(
    values: Floats, first: NDArray[np.bool_] | None = None, zero: bool = False
) -> tuple[float, int] | None:
    """Return a number that probably stands for no value, and how often it is there.

    It is far from all others of its column: by half their range if it is one that is often used so
    (-999), by their range if not; or it is repeated where hardly any other value is. Where
    trajectories begin, a value may be repeated.

    Args:
        values: ``(n,)``, finite, in the order of trajectories.
        first: ``(n,)``, whether a trajectory begins.
        zero: whether 0 may be one, within the range of a column: not of what is done or earned.
    """
    found = _far(values, True, zero) or (_below_counts(values) if zero else None)
    if found is None:
        values = values if first is None else values[~first]
        found = _far(values, False, zero)
    return _repeated(values, zero) if found is None else found


def _far(values: Floats, known: bool, zero: bool) -> tuple[float, int] | None:
    """An end of a column that is far from all else: a number ``known`` to be used so, or any."""
    distinct, counts = np.unique(values, return_counts=True)
    for end in (1, -1):
        ordered = distinct[::end]  # from that end
        codes = _codes(ordered) if known else 1
        if len(distinct) < codes + 2:
            continue
        value, count = float(ordered[0]), int(counts[::end][0])
        others = ordered[codes:]
        span, gap = abs(others[-1] - others[0]), abs(others[0] - ordered[codes - 1])
        # -1 may be a step back beside 0 and 1: it must be as far away as a number of no renown.
        wide = FAULTS.constant_gap if value == -1 or not known else FAULTS.sentinel_gap
        wide = FAULTS.zero_gap if value == 0 and zero else wide
        if not gap > wide * span > 0:
            continue
        share = count / len(values)
        often = FAULTS.repeated_share <= share <= FAULTS.constant_share
        once = gap > FAULTS.sentinel_once * span and len(others) >= FAULTS.sentinel_beside
        if known and value in KNOWN and (count >= FAULTS.sentinel_times or once):
            return value, count
        if (
            not known
            and count >= FAULTS.repeated
            and often
            and len(others) >= FAULTS.constant_beside
            and (value != 0 or (zero and _alone(values, value)))
        ):
            return value, count
    return None


def _codes(ordered: Floats) -> int:
    """How many numbers at an end of a column are used for no value, from the outermost; at least 1.

    Beside 99 for unknown stands 88 for refused.
    """
    named = [float(value) in KNOWN for value in ordered[: FAULTS.most_sentinels]]
    return max(1, named.index(False) if False in named else len(named))


def _repeated(values: Floats, zero: bool) -> tuple[float, int] | None:
    """A value within the range of a column in which hardly any other is there twice."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 3:
        return None
    # A controller that is at its limit writes it with other last digits each time.
    margin = FAULTS.at_limit * (distinct[-1] - distinct[0])
    inner = (distinct > distinct[0] + margin) & (distinct < distinct[-1] - margin)
    if not inner.any():
        return None
    most = int(np.argmax(np.where(inner, counts, 0)))
    count, others = int(counts[most]), len(values) - int(counts[most])
    if (
        count < max(FAULTS.repeated, FAULTS.repeated_share * len(values))
        or (distinct[most] == 0 and not (zero and _at_an_end(values)))
        or len(distinct) - 1 < FAULTS.distinct_share * others
    ):
        return None
    return (float(distinct[most]), count) if _scattered(values, distinct[most]) else None


def _below_counts(values: Floats) -> tuple[float, int] | None:
    """-1 below whole numbers that count from 0 or more, if it is there more often than 0."""
    if values.min(initial=0.0) != -1 or not bool(np.all(values == np.round(values))):
        return None
    count, zeros = (int(np.count_nonzero(values == value)) for value in (-1, 0))
    enough = count >= max(FAULTS.repeated, FAULTS.repeated_share * len(values))
    levels = len(np.unique(values)) - 1
    return (-1.0, count) if enough and count > zeros and levels > FAULTS.sentinel_beside else None


def _at_an_end(values: Floats) -> bool:
    """Whether 0 is below or above nearly all else; amid changes and returns it is one of them."""
    others = values[values != 0]
    return bool(min(np.mean(others < 0), np.mean(others > 0)) <= FAULTS.zero_tail)


def _scattered(values: Floats, value: float) -> bool:
    """Whether a number stands here and there, and not where a column stands still."""
    places = np.flatnonzero(values == value)
    return bool(np.median(np.diff(places)) > FAULTS.scattered * len(values) / len(places))


def _alone(values: Floats, value: float) -> bool:
    """Whether a number mostly stands alone, and neither in runs nor in a rhythm.

    A machine that is off stays off, a shop that is closed on Sundays is closed again after a week.
    """
    away = np.diff(np.flatnonzero(values == value))
    usual = np.bincount(away[away <= FAULTS.rhythm], minlength=1).max() / len(away)
    return bool(usual < FAULTS.in_runs)


def sentinels(
    values: Floats, first: NDArray[np.bool_] | None = None, zero: bool = False
) -> Iterator[tuple[float, int]]:
    """Yield each number of a column that probably stands for no value, and how often it is there.

    There may be several, such as -998 for unknown and -999 for refused.

    Args:
        values: ``(R,)``, NaN where there is none.
        first: ``(R,)``, whether a trajectory begins.
        zero: whether 0 may be one, within the range of a column.
    """
    left = np.isfinite(values)
    for _ in range(FAULTS.most_sentinels):
        found = sentinel(values[left], None if first is None else first[left], zero)
        if found is None:
            return
        yield found
        left &= values != found[0]


def sentinel_lines(
    name: str,
    role: str,
    values: Floats,
    rows: Rows,
    notes: Notes,
    first: NDArray[np.bool_] | None = None,
    columns: Columns | None = None,
) -> Iterator[str]:
    """Yield a line for each number of a column that probably stands for no value.

    Args:
        name: of the column.
        role: of the column.
        values: ``(R,)``.
        rows: ``(R,)``, the user's row of each.
        notes: names rows.
        first: ``(R,)``, whether a trajectory begins.
        columns: all that ``--missing`` would look at, by name.
    """
    for value, count in sentinels(values, first, role == "state"):
        row = int(rows[np.flatnonzero(values == value)[0]])
        yield _line(name, role, value, count, row, notes, columns)


def level_line(
    name: str,
    values: Floats,
    change: Floats,
    rows: Rows,
    notes: Notes,
    columns: Columns | None = None,
) -> str | None:
    """Return one line if -1 or 9 among an action's levels probably stands for none recorded.

    -1 is the only one below zero, and its effect is not beyond those of all others, as that of a
    step back is; where the levels are -1, 0 and 1, which may be meant so, its effect lies between
    those of 0 and 1, as that of a mixture does. 9 follows on levels that count
    from 0 or 1 without a gap.

    Args:
        name: of the column.
        values: ``(K,)``, of the transitions.
        change: ``(K, D)``, of the state.
        rows: ``(K,)``, the user's row of each.
        notes: names rows.
        columns: all that ``--missing`` would look at, by name.
    """
    levels = np.unique(values[np.isfinite(values)])
    if len(levels) < 3:
        return None
    counted_up = levels[0] in (0, 1) and bool(np.all(np.diff(levels[:-1]) == 1))
    if levels[0] == -1 and levels[1] == 0:
        if levels.tolist() == [-1, 0, 1] and not _between(values, change):
            return None
        if _beyond(values, change, levels):
            return None
        value = -1.0
    elif counted_up and levels[-1] == FAULTS.nine and levels[-2] < FAULTS.nine - 2:
        value = FAULTS.nine
    else:
        return None
    where = np.flatnonzero(values == value)
    return _line(name, "action", value, len(where), int(rows[where[0]]), notes, columns)


def _between(values: Floats, change: Floats) -> bool:
    """Whether the mean change under -1 lies between those under 0 and 1, where these differ most.

    Less certain than by two standard errors from either, it does not.
    """
    groups = [change[values == level] for level in (-1, 0, 1)]
    if min(map(len, groups)) < FAULTS.repeated:
        return False
    means = [group.mean(axis=0) for group in groups]
    errors = [np.sqrt(group.var(axis=0) / len(group)) for group in groups]
    apart = np.abs(means[2] - means[1]) / np.maximum(np.hypot(errors[2], errors[1]), 1e-300)
    d = int(np.argmax(apart))
    low, high = sorted([means[1][d], means[2][d]])
    margin = 2 * errors[0][d]
    return bool(apart[d] > 4 and low + margin < means[0][d] < high - margin)


def _beyond(values: Floats, change: Floats, levels: Floats) -> bool:
    """Whether the mean change under -1 is less, or more, than under every other level.

    By two standard errors, in the column where levels differ most.
    """
    groups = [change[values == level] for level in levels]
    groups = [group for group in groups if len(group) >= FAULTS.repeated]
    if len(groups) < 3 or not np.any(values == -1):
        return False
    means = np.stack([group.mean(axis=0) for group in groups])
    errors = np.stack([np.sqrt(group.var(axis=0) / len(group)) for group in groups])
    d = int(np.argmax(np.ptp(means, axis=0) / np.maximum(errors.max(axis=0), 1e-300)))
    away = (means[1:, d] - means[0, d]) / np.maximum(np.hypot(errors[1:, d], errors[0, d]), 1e-300)
    return bool(np.all(away > 2) or np.all(away < -2))


def _line(
    name: str,
    role: str,
    value: float,
    count: int,
    row: int,
    notes: Notes,
    columns: Columns | None,
) -> str:
    others = [repr(n) for n, v in (columns or {}).items() if n != name and bool(np.any(v == value))]
    advice = f"if so, give --missing {value:.10g}"
    if others:
        advice += (
            f" where it stands for none in {listed(others, 5)} as well (it is looked for in all "
            "columns), or else leave those cells empty"
        )
    return (
        f"column {name!r} ({role}): {value:.10g} in {counted(count, 'row')}, first at "
        f"{notes.of(row)}, probably stands for no value; {advice}"
    )


def handful_lines(
    names: tuple[str, ...], action: Floats, agent: Rows, rows: Rows, notes: Notes
) -> Iterator[str]:
    """Yield a line for each action column whose whole variation rests on a handful of rows.

    Of a single row, and of values far from all others, it is told elsewhere.

    Args:
        names: of the columns.
        action: ``(K, A)``, raw values.
        agent: ``(K,)``, whose.
        rows: ``(K,)``, the user's row of each.
        notes: names rows.
    """
    if len(rows) < FAULTS.handful_of:
        return
    for name, column in zip(names, action.T, strict=True):
        values = np.where(np.isfinite(column), column, np.nanmedian(column))
        few, share = varying_rows(values)
        if len(few) < 2 or len(spikes(values, agent, chosen=True)):
            continue
        yield (
            f"column {name!r} (action): {len(few)} of {len(rows)} rows make up "
            f"{100 * share:.3g} % of its variation, first of them "
            f"{notes.of(int(rows[few[0]]))}: they carry all that is known of the action"
        )


def varying_rows(values: Floats) -> tuple[Rows, float]:
    """Return the handful of rows that make up next to all variation, and the share they make up.

    The largest first; none where more than a handful do.

    Args:
        values: of a column, finite, ``(K,)``.
    """
    distinct, counts = np.unique(values, return_counts=True)
    usual = distinct[np.argmax(counts)] if 2 * counts.max() >= len(values) else None
    away = (values - (np.median(values) if usual is None else usual)) ** 2
    largest = np.argsort(-away, kind="stable")[: FAULTS.handful]
    shares = np.cumsum(away[largest]) / max(away.sum(), 1e-300)
    few = int(np.searchsorted(shares, FAULTS.handful_share)) + 1
    if few > len(largest):
        return largest[:0], 0.0
    return largest[:few], float(shares[few - 1])
