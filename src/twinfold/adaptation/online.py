"""One agent followed as its data comes in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinfold.adaptation.adapt import with_evidence
from twinfold.data.ids import AgentId, canonical_ids, match_ids
from twinfold.data.levels import coded_names
from twinfold.data.memory import start_of, with_memory
from twinfold.data.transitions import DataRanges, Transitions
from twinfold.errors import UsageError, one_of
from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear_sums import LinearData, linear_data
from twinfold.models.member_features import features_of
from twinfold.models.normalizer import far_text, unreachable
from twinfold.models.posterior import Evidence, Posterior, solve, whitened
from twinfold.models.prior import prior_root
from twinfold.models.ranges import no_ranges
from twinfold.models.recent import last_starts
from twinfold.models.state_filter import FILTER
from twinfold.utils.text import clipped, listed

Floats = NDArray[np.float64]


class Tracker:
    """One agent followed transition by transition.

    Each observation takes well under a millisecond. The answer is that of ``adapt`` with all of the
    observations at once, in any order; for a model with memory in the order of time. Values may be
    missing: those count nowhere, and what is predicted of them stands for them in the next step.

    Attributes:
        model: the model as it was.
        agent_id: the agent, known to the model or not.
        evidence: what is known, of one agent.
    """

    def __init__(
        self, model: FittedModel, agent: AgentId, static: Mapping[str, float | str] | None = None
    ) -> None:
        """Begin at what the model knows of the agent: nothing, if it is new.

        Args:
            model: a fitted model.
            agent: the user's id.
            static: static columns of the agent by name, numbers or words, where the model does not
                know them.

        Raises:
            UsageError: the model has no such static column, or a value is no finite number or too
                far from those of the model's agents to compute with.
        """
        known = model.posterior
        self.model, self.agent_id = model, canonical_ids([agent])[0]
        index = int(match_ids(model.agent_ids, [self.agent_id])[0])
        if index >= 0:
            self.agent_id = model.agent_ids[index]
            self.evidence = known.evidence.take(np.array([index])).copy()
        else:
            n_members, rank = known.prior.mean.shape
            self.evidence = Evidence.none(n_members, 1, rank)
        self._static = self._values(known, index, static or {})
        one = Posterior(known.prior, self.evidence, np.zeros(1, bool), known.static, self._static)
        self._own = one.own_prior
        self._prior, self._roots = known.prior, prior_root(known.prior)
        self._seen = no_ranges(model, 1)
        self._sums = LinearData.none(model.normalizer, 1, model.n_levels)
        self._recent = np.full(model.recent.shape[1], np.nan)
        if index >= 0:
            self._recent = model.recent[index].copy()
        self._age = np.where(np.isnan(self._recent[: len(model.roles.state)]), np.inf, 0.0)

    def _values(self, known: Posterior, index: int, static: Mapping[str, Any]) -> Floats | None:
        """Return the agent's static columns, ``(1, C)``."""
        columns = self.model.roles.static if known.values is not None else ()
        for name in static:
            if name not in columns:
                raise UsageError(f"the model has no static column {name!r}; {one_of(columns)}")
        names = coded_names(columns, self.model.levels)
        if known.values is None:
            return None
        values = np.full((1, len(names)), np.nan) if index < 0 else known.values[[index]]
        for name, value in static.items():
            if name in self.model.levels:
                levels = self.model.levels[name]
                first = names.index(coded_names([name], self.model.levels)[0])
                own = [float(str(value) == level) for level in levels]
                values[0, first : first + len(levels)] = own if any(own) else np.nan
                continue
            if not isinstance(value, Real) or not math.isfinite(float(value)):
                raise UsageError(f"static column {name!r} needs a finite number, not {value!r}")
            values[0, names.index(name)] = value
        if known.static is None:  # they say nothing of an agent
            return values
        standard = known.static.standard(values)[0]
        for c in np.flatnonzero(unreachable(standard)):
            raise UsageError(
                f"static column {names[c]!r}: {values[0, c]:g} is {far_text(standard[c])}"
            )
        return values

    def observe(
        self, state: ArrayLike, action: Any, next_state: ArrayLike, known: ArrayLike | None = None
    ) -> None:
        """Add one transition.

        Args:
            state: ``(D,)`` raw units, in the order of the state columns; NaN where missing.
            action: a level of the user's, or ``(A,)`` raw units.
            next_state: ``(D,)``, likewise.
            known: ``(E,)``, known inputs as ``FittedModel.known_names`` lists them; needed if there
                are exogenous columns.

        Raises:
            UsageError: a shape does not fit, a value is infinite or too far from the model's data
                to compute with, or a level is unknown; nothing has changed then.
        """
        model = self.model
        n_state = len(model.roles.state)
        before, after = (_numbers(x, "a state").reshape(-1) for x in (state, next_state))
        if len(before) != n_state or len(after) != n_state:
            raise UsageError(f"a state needs {n_state} values: {', '.join(model.roles.state)}")
        code = _action(model, action)
        if np.isinf([*before, *after]).any() or not np.isfinite(code).all():
            raise UsageError(f"agent {self.agent_id!r}: a value of the transition is not finite")
        told = self._told(known)
        try:
            model.check_reach(np.stack([before, after]), code, told)
        except UsageError as error:
            raise UsageError(f"agent {self.agent_id!r}: {error}") from None
        self._add(before, code, after, told)

    def _add(self, given: Floats, code: NDArray[Any], after: Floats, told: Floats | None) -> None:
        """Add one transition whose values have been checked; NaN where one is missing.

        Args:
            given: ``(D,)``.
            code: ``(1,)`` or ``(1, A)``.
            after: ``(D,)``.
            told: ``(E,)``, known inputs.
        """
        model = self.model
        before, age = self._standing_for(given)
        memory, present, lacks = self._memory(before), ~np.isnan(given), np.isnan(after)
        start = start_of(before, model.normalizer.n_memory, told)
        if memory is not None:
            start = with_memory(before, memory, told)
        weight = None
        if lacks.any() or not present.all():
            doubt = 0.0 if present.all() else FILTER.handed_on * age.max()
            weight = np.where(lacks, 0.0, max(1 / (1 + doubt), FILTER.unknown))[None]
            after = np.where(lacks, self._predicted(start, code), after)
        one = Transitions(
            agent=np.zeros(1, np.int32),
            state=before[None],
            action=code.astype(np.int32) if model.discrete else code.astype(np.float64),
            next_state=after[None],
            segment=np.zeros(1, np.int32),
            step=np.zeros(1, np.int32),
            memory=None if memory is None else memory[None],
            known=None if told is None else told[None],
            known_after=None if told is None else told[None],
            present=None if weight is None else present[None],
            weight=weight,
        ).counted_by(model.info.memory_trust)
        found = self._evidence(start, code, after, one.weight)
        new = linear_data(model.normalizer, one, 1, model.n_levels)
        alone = np.zeros(1, np.int64)
        self.evidence = self.evidence.add(alone, found)
        self._sums = self._sums.add(alone, new)
        states = np.concatenate([one.observed, one.truth])
        acted = code if model.action_levels is None else np.full((1, 1), np.nan)
        both = DataRanges(np.fmin(*states), np.fmax(*states), acted[0], acted[0])
        self._seen = self._seen.union(both)
        self._recent = last_starts(one, 1, model.roles, model.uneven)[0]
        self._age = np.where(lacks, age + 1, 0.0)

    def _told(self, known: ArrayLike | None) -> Floats | None:
        """Return known inputs ``(E,)``, those of a usual step if none are given; None without any.

        Raises:
            UsageError: they lack, or are no finite numbers.
        """
        names = self.model.known_names
        if known is None:
            if self.model.roles.exogenous:
                raise UsageError(f"known inputs are needed: {', '.join(map(repr, names))}")
            return np.ones(1) if names else None
        values = _numbers(known, "known inputs").reshape(-1)
        if len(values) != len(names) or not np.isfinite(values).all():
            raise UsageError(f"known inputs need {len(names)} finite values: {', '.join(names)}")
        return values

    def _standing_for(self, given: Floats) -> tuple[Floats, Floats]:
        """Return a state ``(D,)`` without holes, and how many steps ago each column was observed.

        Where it goes on from the last one, what was predicted there stands for what is missing;
        else the last known value, or the mean of all agents.
        """
        known, last = ~np.isnan(given), self._recent[: len(given)]
        goes_on = np.array_equal(given[known], last[known])
        mean = self.model.normalizer.state_mean
        filled = np.where(known, given, np.where(np.isnan(last), mean, last))
        age = np.where(known, 0.0, self._age if goes_on else np.inf)
        return filled, age

    def _predicted(self, start: Floats, code: NDArray[Any]) -> Floats:
        """Return the next state, ``(D,)`` raw units, that what is known of the agent predicts."""
        norm = self.model.normalizer
        features = features_of(self.model.members, norm, start[None], code)[:, 0]
        target = np.median(np.einsum("mdr,mr->md", features, self.factors), axis=0)
        return norm.decode_state(norm.next_state(norm.carry(start), target))

    def _memory(self, before: Floats) -> Floats | None:
        """Return the steps that led to a state, ``(m, B)``: those observed, if it goes on there.

        None for a model without memory.
        """
        n_state, n_memory = len(before), self.model.normalizer.n_memory
        if self.model.history == 1:
            return None
        goes_on = np.array_equal(self._recent[:n_state], before)
        last = self._recent[n_state : n_state + n_memory]
        last = last if goes_on else np.full(n_memory, np.nan)
        return last.reshape(self.model.history - 1, -1)

    def _evidence(
        self, before: Floats, code: NDArray[Any], after: Floats, weight: Floats | None
    ) -> Evidence:
        """Return what one transition says.

        Args:
            before: ``(W,)``.
            code: ``(1,)`` or ``(1, A)``.
            after: ``(D,)``.
            weight: ``(1, D)``, as of ``Transitions``.

        Raises:
            UsageError: it is nothing that can be computed with.
        """
        norm, prior = self.model.normalizer, self._prior
        start = before[: len(after)]
        features = features_of(self.model.members, norm, before[None], code)
        target = norm.encode_target(before[None], after[None])
        seen = after if weight is None else np.where(weight[0] > 0, after, np.nan)
        limited = prior.at_wall(norm.encode_state(seen[None]))
        found = Evidence.none(len(features), 1, features.shape[-1])
        for m in range(len(features)):
            z, residual = whitened(
                prior, m, self._roots[m], features[m], target, limited, None, weight
            )
            found.gram[m, 0] = z[0].T @ z[0]
            found.moment[m, 0] = z[0].T @ residual[0]
            found.energy[m, 0] = residual[0] @ residual[0]
        found.count[:] = 1
        found.missing[:] = 0 if weight is None else int((weight == 0).sum())
        if not all(np.isfinite(part[prior.sound]).all() for part in found[:3]):
            raise UsageError(
                f"agent {self.agent_id!r}: the transition from {start.tolist()} to "
                f"{after.tolist()} is too large to compute with; correct it, or leave it out"
            )
        return found

    @property
    def factors(self) -> Floats:
        """Return the posterior mean now, ``(M, r)``."""
        return solve(self._prior, self.evidence, self._own)[0][:, 0]

    @property
    def covariance(self) -> Floats:
        """Return the posterior covariance now, ``(M, r, r)``."""
        return solve(self._prior, self.evidence, self._own)[1][:, 0]

    def updated(self) -> FittedModel:
        """Return the model with what has been observed."""
        known = self.model.posterior
        place = match_ids(self.model.agent_ids, [self.agent_id])
        found = self.evidence
        if place[0] >= 0:  # only what is new is added
            found = found.minus(known.evidence.take(place))
        return with_evidence(
            self.model,
            known,
            (self.agent_id,),
            place,
            found,
            self._sums,
            self._static,
            self._seen,
            self._recent[None],
        )


def _action(model: FittedModel, action: Any) -> NDArray[Any]:
    """Return one action as the model takes it, ``(1,)`` or ``(1, A)``.

    Raises:
        UsageError: it has another number of values, or is none of the levels.
    """
    code = model.action_code
    if not code.roles.action:
        return np.zeros(1, np.int32)
    if not code.levels:
        values = _numbers(action, "an action").reshape(1, -1)
        if values.shape[1] != len(code.roles.action):
            raise UsageError(f"an action needs {len(code.roles.action)} values")
        return values
    given = np.asarray(action, object).reshape(-1)
    if len(given) != len(code.roles.action):
        raise UsageError(
            f"an action needs {len(code.roles.action)} values: {', '.join(code.roles.action)}"
        )
    discrete, continuous = code.places
    level = code.level_of([given[discrete].tolist()])
    if level[0] < 0:
        known = [row[0] for row in code.levels] if len(given) == 1 else list(code.level_names)
        told = ", ".join(map(clipped, given[discrete]))
        raise UsageError(f"unknown action {told}; the levels: {listed(known)}")
    if not code.roles.mixed:
        return level
    return code.pack(level, _numbers(given[continuous].tolist(), "an amount")[None])


def _numbers(values: Any, what: str) -> Floats:
    """Return values as an array.

    Raises:
        UsageError: they are no numbers.
    """
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be numbers, not {values!r}") from None
