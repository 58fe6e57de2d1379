"""Values that are missing in a state, or carried forward: what is said of them.

Axes: R rows, D state columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.data.issues import Notes, some
from twinfold.data.table_settings import TABLE
from twinfold.utils.text import counted, percent

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def agents_without_values(
    names: Sequence[str],
    state: Floats,
    agent: NDArray[np.integer],
    ids: Sequence[AgentId],
    notes: Notes,
) -> Mask | None:
    """Return the rows of agents of which no state was ever observed, ``(R,)``; says so.

    Args:
        names: of the state columns.
        state: ``(R, D)``, NaN where missing.
        agent: ``(R,)``, index into ``ids``; -1 for none.
        ids: the user's.
        notes: receives the line.

    Returns:
        None if there are none, or no others.
    """
    known = (~np.isnan(state)).any(axis=1) & (agent >= 0)
    has = np.bincount(agent[known], minlength=len(ids)) > 0
    bare = (agent >= 0) & ~has[agent]
    if not bare.any() or not has.any():
        return None
    columns = ", ".join(map(repr, names))
    some_bare = [ids[int(n)] for n in np.unique(agent[bare])]
    notes.warnings.append(
        f"{counted(len(some_bare), 'agent')} without a single state ({columns}), every value is "
        f"missing: {some(some_bare)}; the rows are left aside"
    )
    return bare


def hole_lines(
    names: Sequence[str], state: Floats, order: NDArray[np.integer], notes: Notes
) -> Iterator[str]:
    """Yield a line that says how much of the state is missing, if anything is.

    Args:
        names: of the state columns.
        state: ``(R, D)``, NaN where missing.
        order: ``(R,)``, the user's row of each.
        notes: names rows.
    """
    missing = np.isnan(state)
    if not missing.any():
        return
    parts = []
    for d, name in enumerate(names):
        if missing[:, d].any():
            row = int(order[np.argmax(missing[:, d])])
            count = int(missing[:, d].sum())
            parts.append(
                f"{name!r} {percent(count / len(state))} ({counted(count, 'row')}, first "
                f"{notes.of(row)})"
            )
    yield (
        f"missing values in the state: {'; '.join(parts)}; they count nowhere, and where a "
        "prediction starts from one, what the rows before say stands for it"
    )


def repeats(values: Floats, joined: Mask) -> Mask:
    """Return which values are exactly the last one observed in the same trajectory, ``(R,)``.

    Args:
        values: ``(R,)``, sorted by trajectory and time; NaN where missing.
        joined: ``(R,)``, whether a row is followed by the next of its trajectory.
    """
    known = np.flatnonzero(~np.isnan(values))
    trajectory = np.cumsum(np.r_[True, ~joined[:-1]])[known]
    again = np.zeros(len(values), bool)
    again[known[1:]] = np.diff(values[known]) == 0
    again[known[1:]] &= np.diff(trajectory) == 0
    return again


def carried_line(name: str, values: Floats, joined: Mask) -> str | None:
    """Return a line if a state column seems to be carried forward from a slower measurement.

    Such a column mostly repeats itself, exactly, in runs that are long throughout, and takes many
    values otherwise. A level that seldom changes takes few; a value at a limit repeats itself, but
    alone.

    Args:
        name: of the column.
        values: ``(R,)``, sorted by trajectory and time; NaN where missing.
        joined: ``(R,)``, whether a row is followed by the next of its trajectory.
    """
    known = ~np.isnan(values)
    again, values = repeats(values, joined)[known], values[known]
    starts = np.flatnonzero(~again)
    if len(starts) < TABLE.carried_runs:
        return None
    run = np.bincount(np.cumsum(~again) - 1)[(np.cumsum(~again) - 1)[starts]]
    distinct = len(np.unique(values[starts]))
    usual = float(np.median(run))
    if (
        usual < TABLE.carried_length
        or again.mean() < TABLE.carried_share
        or distinct < TABLE.carried_distinct * len(starts)
    ):
        return None
    return (
        f"column {name!r} (state) repeats its last value exactly, in runs of {usual:g} rows as a "
        f"rule ({100 * again.mean():.0f} % of the rows): carried forward from a slower "
        f"measurement? Then name it with --carried {name} (role carried), and only what was "
        "measured counts; a model that is right about repeats has learned nothing"
    )


def without_repeats(
    names: Sequence[str], carried: Sequence[str], state: Floats, joined: Mask
) -> Floats:
    """Return states ``(R, D)`` with NaN in place of the repeats in ``carried`` columns.

    Args:
        names: of the state columns.
        carried: those of them that are carried forward.
        state: ``(R, D)``, sorted by trajectory and time.
        joined: ``(R,)``, whether a row is followed by the next of its trajectory.
    """
    found = state.copy()
    for name in carried:
        d = names.index(name)
        found[repeats(state[:, d], joined), d] = np.nan
    return found
