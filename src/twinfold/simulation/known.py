"""Known inputs of questions: exogenous columns, told or held, and the lengths of uneven steps.

Future values of exogenous columns stand in the question itself, or in a scenario (a table of times,
for all agents or by agent), or the last ones are held, where the user says so.

Axes: R rows of the table, Q questions, H steps, K actions asked about, E known inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.issues import Notes, named, show_time
from twinfold.data.levels import coded_names
from twinfold.data.time_step import differences, ticks_from_step
from twinfold.data.times import Times
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.query_columns import Problems
from twinfold.simulation.scenario import coded, in_scenario, read_scenario, span
from twinfold.utils.text import clipped, counted

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

ADVICE = (
    "give them in the question or by a scenario (--scenario), or hold the last ones "
    "(--hold-exogenous)"
)
"""What to do where future values of exogenous columns lack."""


@dataclass(frozen=True, eq=False)
class Future:
    """Where future values of exogenous columns come from, beside the question itself.

    Attributes:
        scenario: a table with the exogenous columns and the time, and the agent if values differ
            between agents; None for none.
        hold: whether the last value stands where there is no other.
    """

    scenario: pd.DataFrame | None = None
    hold: bool = False


class KnownInputs(NamedTuple):
    """Known inputs of steps; ``...`` is ``(K,)`` or ``(Q, H)``.

    Attributes:
        value: ``(..., E)``, raw units.
        since: ``(...)``, for how many steps the exogenous columns have been held; 0 if told.
    """

    value: Floats
    since: Ints

    def take(self, place: Any) -> KnownInputs:
        """Return those of some steps."""
        return KnownInputs(self.value[place], self.since[place])


def read_known(
    df: pd.DataFrame,
    order: NDArray[np.intp],
    offset: NDArray[np.intp],
    agent: Ints,
    times: Times,
    next_row: NDArray[np.intp],
    model: FittedModel,
    future: Future,
    problems: Problems,
) -> KnownInputs | None:
    """Read the known inputs of the actions of a table of questions, ``(K,)``.

    Args:
        df: the questions.
        order: ``(K,)``, the row of each action.
        offset: ``(Q,)``, place of the first action of each question.
        agent: ``(Q,)``, index into the model's agents; -1 for an unknown one.
        times: of all rows.
        next_row: ``(K,)``, the row that follows within the question, or -1.
        model: the fitted model.
        future: other values of exogenous columns than the question's.
        problems: receives what is wrong.

    Returns:
        None for a model without known inputs.
    """
    if not model.normalizer.n_known:
        return None
    names = model.roles.exogenous
    query = np.searchsorted(offset, np.arange(len(order)), side="right") - 1
    value, since = np.zeros((len(order), 0)), np.zeros(len(order), np.int64)
    if names:
        value = told_values(df, order, agent[query], times, next_row, model, future, problems)
        if future.hold:
            last = np.where((agent >= 0)[:, None], _last(model)[agent], np.nan)
            value, since = _held(value, query, last)
        lacking, advice = np.isnan(value).any(axis=1), ADVICE
        if future.scenario is not None and lacking.any():
            advice = span(read_scenario(future.scenario, model).times, model)
        problems.add(
            order[lacking],
            lambda row: (
                f"no value of {_lacking(value[np.argmax(order == row)], model)} (exogenous) at "
                f"{named(model.roles.time)} {show_time(times, row)}; {advice}"
            ),
        )
    if model.uneven:
        ticks, step = times.ticks, ticks_from_step(model.time_step, times.values.dtype.kind)
        ahead = np.stack([ticks[order], ticks[np.maximum(next_row, 0)]], axis=1)
        length = differences(ahead.ravel())[::2] / step
        value = np.column_stack([value, np.where(next_row < 0, 1.0, length)])
    return KnownInputs(value, since)


def told_values(
    df: pd.DataFrame,
    order: NDArray[np.intp],
    agent: Ints,
    times: Times,
    next_row: NDArray[np.intp],
    model: FittedModel,
    future: Future,
    problems: Problems,
) -> Floats:
    """Return exogenous values that question or scenario tell, ``(K, E)``; NaN where neither does.

    Args:
        df: the questions.
        order: ``(K,)``, rows of it.
        agent: ``(K,)``, index of each row's agent in the model.
        times: of all rows.
        next_row: ``(K,)``, the row that follows within the question, or -1.
        model: the fitted model.
        future: it may have a scenario.
        problems: receives what is wrong.
    """
    value = _in_question(df, order, model, problems)
    if future.scenario is None:
        return value
    rows = order if model.roles.align == "next" else next_row
    told = in_scenario(future.scenario, times, rows, agent, model)
    return np.where(np.isnan(value), told, value)


def _last(model: FittedModel) -> Floats:
    """Return the exogenous columns where the agents' data ended, ``(N, E)``."""
    first = model.recent.shape[1] - model.normalizer.n_known
    return model.recent[:, first : model.recent.shape[1] - model.uneven]


def _lacking(values: Floats, model: FittedModel) -> str:
    """Return the user's columns of which a value is missing."""
    missing = [name for name, v in zip(model.known_names, values, strict=False) if np.isnan(v)]
    own = [c for c in model.roles.exogenous if set(coded_names([c], model.levels)) & set(missing)]
    return " and ".join(map(repr, own))


def _in_question(
    df: pd.DataFrame, order: NDArray[np.intp], model: FittedModel, problems: Problems
) -> Floats:
    """Return the values in a table of questions, ``(K, E)``; NaN where there are none."""
    columns = [str(column) for column in df.columns]
    parts = []
    for name in model.roles.exogenous:
        size = len(coded_names([name], model.levels))
        if columns.count(name) != 1:
            parts.append(np.full((len(order), size), np.nan))
            continue
        series = df.iloc[:, columns.index(name)]
        parts.append(coded(series, model, problems.notes)[order])
    return np.concatenate(parts, axis=1)


def _held(values: Floats, query: Ints, last: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return values with the last ones in place of missing ones, and since when: ``(K,)``.

    Args:
        values: ``(K, E)``, of one question after the other; NaN where there is none.
        query: ``(K,)``, whose.
        last: ``(Q, E)``, values before the questions; NaN where they are not known.
    """
    missing = np.isnan(values).any(axis=1)
    filled = pd.DataFrame(values).groupby(query).ffill().to_numpy(np.float64)
    filled = np.where(np.isnan(filled), last[query], filled)
    place = np.arange(len(values))
    first = np.r_[0, np.flatnonzero(np.diff(query)) + 1]
    start = first[np.searchsorted(first, place, side="right") - 1]
    told = np.maximum.accumulate(np.where(missing, -1, place))
    since = np.where(missing, place - np.maximum(told, start), 0)
    return filled, since


def single_known(
    model: FittedModel,
    agent: int,
    shape: tuple[int, int],
    exogenous: Any,
    hold: bool,
    lengths: Any,
    notes: Notes,
) -> KnownInputs | None:
    """Return the known inputs of one agent's questions, ``(Q, H)``; None for a model without any.

    Args:
        model: the fitted model.
        agent: its index.
        shape: Q and H.
        exogenous: a mapping (or table) from columns to H values, or ``(H, E)`` or ``(Q, H, E)``
            numbers; None for none. Values that lack are NaN.
        hold: whether the last value stands where there is no other.
        lengths: ``(H,)``, of the steps, in the time's unit; None for usual ones.
        notes: receives warnings.

    Raises:
        UsageError: values lack, or a shape does not fit.
    """
    roles = model.roles
    if exogenous is not None and not roles.exogenous:
        raise UsageError("the model has no exogenous columns; leave their values out")
    if lengths is not None and not model.uneven:
        raise UsageError("the model's time steps are all the same; leave their lengths out")
    if not model.normalizer.n_known:
        return None
    names = coded_names(roles.exogenous, model.levels)
    value, since = np.zeros((*shape, 0)), np.zeros(shape, np.int64)
    if names:
        value = np.full((*shape, len(names)), np.nan)
        if exogenous is not None:
            value[:] = _given(model, exogenous, shape[1], notes)
        if hold:
            flat = value.reshape(-1, len(names))
            last = np.tile(_last(model)[agent], (shape[0], 1))
            flat, since = _held(flat, np.repeat(np.arange(shape[0]), shape[1]), last)
            value, since = flat.reshape(value.shape), since.reshape(shape)
        if np.isnan(value).any():
            step = int(np.argwhere(np.isnan(value).any(axis=2))[0, 1])
            own = _lacking(value[np.isnan(value).any(axis=2)][0], model)
            raise UsageError(
                f"no value of {own} (exogenous) at step {step}{_too_few(exogenous, shape[1])}; "
                f"{ADVICE}"
            )
    if model.uneven:
        length = np.ones(shape[1]) if lengths is None else _lengths(model, lengths, shape[1])
        value = np.concatenate([value, np.broadcast_to(length, shape)[..., None]], axis=2)
    return KnownInputs(value, since)


def _too_few(exogenous: Any, horizon: int) -> str:
    """Return the part of a message that says of how many steps values are given, if too few."""
    told = _n_told(exogenous)
    return f" (they are given for {counted(told, 'step')})" if 0 < told < horizon else ""


def _n_told(exogenous: Any) -> int:
    """Return of how many steps values are given in Python."""
    if exogenous is None:
        return 0
    table = hasattr(exogenous, "keys")
    return len(pd.DataFrame(exogenous)) if table else np.shape(exogenous)[-2:][0]


def plan_inputs(
    model: FittedModel, agent: int, horizon: int, exogenous: Any, hold: bool = False
) -> Floats | None:
    """Return the known inputs of one agent's next steps, ``(T, E)`` raw units, of one step more.

    ``(E,)`` where the last ones are held; None where nothing is said.

    Args:
        model: the fitted model.
        agent: its index.
        horizon: how many steps are looked ahead.
        exogenous: as :func:`single_known`, of one question.
        hold: whether the last value stands where there is no other.

    Raises:
        UsageError: values lack, or a shape does not fit.
    """
    if exogenous is None and hold:
        model.holding()  # refused without exogenous columns
        return model.held(model.agent_ids[agent])
    if exogenous is None:
        return None
    told = _n_told(exogenous)
    hold = hold or model.hold
    if told < horizon and not hold:
        raise UsageError(
            f"exogenous values are given for {counted(told, 'step')}, and {horizon} are looked "
            "ahead: give more rows, look fewer steps ahead, or hold the last values "
            "(--hold-exogenous)"
        )
    steps, notes = horizon + (hold or told > horizon), Notes(pd.DataFrame())
    known = single_known(model, agent, (1, steps), exogenous, hold, None, notes)
    assert known is not None, "there are exogenous columns"
    return known.value[0]


def _given(model: FittedModel, exogenous: Any, horizon: int, notes: Notes) -> Floats:
    """Return values that are given in Python, ``(H, E)`` or ``(Q, H, E)``."""
    roles = model.roles
    if hasattr(exogenous, "keys"):
        frame: Any = pd.DataFrame(exogenous)
        problems = [name for name in roles.exogenous if name not in frame]
        if problems:
            raise UsageError(f"exogenous values lack {', '.join(map(repr, problems))}")
        values = np.concatenate([coded(frame[n], model, notes) for n in roles.exogenous], axis=1)
        if notes.problems:
            raise UsageError("\n".join(notes.problems))
    else:
        if any(name in model.levels for name in roles.exogenous):
            raise UsageError("with columns of words, give exogenous values by name")
        values = np.asarray(exogenous, np.float64)
        values = values[:, None] if values.ndim == 1 and len(roles.exogenous) == 1 else values
    names = coded_names(roles.exogenous, model.levels)
    if values.ndim not in (2, 3) or values.shape[-1] != len(names):
        raise UsageError(
            f"exogenous values of shape {values.shape}: {horizon} steps of "
            f"{', '.join(map(repr, roles.exogenous))} are needed"
        )
    lack = [(0, 0)] * (values.ndim - 2) + [(0, max(horizon - values.shape[-2], 0)), (0, 0)]
    return np.pad(values, lack, constant_values=np.nan)[..., :horizon, :]


def _lengths(model: FittedModel, lengths: Any, horizon: int) -> Floats:
    """Return lengths of steps in usual ones, ``(H,)``."""
    step = model.time_step
    try:
        if isinstance(step, pd.Timedelta):
            found = np.array([pd.Timedelta(length) / step for length in lengths], np.float64)
        else:
            found = np.asarray(lengths, np.float64) / step
    except (TypeError, ValueError):
        raise UsageError(f"lengths of steps must be like {step}, not {clipped(lengths)}") from None
    if found.shape != (horizon,) or not (np.isfinite(found) & (found > 0)).all():
        raise UsageError(f"{horizon} positive lengths of steps are needed")
    return found
