"""One agent's simulator: what happens from this state under these actions, and how sure that is.

Axes: M members, Q questions, H steps, D state columns, A action columns.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinfold.data.ids import AgentId, canonical_ids, did_you_mean
from twinfold.errors import UsageError
from twinfold.models.bands import band_factor, prediction_band
from twinfold.models.ensemble import FittedModel
from twinfold.models.predictive import factor_draws, predict_paths, rollout_factors
from twinfold.models.support import Support, abstention, path_support, support_columns

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Warn = Callable[[str], None]

ACTION_MARGIN = 0.05
"""A continuous action may leave the training range by this share of the range."""

STATE_MARGIN = 0.25
"""A first state may leave the training range by this share of the range without a warning."""

STRAYS = "the prediction goes far outside the training data; from there on it is a guess"
"""What is said of a rollout that starts within the training data and leaves it."""

_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Rollout:
    """The predicted course of one agent, or Q of them. ``...`` is ``(Q,)`` or nothing.

    Attributes:
        agent: the user's id.
        columns: names of the D state columns.
        start: ``(..., D)``, the state before the first action.
        actions: ``(..., H)`` the user's levels, or ``(..., H, A)`` raw units.
        steps: ``(H,)``, 1 to H: ``centre[..., h, :]`` is the state after ``steps[h]`` actions.
        centre: ``(..., H, D)``, robust mean over the members, raw units.
        members: ``(M, ..., H, D)``, each from its own predictions.
        lower, upper: ``(..., H, D)``, the band.
        spread: ``(..., H, D)``, standard deviation by what is not known of the model and the agent.
        coverage: nominal coverage of the band: of the whole course at once, in all columns, if it
            is ``simultaneous``, else of every single value.
        calibrated: whether held-out errors are in the band. If nothing could be held out when the
            model was fitted, the band is the spread of the members alone, which is too narrow.
        simultaneous: whether the band is calibrated on reserved agents and this far ahead.
        support: what stands behind each step, ``(..., H)`` arrays
            (:class:`twinfold.models.support.Support`); None if it was not asked for.
        agent_column: the user's name of the agent column.
    """

    agent: AgentId
    columns: tuple[str, ...]
    start: Floats
    actions: NDArray[Any]
    steps: NDArray[np.int64]
    centre: Floats
    members: Floats
    lower: Floats
    upper: Floats
    spread: Floats
    coverage: float
    calibrated: bool
    simultaneous: bool = False
    support: Support | None = None
    agent_column: str = "agent"

    def to_frame(self) -> pd.DataFrame:
        """One row per predicted state.

        Columns: ``query`` (0 to Q-1, if there are several), the agent, ``step`` (from 1), the
        states, ``<state>_lower`` and ``<state>_upper``, and ``support`` and ``basis`` if they were
        asked for.
        """
        import pandas as pd

        n_steps, n_state = self.centre.shape[-2:]
        n_queries = self.centre.size // max(n_steps * n_state, 1)
        table: dict[str, Any] = {}
        if self.centre.ndim == 3:
            table["query"] = np.repeat(np.arange(n_queries), n_steps)
        table[self.agent_column] = [self.agent] * (n_queries * n_steps)
        table["step"] = np.tile(self.steps, n_queries)
        flat = [a.reshape(-1, n_state) for a in (self.centre, self.lower, self.upper)]
        columns = table | prediction_columns(self.columns, *flat, taken=tuple(table))
        if self.support is not None:
            columns |= support_columns(self.support, tuple(columns))
        return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class Simulator:
    """A fitted model seen from one agent.

    Attributes:
        model: the fitted model.
        agent_id: the agent, as the user calls it; text is matched with integer ids.
        index: its place among the model's agents.

    Raises:
        UsageError: the agent was not in the training data; the message names the nearest ones.
    """

    model: FittedModel
    agent_id: AgentId
    index: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index = self.model.agent_index(canonical_ids([self.agent_id])[0])
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "agent_id", self.model.agent_ids[index])

    def rollout(
        self,
        state: Mapping[str, Any] | pd.Series | ArrayLike,
        actions: ArrayLike,
        warn: Warn | None = None,
        *,
        support: bool = False,
        min_support: float | None = None,
    ) -> Rollout:
        """Predict the states that follow from a start under given actions.

        One state with Q action sequences, or Q states with one sequence, are Q questions.

        Args:
            state: ``(D,)`` or ``(Q, D)`` in raw units, in the order of the state columns; or a
                mapping (a dict, a row or columns of a table) from their names to values.
            actions: ``(H,)`` or ``(Q, H)`` of the user's levels if the action is discrete;
                ``(H, A)`` or ``(Q, H, A)`` in raw units if it is continuous, where ``(H,)`` does
                for a single column.
            warn: receives what is doubtful about the answer; None for ``warnings.warn``.
            support: whether to find out what stands behind each step.
            min_support: abstain from the first step on whose support is less: predictions are NaN
                there, and ``warn`` receives the reason.

        Raises:
            UsageError: a shape or column does not fit, a value is no finite number, a level is
                unknown, or an action lies outside the training range by more than
                ``ACTION_MARGIN`` of it.
        """
        model = self.model
        start = _read_state(model, state)
        given, codes = _read_actions(model, actions)
        single = start.ndim == 1 and codes.ndim == (1 if model.discrete else 2)
        start_q, given_q, codes_q = _pair(start, given, codes, model)
        for line in doubtful_states(model, start_q):
            (warn or _warn)(f"agent {self.agent_id!r}: {line}")
        index = np.full(len(start_q), self.index, np.int32)
        paths, unknown = predict_paths(model, index, start_q, codes_q)
        steps = np.arange(1, codes_q.shape[1] + 1)
        factor, simultaneous = band_factor(model, len(steps))
        middle, low, high, sd = prediction_band(model, paths, steps, unknown, factor)
        if not np.isfinite(middle).all():
            (warn or _warn)(f"agent {self.agent_id!r}: the predictions diverge")

        left = strays(model, middle) & ~strays(model, start_q)[:, None]
        if left.any():
            step = int(steps[left.any(axis=0).argmax()])
            (warn or _warn)(f"agent {self.agent_id!r}: {STRAYS} (first at step {step})")

        found = None
        if support or min_support is not None:
            before = np.concatenate([start_q[:, None], middle[:, :-1]], axis=1)
            found = path_support(model, index, before, codes_q)
        if found is not None and min_support is not None:
            gone = found.score < min_support
            for values in (middle, low, high, sd):
                values[gone] = np.nan
            paths[:, gone] = np.nan
            if gone.any():
                (warn or _warn)(f"agent {self.agent_id!r}: {abstention(found, gone, min_support)}")

        def own(values: NDArray[Any], axis: int = 0) -> Any:
            return np.take(values, 0, axis) if single else values

        return Rollout(
            agent=self.agent_id,
            columns=model.roles.state,
            start=own(start_q),
            actions=own(given_q),
            steps=steps,
            centre=own(middle),
            members=own(paths, 1),
            lower=own(low),
            upper=own(high),
            spread=own(sd),
            coverage=model.config.band,
            calibrated=model.band is not None,
            simultaneous=simultaneous,
            support=None if found is None else found.map(own),
            agent_column=model.roles.agent,
        )

    def sample(
        self,
        state: Mapping[str, Any] | pd.Series | ArrayLike,
        actions: ArrayLike,
        n: int = 100,
        seed: int = 0,
    ) -> Floats:
        """Draw courses that the agent may take: ``(n, H, D)``, raw units.

        Each draw takes a member, and factors from the agent's posterior in it (its mean if the run
        has no posterior), and predicts from there; observation noise is not added.

        Args:
            state: ``(D,)`` raw units, or a mapping from column names.
            actions: ``(H,)`` of the user's levels or ``(H, A)`` raw units.
            n: number of draws.
            seed: of the draws.

        Raises:
            UsageError: as ``rollout``; or several states or action sequences are given.
        """
        model = self.model
        start = _read_state(model, state)
        _, codes = _read_actions(model, actions)
        if start.ndim != 1 or codes.ndim != (1 if model.discrete else 2):
            raise UsageError("sample takes one state and one sequence of actions")
        if n < 1:
            raise UsageError(f"the number of draws must be at least 1, not {n}")
        each = -(-n // model.n_members)
        index = np.array([self.index])
        if model.posterior is None:
            mean = np.asarray(model.members.agents)[:, index, None]
            factors = np.repeat(mean, each, axis=2).astype(np.float64)
        else:
            factors = factor_draws(model.posterior, index, each, seed)
        drawn = rollout_factors(model, factors, np.zeros(1, int), start[None], codes[None])
        flat = np.swapaxes(drawn[:, 0], 0, 1).reshape(-1, *drawn.shape[3:])
        return flat[:n]


def prediction_columns(
    names: Sequence[str], middle: Floats, lower: Floats, upper: Floats, taken: Sequence[str]
) -> dict[str, Floats]:
    """Columns of predictions ``(K, D)``: the states, then ``<state>_lower`` and ``_upper``.

    A name that is taken already (a state column may itself be called ``x_lower``) gets an
    underscore at its end.
    """
    table = {name: middle[:, d] for d, name in enumerate(names)}
    for d, name in enumerate(names):
        for end, values in (("lower", lower), ("upper", upper)):
            column = f"{name}_{end}"
            while column in table or column in taken:
                column += "_"
            table[column] = values[:, d]
    return table


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


def _widen(low: Floats, high: Floats, share: float) -> tuple[Floats, Floats]:
    """A range and a margin; rounding to float32 never leads out of it."""
    margin = share * (high - low) + 1e-6 * np.maximum(np.abs(low), np.abs(high))
    return low - margin, high + margin


_warn: Warn = functools.partial(warnings.warn, stacklevel=2)


def _read_state(model: FittedModel, state: Any) -> Floats:
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


def _read_actions(model: FittedModel, actions: Any) -> tuple[NDArray[Any], NDArray[Any]]:
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


def _place(where: NDArray[np.intp], own: int) -> str:
    """``step 3``, or ``step 3 of question 7``; both from 0."""
    return f"step {where[0]}" if own == 1 else f"step {where[1]} of question {where[0]}"


def _pair(
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


def _numbers(values: Any, what: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be numbers in a regular array, not {values!r}") from None
