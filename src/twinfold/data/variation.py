"""Action columns that never or hardly ever vary: the data cannot say what they do.

Axes: K transitions, in the order of agents; A action columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from twinfold.data.issues import Notes
from twinfold.data.roles import Level, Roles
from twinfold.data.table_settings import TABLE


def action_lines(
    roles: Roles,
    action: NDArray[np.float64],
    agent: NDArray[np.integer],
    rows: NDArray[np.integer],
    notes: Notes,
    words: Mapping[str, tuple[Level, ...]] | None = None,
) -> Iterator[str]:
    """Yield a line for each action column of which the data says little or nothing.

    Args:
        roles: the user's columns.
        action: ``(K, A)``, raw values.
        agent: ``(K,)``, whose; in the order of agents.
        rows: ``(K,)``, the user's row of each transition.
        notes: names rows.
        words: of the columns whose values count words, these.
    """
    if not roles.action:
        yield (
            "no action column: the run predicts what happens, and nothing can be planned or "
            "compared with it"
        )
    first = np.flatnonzero(np.r_[True, agent[1:] != agent[:-1]])
    several = len(agent) > len(first)  # an agent of a single transition cannot change its action
    for name, kind, values in zip(roles.action, roles.kinds, action.T, strict=True):
        column = f"column {name!r} (action)"

        def shown(value: float, known: tuple[Level, ...] = (words or {}).get(name, ())) -> str:
            return repr(known[int(value)]) if known else f"{value:.6g}"

        if np.all(values == values[0]):
            yield f"{column} is constant ({shown(values[0])}): the data cannot say what actions do"
            continue
        own = np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
        if several and np.all(own[0] == own[1]):
            yield (
                f"{column} never changes within an agent: what it does cannot be told from how "
                "agents differ"
            )
            continue
        if len(values) < TABLE.fewest_actions:
            continue
        distinct, where, counts = np.unique(values, return_index=True, return_counts=True)
        single = counts == 1
        if single.any() and counts.max() == len(values) - 1:
            usual, value = distinct[counts.argmax()], distinct[single][0]
            place = notes.of(int(rows[where[single][0]]))
            yield (
                f"{column} is {shown(usual)} in all rows but one, {shown(value)} at {place}: that "
                "row carries all that is known of the action"
            )
        elif kind == "discrete" and 0 < single.sum() <= TABLE.single_levels:
            value, place = distinct[single][0], notes.of(int(rows[where[single][0]]))
            others = int(single.sum()) - 1
            more = f" (and {others} more)" if others else ""
            yield (
                f"{column}: level {shown(value)}{more} occurs in one row only, {place}: that row "
                "carries all that is known of it"
            )
