"""Rows without an action before the end of a trajectory: what follows them is not learned from.

Axes: R rows.
"""

from __future__ import annotations

import numpy as np

from twinfold.data.columns import Numbers
from twinfold.data.issues import Notes, counted
from twinfold.data.roles import Roles
from twinfold.data.segments import Rows, Table, acting_rows
from twinfold.data.table_settings import TABLE
from twinfold.utils.text import listed


def split_at_missing_actions(
    rows: Rows, table: Table, roles: Roles, notes: Notes, declared: bool = False
) -> Rows:
    """Return the rows with trajectories that end where no action is known, and say so.

    Where most actions are missing, or all seem to stand one row too low, nothing is changed: that
    is a problem, unless the user says what stands for no value.

    Args:
        rows: sorted into trajectories.
        table: the columns.
        roles: the user's.
        notes: takes the warning.
        declared: whether the user says what stands for no value.
    """
    acting = acting_rows(rows.order, roles)
    lost, names = np.zeros(len(acting), bool), []
    for name, action in zip(roles.action, table.actions, strict=True):
        gone = action.null[acting] & rows.inner
        if stands_too_low(rows, action):
            return rows
        if gone.any():
            lost |= gone
            names.append(name)
    too_many = lost.sum() >= TABLE.missing_actions * rows.inner.sum() and not declared
    if not names or too_many or lost.sum() == rows.inner.sum():
        return rows
    notes.warnings.append(
        f"column{'s' if len(names) > 1 else ''} {listed([repr(name) for name in names])} (action): "
        f"no action in {counted(int(lost.sum()), 'row')} before the end of a trajectory, first at "
        f"{notes.of(int(acting[np.argmax(lost)]))}; what acted there is not known, so trajectories "
        "are split after such a row; if nothing did, write that: 0, or a word"
    )
    return rows._replace(inner=rows.inner & ~lost)


def stands_too_low(rows: Rows, action: Numbers) -> bool:
    """Return whether the first row of each trajectory has no action, and all others have one."""
    first = np.r_[True, ~rows.inner[:-1]] & rows.inner
    last = ~rows.inner & np.r_[False, rows.inner[:-1]]
    null = action.null[rows.order]
    below = first.any() and null[first].all() and not null[~first].any()
    return bool(below and not null[last].any())
