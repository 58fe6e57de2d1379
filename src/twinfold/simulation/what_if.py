"""Tables of what-if questions: many agents, starts and action sequences answered in one batch.

A question (``query_id``) has one row per action: the agent, the time and the action, under the
names of the training table. Its first row by time holds the state; below, the state is left empty
(what stands there is not used). A last row without an action gives the time at which the
question ends, and nothing else. Exogenous columns have a value in every row with an action, unless
a scenario tells them or the last ones are held (``simulation.known``).

A model with memory (``history`` of the fit) is told what came before by the question: all rows down
to the last one that holds a state are context, with what acted in them, and the answer follows that
one. A question without any state goes on from where the agent's data ended.

An answer has one row per predicted state: ``query_id``, the agent, the time of the predicted state
(one step after its action's), the state columns, ``<state>_lower`` and ``<state>_upper``, and
``support`` and ``basis``: what stands behind it.

Axes: Q queries, K predicted states of all queries, D state columns, A action columns.
"""

from __future__ import annotations

import datetime
import functools
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.alignment import as_next
from twinfold.data.arrow_columns import as_pandas
from twinfold.data.calendars import from_counts
from twinfold.data.columns import as_text
from twinfold.data.table_settings import TABLE
from twinfold.data.times import Times, offset_of, zone_of
from twinfold.models.fitted_model import FittedModel
from twinfold.models.ranges import is_outside
from twinfold.simulation.draws import (
    drawn_states,
    draws_table,
    parts_columns,
    uncertainty_parts,
)
from twinfold.simulation.inputs import GUESS, NO_BAND, NO_REACTION, STRAYS, untold
from twinfold.simulation.known import Future
from twinfold.simulation.prediction import Prediction, predict_queries
from twinfold.simulation.query_columns import QUERY, column
from twinfold.simulation.query_table import Queries, outside_line, read_queries
from twinfold.simulation.simulator import Warn
from twinfold.simulation.start_holes import complete_start
from twinfold.uncertainty.support import abstention
from twinfold.utils.text import MESSAGE, clipped

__all__ = ["QUERY", "answer"]

Floats = NDArray[np.float64]
Doubt: TypeAlias = tuple[NDArray[np.intp], str]
"""Queries, and what is doubtful about them."""

_DATE_FORMS = (
    "%Y-%m-%d",
    *(f"%Y-%m-%d{sep}{clock}" for sep in " T" for clock in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f")),
)  # fmt: skip


def answer(
    model: FittedModel,
    queries: Any,
    warn: Warn | None = None,
    *,
    min_support: float | None = None,
    strict: bool = False,
    scenario: pd.DataFrame | None = None,
    hold_exogenous: bool = False,
    parts: bool = False,
    draws: int = 0,
) -> pd.DataFrame:
    """Answer every question of a table.

    Ids and times keep their types; rows may come in any order. Queries are answered in the order
    of their first appearance, their rows by time. Read the table of a CSV file with
    ``read_table(path, ids=[QUERY, model.roles.agent])``.

    Args:
        model: the fitted model.
        queries: the questions, a frame of any kind; further columns (episode, reward) are passed
            over.
        warn: receives what is doubtful about the answers; None for ``warnings.warn``.
        min_support: abstain from the first step on whose support is less: predictions are missing
            there, and ``warn`` receives the reason.
        strict: refuse the table if a question is outside the range of the data, rather than warn.
        scenario: exogenous columns where the questions do not tell them: a table with these and
            the time, and the agent if values differ between agents.
        hold_exogenous: whether the last value stands where there is no other, by how much it varies
            widening the band.
        parts: add ``<state>_noise`` and ``<state>_ignorance``, the standard deviations that the
            band is made of: of the noise of the world, and of what is not known of nets and agent.
        draws: in place of one answer give so many trajectories that may be measured, with noise:
            the column ``draw`` and the states, and no band.

    Raises:
        UsageError: ``queries`` is no table.
        InvalidDataError: a question cannot be answered; each line names the first query with the
            problem and counts the others.
    """
    queries = as_next(as_pandas(queries), model.roles, QUERY)
    future = Future(scenario, hold_exogenous or model.hold)
    asked = read_queries(model, queries, strict=strict, future=future)
    start, lacking = complete_start(model, asked.agent, asked.start)
    asked = replace(asked, start=start)
    found = predict_queries(
        model, asked.agent, asked.start, asked.codes, asked.offset, asked.length, asked.known
    )
    doubts = lacking + _doubts(model, asked, found.middle)
    if min_support is not None:
        doubts += _abstentions(asked, found, min_support)
    warn = warn or functools.partial(warnings.warn, stacklevel=2)
    for line in _warnings(model, queries, asked, doubts):
        warn(line)
    ids, roles = column(queries, QUERY), model.roles
    taken = {
        QUERY: ids.iloc[asked.order].reset_index(drop=True),
        roles.agent: column(queries, roles.agent).iloc[asked.order].reset_index(drop=True),
        roles.time: _next_times(asked, column(queries, roles.time)),
    }
    if draws:
        return draws_table(taken, roles.state, drawn_states(model, asked, draws))
    table = taken | found.columns(roles.state, tuple(taken))
    if parts:
        table |= parts_columns(roles.state, tuple(table), *uncertainty_parts(model, asked))
    return pd.DataFrame(table, copy=False)


def _warnings(
    model: FittedModel, queries: pd.DataFrame, asked: Queries, doubts: list[Doubt]
) -> Iterator[str]:
    """Yield what is doubtful about the questions and their answers, a line each."""
    yield from asked.warnings
    far = outside_line(model, queries, asked)
    if far is not None:
        yield f"{far}; {GUESS}"
    if model.roles.action and not model.members.reacts:
        yield NO_REACTION
    if model.band is None:
        yield NO_BAND
    ids = column(queries, QUERY)
    for hit, what in doubts:
        more = f" and {len(hit) - 1} more" if len(hit) > 1 else ""
        yield f"query {clipped(ids.iloc[asked.first_row[hit[0]]])}{more}: {what}"


def _doubts(model: FittedModel, asked: Queries, middle: Floats) -> list[Doubt]:
    """Return what is doubtful about predictions ``(K, D)``; of each query the first only."""
    start = asked.start[:, : middle.shape[1]]
    doubts: list[Doubt] = untold(model, asked.start)
    said = is_outside(model, start)  # of a start outside it is said already
    diverged: Any = ~np.isfinite(middle).all(axis=-1)
    for rows, what in (
        (diverged, "the predictions diverge"),
        (is_outside(model, middle), STRAYS),
    ):
        hit = asked.of_actions(rows)
        hit = hit[~said[hit]]
        said[hit] = True
        if len(hit):
            doubts.append((hit, what))
    return doubts


def _abstentions(asked: Queries, found: Prediction, least: float) -> list[Doubt]:
    """Abstain where there is less support, and return why."""
    abstained = found.abstain(least)
    hit = asked.of_actions(abstained)
    if not len(hit):
        return []
    part = slice(asked.offset[hit[0]], asked.offset[hit[0]] + asked.length[hit[0]])
    own = found.support.map(lambda values: values[None, part])
    return [(hit, abstention(own, abstained[None, part], least))]


def _next_times(asked: Queries, series: pd.Series) -> pd.Series:
    """The time of each predicted state: of the next row, or one step after the last."""
    ticks = asked.times.ticks
    step: Any = asked.step
    if ticks.dtype.kind == "i" and (float(step).is_integer() or np.abs(ticks).max() >= 2.0**53):
        step = round(step)  # in floats the digits of large integers would be lost
    last = asked.next_row < 0
    values = np.where(last, ticks[asked.order] + step, ticks[asked.next_row])
    if asked.times.values.dtype.kind in "mM":
        values = np.round(values).astype(np.int64).view(asked.times.values.dtype)
        return _like_dates(pd.Series(values), asked, series)
    if asked.times.calendar is not None:
        values = from_counts(values, asked.times.calendar)
        if values.dtype.kind == "M":
            return _like_dates(pd.Series(values), asked, series)
    return _like_numbers(values, series, asked.step)


def _like_numbers(values: NDArray[Any], series: pd.Series, step: float) -> pd.Series:
    """Times in the column's own type, if it can hold them; text becomes numbers."""
    out = pd.Series(values)
    if pd.api.types.is_numeric_dtype(series.dtype) and series.dtype != out.dtype:
        try:
            cast = out.astype(series.dtype)
        except (TypeError, ValueError, OverflowError):  # 0.5 in a column of whole numbers
            return out
        away = np.abs(cast.to_numpy(np.float64) - out.to_numpy(np.float64)).max()
        rounded = pd.api.types.is_float_dtype(series.dtype) and away < TABLE.rounding * step
        return cast if rounded or bool((cast == out).all()) else out
    return out


def _like_dates(out: pd.Series, asked: Queries, series: pd.Series) -> pd.Series:
    """Dates or durations in the column's own type, unit, time zone and spelling."""
    times: Times = asked.times
    if times.values.dtype.kind == "M" and times.zone is not None:
        out = out.dt.tz_localize("UTC").dt.tz_convert(times.zone)
    if getattr(series.dtype, "kind", "O") in "mM":
        cast = out.astype(series.dtype)
        return cast if bool((cast == out).all()) else out
    if times.values.dtype.kind == "m":
        return out
    used = series.iloc[asked.order]
    sample = used.iloc[0]
    if isinstance(sample, str):
        rows = np.where(asked.next_row < 0, asked.order, asked.next_row)
        return _spelled(out, series.iloc[rows].reset_index(drop=True))
    if isinstance(sample, datetime.date) and not isinstance(sample, datetime.datetime):
        return out.dt.date if bool((out == out.dt.normalize()).all()) else out
    return out


def _spelled(out: pd.Series, times: pd.Series) -> pd.Series:
    """Dates as text the way those of the questions are; as dates if that is not found out.

    Args:
        out: predicted times, in UTC if they have a zone.
        times: text of the time that each answers or follows.
    """
    texts = [as_text(value) for value in times]
    ends = pd.Series([offset_of(text) or "" for text in texts], index=out.index)
    written = pd.Series("", index=out.index)
    for end in ends.unique():
        rows = ends.index[ends == end]
        dates: Any = out[rows]
        local = (dates.dt.tz_convert(zone_of(end)) if end else dates).dt.tz_localize(None)
        samples = pd.Series([texts[i].removesuffix(end) for i in rows[: MESSAGE.spellings]])
        form = _date_form(samples, local)
        if form is None:
            return out
        written[rows] = local.dt.strftime(form) + end
    return written


def _date_form(texts: pd.Series, dates: pd.Series) -> str | None:
    """Return the form that texts are written in, if dates written so are still exact."""
    for form in _DATE_FORMS:
        read = pd.to_datetime(texts, format=form, errors="coerce")
        if read.isna().any() or not (read.dt.strftime(form) == texts).all():
            continue
        if bool((pd.to_datetime(dates.dt.strftime(form), format=form) == dates).all()):
            return form
    return None
