"""Tables of questions whose actions stand in the row of their outcome."""

from __future__ import annotations

import numpy as np
import pandas as pd

from twinfold.data.ids import UNHASHABLE
from twinfold.data.roles import Roles
from twinfold.data.times import as_times


def as_next(df: pd.DataFrame, roles: Roles, query: str) -> pd.DataFrame:
    """Return questions with actions and exogenous columns in the row of the state before.

    The last row of a query then has no action; one in the first row led to the state that is
    given, and is not asked about.

    Args:
        df: one row per query and time, in any order. One whose columns are not as they should be
            is returned as it is, for the checks to name.
        roles: the user's; nothing is done unless actions stand in the row of their outcome.
        query: the column that tells queries apart.
    """
    names = [str(name) for name in df.columns]
    used = (query, roles.time, *roles.action)
    if roles.align == "next" or any(names.count(name) != 1 for name in used):
        return df
    ids = df.iloc[:, names.index(query)]
    times = as_times(df.iloc[:, names.index(roles.time)], roles.calendar or "none")
    try:
        codes = np.asarray(pd.factorize(ids, use_na_sentinel=True)[0], np.int64)
    except UNHASHABLE:
        return df
    if (codes < 0).any() or (times.null | times.bad).any():
        return df
    order = np.lexsort((times.ticks, codes))
    source = np.full(len(df), -1)
    source[order[:-1]] = np.where(np.diff(codes[order]) == 0, order[1:], -1)
    columns = {i: df.iloc[:, i] for i in range(len(names))}
    for name in (*roles.action, *(name for name in roles.exogenous if name in names)):
        column = columns[names.index(name)].reset_index(drop=True)
        columns[names.index(name)] = column.reindex(source).set_axis(df.index)
    out = pd.DataFrame(columns, index=df.index)
    out.columns = df.columns
    out.attrs = dict(df.attrs)
    return out
