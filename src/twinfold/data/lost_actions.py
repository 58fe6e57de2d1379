"""Actions that the user says were not recorded: trajectories are split there.

An action that is blank within a trajectory is a mistake that has to be mended. One that holds what
the user declares to stand for no value (``--missing``) was not recorded: what it led to is no
evidence of anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from twinfold.data.coding import as_words
from twinfold.data.issues import Notes
from twinfold.data.roles import Roles
from twinfold.data.segments import Rows, acting_rows
from twinfold.utils.text import counted


def split_where_lost(
    given: Sequence[pd.Series],
    settled: Mapping[str, pd.Series],
    rows: Rows,
    roles: Roles,
    notes: Notes,
) -> Rows:
    """Return the rows, none of them followed by another after an action that was not recorded.

    Args:
        given: the action columns as they are in the table, in the order of the roles.
        settled: the columns by name, what is declared missing empty.
        rows: of the trajectories.
        roles: the user's.
        notes: is told of the rows.
    """
    inner, acting = rows.inner.copy(), acting_rows(rows.order, roles)
    for name, series in zip(roles.action, given, strict=True):
        declared = as_words(settled[name]).null & ~as_words(series).null
        lost = rows.inner & declared[acting]
        if lost.any():
            count, first = counted(int(lost.sum()), "row"), int(acting[np.argmax(lost)])
            notes.warnings.append(
                f"column {name!r} (action): what stands for no value in {count} within "
                f"trajectories, first at {notes.of(first)}; what such an action led to is not "
                "learned from, and trajectories are split there"
            )
        inner &= ~lost
    return rows._replace(inner=inner)
