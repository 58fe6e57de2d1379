"""States and actions that a simulator is asked about, read, checked and paired.

Axes: Q questions, H steps, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import did_you_mean
from twinfold.data.table_settings import TABLE
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.ranges import (
    OutOfRange,
    out_of_range,
    outside_actions,
    outside_known,
    outside_states,
)
from twinfold.utils.text import clipped, counted, listed

Floats = NDArray[np.float64]

GUESS = "such an answer is a guess, and its support says so"
"""Warning of questions outside the range of the data."""

NO_REACTION = (
    "the fit found nothing that predicts better than changes that are always the same, so that "
    "what is done changes nothing in these answers; that is no evidence that it does nothing"
)
"""Warning of answers of a model that reacts to nothing."""

NO_BAND = (
    "nothing was held out when the model was fitted: the band shows only how far the members "
    "differ, which is too narrow"
)
"""Warning of answers of a model whose errors nobody knows."""

FIRST = "first state"
"""What a row of the first states is called."""

_UNTOLD = "the model reads {} rows, and its band holds for questions that tell them"

STRAYS = "the prediction goes far outside the training data; from there on it is a guess"
"""Warning of a rollout that starts within the training data and leaves it."""


def read_state(model: FittedModel, state: Any) -> Floats:
    """``(D,)`` or ``(Q, D)``; NaN where some values of a state are missing."""
    names = model.roles.state
    if hasattr(state, "keys"):
        given = {str(name): state[name] for name in state.keys()}  # noqa: SIM118 (a DataFrame's)
        for name in given:
            if name not in names:
                hint = did_you_mean(name, names, "state columns")
                raise UsageError(f"unknown state column {name!r}.{hint}")
        missing = [name for name in names if name not in given]
        if missing:
            raise UsageError(f"the state lacks {', '.join(map(repr, missing))}")
        columns = [as_floats(given[name], f"state {name!r}") for name in names]
        try:
            values = np.stack(np.broadcast_arrays(*columns), axis=-1)
        except ValueError:
            raise UsageError("the columns of the state differ in length") from None
    else:
        values = as_floats(state, "the state")
    if values.ndim not in (1, 2) or values.shape[-1] != len(names) or not values.size:
        raise UsageError(
            f"a state of shape {values.shape}: it must be ({len(names)},) or (Q, {len(names)}), "
            f"one value per column {', '.join(map(repr, names))}"
        )
    some = ~np.isnan(values).all(axis=-1, keepdims=True)  # some of its values may be missing
    for where in np.argwhere(unusable(values) & ~(some & np.isnan(values)))[:1]:
        told = value_told(float(values[tuple(where)]))
        raise UsageError(f"the state {names[where[-1]]!r} is {told}")
    return values


def untold(model: FittedModel, start: Floats) -> list[tuple[NDArray[np.intp], str]]:
    """Return the questions to a model with memory that tell less than it reads, and a warning.

    Those that tell nothing of what came before, and those that tell some of it; of the latter the
    least is said.

    Args:
        model: the fitted model.
        start: ``(Q, W)``, states and the steps before, NaN where not told.
    """
    n_state = len(model.roles.state)
    if model.history == 1:
        return []
    memory = start[:, n_state : n_state + model.normalizer.n_memory]
    steps = ~np.isnan(memory.reshape(len(start), model.history - 1, -1)).all(axis=2)
    told = 1 + np.max(np.arange(1, model.history) * steps, axis=1)  # rows, the present one as well
    none, few = np.flatnonzero(told == 1), np.flatnonzero((told > 1) & (told < model.history))
    reads = _UNTOLD.format(model.history)
    found = [(none, f"what came before is not told: {reads}")] if len(none) else []
    if len(few):
        found.append((few, f"only {counted(int(told[few].min()), 'row')} told: {reads}"))
    return found


def read_actions(model: FittedModel, actions: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The user's values and what the model takes, ``(H[, A])`` or ``(Q, H[, A])``.

    Args:
        model: the fitted model.
        actions: an array of the user's values; columns by name; or, of a model without actions, a
            number of steps.

    Raises:
        UsageError: a shape or column does not fit, a value is no finite number, or a level is
            unknown.
    """
    code = model.action_code
    names = code.roles.action
    if not names:
        return _steps_alone(actions)
    if isinstance(actions, Mapping) or hasattr(actions, "columns"):
        actions = _action_columns(names, actions)
    words = bool(code.roles.levels)
    values = np.asarray(actions, object) if words else as_floats(actions, "the actions")
    width = 0 if model.discrete and len(names) == 1 else len(names)
    if not model.discrete and len(names) == 1 and values.ndim == 1:
        values = values[:, None]
    own = values.ndim - (width > 0)
    if own not in (1, 2) or (width and values.shape[own] != width) or not values.size:
        end = f", {width}" if width else ""
        single = f"(H{end})" if width else "(H,)"
        raise UsageError(
            f"actions of shape {values.shape}: they must be {single} or (Q, H{end}), "
            f"H steps of {', '.join(map(repr, names))}"
        )
    if not code.levels:
        _check_actions(values, own)
        return values, values
    discrete, continuous = code.places
    given = values if width else values[..., None]
    amounts = as_floats(given[..., continuous].tolist(), "amounts of the actions")
    _check_actions(amounts if words else as_floats(given, "the actions"), own)
    chosen = given[..., discrete]
    level = code.level_of(chosen.reshape(-1, len(discrete)).tolist()).reshape(chosen.shape[:-1])
    for where in np.argwhere(level < 0)[:1]:
        told = ", ".join(
            clipped(value) if words else f"{value:g}" for value in chosen[tuple(where)]
        )
        alone = len(names) == 1
        known = [row[0] for row in code.levels] if alone else list(code.level_names)
        raise UsageError(
            f"unknown action {told} in {_place(where, own)}; the levels of "
            f"{', '.join(repr(names[i]) for i in discrete)}: {listed(known)}"
        )
    codes = code.pack(level, amounts) if code.roles.mixed else level
    return code.user_values(codes), codes


def _steps_alone(actions: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the actions of a model on which nobody acts, of a number of steps or of ``(H, 0)``."""
    shape = np.shape(actions)
    if isinstance(actions, int | np.integer) and not isinstance(actions, bool):
        shape = (int(actions), 0)
    if len(shape) not in (2, 3) or shape[-1] or not shape[-2] > 0:
        raise UsageError(
            "the model has no action columns; in the place of actions give the number of steps, "
            f"1 or more, not {clipped(actions)}"
        )
    return np.zeros(shape), np.zeros(shape[:-1], np.int32)


def _action_columns(names: tuple[str, ...], actions: Any) -> Any:
    """Return the columns of one sequence of actions, ``(H,)`` or ``(H, C)``."""
    given = {str(name): actions[name] for name in actions.keys()}  # noqa: SIM118 (a DataFrame's)
    for name in given:
        if name not in names:
            raise UsageError(
                f"unknown action column {name!r}.{did_you_mean(name, names, 'action columns')}"
            )
    missing = [name for name in names if name not in given]
    if missing:
        raise UsageError(f"the actions lack {', '.join(map(repr, missing))}")
    columns = [np.asarray(given[name], object) for name in names]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
        raise UsageError("the columns of the actions differ in length")
    return columns[0] if len(names) == 1 else np.stack(columns, axis=-1)


def _check_actions(values: Floats, own: int) -> None:
    """Refuse actions that are no finite numbers, or too large."""
    for where in np.argwhere(unusable(values))[:1]:
        told = value_told(float(values[tuple(where)]))
        raise UsageError(f"the action of {_place(where, own)} is {told}")


def outside(
    model: FittedModel,
    start: Floats,
    codes: NDArray[Any],
    known: Floats | None = None,
    *,
    single: bool,
    strict: bool,
) -> str | None:
    """One line on first states ``(Q, D)`` and what acts ``(Q, H, ...)`` far outside the data.

    Args:
        model: the fitted model.
        start: first states, raw units.
        codes: level indices, which are never outside, or raw units.
        known: ``(Q, H, E)``, known inputs, raw units; None for none.
        single: whether there is one question, which then needs no number.
        strict: refuse them.

    Raises:
        UsageError: ``strict``, and something is outside; it names the first.
    """
    horizon = codes.shape[1]

    def where(part: OutOfRange, row: int) -> str:
        if part.noun == FIRST:
            return "" if single else f"question {row}"
        return _place(np.array([row % horizon] if single else [*divmod(row, horizon)]), 2 - single)

    told = None if known is None else known.reshape(-1, known.shape[-1])
    parts = asked_parts(model, start, codes.reshape(-1, *codes.shape[2:]), told)
    line = out_of_range(parts, where)
    if line is None or not strict:
        return line
    part = next(part for part in parts[::-1] if part.rows.any())
    row, c = (int(i) for i in np.argwhere(part.excess > 0)[0])
    place = where(part, row)
    raise UsageError(
        f"the {part.noun} {part.columns[c]!r}{' of ' if place else ''}{place} is out of range: "
        f"{part.values[row, c]:g}; the training data has {part.low[c]:g} to {part.high[c]:g}"
    )


def asked_parts(
    model: FittedModel, start: Floats, codes: NDArray[Any], known: Floats | None = None
) -> list[OutOfRange]:
    """Which first states ``(Q, D)``, actions ``(K[, A])`` and known inputs ``(K, E)`` are outside.

    All parts but that of the first states have a row for every action.
    """
    parts = [outside_states(model, start[:, : len(model.roles.state)], FIRST)]
    if not model.discrete:
        parts.append(outside_actions(model, codes))
    return parts if known is None else [*parts, outside_known(model, known)]


def pair(
    start: Floats, given: NDArray[Any], codes: NDArray[Any], model: FittedModel
) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    """States ``(Q, D)`` and actions ``(Q, H[, A])`` of the same questions."""
    start = start if start.ndim == 2 else start[None]
    if codes.ndim == (1 if model.discrete else 2):
        given, codes = given[None], codes[None]
    if len(start) != len(codes) and 1 not in (len(start), len(codes)):
        raise UsageError(f"{len(start)} states, but {len(codes)} action sequences")
    n = max(len(start), len(codes))

    def repeat(values: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(values, (n, *values.shape[1:]))

    return repeat(start), repeat(given), repeat(codes)


def _place(where: NDArray[np.intp], own: int) -> str:
    """``step 3``, or ``step 3 of question 7``; both from 0."""
    return f"step {where[0]}" if own == 1 else f"step {where[1]} of question {where[0]}"


def unusable(values: Floats) -> NDArray[np.bool_]:
    """Return which values are no numbers, or too large for a table as well."""
    return ~(np.abs(values) <= TABLE.largest)


def value_told(value: float) -> str:
    """Return a number that cannot be used, and what would be right."""
    finite = bool(np.isfinite(value))
    return f"{value:g}" + (f"; {TABLE.largest:g} is the most" if finite else "")


def as_floats(values: Any, what: str) -> Floats:
    """Return values as an array.

    Raises:
        UsageError: they are no numbers; it calls them ``what``.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be numbers in a regular array, not {values!r}") from None
