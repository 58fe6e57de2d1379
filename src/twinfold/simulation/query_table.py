"""Reading a table of what-if questions: which rows are whose, what they ask, and what is wrong.

Rows are positions in the table, from 0. Axes: R rows, Q queries, K actions asked about (rows with
an action), D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.columns import Mask, Numbers, Times, as_numbers, as_times
from twinfold.data.ids import did_you_mean, factorize_ids, match_ids
from twinfold.data.issues import Notes, counted, shorten, show_time
from twinfold.data.roles import Roles
from twinfold.data.time_step import joins, ticks_from_step
from twinfold.data.validate import column_problems
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.ranges import OutOfRange, out_of_range
from twinfold.simulation.inputs import asked_parts, level_index, levels_text

QUERY = "query_id"


@dataclass(frozen=True, eq=False)
class Queries:
    """Questions, sorted by the first appearance of their query and by time.

    Attributes:
        order: ``(K,)`` the table's row of each action.
        first_row: ``(Q,)`` the table's first row of each query.
        offset: ``(Q,)`` place of the first action of each query.
        length: ``(Q,)`` number of actions, at least 1.
        agent: ``(Q,)`` index of the agent in the model.
        start: ``(Q, D)`` raw units.
        codes: ``(K,)`` level indices or ``(K, A)`` raw units.
        times: of all rows.
        next_row: ``(K,)`` the table's row that follows within the query, or -1.
        step: time between two rows, in ticks of ``times``.
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

    def of_actions(self, chosen: Mask) -> NDArray[np.intp]:
        """Return the queries that some of the actions ``(K,)`` belong to, each once."""
        return np.unique(np.searchsorted(self.offset, np.flatnonzero(chosen), side="right") - 1)


@dataclass
class _Problems:
    """Problems found so far; every line names the first query concerned and counts the others."""

    notes: Notes
    codes: NDArray[np.int64]
    ids: pd.Series

    @property
    def lines(self) -> list[str]:
        return self.notes.problems

    def add(self, rows: NDArray[Any], what: str | Callable[[int], str]) -> None:
        """Problem of some rows (a mask or row numbers)."""
        found = np.sort(np.flatnonzero(rows) if rows.dtype == bool else rows)
        if len(found):
            first = int(found[0])
            others = len(np.unique(self.codes[found])) - 1
            more = f" (and {others} more {'query' if others == 1 else 'queries'})" if others else ""
            text = what if isinstance(what, str) else what(first)
            self.lines.append(f"{self.name(first)}{more}: {text}")

    def name(self, row: int) -> str:
        return f"query {shorten(self.ids.iloc[row])}, {self.notes.row(row)}"


def column(df: pd.DataFrame, name: str) -> pd.Series:
    """A column; a number used as a column name is matched by its text."""
    return df.iloc[:, [str(other) for other in df.columns].index(name)]


def read_queries(model: FittedModel, df: pd.DataFrame, *, strict: bool = False) -> Queries:
    """Check a table of questions and sort it.

    Args:
        model: the fitted model.
        df: the questions.
        strict: whether a question outside the range of the data cannot be answered either.

    Raises:
        UsageError: it is no table, or the model has a column called ``query_id`` itself.
        InvalidDataError: a question cannot be answered; one line per kind of problem.
    """
    roles = model.roles
    if not isinstance(df, pd.DataFrame):
        raise UsageError(
            f"a pandas DataFrame is needed, not a {type(df).__name__}; many have a to_pandas()"
        )
    problems = _Problems(Notes(df), np.zeros(len(df), np.int64), pd.Series(range(len(df))))
    problems.lines.extend(_column_problems(df, roles))
    if not problems.lines and not len(df):
        problems.lines.append("the table is empty: it has columns but no rows")
    _stop(problems)
    _read_query_ids(column(df, QUERY), problems)
    times, step = _read_times(column(df, roles.time), model, problems)
    _stop(problems)  # without queries and times, the rows have no order

    codes = problems.codes
    order = np.lexsort((times.ticks, codes))
    same = np.diff(codes[order]) == 0
    first, last = np.r_[True, ~same], np.r_[~same, True]
    _check_gaps(order, same, times, step, model, problems)
    first_row = order[first]
    agent = _read_agents(column(df, roles.agent), first_row, model, problems)
    start = _read_start(df, first_row, roles, problems)
    actions = [as_numbers(column(df, name)) for name in roles.action]
    no_action = np.logical_and.reduce([numbers.null for numbers in actions])[order]
    asked = ~(last & ~first & no_action)  # a last row may have the time only
    action = _read_actions(df, actions, order[asked], model, problems)
    if strict:
        for part in asked_parts(model, start, action[order[asked]]):
            _refuse(part, order[asked] if part.noun == "action" else first_row, problems)
    _stop(problems)

    length = np.bincount(codes[order[asked]])
    return Queries(
        order=order[asked],
        first_row=first_row,
        offset=np.cumsum(length) - length,
        length=length,
        agent=agent[first_row],
        start=start,
        codes=action[order[asked]],
        times=times,
        next_row=np.where(last, -1, np.roll(order, -1))[asked],
        step=step,
    )


def _refuse(part: OutOfRange, rows: NDArray[np.intp], problems: _Problems) -> None:
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
        return asked.order if part.noun == "action" else asked.first_row

    def owners(part: OutOfRange, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        return query[rows] if part.noun == "action" else rows

    def where(part: OutOfRange, row: int) -> str:
        place = int(row_of(part)[row])
        return f"query {shorten(ids.iloc[place])}, {notes.row(place)}"

    parts = asked_parts(model, asked.start, asked.codes)
    return out_of_range(parts, where, owners, "query")


def _stop(problems: _Problems) -> None:
    if problems.lines:
        raise InvalidDataError(problems.lines)


def _column_problems(df: pd.DataFrame, roles: Roles) -> Iterator[str]:
    wanted = (roles.agent, roles.time, *roles.state, *roles.action)
    if QUERY in wanted:
        raise UsageError(
            f"the model was fitted with a column called {QUERY!r}, which is what names the "
            "questions; rename it in the training table and fit again"
        )
    form = (
        f"a table of questions has the columns {QUERY!r}, {roles.agent!r} and {roles.time!r}, "
        f"{', '.join(map(repr, roles.state))} (the state, in the first row of each query) and "
        f"{', '.join(map(repr, roles.action))} (the action, in every row)"
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


def _read_query_ids(series: pd.Series, problems: _Problems) -> None:
    try:
        codes = np.asarray(pd.factorize(series, use_na_sentinel=True)[0], np.int64)
    except TypeError:
        problems.lines.append(f"column {QUERY!r}: ids must be text or numbers, not lists")
        return
    problems.codes, problems.ids = codes, series
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        count = f"in {len(missing)} rows, first at" if len(missing) > 1 else "at"
        problems.lines.append(
            f"column {QUERY!r}: no query {count} {problems.notes.row(int(missing[0]))}; give "
            "every row its query, also below the first"
        )


def _read_times(series: pd.Series, model: FittedModel, problems: _Problems) -> tuple[Times, float]:
    name = model.roles.time
    times = as_times(series)
    kind = times.values.dtype.kind
    dated = isinstance(model.time_step, pd.Timedelta)
    if (kind in "mM") != dated and not times.null.all():
        wanted = "dates or durations" if dated else "numbers"
        problems.lines.append(
            f"column {name!r} (time): the training data has {wanted}, the questions have "
            f"{shorten(series.iloc[int(np.argmin(times.null))])}"
        )
        return times, 1.0
    problems.add(times.null, f"no time in column {name!r}; give every row its time")
    problems.add(
        times.bad, lambda row: f"column {name!r} (time): {shorten(series.iloc[row])} is no time"
    )
    return times, ticks_from_step(model.time_step, kind)


def _check_gaps(
    order: NDArray[np.intp],
    same: Mask,
    times: Times,
    step: float,
    model: FittedModel,
    problems: _Problems,
) -> None:
    gaps = np.diff(times.ticks[order])
    before = np.zeros(len(order), np.intp)  # the row before, by row
    before[order[1:]] = order[:-1]
    name = model.roles.time
    problems.add(
        order[1:][same & (gaps == 0)],
        lambda row: (
            f"{name} {show_time(times, row)} is also in {problems.notes.row(before[row])}; "
            "keep one of them"
        ),
    )
    usual = model.time_step if isinstance(model.time_step, pd.Timedelta) else f"{step:g}"
    problems.add(
        order[1:][same & (gaps != 0) & ~joins(gaps, step)],
        lambda row: (
            f"a time gap: {name} goes from {show_time(times, int(before[row]))} to "
            f"{show_time(times, row)}, but a step is {usual}; give every step its row, or make it "
            "two queries"
        ),
    )


def _read_agents(
    series: pd.Series,
    first_row: NDArray[np.intp],
    model: FittedModel,
    problems: _Problems,
) -> NDArray[np.int32]:
    """Index of each row's agent in the model, ``(R,)``."""
    name = model.roles.agent
    try:
        codes, ids, null = factorize_ids(series)
    except TypeError:
        problems.lines.append(f"column {name!r} (agent): ids must be text or integers, not lists")
        return np.zeros(len(series), np.int32)
    index = np.append(match_ids(model.agent_ids, ids), -1)[codes]
    problems.add(null, f"no agent in column {name!r}; give every row its agent")
    unknown = (index < 0) & ~null

    def explain(row: int) -> str:
        others = len(np.unique(codes[unknown])) - 1
        more = f" (and {counted(others, 'other unknown agent')})" if others else ""
        near = did_you_mean(ids[codes[row]], model.agent_ids, "agents")
        return f"unknown agent {ids[codes[row]]!r}{more}.{near}"

    problems.add(unknown, explain)
    first = first_row[problems.codes]  # of the row's query, by row
    problems.add(
        (codes != codes[first]) & ~null & ~null[first],
        lambda row: (
            f"several agents: {ids[codes[row]]!r} here, {ids[codes[first[row]]]!r} in "
            f"{problems.notes.row(int(first[row]))}; a query has one agent"
        ),
    )
    return index


def _read_start(
    df: pd.DataFrame, first_row: NDArray[np.intp], roles: Roles, problems: _Problems
) -> NDArray[np.float64]:
    start = np.empty((len(first_row), len(roles.state)))
    for d, name in enumerate(roles.state):
        series = column(df, name).iloc[first_row]
        numbers = as_numbers(series)
        start[:, d] = numbers.values
        problems.add(
            first_row[numbers.null],
            f"no first state: column {name!r} has no value in the query's first row by time",
        )
        _check_values(column(df, name), "state", first_row, numbers, problems)
    return start


def _read_actions(
    df: pd.DataFrame,
    actions: list[Numbers],
    rows: NDArray[np.intp],
    model: FittedModel,
    problems: _Problems,
) -> NDArray[Any]:
    """Level indices ``(R,)`` or raw values ``(R, A)``; checked in ``rows``."""
    names = model.roles.action
    for name, numbers in zip(names, actions, strict=True):
        problems.add(
            rows[numbers.null[rows]],
            f"no action in column {name!r}; only the last row of a query can do without",
        )
        part = Numbers(numbers.values[rows], numbers.null[rows], numbers.bad[rows])
        _check_values(column(df, name), "action", rows, part, problems)
    values = np.column_stack([numbers.values for numbers in actions])
    fine = np.isfinite(values[rows])
    if model.action_levels is not None:
        levels = model.action_levels
        index, unknown = level_index(levels, values[:, 0])
        problems.add(
            rows[unknown[rows] & fine[:, 0]],
            lambda row: (
                f"unknown action {values[row, 0]:g} in column {names[0]!r}; "
                f"the levels: {levels_text(levels)}"
            ),
        )
        return index
    return values


def _check_values(
    series: pd.Series, role: str, rows: NDArray[np.intp], numbers: Numbers, problems: _Problems
) -> None:
    """Text and infinity in the given rows; ``numbers`` are those rows'."""
    name = str(series.name)
    problems.add(
        rows[numbers.bad],
        lambda row: f"column {name!r} ({role}): {shorten(series.iloc[row])} is no number",
    )
    problems.add(rows[np.isinf(numbers.values)], f"column {name!r} ({role}): infinity")
