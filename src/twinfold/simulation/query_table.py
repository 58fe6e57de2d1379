"""Reading a table of what-if questions: which rows are whose, what they ask, and what is wrong.

Rows are positions in the table, from 0. Axes: R rows, Q queries, K actions asked about (rows with
an action), D state columns, A action columns.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.action_levels import read_actions as read_action_columns
from twinfold.data.columns import Mask
from twinfold.data.ids import did_you_mean
from twinfold.data.issues import (
    Notes,
    named,
    show_time,
)
from twinfold.data.roles import Roles
from twinfold.data.time_step import differences, joins, step_text
from twinfold.data.times import Times
from twinfold.data.validate import column_problems
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.ranges import OutOfRange, out_of_range
from twinfold.simulation.context import acted_in, read_context
from twinfold.simulation.inputs import FIRST, asked_parts
from twinfold.simulation.known import Future, KnownInputs, read_known
from twinfold.simulation.query_columns import (
    QUERY,
    Problems,
    column,
    question_columns,
    read_actions,
    read_agents,
    read_query_ids,
    read_times,
)
from twinfold.utils.text import clipped


@dataclass(frozen=True, eq=False)
class Queries:
    """Questions, sorted by the first appearance of their query and by time.

    Attributes:
        order: ``(K,)`` the table's row of each action.
        first_row: ``(Q,)`` the table's row that each query starts from.
        offset: ``(Q,)`` place of the first action of each query.
        length: ``(Q,)`` number of actions, at least 1.
        agent: ``(Q,)`` index of the agent in the model.
        start: ``(Q, D)`` raw units, or ``(Q, W)`` with the steps before.
        codes: ``(K,)`` level indices or ``(K, A)`` raw units.
        times: of all rows.
        next_row: ``(K,)`` the table's row that follows within the query, or -1.
        step: time between two rows, in ticks of ``times``.
        known: ``(K,)``, known inputs; None for a model without any.
        warnings: what was noticed, one line each.
    """

    order: NDArray[np.intp]
    first_row: NDArray[np.intp]
    offset: NDArray[np.intp]
    length: NDArray[np.intp]
    agent: NDArray[np.int32]
    start: NDArray[np.float64]
    codes: NDArray[Any]
    times: Times
    next_row: NDArray[np.intp]
    step: float
    known: KnownInputs | None = None
    warnings: tuple[str, ...] = ()

    def of_actions(self, chosen: Mask) -> NDArray[np.intp]:
        """Return the queries that some of the actions ``(K,)`` belong to, each once."""
        return np.unique(np.searchsorted(self.offset, np.flatnonzero(chosen), side="right") - 1)


def read_queries(
    model: FittedModel,
    df: pd.DataFrame,
    *,
    strict: bool = False,
    future: Future | None = None,
) -> Queries:
    """Check a table of questions and sort it.

    Args:
        model: the fitted model.
        df: the questions.
        strict: whether a question outside the range of the data cannot be answered either.
        future: values of exogenous columns that the questions do not tell; None for none.

    Raises:
        UsageError: it is no table, or the model has a column called ``query_id`` itself.
        InvalidDataError: a question cannot be answered; one line per kind of problem.
    """
    roles = model.roles
    problems = Problems(Notes(df), np.zeros(len(df), np.int64), pd.Series(range(len(df))))
    times, step = _read_order(df, model, problems)
    codes = problems.codes
    order = np.lexsort((times.ticks, codes))
    same = np.diff(codes[order]) == 0
    first, last = np.r_[True, ~same], np.r_[~same, True]
    _check_gaps(order, same, times, step, model, problems)
    agent = read_agents(column(df, roles.agent), order[first], model, problems)
    ahead = _steps_ahead(times, order, step) if model.uneven else None
    columns = read_action_columns([column(df, name) for name in roles.action], roles)
    future = future or Future()
    acting = functools.partial(acted_in, df, agent, times, columns, model, future, problems)
    context = read_context(df, order, first, agent, model, problems, acting, times, step, ahead)
    start, first_row = context.start, context.row
    actions, words = columns
    # Inputs that stood in the row of their outcome were moved up: the last row has none.
    no_action = np.full(len(df), bool(roles.exogenous) and roles.align == "same-row")
    if roles.action:
        no_action = np.logical_and.reduce([numbers.null for numbers in actions])[order]
    # A last row may have the time only.
    asked = context.ahead & ~(last & ~first & no_action)
    length = np.bincount(codes[order[asked]], minlength=len(first_row))
    problems.add(
        first_row[length == 0],
        "every row holds a state, and the last one no action: nothing is asked; leave the state "
        "empty where it is to be predicted",
    )
    action = read_actions(df, actions, words, order[asked], model, problems)
    offset = np.cumsum(length) - length
    next_row = np.where(last, -1, np.roll(order, -1))[asked]
    whose = agent[first_row]
    known = read_known(df, order[asked], offset, whose, times, next_row, model, future, problems)
    told = None if known is None else known.value
    rows = order[asked]
    if not problems.lines:  # what is no number is beyond reach as well
        _refuse_unreachable(model, start, first_row, action[rows], told, rows, problems)
    if strict:
        for part in asked_parts(model, start, action[order[asked]], told):
            _refuse(part, first_row if part.noun == FIRST else order[asked], problems)
    _stop(problems)
    return Queries(
        order=order[asked],
        first_row=first_row,
        offset=offset,
        length=length,
        agent=whose,
        start=start,
        codes=action[order[asked]],
        times=times,
        next_row=next_row,
        step=step,
        known=known,
        warnings=tuple(dict.fromkeys(problems.notes.warnings)),
    )


def _read_order(df: pd.DataFrame, model: FittedModel, problems: Problems) -> tuple[Times, float]:
    """Return the times of all rows and that of a step; queries are in the problems' codes.

    Raises:
        InvalidDataError: a column, a query's id or a time is wrong, so that rows have no order.
    """
    problems.lines.extend(_column_problems(df, model.roles))
    if not problems.lines and not len(df):
        problems.lines.append("the table is empty: it has columns but no rows")
    _stop(problems)
    read_query_ids(column(df, QUERY), problems)
    times, step = read_times(column(df, model.roles.time), model, problems)
    _stop(problems)
    return times, step


def _steps_ahead(times: Times, order: NDArray[np.intp], step: float) -> NDArray[np.float64]:
    """Return how many steps each row's step is long; NaN where the next is of another query."""
    ahead = np.append(differences(times.ticks[order]), step) / step
    return np.where(ahead > 0, ahead, np.nan)  # nor twice the same time


def _refuse_unreachable(
    model: FittedModel,
    start: NDArray[np.float64],
    first_row: NDArray[np.intp],
    action: NDArray[Any],
    known: NDArray[np.float64] | None,
    rows: NDArray[np.intp],
    problems: Problems,
) -> None:
    """A problem for values too far from the model's data to compute with, the first of a query's.

    Args:
        model: the fitted model.
        start: ``(Q, W)``, raw units.
        first_row: ``(Q,)``, the table's row of each start.
        action: ``(K,)`` level indices or ``(K, A)`` raw units.
        known: ``(K, E)``, known inputs; None for none.
        rows: ``(K,)``, the table's row of each action.
        problems: receives what is wrong.
    """
    far: dict[int, str] = {}
    for told, place in model.beyond_reach(start):
        far.setdefault(int(first_row[place[0]]), told)
    for told, place in model.beyond_reach(None, action, known):
        far.setdefault(int(rows[place[0]]), told)
    problems.add(np.array([*far], np.intp), lambda row: far[row])


def _refuse(part: OutOfRange, rows: NDArray[np.intp], problems: Problems) -> None:
    """A problem for each column with values out of range, of ``rows`` of the table."""
    for c, name in enumerate(part.columns):
        far = part.excess[:, c] > 0
        value = dict(zip(rows[far].tolist(), part.values[far, c].tolist(), strict=True))
        span = f"{part.low[c]:g} to {part.high[c]:g}"
        problems.add(
            rows[far],
            lambda row, name=name, value=value, span=span: (
                f"the {part.noun} {name!r} is out of range: {value[row]:g}; "
                f"the training data has {span}"
            ),
        )


def outside_line(model: FittedModel, df: pd.DataFrame, asked: Queries) -> str | None:
    """One line on all first states and actions far outside the data; None if there are none."""
    query = np.repeat(np.arange(len(asked.length)), asked.length)
    ids, notes = column(df, QUERY), Notes(df)

    def row_of(part: OutOfRange) -> NDArray[np.intp]:
        return asked.first_row if part.noun == FIRST else asked.order

    def owners(part: OutOfRange, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        return rows if part.noun == FIRST else query[rows]

    def where(part: OutOfRange, row: int) -> str:
        place = int(row_of(part)[row])
        return f"query {clipped(ids.iloc[place])}, {notes.row(place)}"

    told = None if asked.known is None else asked.known.value
    parts = asked_parts(model, asked.start, asked.codes, told)
    return out_of_range(parts, where, owners, "query")


def _stop(problems: Problems) -> None:
    if problems.lines:
        raise InvalidDataError(problems.lines)


def _column_problems(df: pd.DataFrame, roles: Roles) -> Iterator[str]:
    if QUERY in question_columns(roles)[1:]:
        raise UsageError(
            f"the model was fitted with a column called {QUERY!r}, which is what names the "
            "questions; rename it in the training table and fit again"
        )
    form = (
        f"a table of questions has the columns {QUERY!r}, {roles.agent!r} and {roles.time!r}, "
        f"{', '.join(map(repr, roles.state))} (the state, in the first row of each query) and "
        + (
            f"{', '.join(map(repr, roles.action))} (the action, in every row)"
            if roles.action
            else ""
        )
    )
    names = [str(name) for name in df.columns]
    count = names.count(QUERY)
    found = False
    if count != 1:
        found = True
        if QUERY in [str(name) for name in df.index.names]:
            yield f"column {QUERY!r} is the table's index; call reset_index() first"
        elif count:
            yield f"the table has {count} columns named {QUERY!r}; rename one"
        else:
            yield f"no column {QUERY!r}." + did_you_mean(QUERY, names, "columns")
    needed = Roles(
        agent=roles.agent,
        time=roles.time,
        state=roles.state,
        action=roles.action,
        action_type=roles.action_type,
    )
    for line in column_problems(df.columns, needed, df.index.names):
        found = True
        yield line
    if found:
        yield form


def _check_gaps(
    order: NDArray[np.intp],
    same: Mask,
    times: Times,
    step: float,
    model: FittedModel,
    problems: Problems,
) -> None:
    gaps = differences(times.ticks[order])
    before = np.zeros(len(order), np.intp)  # the row before, by row
    before[order[1:]] = order[:-1]
    name = named(model.roles.time)
    problems.add(
        order[1:][same & (gaps == 0)],
        lambda row: (
            f"{name} {show_time(times, row)} is also in {problems.notes.row(before[row])}; "
            "keep one of them"
        ),
    )
    usual = step_text(model.time_step)
    problems.add(
        order[1:][same & (gaps != 0) & ~joins(gaps, step) & (not model.uneven)],
        lambda row: (
            f"a time gap: {name} goes from {show_time(times, int(before[row]))} to "
            f"{show_time(times, row)}, but a step is {usual}; give every step its row, or make it "
            "two queries"
        ),
    )
    last = order[np.r_[~same, True]]
    problems.add(
        last[~_steps_on(times.ticks[last], step)],
        lambda row: (
            f"{name} {show_time(times, row)} is so large that the time one step later cannot be "
            "told; count from a later start"
        ),
    )


def _steps_on(ticks: NDArray[Any], step: float) -> Mask:
    """Return whether the time one step later can be held, and is one step later."""
    if ticks.dtype.kind == "i":
        return ticks <= np.iinfo(np.int64).max - math.ceil(step)
    return joins(ticks + step - ticks, step)
