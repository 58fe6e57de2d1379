"""Columns beside state and action, read and checked: static and exogenous; sizes of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.coding import Words, as_words, coded_words, holds_words, read_coded
from twinfold.data.columns import as_numbers
from twinfold.data.issues import Notes, number_advice
from twinfold.data.levels import Levels, coded_places
from twinfold.data.table_settings import TABLE
from twinfold.utils.text import clipped, counted

_STATIC = "give a date or a duration in years or days; or words in every row"


def read_static(
    columns: list[pd.Series], agent: NDArray[np.int64], n_agents: int, notes: Notes
) -> tuple[NDArray[np.float64] | None, dict[str, tuple[str, ...]]]:
    """One value per agent and static column, words coded; rows without one say nothing."""
    parts, levels = [], {}
    for series in columns:
        column = str(series.name)
        if holds_words(series):
            words = coded_words(series, "static", notes)
            code = np.where(words.null, np.nan, words.code)
            own = _one_per_agent(
                series, code, agent, n_agents, notes, lambda v, w=words: w.levels[int(v)]
            )
            one = Words(np.where(np.isnan(own), -1, own).astype(np.int64), words.levels)
            levels[column] = words.levels
            parts.append(one.indicators())
            continue
        numbers = as_numbers(series)
        if numbers.null.all():
            notes.warnings.append(f"column {column!r} (static) is empty: it says nothing")
        if numbers.bad.any():
            value = series.iloc[int(np.argmax(numbers.bad))]
            advice = number_advice(value, _STATIC)
            what = f"{clipped(value)} is no number"
            notes.bad_rows(column, "static", what, numbers.bad, advice)
        infinite = np.isinf(numbers.values)
        notes.bad_rows(column, "static", "infinity", infinite, "correct it, or leave it empty")
        check_magnitude(column, "static", numbers.values, notes)
        own = _one_per_agent(series, numbers.values, agent, n_agents, notes, lambda v: f"{v:.10g}")
        parts.append(own[:, None])
    return (np.concatenate(parts, axis=1) if parts else None), levels


def _one_per_agent(
    series: pd.Series,
    values: NDArray[np.float64],
    agent: NDArray[np.int64],
    n_agents: int,
    notes: Notes,
    shown: Callable[[float], str],
) -> NDArray[np.float64]:
    """Return the value that all rows of an agent have, ``(n_agents,)``; NaN where none has any."""
    out = np.full(n_agents, np.nan)
    rows = np.flatnonzero(~np.isnan(values) & (agent >= 0))
    first = np.full(n_agents, -1)
    first[agent[rows[::-1]]] = rows[::-1]  # the first row of an agent is written last
    has = first >= 0
    out[has] = values[first[has]]
    changed = np.zeros(len(series), bool)
    with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity
        away = np.abs(values[rows] - out[agent[rows]])
    changed[rows] = away > TABLE.same_static * np.abs(out[agent[rows]])
    if changed.any():
        row = int(np.argmax(changed))
        what = f"{shown(float(values[row]))} after {shown(float(out[agent[row]]))}"
        advice = "a static column has one value per agent; make it a state, or correct it"
        notes.bad_rows(str(series.name), "static", what, changed, advice)
    np.fmin.at(out, agent[rows], values[rows])  # of rounded ones, the smallest
    return out


def read_exogenous(
    columns: list[pd.Series], notes: Notes
) -> tuple[NDArray[np.float64] | None, dict[str, tuple[str, ...]]]:
    """Exogenous columns, words coded, ``(R, E)``; NaN where there is no value."""
    if not columns:
        return None, {}
    values, levels = read_coded(columns, "exogenous", notes)
    for series in columns:
        missing = as_words(series).null if str(series.name) in levels else as_numbers(series).null
        if missing.all():
            name = repr(str(series.name))
            notes.problems.append(
                f"column {name} (exogenous) is empty: every value is missing; leave it out"
            )
    return values, levels


def lacking_lines(
    names: Sequence[str],
    levels: Levels,
    values: NDArray[np.float64],
    used: NDArray[np.bool_],
    rows: NDArray[np.integer],
    notes: Notes,
) -> Iterator[str]:
    """Yield a line for every exogenous column that lacks values where they are used.

    Args:
        names: of the columns.
        levels: of those that are words.
        values: ``(R, E)``, coded, NaN where there is none.
        used: ``(R,)``, rows that need a value: of inputs in the row of their outcome those of a
            trajectory but its first.
        rows: ``(R,)``, the user's row in which each stands.
        notes: names rows.
    """
    for name, place in coded_places(names, levels):
        missing = np.isnan(values[:, place]).any(axis=1) & used
        if missing.any():
            yield (
                f"column {name!r} (exogenous): no value in {counted(int(missing.sum()), 'row')}, "
                f"first at {notes.of(int(rows[missing].min()))}; the agent's last one is taken"
            )


def check_magnitude(column: str, role: str, values: NDArray[np.float64], notes: Notes) -> None:
    """Numbers that single precision cannot hold, and differences that it cannot hold."""
    values = np.where(np.isinf(values), np.nan, values)
    large = np.abs(values) > TABLE.largest
    if large.any():
        what = f"{values[np.argmax(large)]:g} is too large"
        advice = f"correct it, or change the column's unit: {TABLE.largest:g} is the most"
        if large.sum() > 1 and len(set(values[large])) == 1:
            advice = (
                f"if it stands for no value, give --missing {values[large][0]!s}; else {advice}"
            )
        notes.bad_rows(column, role, what, large, advice)
        return
    known = values[~np.isnan(values)]
    away = np.abs(values - known[0]) if len(known) else values
    if len(known) and 0 < np.nanmax(away) < TABLE.smallest:
        farthest = int(np.nanargmax(away))
        rows = np.arange(len(values)) == farthest
        what = f"values differ by {away[farthest]:.3g} at the most, too little,"
        advice = f"change the column's unit: differences of {TABLE.smallest:g} are the least"
        notes.bad_rows(column, role, what, rows, advice)
