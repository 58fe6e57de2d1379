"""Scenarios: tables of times and exogenous columns, for all agents or by agent.

Axes: R rows of the table, K actions asked about, E exogenous columns as coded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.coding import as_words, read_coded
from twinfold.data.ids import canonical_ids
from twinfold.data.issues import Notes, named, show_time, time_advice
from twinfold.data.levels import coded_names
from twinfold.data.times import Times, as_times
from twinfold.errors import InvalidDataError, one_of
from twinfold.models.fitted_model import FittedModel
from twinfold.utils.text import clipped

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def in_scenario(
    scenario: pd.DataFrame,
    times: Times,
    order: NDArray[np.intp],
    agent: Ints,
    model: FittedModel,
) -> Floats:
    """Return the scenario's values at the times of some rows, ``(K, E)``; NaN where it has none."""
    table = read_scenario(scenario, model)
    if (table.times.values.dtype.kind in "mM") != (times.values.dtype.kind in "mM"):
        raise InvalidDataError(
            f"the times of the scenario ({clipped(scenario.iloc[0][model.roles.time])}) are of "
            "another kind than those of the questions"
        )
    asked, told = times.ticks, table.times.ticks
    if asked.dtype.kind != told.dtype.kind:
        asked, told = asked.astype(np.float64), told.astype(np.float64)
    keys = pd.MultiIndex.from_arrays([table.agent, told])
    if keys.has_duplicates:
        row = int(np.argmax(keys.duplicated()))
        raise InvalidDataError(
            f"the scenario has {named(model.roles.time)} {show_time(table.times, row)} twice"
            f"{' for an agent' if table.by_agent else ''}; keep one of them"
        )
    whose = agent if table.by_agent else np.full(len(order), -2)
    place = keys.get_indexer(pd.MultiIndex.from_arrays([whose, asked[order]]))
    return np.where((place >= 0)[:, None], table.value[place], np.nan)


class _Scenario(NamedTuple):
    """A scenario: agents ``(R,)`` (-2 for all), times, values ``(R, E)``."""

    agent: NDArray[np.int64]
    times: Times
    value: Floats

    @property
    def by_agent(self) -> bool:
        """Whether agents have values of their own."""
        return bool((self.agent > -2).any())


def read_scenario(df: pd.DataFrame, model: FittedModel) -> _Scenario:
    """Read a scenario, its rows in the order of time.

    Raises:
        InvalidDataError: a column is missing, or a value is no number; one line per problem.
    """
    roles, notes = model.roles, Notes(df)
    columns = [str(column) for column in df.columns]
    missing = [name for name in (roles.time, *roles.exogenous) if columns.count(name) != 1]
    if missing or not len(df):
        lines = [f"the scenario lacks column {name!r}" for name in missing]
        raise InvalidDataError(lines or ["the scenario has no rows"])
    told = df.iloc[:, columns.index(roles.time)]
    times = as_times(told, roles.calendar or "none")
    for row in np.flatnonzero(times.null | times.bad)[:1].tolist():
        why = "give every row its time"
        if not times.null[row]:
            why = f"{clipped(told.iloc[row])} is none; {time_advice(told.iloc[row], times)}"
        notes.problems.append(f"no time in column {roles.time!r}, {notes.row(row)}: {why}")
    parts = [coded(df.iloc[:, columns.index(n)], model, notes) for n in roles.exogenous]
    agent = np.full(len(df), -2)
    if roles.agent in columns:
        ids = canonical_ids(df.iloc[:, columns.index(roles.agent)])
        place = {str(a): n for n, a in enumerate(model.agent_ids)}
        agent = np.array([place.get(str(a), -1) for a in ids], np.int64)
    if notes.problems:
        raise InvalidDataError([f"scenario: {line}" for line in notes.problems])
    return _Scenario(agent, times, np.concatenate(parts, axis=1))


def single_scenario(scenario: pd.DataFrame, model: FittedModel, agent: int) -> pd.DataFrame:
    """Return the rows of a scenario for a single question, in the order of time.

    Args:
        scenario: with the time and the exogenous columns, and the agent if values differ.
        model: the fitted model.
        agent: its index.

    Raises:
        InvalidDataError: the scenario cannot be read, or has no row for the agent.
    """
    table = read_scenario(scenario, model)
    rows = np.flatnonzero(table.agent == agent) if table.by_agent else np.arange(len(scenario))
    if not len(rows):
        raise InvalidDataError(f"the scenario has no row of agent {model.agent_ids[agent]!r}")
    return scenario.iloc[rows[np.argsort(table.times.ticks[rows], kind="stable")]]


def span(times: Times, model: FittedModel) -> str:
    """Return from when to when a scenario goes, and what to do where it ends too early."""
    first, last = (int(f(times.ticks)) for f in (np.argmin, np.argmax))
    return (
        f"the scenario goes from {named(model.roles.time)} {show_time(times, first)} to "
        f"{show_time(times, last)}: make it longer, or hold the last values (--hold-exogenous)"
    )


def coded(series: pd.Series, model: FittedModel, notes: Notes) -> Floats:
    """Return a column as the model reads it, ``(R, e)``; NaN where it has no value.

    A word that the model has not seen is as the mean of all, and ``notes`` receives a warning.
    """
    name = str(series.name)
    values = read_coded([series], "exogenous", notes, model.levels)[0]
    if name not in model.levels:
        return values
    unknown = ~np.isnan(values).any(axis=1) & ~values.any(axis=1)
    if unknown.any():
        words = as_words(series)
        word = words.levels[words.code[int(np.argmax(unknown))]]
        notes.warnings.append(unseen_line(name, word, model))
        every = coded_names(model.roles.exogenous, model.levels)
        first = every.index(coded_names([name], model.levels)[0])
        values[unknown] = model.normalizer.known_mean[first : first + values.shape[1]]
    return values


def unseen_line(name: str, word: str, model: FittedModel) -> str:
    """Return the warning of a word that the model has not seen."""
    return (
        f"column {name!r}: {clipped(word)} was never seen in training "
        f"({one_of(model.levels[name])}); it is taken as unknown, the mean of all"
    )
