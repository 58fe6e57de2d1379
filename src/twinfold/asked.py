"""What a user asks of a simulator: states and actions, read, checked and paired.

Axes: Q questions, H steps, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import did_you_mean
from twinfold.errors import UsageError
from twinfold.models.ensemble import FittedModel

Floats = NDArray[np.float64]

ACTION_MARGIN = 0.05
"""A continuous action may leave the training range by this share of the range."""

STATE_MARGIN = 0.25
"""A first state may leave the training range by this share of the range without a warning."""

STRAYS = "the prediction goes far outside the training data; from there on it is a guess"
"""What is said of a rollout that starts within the training data and leaves it."""

_SHOWN = 12


def level_index(
    levels: NDArray[np.int64], values: Floats
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Index of each value among the sorted levels, and a mask of those that are no level."""
    index = np.minimum(np.searchsorted(levels, values), len(levels) - 1).astype(np.int32)
    return index, levels[index] != values


def action_bounds(model: FittedModel) -> tuple[Floats, Floats]:
    """Smallest and largest continuous action ``(A,)`` that can be asked about."""
    return _widen(model.ranges.action_low, model.ranges.action_high, ACTION_MARGIN)


def doubtful_states(
    model: FittedModel, start: Floats, name: Callable[[int], str] | None = None
) -> list[str]:
    """A line for each state column in which a start ``(Q, D)`` lies far outside the training data.

    Args:
        model: the fitted model.
        start: first states, raw units.
        name: question number -> how to call it; None to leave it out.
    """
    ranges = model.ranges
    low, high = _widen(ranges.state_low, ranges.state_high, STATE_MARGIN)
    lines = []
    for d, column in enumerate(model.roles.state):
        far = np.flatnonzero((start[:, d] < low[d]) | (start[:, d] > high[d]))
        if len(far):
            where = f"{name(int(far[0]))}: " if name else ""
            more = f" (and {len(far) - 1} more)" if len(far) > 1 else ""
            lines.append(
                f"{where}the first {column!r} is {start[far[0], d]:g}{more}, far outside the "
                f"training data ({ranges.state_low[d]:g} to {ranges.state_high[d]:g}); "
                "the prediction is a guess"
            )
    return lines


def strays(model: FittedModel, states: Floats) -> NDArray[np.bool_]:
    """Which states ``(..., D)`` lie far outside the training data in some coordinate: ``(...)``."""
    low, high = _widen(model.ranges.state_low, model.ranges.state_high, STATE_MARGIN)
    return np.any((states < low) | (states > high), axis=-1)


def levels_text(levels: NDArray[np.int64]) -> str:
    """The levels, or the first of many."""
    more = f", ... ({len(levels)} in all)" if len(levels) > _SHOWN else ""
    return ", ".join(str(value) for value in levels[:_SHOWN]) + more


def read_state(model: FittedModel, state: Any) -> Floats:
    """``(D,)`` or ``(Q, D)``."""
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
        columns = [_numbers(given[name], f"state {name!r}") for name in names]
        try:
            values = np.stack(np.broadcast_arrays(*columns), axis=-1)
        except ValueError:
            raise UsageError("the columns of the state differ in length") from None
    else:
        values = _numbers(state, "the state")
    if values.ndim not in (1, 2) or values.shape[-1] != len(names) or not values.size:
        raise UsageError(
            f"a state of shape {values.shape}: it must be ({len(names)},) or (Q, {len(names)}), "
            f"one value per column {', '.join(map(repr, names))}"
        )
    for where in np.argwhere(~np.isfinite(values))[:1]:
        raise UsageError(f"the state {names[where[-1]]!r} is {values[tuple(where)]:g}")
    return values


def read_actions(model: FittedModel, actions: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The user's values and what the model takes, ``(H[, A])`` or ``(Q, H[, A])``."""
    names = model.roles.action
    values = _numbers(actions, "the actions")
    if not model.discrete and len(names) == 1 and values.ndim == 1:
        values = values[:, None]
    trailing = () if model.discrete else (len(names),)
    own = values.ndim - len(trailing)
    if own not in (1, 2) or values.shape[own:] != trailing or not values.size:
        end = "" if model.discrete else f", {len(names)}"
        single = "(H,)" if model.discrete else f"(H{end})"
        raise UsageError(
            f"actions of shape {values.shape}: they must be {single} or (Q, H{end}), "
            f"H steps of {', '.join(map(repr, names))}"
        )
    for where in np.argwhere(~np.isfinite(values))[:1]:
        raise UsageError(f"the action of {_place(where, own)} is {values[tuple(where)]:g}")
    if model.action_levels is not None:
        index, unknown = level_index(model.action_levels, values)
        for where in np.argwhere(unknown)[:1]:
            raise UsageError(
                f"unknown action {values[tuple(where)]:g} in {_place(where, own)}; "
                f"the levels of {names[0]!r}: {levels_text(model.action_levels)}"
            )
        return model.action_levels[index], index
    low, high = action_bounds(model)
    for where in np.argwhere((values < low) | (values > high))[:1]:
        a = int(where[-1])
        raise UsageError(
            f"the action {names[a]!r} of {_place(where, own)} is out of range: "
            f"{values[tuple(where)]:g}; the training data has {model.ranges.action_low[a]:g} to "
            f"{model.ranges.action_high[a]:g}"
        )
    return values, values


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


def _widen(low: Floats, high: Floats, share: float) -> tuple[Floats, Floats]:
    """A range and a margin; rounding to float32 never leads out of it."""
    margin = share * (high - low) + 1e-6 * np.maximum(np.abs(low), np.abs(high))
    return low - margin, high + margin


def _place(where: NDArray[np.intp], own: int) -> str:
    """``step 3``, or ``step 3 of question 7``; both from 0."""
    return f"step {where[0]}" if own == 1 else f"step {where[1]} of question {where[0]}"


def _numbers(values: Any, what: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be numbers in a regular array, not {values!r}") from None
