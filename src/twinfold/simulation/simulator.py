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

from twinfold.data.ids import AgentId, canonical_ids
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import factor_draws
from twinfold.models.ranges import is_outside
from twinfold.models.rollout import predict_paths, rollout_factors
from twinfold.simulation.inputs import GUESS, STRAYS, outside, pair, read_actions, read_state
from twinfold.uncertainty.intervals import band_factor, prediction_band
from twinfold.uncertainty.support import Support, abstention, path_support, support_columns

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Warn = Callable[[str], None]


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
        coverage: nominal coverage of the band, of the whole course at once and in all columns; a
            promise only if it is ``simultaneous``.
        calibrated: whether held-out errors are in the band. If nothing could be held out when the
            model was fitted, the band is the spread of the members alone, which is too narrow.
        simultaneous: whether the band is calibrated on reserved agents and this far ahead.
        support: what stands behind each step, ``(..., H)`` arrays
            (:class:`twinfold.uncertainty.support.Support`).
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
    support: Support
    simultaneous: bool = False
    agent_column: str = "agent"

    def to_frame(self) -> pd.DataFrame:
        """One row per predicted state.

        Columns: ``query`` (0 to Q-1, if there are several), the agent, ``step`` (from 1), the
        states, ``<state>_lower`` and ``<state>_upper``, ``support`` and ``basis``.
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
        min_support: float | None = None,
        strict: bool = False,
    ) -> Rollout:
        """Predict the states that follow from a start under given actions.

        One state with Q action sequences, or Q states with one sequence, are Q questions.

        Args:
            state: ``(D,)`` or ``(Q, D)`` in raw units, in the order of the state columns; or a
                mapping (a dict, a row or columns of a table) from their names to values.
            actions: ``(H,)`` or ``(Q, H)`` of the user's levels if the action is discrete;
                ``(H, A)`` or ``(Q, H, A)`` in raw units if it is continuous, where ``(H,)`` does
                for a single column.
            warn: receives what is doubtful about the answer, such as a question far outside the
                range of the data; None for ``warnings.warn``.
            min_support: abstain from the first step on whose support is less: predictions are NaN
                there, and ``warn`` receives the reason.
            strict: refuse a question outside the range of the data rather than warn of it: by more
                than the margins of :class:`twinfold.models.ranges.RangeSettings`.

        Raises:
            UsageError: a shape or column does not fit, a value is no finite number, or a level is
                unknown; or ``strict``, and the question is out of range.
        """
        model = self.model
        start = read_state(model, state)
        given, codes = read_actions(model, actions)
        single = start.ndim == 1 and codes.ndim == (1 if model.discrete else 2)
        start_q, given_q, codes_q = pair(start, given, codes, model)
        far = outside(model, start_q, codes_q, single=single, strict=strict)
        if far is not None:
            (warn or _warn)(f"agent {self.agent_id!r}: {far}; {GUESS}")
        index = np.full(len(start_q), self.index, np.int32)
        paths, unknown = predict_paths(model, index, start_q, codes_q)
        steps = np.arange(1, codes_q.shape[1] + 1)
        factor, simultaneous = band_factor(model, len(steps))
        middle, low, high, sd = prediction_band(model, paths, steps, unknown, factor)
        if not np.isfinite(middle).all():
            (warn or _warn)(f"agent {self.agent_id!r}: the predictions diverge")

        left = is_outside(model, middle) & ~is_outside(model, start_q)[:, None]
        if left.any():
            step = int(steps[left.any(axis=0).argmax()])
            (warn or _warn)(f"agent {self.agent_id!r}: {STRAYS} (first at step {step})")

        before = np.concatenate([start_q[:, None], middle[:, :-1]], axis=1)
        found = path_support(model, index, before, codes_q)
        if min_support is not None:
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
            support=found.map(own),
            agent_column=model.roles.agent,
        )

    def sample(
        self,
        state: Mapping[str, Any] | pd.Series | ArrayLike,
        actions: ArrayLike,
        n: int = 100,
        seed: int = 0,
        warn: Warn | None = None,
        *,
        strict: bool = False,
    ) -> Floats:
        """Draw courses that the agent may take: ``(n, H, D)``, raw units.

        Each draw takes a member, and factors from the agent's posterior in it (its mean if the run
        has no posterior), and predicts from there; observation noise is not added.

        Args:
            state: ``(D,)`` raw units, or a mapping from column names.
            actions: ``(H,)`` of the user's levels or ``(H, A)`` raw units.
            n: number of draws.
            seed: of the draws.
            warn: receives what is doubtful about the question; None for ``warnings.warn``.
            strict: refuse a question outside the range of the data, as ``rollout``.

        Raises:
            UsageError: as ``rollout``; or several states or action sequences are given.
        """
        model = self.model
        start = read_state(model, state)
        _, codes = read_actions(model, actions)
        if start.ndim != 1 or codes.ndim != (1 if model.discrete else 2):
            raise UsageError("sample takes one state and one sequence of actions")
        if n < 1:
            raise UsageError(f"the number of draws must be at least 1, not {n}")
        far = outside(model, start[None], codes[None], single=True, strict=strict)
        if far is not None:
            (warn or _warn)(f"agent {self.agent_id!r}: {far}; what is drawn there is a guess")
        each = -(-n // model.n_members)
        index = np.array([self.index])
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


_warn: Warn = functools.partial(warnings.warn, stacklevel=2)
