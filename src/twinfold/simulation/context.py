"""Where a question begins: its first row, or, of a model with memory, its last row of context.

A model that reads more rows than the present one is told them by the question: all leading rows
that hold a state are context, and the last of them is where the prediction starts.

Axes: R rows of the table, Q questions, D state columns, W = D and the changes before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.columns import as_numbers
from twinfold.data.panel import turned, with_memory
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.query_columns import Problems, column, read_start


class Context(NamedTuple):
    """Where the questions of a table begin.

    Attributes:
        row: ``(Q,)``, the table's row that each prediction starts from.
        ahead: ``(R,)`` bool, in the order by query and time: whether a row is that one or later.
        start: ``(Q, W)``, states and the changes before, raw units.
    """

    row: NDArray[np.intp]
    ahead: NDArray[np.bool_]
    start: NDArray[np.float64]


def read_context(
    df: pd.DataFrame,
    order: NDArray[np.intp],
    first: NDArray[np.bool_],
    model: FittedModel,
    problems: Problems,
) -> Context:
    """Read where every question begins, and what came before.

    Args:
        df: the questions.
        order: ``(R,)``, the table's rows by query and time.
        first: ``(R,)``, in that order: whether a row is the first of its query.
        model: the fitted model.
        problems: receives what is wrong.
    """
    places = np.arange(len(order))
    begin = np.flatnonzero(first)
    query = np.cumsum(first) - 1
    if model.history == 1:
        row = order[begin]
        start = read_start(df, row, model.roles, problems)
        return Context(row, np.ones(len(order), bool), start)
    values = [as_numbers(column(df, name)) for name in model.roles.state]
    holds = ~np.logical_or.reduce([numbers.null for numbers in values])[order]
    # A row is context as long as no row of its query before it, nor itself, lacks a state.
    lacking = np.cumsum(~holds)
    leading = holds & (lacking == (lacking - ~holds)[begin][query])
    known = np.maximum(np.bincount(query[leading], minlength=len(begin)), 1)
    used = np.minimum(known, model.history)  # earlier rows say nothing more
    place = begin + known - 1
    row = order[place]
    read_start(df, order[np.flatnonzero(leading)], model.roles, problems)
    state = np.stack([numbers.values for numbers in values], axis=1)[order]
    changes = []
    for back in range(1, model.history):
        there = used > back
        now, before = np.where(there, place - back + 1, 0), np.where(there, place - back, 0)
        change = turned(state[now] - state[before], model.roles)
        changes.append(np.where(there[:, None], change, np.nan))
    start = with_memory(read_start(df, row, model.roles, problems), np.concatenate(changes, axis=1))
    return Context(row, places >= place[query], start)
