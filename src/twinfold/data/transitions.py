"""Transitions: a state, what was done in it, and the state that followed.

Axes: K transitions, N agents, D state columns, A action columns, E known inputs: exogenous columns
as coded, and where times are uneven the length of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.filled import Smoothed
from twinfold.data.memory import with_memory

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class DataRanges(NamedTuple):
    """Smallest and largest value of each state ``(D,)`` and action ``(A,)`` column, in its units.

    Actions of a trajectory's last row do not count. A discrete action gives its levels' range,
    ``(1,)``.
    """

    state_low: Floats
    state_high: Floats
    action_low: Floats
    action_high: Floats

    def union(self, other: DataRanges) -> DataRanges:
        """The ranges of both data sets together; NaN is no value."""
        return DataRanges(
            np.fmin(self.state_low, other.state_low),
            np.fmax(self.state_high, other.state_high),
            np.fmin(self.action_low, other.action_low),
            np.fmax(self.action_high, other.action_high),
        )

    def over_agents(self) -> DataRanges:
        """The ranges of all agents together, of ranges by agent ``(N, D)`` and ``(N, A)``."""
        low, high = np.fmin.reduce, np.fmax.reduce
        return DataRanges(
            low(self.state_low), high(self.state_high), low(self.action_low), high(self.action_high)
        )


@dataclass(frozen=True, eq=False)
class Transitions:
    """Everything observed of the form (agent, state, action, next state).

    Attributes:
        agent: ``(K,)`` int32, index into ``PanelDataset.agent_ids``.
        state: ``(K, D)`` float64, raw units.
        action: ``(K, A)`` float64, or ``(K,)`` int32 index into ``action_levels`` if discrete.
        next_state: ``(K, D)`` float64.
        segment: ``(K,)`` int32, the contiguous trajectory a transition belongs to.
        step: ``(K,)`` int32, its position in that segment, from 0.
        memory: ``(K, m, B)``, the steps before ``state`` (``data.memory``), the latest first, raw
            units; NaN where they are not known. None for a model without memory.
        known: ``(K, E)``, known inputs during each transition; None without such inputs.
        known_after: ``(K, E)``, those in the row of ``next_state``.
        present: ``(K, D)`` bool, which values of ``state`` were observed; what was not is filled
            in. None if all were.
        weight: ``(K, D)`` in [0, 1], how much each column of ``next_state`` counts: nothing where
            it was not observed, less where what is filled in ``state`` makes it uncertain, or where
            steps before it are not known. The same in all columns where ``present`` is None.
        smoothed: the same transitions as nets are to learn from them, where later rows have a say
            in what is filled in; None if they learn from what is above.
    """

    agent: Ints
    state: Floats
    action: Floats | Ints
    next_state: Floats
    segment: Ints
    step: Ints
    memory: Floats | None = None
    known: Floats | None = None
    known_after: Floats | None = None
    present: NDArray[np.bool_] | None = None
    weight: Floats | None = None
    smoothed: Smoothed | None = None

    def __len__(self) -> int:
        """K, the number of transitions."""
        return len(self.agent)

    @property
    def history(self) -> int:
        """k, rows that a model reads of them, the present one included."""
        return 1 if self.memory is None else 1 + self.memory.shape[1]

    @property
    def start(self) -> Floats:
        """What a prediction starts from, ``(K, W)``: states, steps before, known inputs."""
        return with_memory(self.state, self.memory, self.known)

    def select(self, rows: NDArray[Any]) -> Transitions:
        """The transitions of a boolean mask ``(K,)`` or of an index array, in that order."""
        parts: list[Any] = [self.memory, self.known, self.known_after, self.present, self.weight]
        return Transitions(
            self.agent[rows],
            self.state[rows],
            self.action[rows],
            self.next_state[rows],
            self.segment[rows],
            self.step[rows],
            *(None if part is None else part[rows] for part in parts),
            smoothed=None if self.smoothed is None else self.smoothed.take(rows),
        )

    def to_learn_from(self, rows: NDArray[np.integer]) -> Transitions:
        """The transitions as nets that are trained on some ``rows`` of them are to learn from them.

        What rows left out would say of others has no part in it: only what the rows before say.
        """
        if self.smoothed is None or self.weight is None:
            return self
        given = np.zeros(len(self), bool)
        given[rows] = True
        state, next_state, weight, ahead = self.smoothed
        last = np.minimum(np.arange(len(self)) + ahead, len(self) - 1)
        own = given[last][:, None]
        return replace(
            self,
            state=np.where(own, state, self.state),
            next_state=np.where(own, next_state, self.next_state),
            weight=np.where(own, weight, self.weight),
        )

    @property
    def steps_known(self) -> Ints:
        """How many of the steps before ``state`` are known, ``(K,)``; none without a memory."""
        if self.memory is None:
            return np.zeros(len(self), np.int32)
        return (~np.isnan(self.memory[:, :, 0])).sum(axis=1, dtype=np.int32)

    def counted_by(self, trust: Sequence[float]) -> Transitions:
        """The same transitions, where those of which steps before are not known count less.

        Args:
            trust: how much those count of which 0, 1, .. k - 2 steps are known; empty if all count
                in full.
        """
        if not len(trust):
            return self
        counts = np.append(trust, 1.0)[self.steps_known][:, None]
        weight = np.ones(self.state.shape) if self.weight is None else self.weight
        return replace(self, weight=weight * counts)

    @property
    def counted(self) -> NDArray[np.bool_] | None:
        """Which values of ``next_state`` were observed, ``(K, D)``; None if all were."""
        return None if self.weight is None else self.weight > 0

    @property
    def observed(self) -> Floats:
        """States ``(K, D)``, NaN where they were not observed."""
        return self.state if self.present is None else np.where(self.present, self.state, np.nan)

    @property
    def truth(self) -> Floats:
        """Next states ``(K, D)``, NaN where they were not observed."""
        if self.weight is None:
            return self.next_state
        return np.where(self.weight > 0, self.next_state, np.nan)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Of which transitions the whole ``state`` was observed, ``(K,)``."""
        whole: Any = np.ones(len(self), bool) if self.present is None else self.present.all(axis=1)
        return whole
