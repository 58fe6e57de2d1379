"""One agent's simulator: what happens from this state under these actions, and how sure that is.

Axes: M members, Q questions, H steps, D state columns, A action columns.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinfold.data.ids import AgentId, canonical_ids
from twinfold.data.issues import Notes
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import factor_draws
from twinfold.models.rollout import rollout_factors
from twinfold.simulation.draws import drawn_questions, parts_of_questions
from twinfold.simulation.inputs import (
    GUESS,
    outside,
    pair,
    read_actions,
    read_state,
)
from twinfold.simulation.known import KnownInputs, single_known
from twinfold.simulation.prediction import PredictedPaths, Prediction, path_doubts, predict
from twinfold.simulation.rows_before import read_before
from twinfold.simulation.start_holes import complete_start
from twinfold.uncertainty.support import Support
from twinfold.utils.text import unused_name

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Warn = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Rollout:
    """The predicted trajectory of one agent, or Q of them. ``...`` is ``(Q,)`` or nothing.

    Attributes:
        agent: the user's id.
        columns: names of the D state columns.
        start: ``(..., D)``, the state before the first action.
        actions: ``(..., H)`` the user's levels, or ``(..., H, A)`` his values.
        steps: ``(H,)``, 1 to H: ``centre[..., h, :]`` is the state after ``steps[h]`` actions.
        centre: ``(..., H, D)``, robust mean over the members, raw units.
        members: ``(M, ..., H, D)``, each from its own predictions.
        lower, upper: ``(..., H, D)``, the band.
        spread: ``(..., H, D)``, standard deviation by what is not known of the model and the agent.
        coverage: nominal coverage of the band, of the whole trajectory at once and in all columns;
            a promise only if it is ``simultaneous``.
        calibrated: whether held-out errors are in the band. If nothing could be held out when the
            model was fitted, the band is the spread of the members alone, which is too narrow.
        simultaneous: whether the band is calibrated on reserved agents and this far ahead.
        support: what stands behind each step, ``(..., H)`` arrays
            (:class:`twinfold.uncertainty.support.Support`).
        agent_column: the user's name of the agent column.
        action_columns: his names of the action columns.
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
    action_columns: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per predicted state.

        Columns: ``query`` (0 to Q-1, if there are several), the agent, ``step`` (from 1), the
        states, ``<state>_lower`` and ``<state>_upper``, ``support`` and ``basis``; with an
        underscore where the user's own columns have that name.
        """
        import pandas as pd

        n_steps, n_state = self.centre.shape[-2:]
        n_queries = self.centre.size // max(n_steps * n_state, 1)
        table: dict[str, Any] = {}
        own = (self.agent_column, *self.columns)
        if self.centre.ndim == 3:
            table[unused_name("query", own)] = np.repeat(np.arange(n_queries), n_steps)
        table[self.agent_column] = [self.agent] * (n_queries * n_steps)
        table[unused_name("step", own)] = np.tile(self.steps, n_queries)
        found = Prediction(self.centre, self.lower, self.upper, self.support)
        return pd.DataFrame(table | found.columns(self.columns, tuple(table)))


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
        state: Mapping[str, Any] | pd.Series | ArrayLike | None,
        actions: ArrayLike,
        warn: Warn | None = None,
        *,
        before: Any = None,
        exogenous: Any = None,
        hold_exogenous: bool = False,
        lengths: ArrayLike | None = None,
        min_support: float | None = None,
        strict: bool = False,
    ) -> Rollout:
        """Predict the states that follow from a start under given actions.

        One state with Q action sequences, or Q states with one sequence, are Q questions.

        Args:
            state: ``(D,)`` or ``(Q, D)`` in raw units, in the order of the state columns; or a
                mapping (a dict, a row or columns of a table) from their names to values. None for
                where the agent's data ended.
            actions: ``(H,)`` or ``(Q, H)`` of the user's levels if the action is one discrete
                column; ``(H, A)`` or ``(Q, H, A)`` in raw units of continuous columns, where
                ``(H,)`` does for a single one; ``(H, C)`` or ``(Q, H, C)`` of the user's values,
                words among them, of several columns, or a mapping from their names; a number of
                steps if there are none.
            warn: receives what is doubtful about the answer, such as a question far outside the
                range of the data; None for ``warnings.warn``.
            before: the rows before, the earliest first, for a model with memory: their states
                ``(j, D)`` or ``(Q, j, D)``; or with the action that was taken in each,
                ``(j, D + C)``; or a table of these columns and the exogenous ones. What it is not
                told, it takes to be as usual.
            exogenous: future values of the exogenous columns: a mapping (or table) from columns to
                H values, or ``(H, E)`` or ``(Q, H, E)`` numbers.
            hold_exogenous: whether the last value stands where there is no other, by how much it
                varies widening the band.
            lengths: ``(H,)``, of the steps, in the unit of the times, where times are uneven; usual
                ones if None.
            min_support: abstain from the first step on whose support is less: predictions are NaN
                there, and ``warn`` receives the reason.
            strict: refuse a question outside the range of the data rather than warn of it: by more
                than the margins of :class:`twinfold.models.ranges.RangeSettings`.

        Raises:
            UsageError: a shape or column does not fit, a value is no finite number, or a level is
                unknown; no state is given, and none of the agent is known; or ``strict``, and the
                question is out of range.
        """
        model = self.model
        start, given, codes, single = self._questions(state, actions, before)
        who = np.full(len(start), self.index, np.int32)
        start, lacking = complete_start(model, who, start)
        for _, line in lacking:
            (warn or _warn)(f"agent {self.agent_id!r}: {line}")
        known = self._known(codes, exogenous, hold_exogenous, lengths, warn)
        told = None if known is None else known.value
        far = outside(model, start, codes, told, single=single, strict=strict)
        if far is not None:
            (warn or _warn)(f"agent {self.agent_id!r}: {far}; {GUESS}")
        found = predict(model, who, start, codes, known)
        for line in path_doubts(model, start, found, min_support):
            (warn or _warn)(f"agent {self.agent_id!r}: {line}")
        return self._told(start, given, found, single)

    def _told(
        self, start: Floats, given: NDArray[Any], found: PredictedPaths, single: bool
    ) -> Rollout:
        """Return the predictions of Q questions, or of a single one, as users have them."""
        model = self.model

        def own(values: NDArray[Any], axis: int = 0) -> Any:
            return np.take(values, 0, axis) if single else values

        return Rollout(
            agent=self.agent_id,
            columns=model.roles.state,
            start=own(start[:, : len(model.roles.state)]),
            actions=own(given),
            steps=np.arange(1, found.states.middle.shape[1] + 1),
            centre=own(found.states.middle),
            members=own(found.members, 1),
            lower=own(found.states.lower),
            upper=own(found.states.upper),
            spread=own(found.sd),
            coverage=model.config.band,
            calibrated=model.band is not None,
            simultaneous=found.simultaneous,
            support=found.states.support.map(own),
            agent_column=model.roles.agent,
            action_columns=model.roles.action,
        )

    def _known(
        self, codes: NDArray[Any], exogenous: Any, hold: bool, lengths: Any, warn: Warn | None
    ) -> KnownInputs | None:
        """Return the known inputs of Q questions ``(Q, H)``; None for a model without any."""
        import pandas as pd

        notes, shape = Notes(pd.DataFrame()), codes.shape[:2]
        hold = hold or self.model.hold
        known = single_known(self.model, self.index, shape, exogenous, hold, lengths, notes)
        for line in notes.warnings:
            (warn or _warn)(line)
        return known

    @property
    def last(self) -> Floats:
        """Return where the agent's data ended, ``(W,)``: the state, and the steps before it.

        Raises:
            UsageError: it is not known.
        """
        start = self.model.recent[self.index]
        start = start[: len(start) - self.model.normalizer.n_known]
        if not np.isfinite(start[: len(self.model.roles.state)]).all():
            raise UsageError(
                f"agent {self.agent_id!r} has no data that a prediction could go on from; give a "
                "state"
            )
        return start

    def parts(
        self,
        state: Mapping[str, Any] | pd.Series | ArrayLike | None,
        actions: ArrayLike,
        *,
        before: Any = None,
        exogenous: Any = None,
        hold_exogenous: bool = False,
        lengths: ArrayLike | None = None,
    ) -> tuple[Floats, Floats]:
        """Return what a prediction's uncertainty is made of: noise and ignorance, ``(H, D)`` each.

        Both are standard deviations in raw units: of the noise of the world, were the agent known,
        and of what is not known of nets and agent, were there no noise.

        Args:
            state: ``(D,)`` raw units, as ``rollout``.
            actions: ``(H,)`` or ``(H, C)``, as ``rollout``.
            before: the rows before, as ``rollout``.
            exogenous: future values of the exogenous columns, as ``rollout``.
            hold_exogenous: whether the last value stands where there is no other; how far it may
                go is ignorance.
            lengths: ``(H,)``, of the steps where times are uneven, as ``rollout``.

        Raises:
            UsageError: as ``sample``, or the run holds no noise.
        """
        start, codes = self._one_question("parts", state, actions, before)
        known = self._known(codes[None], exogenous, hold_exogenous, lengths, None)
        asked = np.array([self.index], np.int32), start[None], codes[None], known
        noise, ignorance = parts_of_questions(self.model, *asked)
        return noise[0], ignorance[0]

    def start_of(self, state: Any, before: Any) -> Floats:
        """Return what a prediction starts from, ``(W,)`` or ``(Q, W)``; D wide without a memory.

        Args:
            state: as :meth:`rollout`; where the agent's data ended if None.
            before: as :meth:`rollout`.

        Raises:
            UsageError: they do not fit the model, or each other.
        """
        if state is None:
            if before is not None:
                raise UsageError("rows before the state go with a state; give it too")
            return self.last
        start = read_state(self.model, state)
        return start if before is None else read_before(self.model, start, before)

    def _questions(
        self, state: Any, actions: Any, before: Any = None
    ) -> tuple[Floats, NDArray[Any], Any, bool]:
        """Return first states, actions and their codes of Q questions; and whether it is just one.

        ``(Q, D)`` or ``(Q, W)``, ``(Q, H[, A])`` as given and as the model takes them.
        """
        start = self.start_of(state, before)
        given, codes = read_actions(self.model, actions)
        single = start.ndim == 1 and codes.ndim == (1 if self.model.discrete else 2)
        return *pair(start, given, codes, self.model), single

    def _one_question(self, who: str, state: Any, actions: Any, before: Any) -> tuple[Floats, Any]:
        """Return the first state and the codes of the actions of what must be one question."""
        start, (_, codes) = self.start_of(state, before), read_actions(self.model, actions)
        if start.ndim != 1 or codes.ndim != (1 if self.model.discrete else 2):
            raise UsageError(f"{who} takes one state and one sequence of actions")
        return start, codes

    def sample(
        self,
        state: Mapping[str, Any] | pd.Series | ArrayLike | None,
        actions: ArrayLike,
        n: int = 100,
        seed: int = 0,
        warn: Warn | None = None,
        *,
        before: Any = None,
        exogenous: Any = None,
        hold_exogenous: bool = False,
        lengths: ArrayLike | None = None,
        strict: bool = False,
        noise: bool = False,
    ) -> Floats:
        """Draw trajectories that the agent may take: ``(n, H, D)``, raw units.

        Each draw takes a member, and factors from the agent's posterior in it, and predicts from
        there. With noise every step has that of the world as well, and every row that of its
        measurement (:mod:`twinfold.models.world_noise`).

        Args:
            state: ``(D,)`` raw units, or a mapping from column names; None for where the agent's
                data ended.
            actions: ``(H,)`` of the user's levels or ``(H, A)`` raw units.
            n: number of draws.
            seed: of the draws.
            warn: receives what is doubtful about the question; None for ``warnings.warn``.
            before: the rows before, as ``rollout``.
            exogenous: future values of the exogenous columns, as ``rollout``.
            hold_exogenous: whether the last value stands where there is no other.
            lengths: ``(H,)``, of the steps where times are uneven, as ``rollout``.
            strict: refuse a question outside the range of the data, as ``rollout``.
            noise: whether the noise of the world is in the draws.

        Raises:
            UsageError: as ``rollout``; or several states or action sequences are given.
        """
        model = self.model
        start, codes = self._one_question("sample", state, actions, before)
        if n < 1:
            raise UsageError(f"the number of draws must be at least 1, not {n}")
        whole, lacking = complete_start(model, np.array([self.index]), start[None])
        start = whole[0]
        for _, line in lacking:
            (warn or _warn)(f"agent {self.agent_id!r}: {line}")
        far = outside(model, start[None], codes[None], single=True, strict=strict)
        if far is not None:
            (warn or _warn)(f"agent {self.agent_id!r}: {far}; what is drawn there is a guess")
        each = -(-n // model.n_members)
        known = self._known(codes[None], exogenous, hold_exogenous, lengths, warn)
        told = None if known is None else known.value
        if noise:
            asked = np.array([self.index]), start[None], codes[None], known
            return drawn_questions(model, *asked, n, seed)[:, 0]
        index = np.array([self.index])
        factors = factor_draws(model.posterior, index, each, seed)
        drawn = rollout_factors(model, factors, np.zeros(1, int), start[None], codes[None], told)
        flat = np.swapaxes(drawn[:, 0], 0, 1).reshape(-1, *drawn.shape[3:])
        return flat[:n]


_warn: Warn = functools.partial(warnings.warn, stacklevel=2)
