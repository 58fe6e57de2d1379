"""All faults with a name of a table that can be used.

Axes: R sorted rows, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.faults.alignment import alignment_lines, reward_lines
from twinfold.data.faults.sentinels import (
    Columns,
    handful_lines,
    level_line,
    sentinel_lines,
    sentinels,
)
from twinfold.data.issues import Notes
from twinfold.data.levels import Levels, coded_names
from twinfold.data.outliers import spike_line, spikes
from twinfold.data.roles import Roles

Floats = NDArray[np.float64]


class SortedRows(NamedTuple):
    """Rows sorted into trajectories.

    Attributes:
        roles: the user's columns.
        state: ``(R, D)``.
        action: ``(R, A)``, that of a trajectory's last row included where the table has one.
        reward: ``(R,)``, or None.
        agent: ``(R,)``, whose.
        static: ``(N, C)`` of all agents, coded, or None.
        exogenous: ``(R, E)``, coded, or None.
        levels: of the static and exogenous columns that are words.
        inner: ``(R,)``, whether a row is followed by the next one of its trajectory.
        order: ``(R,)``, the user's row.
        acting: ``(R,)``, the user's row in which the action stands.
        words: action columns whose numbers count words.
    """

    roles: Roles
    state: Floats
    action: Floats
    reward: Floats | None
    agent: NDArray[Any]
    static: Floats | None
    exogenous: Floats | None
    levels: Levels
    inner: NDArray[np.bool_]
    order: NDArray[Any]
    acting: NDArray[Any]
    words: frozenset[str] = frozenset()


def fault_lines(rows: SortedRows, notes: Notes) -> Iterator[str]:
    """Yield a line for everything that is probably wrong."""
    roles, inner = rows.roles, rows.inner
    found: list[str | None] = []
    first, columns = np.r_[True, ~inner[:-1]], _columns(rows)
    state = _plain(roles.state, roles.angle, rows.state, rows.agent, first)
    action = _plain(roles.action, rows.words, rows.action, rows.agent, None)
    exogenous = rows.exogenous
    if exogenous is not None:
        named = coded_names(roles.exogenous, rows.levels)
        exogenous = _plain(named, set(named) - set(roles.exogenous), exogenous, rows.agent, None)
    found += _spike_lines(rows, notes)
    found += alignment_lines(roles, state, action, exogenous, inner[:-1])
    if rows.reward is not None:
        (reward,) = _plain(("",), (), rows.reward[:, None], rows.agent, None).T
        found += reward_lines(roles, state, action, reward, inner[:-1])
    for name, values in zip(roles.state, rows.state.T, strict=True):
        if name not in roles.angle:
            found += sentinel_lines(name, "state", values, rows.order, notes, first, columns)
    acted, acting = rows.action[inner], rows.acting[inner]
    change = (rows.state[1:] - rows.state[:-1])[inner[:-1]]
    for name, values in zip(roles.action, acted.T, strict=True):
        lines = list(sentinel_lines(name, "action", values, acting, notes, None, columns))
        found += lines or [level_line(name, values, change, acting, notes, columns)]
    if rows.reward is not None:
        earned = np.where(inner, rows.reward, np.nan)
        found += sentinel_lines(
            str(roles.reward), "reward", earned, rows.acting, notes, None, columns
        )
    found += _beside(rows, notes, columns)
    found += handful_lines(roles.action, acted, rows.agent[inner], acting, notes)
    yield from (line for line in found if line is not None)


def _spike_lines(rows: SortedRows, notes: Notes) -> Iterator[str]:
    """Yield a line for each column with spikes, unless they are told as standing for no value."""
    roles, inner, kinds = rows.roles, rows.inner, rows.roles.kinds
    first = np.r_[True, ~inner[:-1]]
    state = [(name, "state", rows.state[:, d], np.ones(len(inner), bool), first)
             for d, name in enumerate(roles.state) if name not in roles.angle]  # fmt: skip
    action = [(name, "action", rows.action[:, a], inner, None)
              for a, name in enumerate(roles.action) if kinds[a] == "continuous"]  # fmt: skip
    for name, role, values, used, begins in [*state, *action]:
        known = np.flatnonzero(used & ~np.isnan(values))
        told = [value for value, _ in sentinels(values[used], begins, role == "state")]
        place = (rows.order if role == "state" else rows.acting)[known]
        line = spike_line(name, role, values[known], rows.agent[known], place, notes, told)
        if line is not None:
            yield line


def _plain(
    names: Collection[str],
    others: Collection[str],
    values: Floats,
    agent: NDArray[Any],
    first: NDArray[np.bool_] | None,
) -> Floats:
    """Columns without what is a fault of its own, which would hide others: NaN stands there.

    That is what probably stands for no value, and what is far from all else.

    Args:
        names: of the columns.
        others: those among them that stay as they are.
        values: ``(R, C)``.
        agent: ``(R,)``, whose.
        first: ``(R,)``, whether a trajectory begins; of states.
    """
    plain = values.astype(np.float64)
    for name, column in zip(names, plain.T, strict=True):
        if name in others:
            continue
        for value, _ in list(sentinels(column, first, first is not None)):
            column[column == value] = np.nan
        known = np.flatnonzero(np.isfinite(column))
        column[known[spikes(column[known], agent[known], first is None)]] = np.nan
    return plain


def _columns(rows: SortedRows) -> Columns:
    """The numeric columns by name."""
    roles, found = rows.roles, dict(zip(rows.roles.state, rows.state.T, strict=True))
    acted = zip(roles.action, rows.action[rows.inner].T, strict=True)
    found |= {name: values for name, values in acted if name not in rows.words}
    if rows.reward is not None:
        found[str(roles.reward)] = rows.reward
    for names, values in ((roles.static, rows.static), (roles.exogenous, rows.exogenous)):
        if values is not None:
            coded = zip(coded_names(names, rows.levels), values.T, strict=True)
            found |= {name: column for name, column in coded if name in names}
    return found


def _beside(rows: SortedRows, notes: Notes, columns: Columns) -> Iterator[str | None]:
    """Yield lines on static and exogenous columns; those of words have levels, and no numbers."""
    owner, begins = np.unique(rows.agent, return_index=True)
    parts = (
        ("static", rows.roles.static, rows.static, owner, rows.order[begins]),
        ("exogenous", rows.roles.exogenous, rows.exogenous, slice(None), rows.order),
    )
    for role, given, values, chosen, where in parts:
        if values is None:
            continue
        names = coded_names(given, rows.levels)
        for name, column in zip(names, values[chosen].T, strict=True):
            if name in given:
                yield from sentinel_lines(name, role, column, where, notes, None, columns)
