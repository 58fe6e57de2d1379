"""Tables of events: rows that say what was given, and rows that say what was measured.

Many tables have a row for each event: one says what was given, another what was measured, with
what the other says left empty. Those of one agent and time are one row of a trajectory, and where
nothing was given an action is zero.

Axes: R rows of the table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twinfold.data.columns import Mask, Numbers
from twinfold.data.issues import Notes
from twinfold.data.roles import Roles
from twinfold.utils.text import counted

if TYPE_CHECKING:
    from twinfold.data.segments import Table


def without_copies(table: Table, notes: Notes) -> Table:
    """Return the table without rows that say once more what another one says; says so.

    Of one agent, episode and time, with a state, and the same in every column: an export or a join
    of tables has written the row twice. Two rows that only say that something was given may be two
    doses.
    """
    group = _groups(table)
    if np.bincount(group).max(initial=1) == 1:
        return table
    first = np.full(int(group.max()) + 1, len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    other = first[group]
    again = other != np.arange(len(group))
    again &= np.any([~numbers.null for numbers in table.states], axis=0)
    columns = [*table.states, *table.actions, *([] if table.reward is None else [table.reward])]
    for numbers in columns:
        again &= _equal(numbers.values, numbers.values[other]) & ~numbers.bad
    for flag in table.flags.values():
        again &= flag == flag[other]
    if table.exogenous is not None:
        again &= _equal(table.exogenous, table.exogenous[other]).all(axis=1)
    if not again.any():
        return table
    row, verb = int(np.argmax(again)), "say" if again.sum() > 1 else "says"
    notes.warnings.append(
        f"{counted(int(again.sum()), 'row')} left aside that {verb} in every column what another "
        f"of the same agent and time says, first {notes.row(row)}, like "
        f"{notes.of(int(other[row]))}"
    )
    return replace(table, dropped=again if table.dropped is None else again | table.dropped)


def _equal(values: NDArray[np.float64], others: NDArray[np.float64]) -> Mask:
    return (values == others) | (np.isnan(values) & np.isnan(others))


def join_rows(table: Table, roles: Roles, notes: Notes) -> Table:
    """Return the table with rows that complement each other joined in the first of them; says so.

    Rows of one agent, episode and time are joined if no state, action or reward has a value in two
    of them. Where that happens, an action without a value is none: zero.
    """
    group = _groups(table)
    count = np.bincount(group)[group]
    if count.max(initial=1) == 1:
        return table
    values = [*table.states, *table.actions, *([] if table.reward is None else [table.reward])]
    held = np.stack([~numbers.null for numbers in values], axis=1)  # (R, columns)
    times = np.zeros((int(group.max()) + 1, held.shape[1]), np.int64)
    np.add.at(times, group, held)
    disjoint = (times.max(axis=1) <= 1) & (times.sum(axis=1) > 0)
    joined = (count > 1) & disjoint[group]
    if not joined.any():
        return table
    first = np.full(len(times), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    keeper = np.where(joined, first[group], np.arange(len(group)))
    dropped = keeper != np.arange(len(group))
    row = int(np.argmax(dropped))
    notes.warnings.append(
        f"{counted(int(dropped.sum()), 'row')} joined with another of the same agent and time that "
        f"holds what it lacks, first {notes.row(row)} with {notes.of(int(keeper[row]))}"
    )

    def merged(numbers: Numbers) -> Numbers:
        found = Numbers(numbers.values.copy(), numbers.null.copy(), numbers.bad.copy())
        rows = np.flatnonzero(dropped & ~numbers.null)
        for part, given in zip(
            (found.values, found.null, found.bad),
            (numbers.values, numbers.null, numbers.bad),
            strict=True,
        ):
            part[keeper[rows]] = given[rows]
        return found

    flags = {role: flag.copy() for role, flag in table.flags.items()}
    for flag in flags.values():
        np.logical_or.at(flag, keeper, flag.copy())
    actions = [merged(numbers) for numbers in table.actions]
    for a, (name, kind) in enumerate(zip(roles.action, roles.kinds, strict=True)):
        if kind == "continuous":
            actions[a] = _none_is_zero(name, actions[a], joined & ~dropped, dropped, notes)
    return replace(
        table,
        states=[merged(numbers) for numbers in table.states],
        actions=actions,
        reward=None if table.reward is None else merged(table.reward),
        flags=flags,
        dropped=dropped if table.dropped is None else dropped | table.dropped,
    )


def none_in_other_rows(table: Table, roles: Roles, notes: Notes) -> Table:
    """Return the table with actions of zero in rows that tell what was measured; says so.

    In a table of events a row says what was given or what was measured, never both, at whatever
    time each was. Where an agent's last row alone has no action nothing is changed.
    """
    kinds = list(enumerate(roles.kinds))
    given = [~table.actions[a].null for a, kind in kinds if kind == "continuous"]
    if not given:
        return table
    acted = np.any(given, axis=0)
    measured = np.any([~numbers.null for numbers in table.states], axis=0)
    goes_on = _goes_on(table)
    apart = measured.any() and not (acted & measured).any()
    if not (apart and goes_on[acted].any() and goes_on[~acted].any()):
        return table
    actions, all_rows, none = list(table.actions), np.ones_like(acted), np.zeros_like(acted)
    for a, kind in kinds:
        if kind == "continuous":
            actions[a] = _none_is_zero(roles.action[a], actions[a], all_rows, none, notes)
    return replace(table, actions=actions)


def _goes_on(table: Table) -> Mask:
    """Return which rows have a later one of their agent and episode, ``(R,)``."""
    order = np.lexsort((table.times.ticks, table.episode, table.agent))
    agent, episode = table.agent[order], table.episode[order]
    goes_on = np.zeros(len(order), bool)
    goes_on[order[:-1]] = (agent[1:] == agent[:-1]) & (episode[1:] == episode[:-1])
    return goes_on


def _groups(table: Table) -> NDArray[np.int64]:
    """Return the number of each row's agent, episode and time, ``(R,)``; rows without are alone."""
    ticks = table.times.ticks
    order = np.lexsort((ticks, table.episode, table.agent))
    same = np.zeros(len(order), bool)
    same[1:] = (
        (table.agent[order][1:] == table.agent[order][:-1])
        & (table.episode[order][1:] == table.episode[order][:-1])
        & (ticks[order][1:] == ticks[order][:-1])
        & (table.agent[order][1:] >= 0)
    )
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(~same) - 1
    return group


def _none_is_zero(
    name: str, numbers: Numbers, joined: Mask, dropped: Mask, notes: Notes
) -> Numbers:
    """Return an action with zero where a row has none, if joined rows say that rows may lack it."""
    lacking = numbers.null & ~dropped
    if not lacking.any() or not (joined & ~numbers.null).any():
        return numbers
    row = int(np.argmax(lacking))
    notes.warnings.append(
        f"column {name!r} (action) has no value in {counted(int(lacking.sum()), 'row')}, first "
        f"{notes.of(row)}: taken as zero, as of rows that only tell what was measured"
    )
    return Numbers(np.where(lacking, 0.0, numbers.values), numbers.null & ~lacking, numbers.bad)
