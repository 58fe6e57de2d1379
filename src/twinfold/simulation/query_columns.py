"""Columns of a table of questions, read and checked: which query, when, who, from where, what.

Axes: R rows, Q queries, K actions asked about, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.action_levels import Words
from twinfold.data.actions import ActionCode
from twinfold.data.columns import Numbers, as_numbers
from twinfold.data.ids import (
    UNHASHABLE,
    UNUSABLE,
    did_you_mean,
    factorize_ids,
    match_ids,
    unusable_ids,
)
from twinfold.data.issues import Notes, number_advice, time_advice
from twinfold.data.roles import Roles
from twinfold.data.table_settings import TABLE
from twinfold.data.time_step import ticks_from_step
from twinfold.data.times import Times, as_times
from twinfold.models.fitted_model import FittedModel
from twinfold.utils.text import clipped, counted, listed

QUERY = "query_id"


@dataclass
class Problems:
    """Problems found so far; every line names the first query concerned and counts the others."""

    notes: Notes
    codes: NDArray[np.int64]
    ids: pd.Series

    @property
    def lines(self) -> list[str]:
        """The problems found so far."""
        return self.notes.problems

    def add(self, rows: NDArray[Any], what: str | Callable[[int], str]) -> None:
        """Problem of some rows (a mask or row numbers)."""
        self._tell(self.lines, rows, what)

    def warn(self, rows: NDArray[Any], what: str | Callable[[int], str]) -> None:
        """Warning of some rows, likewise."""
        self._tell(self.notes.warnings, rows, what)

    def _tell(self, lines: list[str], rows: NDArray[Any], what: str | Callable[[int], str]) -> None:
        found = np.sort(np.flatnonzero(rows) if rows.dtype == bool else rows)
        if len(found):
            first = int(found[0])
            others = len(np.unique(self.codes[found])) - 1
            more = f" (and {others} more {'query' if others == 1 else 'queries'})" if others else ""
            text = what if isinstance(what, str) else what(first)
            lines.append(f"{self.name(first)}{more}: {text}")

    def name(self, row: int) -> str:
        """A row and its query."""
        return f"query {clipped(self.ids.iloc[row])}, {self.notes.row(row)}"


def question_columns(roles: Roles) -> tuple[str, ...]:
    """Return the columns of a table of questions; all others are passed over."""
    return (QUERY, roles.agent, roles.time, *roles.state, *roles.action, *roles.exogenous)


def column(df: pd.DataFrame, name: str) -> pd.Series:
    """A column; a number used as a column name is matched by its text."""
    return df.iloc[:, [str(other) for other in df.columns].index(name)]


def _unusable(series: pd.Series, problems: Problems) -> bool:
    """A problem if some ids cannot be told apart or written."""
    rows = unusable_ids(series)
    problems.add(
        rows,
        lambda row: (
            f"column {str(series.name)!r}: {clipped(series.iloc[row])} is no id; {UNUSABLE}"
        ),
    )
    return bool(rows.any())


def read_query_ids(series: pd.Series, problems: Problems) -> None:
    """Index of each row's query, kept in ``problems``, which name rows by it."""
    if _unusable(series, problems):
        return
    try:
        codes = np.asarray(pd.factorize(series, use_na_sentinel=True)[0], np.int64)
    except UNHASHABLE:
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


def read_times(series: pd.Series, model: FittedModel, problems: Problems) -> tuple[Times, float]:
    """Times of all rows, and the model's time step in their ticks."""
    name = model.roles.time
    times = as_times(series, model.roles.calendar or "none")
    kind = times.values.dtype.kind
    dated = isinstance(model.time_step, pd.Timedelta)
    other = (kind in "mM") != dated
    fine = ~(times.null | times.bad)
    if other and fine.any():
        wanted = "dates or durations" if dated else "numbers"
        problems.lines.append(
            f"column {name!r} (time): the training data has {wanted}, the questions have "
            f"{clipped(series.iloc[int(np.argmax(fine))])}"
        )
        return times, 1.0
    problems.add(times.null, f"no time in column {name!r}; give every row its time")
    problems.add(
        times.bad,
        lambda row: (
            f"column {name!r} (time): {clipped(series.iloc[row])} is no time; "
            f"{time_advice(series.iloc[row], times)}"
        ),
    )
    return times, 1.0 if other else ticks_from_step(model.time_step, kind)


def read_agents(
    series: pd.Series,
    first_row: NDArray[np.intp],
    model: FittedModel,
    problems: Problems,
) -> NDArray[np.int32]:
    """Index of each row's agent in the model, ``(R,)``."""
    name = model.roles.agent
    if _unusable(series, problems):
        return np.zeros(len(series), np.int32)
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
        return f"unknown agent {clipped(ids[codes[row]])}{more}.{near}"

    problems.add(unknown, explain)
    first = first_row[problems.codes]  # of the row's query, by row
    problems.add(
        (codes != codes[first]) & ~null & ~null[first],
        lambda row: (
            f"several agents: {clipped(ids[codes[row]])} here, "
            f"{clipped(ids[codes[first[row]]])} in {problems.notes.row(int(first[row]))}; "
            "a query has one agent"
        ),
    )
    return index


def read_start(
    df: pd.DataFrame, first_row: NDArray[np.intp], roles: Roles, problems: Problems
) -> NDArray[np.float64]:
    """State in the first row of each query, ``(Q, D)``; NaN where it lacks a value."""
    start = np.empty((len(first_row), len(roles.state)))
    columns = [as_numbers(column(df, name).iloc[first_row]) for name in roles.state]
    nothing = np.all([numbers.null for numbers in columns], axis=0)
    if len(roles.state) == 1:
        what = f"column {roles.state[0]!r} has"
    else:
        what = f"{' and '.join(map(repr, roles.state))} have"
    problems.add(
        first_row[nothing], f"no first state: {what} no value in the query's first row by time"
    )
    for d, (name, numbers) in enumerate(zip(roles.state, columns, strict=True)):
        start[:, d] = numbers.values
        _check_values(column(df, name), "state", first_row, numbers, problems)
    return start


def read_actions(
    df: pd.DataFrame,
    actions: list[Numbers],
    words: Words,
    rows: NDArray[np.intp],
    model: FittedModel,
    problems: Problems,
) -> NDArray[Any]:
    """What a model takes of the actions, ``(R,)`` or ``(R, A)``; checked in ``rows``.

    Args:
        df: the questions.
        actions: numbers of the action columns.
        words: what the numbers of some of them count.
        rows: rows with an action.
        model: the fitted model.
        problems: receives what is wrong.
    """
    roles, code = model.roles, model.action_code
    for name, numbers in zip(roles.action, actions, strict=True):
        problems.add(
            rows[numbers.null[rows]],
            f"no action in column {name!r}; only the last row of a query can do without",
        )
        part = Numbers(numbers.values[rows], numbers.null[rows], numbers.bad[rows])
        _check_values(column(df, name), "action", rows, part, problems)
    if not roles.action:
        return np.zeros(len(df), np.int32)
    values = np.column_stack([numbers.values for numbers in actions])
    if not code.levels:
        return values
    discrete, continuous = code.places
    level = np.zeros(len(df), np.int32)
    fine = rows[np.isfinite(values[rows][:, discrete]).all(axis=1)]
    given = [[_value(roles.action[i], values[row, i], words) for i in discrete] for row in fine]
    level[fine] = code.level_of(given)
    names = ", ".join(repr(roles.action[i]) for i in discrete)
    shown = dict(zip(fine.tolist(), given, strict=True))
    problems.add(
        fine[level[fine] < 0],
        lambda row: (
            f"unknown action {', '.join(map(clipped, shown[row]))} in column {names}; "
            f"the levels: {listed(_levels(code))}"
        ),
    )
    level = np.maximum(level, 0)
    return code.pack(level, values[:, continuous]) if roles.mixed else level


def _value(name: str, value: float, words: Words) -> Any:
    """Return a value of a discrete column as the user wrote it."""
    if name in words:
        return words[name][int(value)]
    return int(value) if value.is_integer() else value


def _levels(code: ActionCode) -> list[Any]:
    """Return the levels as they are shown in a message."""
    alone = len(code.roles.action) == 1
    return [row[0] for row in code.levels] if alone else list(code.level_names)


def _check_values(
    series: pd.Series, role: str, rows: NDArray[np.intp], numbers: Numbers, problems: Problems
) -> None:
    """Text and infinity in the given rows; ``numbers`` are those rows'."""
    name = str(series.name)
    problems.add(
        rows[numbers.bad],
        lambda row: (
            f"column {name!r} ({role}): {clipped(series.iloc[row])} is no number; "
            f"{number_advice(series.iloc[row], 'numbers are needed')}"
        ),
    )
    infinite = np.isinf(numbers.values)
    problems.add(rows[infinite], f"column {name!r} ({role}): infinity")
    problems.add(
        rows[(np.abs(numbers.values) > TABLE.largest) & ~infinite],
        lambda row: (
            f"column {name!r} ({role}): {clipped(series.iloc[row])} is too large; "
            f"{TABLE.largest:g} is the most"
        ),
    )
