"""Where a question begins: its first row, or, of a model with memory, its last row of context.

A model that reads more rows than the present one is told them by the question: all rows down to the
last one that holds a state are context, with the actions and exogenous inputs in them, and that one
is where the prediction starts. Of a row between them that holds none only what acted is known.
Without any state, a question goes on from where the agent's data ended.

Axes: R rows of the table, Q questions, D state columns, W = D and the steps before, V numbers of
what acted in a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.action_levels import Words
from twinfold.data.columns import Numbers, as_numbers
from twinfold.data.memory import acted, steps_before, with_memory
from twinfold.data.time_step import joins
from twinfold.data.times import Times
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.known import Future, told_values
from twinfold.simulation.query_columns import Problems, column, read_actions, read_start

Acting = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float64]]
"""From rows ``(K,)`` of context and those that follow to what acted in them, ``(R, V)``."""


class Context(NamedTuple):
    """Where the questions of a table begin.

    Attributes:
        row: ``(Q,)``, the table's row that each prediction starts from.
        ahead: ``(R,)`` bool, in the order by query and time: whether a row is that one or later.
        start: ``(Q, W)``, states and the steps before, raw units.
    """

    row: NDArray[np.intp]
    ahead: NDArray[np.bool_]
    start: NDArray[np.float64]


def read_context(
    df: pd.DataFrame,
    order: NDArray[np.intp],
    first: NDArray[np.bool_],
    agent: NDArray[np.integer],
    model: FittedModel,
    problems: Problems,
    acting: Acting,
    times: Times,
    step: float,
    length: NDArray[np.float64] | None = None,
) -> Context:
    """Read where every question begins, and what came before.

    A question that holds no state at all goes on from where the agent's data ended.

    Args:
        df: the questions.
        order: ``(R,)``, the table's rows by query and time.
        first: ``(R,)``, in that order: whether a row is the first of its query.
        agent: ``(R,)``, index of each row's agent in the model; -1 for an unknown one.
        model: the fitted model.
        problems: receives what is wrong.
        acting: returns what acted in rows of context, given these and the rows that follow them.
        times: of all rows.
        step: the usual one, in ticks of ``times``.
        length: ``(R,)``, by query and time, of the step after each row, in usual ones; None where
            times are even.
    """
    names, begin = model.roles.state, np.flatnonzero(first)
    null = np.stack([as_numbers(column(df, name)).null for name in names], axis=1)[order]
    holds: NDArray[np.bool_] = np.any(~null, axis=1)
    n_rows = _context_rows(holds, begin) if model.history > 1 else np.ones_like(begin)
    place = begin + n_rows - 1
    row = order[place]
    last = _last_start(model, agent[row])
    last = last[:, : last.shape[1] - model.normalizer.n_known]  # those are told by the question
    stateless = np.logical_and.reduceat(null.all(axis=1), begin)
    goes_on = stateless & np.isfinite(last[:, 0])
    _tell_of_times(row[goes_on], agent[row[goes_on]], times, step, model, problems)
    start = np.full(last.shape, np.nan)
    start[goes_on] = last[goes_on]
    start[~goes_on, : len(names)] = read_start(df, row[~goes_on], model.roles, problems)
    if model.history > 1:
        _tell_of_holes(holds, begin, n_rows, order, problems)
        used = np.where(goes_on, 0, np.minimum(n_rows, model.history))  # earlier ones say no more
        places = np.concatenate([place[used > k] - k for k in range(1, model.history)])
        checked = order[places[holds[places]]]
        read_start(df, checked, model.roles, problems)  # their values are checked as well
        columns = [as_numbers(column(df, name)).values for name in names]
        values = np.stack(columns, axis=1)[order]
        for k in range(1, model.history):  # what a row lacks, an earlier one may tell
            above = values[np.where(used > k, place - k, place)]
            own = start[:, : len(names)]
            own[...] = np.where(np.isnan(own), above, own)
        acts = acting(order[places], order[places + 1])[order]
        asked = place[~goes_on], used[~goes_on] - 1
        before = steps_before(values, acts, *asked, model.history, model.roles, length)
        start[~goes_on] = with_memory(start[~goes_on, : len(names)], before)
    ahead = np.arange(len(order)) >= place[np.cumsum(first) - 1]
    return Context(row, ahead, start)


def acted_in(
    df: pd.DataFrame,
    agent: NDArray[np.integer],
    times: Times,
    actions: tuple[list[Numbers], Words],
    model: FittedModel,
    future: Future,
    problems: Problems,
    rows: NDArray[np.intp],
    following: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return what acted in rows of context, ``(R, V)``; NaN elsewhere, and where it is not told.

    Args:
        df: the questions.
        agent: ``(R,)``, index of each row's agent in the model.
        times: of all rows.
        actions: the action columns, as ``data.action_levels.read_actions`` returns them.
        model: the fitted model.
        future: other values of exogenous columns than the question's.
        problems: receives what is wrong.
        rows: ``(K,)``, the rows of context.
        following: ``(K,)``, the row after each.
    """
    size = model.normalizer.acted_mean.shape[-1]
    if not size:
        return np.zeros((len(df), 0))
    lacking = [numbers.null[rows] for numbers in actions[0]]
    told = rows[~np.any(lacking, axis=0)] if lacking else rows
    codes = read_actions(df, *actions, told, model, problems)
    untold = np.setdiff1d(np.arange(len(df)), told)
    codes[untold] = -1 if model.discrete else np.nan
    known = np.full((len(df), model.normalizer.n_known - model.uneven), np.nan)
    if model.roles.exogenous:
        known[rows] = told_values(df, rows, agent[rows], times, following, model, future, problems)
    return acted(codes, known, size)


def _tell_of_times(
    rows: NDArray[np.intp],
    agent: NDArray[np.integer],
    times: Times,
    step: float,
    model: FittedModel,
    problems: Problems,
) -> None:
    """Warn of questions that go on from where the data of their agents ended, at another time.

    Args:
        rows: ``(n,)``, the table's rows that they begin in.
        agent: ``(n,)``, index of each one's agent in the model.
        times: of all rows.
        step: the usual one, in ticks of ``times``.
        model: the fitted model.
        problems: receives the warning.
    """
    if model.ended is None:
        return
    late = times.ticks[rows] - model.ended[agent]
    off = np.isfinite(late) & ~joins(late + step, step)
    ahead = dict(zip(rows[off].tolist(), (late[off] / step).tolist(), strict=True))

    def text(row: int) -> str:
        n, where = abs(ahead[row]), "after" if ahead[row] > 0 else "before"
        far = "1 step" if n == 1 else f"{n:.4g} steps"
        return (
            f"no state here, and the time is {far} {where} the end of the agent's data: answered "
            "as if it were that end; tell the state at this time, or begin where the data ended"
        )

    problems.warn(rows[off], text)


def _tell_of_holes(
    holds: NDArray[np.bool_],
    begin: NDArray[np.intp],
    n_rows: NDArray[np.intp],
    order: NDArray[np.intp],
    problems: Problems,
) -> None:
    """Warn of rows without a state between rows of context."""
    last = np.repeat(begin + n_rows - 1, np.diff(np.append(begin, len(holds))))
    problems.warn(
        order[~holds & (np.arange(len(holds)) < last)],
        "no state here, and one further below: the prediction starts from the last row that holds "
        "one, and how the state changed around this row is not known",
    )


def _context_rows(holds: NDArray[np.bool_], begin: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the number of each query's rows down to the last that holds a state, ``(Q,)``.

    It is 1 where none does.

    Args:
        holds: ``(R,)``, by query and time.
        begin: ``(Q,)``, places of the first rows.
    """
    last = np.maximum.reduceat(np.where(holds, np.arange(len(holds)), -1), begin)
    return np.maximum(last - begin + 1, 1)


def _last_start(model: FittedModel, agent: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return where the data of agents ended, ``(Q, W)``; NaN if that is not known."""
    return np.where((agent >= 0)[:, None], model.recent[agent], np.nan)
