"""The range of the data that a model was given: what lies outside, and what new data adds to it.

Outside is no error: a prediction there is given with its support
(:mod:`twinfold.uncertainty.support`), and said to be doubtful.

Axes: Q states asked about, K actions asked about, n agents of new data, D state columns, A action
columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.transitions import DataRanges, Transitions
from twinfold.models.fitted_model import FittedModel
from twinfold.utils.text import counted

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RangeSettings:
    """Numbers that decide what is outside the range of the data.

    Attributes:
        action_margin: share of its range by which a continuous action may leave it without a word.
        state_margin: share of its range by which a state, or an exogenous column, may leave it
            without a word.
        rounding: share of a value by which it may differ: float32 never leads out of the range.
    """

    action_margin: float = 0.05
    state_margin: float = 0.25
    rounding: float = 1e-6


RANGES = RangeSettings()
"""Those of every answer."""


class OutOfRange(NamedTuple):
    """Values outside the range of the data, columns of one role.

    Attributes:
        noun: what a row is, such as ``state``.
        columns: names.
        values: ``(n, C)``, raw units.
        low, high: ``(C,)``, the range.
        excess: ``(n, C)``, how far outside a value is, in widths of the range; 0 within its margin.
    """

    noun: str
    columns: tuple[str, ...]
    values: Floats
    low: Floats
    high: Floats
    excess: Floats

    @property
    def rows(self) -> NDArray[np.bool_]:
        """Rows with a value outside, ``(n,)``."""
        return np.any(self.excess > 0, axis=1)

    def described(self, row: int, column: int) -> str:
        """A value and the range it is not in."""
        return (
            f"{self.columns[column]!r} is {self.values[row, column]:g}, the data has "
            f"{self.low[column]:g} to {self.high[column]:g}"
        )


def state_excess(model: FittedModel, states: Floats) -> Floats:
    """Return how far states are outside the range of the data, in its widths: ``(..., D)``.

    Angles count by where they point: full turns are taken off.
    """
    ranges = model.known_ranges
    turning = np.isin(model.roles.state, model.roles.angle)
    with np.errstate(invalid="ignore"):  # of a prediction that diverged
        turns = np.round((states - (ranges.state_low + ranges.state_high) / 2) / (2 * np.pi))
        turned = np.where(turning, states - 2 * np.pi * turns, states)
    return _excess(turned, ranges.state_low, ranges.state_high, RANGES.state_margin)


def is_outside(model: FittedModel, states: Floats) -> NDArray[np.bool_]:
    """Which states ``(..., D)`` are outside in some column: ``(...)``."""
    return np.any(state_excess(model, states) > 0, axis=-1)


def outside_states(model: FittedModel, states: Floats, noun: str) -> OutOfRange:
    """Which states ``(Q, D)`` are outside."""
    ranges, names = model.known_ranges, model.roles.state
    excess = state_excess(model, states)
    return OutOfRange(noun, names, states, ranges.state_low, ranges.state_high, excess)


def outside_actions(model: FittedModel, actions: Floats) -> OutOfRange:
    """Which continuous actions ``(K, A)`` are outside."""
    ranges, names = model.known_ranges, model.action_code.names
    low, high = ranges.action_low, ranges.action_high
    excess = _excess(actions, low, high, RANGES.action_margin)
    return OutOfRange("action", names, actions, low, high, excess)


def outside_known(model: FittedModel, known: Floats) -> OutOfRange:
    """Which exogenous columns of known inputs ``(K, E)`` are outside; steps may have any length."""
    names = model.known_names[: known.shape[1] - model.uneven]
    known, low, high = (
        values[..., : len(names)]
        for values in (known, model.normalizer.known_low, model.normalizer.known_high)
    )
    excess = _excess(known, low, high, RANGES.state_margin)
    return OutOfRange("exogenous value", names, known, low, high, excess)


def out_of_range(
    parts: list[OutOfRange],
    where: Callable[[OutOfRange, int], str],
    owners: Callable[[OutOfRange, NDArray[np.intp]], NDArray[Any]] | None = None,
    noun: str = "",
) -> str | None:
    """One line on all that lies outside: how much, and the worst of it; None if nothing does.

    Args:
        parts: columns of states and of actions.
        where: names the place of a row.
        owners: whose rows these are, to count them.
        noun: what an owner is.
    """
    found = [part for part in parts if part.rows.any()]
    if not found:
        return None
    counts = [counted(int(part.rows.sum()), part.noun) for part in found]
    whose = ""
    if owners is not None:
        names = [owners(part, np.flatnonzero(part.rows)) for part in found]
        whose = f" of {counted(len(np.unique(np.concatenate(names))), noun)}"
    worst = max(found, key=lambda part: part.excess.max())
    row, column = np.unravel_index(int(worst.excess.argmax()), worst.excess.shape)
    alone = sum(int(part.rows.sum()) for part in found) == 1
    place = ["" if alone else "the worst", where(worst, int(row))]
    first = ", ".join(word for word in place if word)
    return (
        f"{' and '.join(counts)}{whose} {'lies' if alone else 'lie'} outside the range of the "
        f"data ({first}{': ' if first else ''}{worst.described(int(row), int(column))})"
    )


def agent_ranges(model: FittedModel, data: Transitions, n_agents: int) -> DataRanges:
    """The ranges of each agent's transitions, ``(n, D)`` and ``(n, A)``; NaN without any.

    Discrete actions have none: a level that is not known is refused.
    """
    found = no_ranges(model, n_agents)
    for states in (data.observed, data.truth):
        np.fmin.at(found.state_low, data.agent, states)
        np.fmax.at(found.state_high, data.agent, states)
    if model.action_levels is None:
        np.fmin.at(found.action_low, data.agent, data.action)
        np.fmax.at(found.action_high, data.agent, data.action)
    return found


def no_ranges(model: FittedModel, n_agents: int) -> DataRanges:
    """The ranges of agents without data: NaN."""
    n_state, n_action = len(model.roles.state), len(model.ranges.action_low)
    sizes = (n_state, n_state, n_action, n_action)
    return DataRanges(*(np.full((n_agents, size), np.nan) for size in sizes))


def ranges_with(
    model: FittedModel, agents: NDArray[np.integer], n_new: int, seen: DataRanges | None
) -> DataRanges | None:
    """The model's added ranges with those of more data.

    Args:
        model: a fitted model.
        agents: ``(n,)``, whose data; new agents are counted on from those that the model has.
        n_new: how many are new.
        seen: ``(n, D)`` and ``(n, A)``, ranges of the data; None if there is none.
    """
    before = model.added_ranges
    if before is None:
        if seen is None or np.isnan(seen.state_low).all():
            return None
        before = no_ranges(model, len(model.agent_ids))
    new = no_ranges(model, n_new)
    found = DataRanges(*(np.concatenate(pair) for pair in zip(before, new, strict=True)))
    if seen is not None:
        wider = DataRanges(*(values[agents] for values in found)).union(seen)
        for values, more in zip(found, wider, strict=True):
            values[agents] = more
    return found


def ranges_of(added: DataRanges | None, agents: NDArray[np.integer]) -> DataRanges | None:
    """The added ranges of some agents alone; None if they have none."""
    if added is None or np.isnan(added.state_low[agents]).all():
        return None
    return DataRanges(*(values[agents] for values in added))


def _excess(values: Floats, low: Floats, high: Floats, margin: float) -> Floats:
    rounding = RANGES.rounding * np.maximum(np.abs(low), np.abs(high))
    width = high - low
    beyond = np.maximum(low - values, values - high)
    unit = np.maximum(width, rounding)
    unit = np.where(unit > 0, unit, 1.0)
    return np.where(beyond > margin * width + rounding, beyond / unit, 0.0)
