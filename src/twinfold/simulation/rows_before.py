"""The rows before a state that a model with memory reads, given in Python.

Axes: Q questions, j rows before, D state columns, C action columns, V numbers of what acted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.ids import did_you_mean
from twinfold.data.issues import Notes
from twinfold.data.memory import acted, turned, with_memory
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.inputs import as_floats, read_actions, unusable, value_told
from twinfold.simulation.scenario import coded

Floats = NDArray[np.float64]


def read_before(model: FittedModel, state: Floats, before: Any) -> Floats:
    """Return states with the steps before them, ``(..., W)`` raw units.

    Args:
        model: a model with memory.
        state: ``(D,)`` or ``(Q, D)``.
        before: the rows before, the earliest first: their states ``(j, D)`` or ``(Q, j, D)``, or
            with the action that was taken in each, ``(j, D + C)`` or ``(Q, j, D + C)``; or, of one
            question, a table of the user's columns, exogenous ones among them.

    Raises:
        UsageError: the model has no memory, or shape, columns or values do not fit.
    """
    if model.history == 1:
        raise UsageError("the model reads the present row alone; fit with a history to use others")
    if model.uneven:
        raise UsageError("times are uneven: ask by a table, which says when the rows before were")
    table = hasattr(before, "keys")
    rows, past = _by_name(model, before) if table else _by_place(model, before)
    n_state, n_action = len(model.roles.state), len(model.roles.action)
    if rows.ndim != state.ndim + 1:
        lead = ("(j, ", "(Q, j, ")[state.ndim - 1]
        raise UsageError(
            f"rows before the state of shape {rows.shape}: it must be {lead}D), or {lead}D + C) "
            f"with the actions, D = {n_state} and C = {n_action} values a row"
        )
    if rows.shape[:-2] != state.shape[:-1]:
        raise UsageError(f"{len(state)} states, but rows before {len(rows)} of them")
    for where in np.argwhere(unusable(rows) & ~np.isnan(rows))[:1]:
        told = value_told(float(rows[tuple(where)]))
        raise UsageError(
            f"in the rows before the state, {model.roles.state[where[-1]]!r} is {told}"
        )
    whole = np.concatenate([rows, np.expand_dims(state, -2)], axis=-2)
    changes = turned(np.diff(whole, axis=-2), model.roles)
    steps = np.concatenate([changes, past], axis=-1)[..., ::-1, :]  # the latest first
    found = np.full((*state.shape[:-1], model.history - 1, steps.shape[-1]), np.nan)
    number = min(model.history - 1, steps.shape[-2])
    found[..., :number, :] = steps[..., :number, :]
    return with_memory(state, found)


def _by_place(model: FittedModel, before: Any) -> tuple[Floats, Floats]:
    """Return states ``(..., j, D)`` and what acted ``(..., j, V)`` of rows that are arrays."""
    n_state, n_action = len(model.roles.state), len(model.roles.action)
    values = np.asarray(before, object)
    width = values.shape[-1] if values.ndim > 1 else 0
    rows = as_floats(values[..., :n_state].tolist(), "the rows before the state")
    if width not in (n_state, n_state + n_action):
        raise UsageError(
            f"rows before the state of shape {values.shape}: each needs {n_state} values "
            f"({', '.join(model.roles.state)}), or {n_state + n_action} with the action "
            f"({', '.join(model.roles.action)})"
        )
    given = None if width == n_state else values[..., n_state:]
    return rows, _acted(model, rows, given)


def _by_name(model: FittedModel, before: Any) -> tuple[Floats, Floats]:
    """Return states ``(j, D)`` and what acted ``(j, V)`` of rows with the user's columns."""
    roles = model.roles
    frame: Any = pd.DataFrame({str(name): np.asarray(before[name]) for name in before.keys()})  # noqa: SIM118
    for name in frame.columns:
        if name not in roles.columns:
            hint = did_you_mean(name, roles.columns, "columns of the model")
            raise UsageError(f"unknown column {name!r} in the rows before the state.{hint}")
    lacking = [name for name in roles.state if name not in frame]
    if lacking:
        raise UsageError(f"the rows before the state lack {', '.join(map(repr, lacking))}")
    rows = as_floats(frame[list(roles.state)].to_numpy(), "the rows before the state")
    told = [name for name in roles.action if name in frame]
    given = frame[told].to_numpy(object) if len(told) == len(roles.action) else None
    known = None
    if all(name in frame for name in roles.exogenous):
        notes = Notes(frame)
        parts = [coded(frame[name], model, notes) for name in roles.exogenous]
        if notes.problems:
            raise UsageError("\n".join(notes.problems))
        known = np.concatenate(parts, axis=1) if parts else None
    return rows, _acted(model, rows, given, known)


def _acted(
    model: FittedModel, rows: Floats, actions: Any = None, known: Floats | None = None
) -> Floats:
    """Return what acted in rows before, ``(..., j, V)``; NaN where it is not told.

    Args:
        model: the fitted model.
        rows: ``(..., j, D)``, their states.
        actions: ``(..., j, C)``, the user's values; None if they are not told.
        known: ``(..., j, E)``, exogenous inputs; None likewise.
    """
    shape, size = rows.shape[:-1], model.normalizer.acted_mean.shape[-1]
    if actions is not None and actions.size:
        alone = model.discrete and actions.shape[-1] == 1
        codes = read_actions(model, actions[..., 0] if alone else actions)[1]
    elif model.discrete:
        codes = np.full(shape, -1)
    else:
        codes = np.full((*shape, len(model.action_code.names)), np.nan)
    if known is None:
        known = np.full((*shape, model.normalizer.n_known), np.nan)
    return acted(codes, known, size)
