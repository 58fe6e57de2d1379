"""Sums over each agent's transitions, all that linear models of a panel are made from.

Axes: K transitions, N agents, D state columns, q linear features, with R ramps of additive models
behind them where there are any.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.transitions import Transitions
from twinfold.models.linear_terms import action_features, all_features, n_ramps
from twinfold.models.normalizer import Normalizer
from twinfold.models.ramps import Ramps

Floats = NDArray[np.float64]

LEVEL, STATE, ACTION, MEMORY, RAMP = range(5)
"""Kinds of features: the linear ones in the order of ``linear.Ratio``, and ramps."""


class LinearData(NamedTuple):
    """Sums over the transitions of each agent, all that a linear fit needs.

    Where values are missing, every column of the target has rows of its own, and so its own gram.

    Attributes:
        gram: ``(N, q, q)``, of phi phi^T; or ``(N, D, q, q)``, of each column's rows.
        moment: ``(N, q, D)``, of phi y^T.
        energy: ``(N, D)``, of y^2.
        still: ``(q, D)``, the coefficients that leave the state as it is.
        n_inputs: I, of a state, of its memory and of known inputs.
        n_memory: of these, those of the memory.
        n_known: of these, the known inputs, the last ones.
        rows: ``(N,)``, transitions of each agent where times are uneven, else None: the first of
            the features is 1 then, and counts them. ``(N, D)`` with a gram for every column.
        ramps: the last of the features, which additive models are made of; None without any.
    """

    gram: Floats
    moment: Floats
    energy: Floats
    still: Floats
    n_inputs: int
    n_memory: int = 0
    n_known: int = 0
    rows: Floats | None = None
    ramps: Ramps | None = None

    @classmethod
    def none(
        cls, normalizer: Normalizer, n_agents: int, n_levels: int, ramps: Ramps | None = None
    ) -> LinearData:
        """The sums of agents without data."""
        n_state = len(normalizer.state_mean)
        n_action = n_levels or len(normalizer.action_mean)
        q = 1 + normalizer.n_inputs + n_action
        if normalizer.uneven:
            q = 2 * q + n_action
        q += n_ramps(ramps, normalizer.uneven)
        return cls.of(
            normalizer,
            np.zeros((n_agents, q, q)),
            np.zeros((n_agents, q, n_state)),
            np.zeros((n_agents, n_state)),
            np.zeros(n_agents) if normalizer.uneven else None,
            ramps,
        )

    @classmethod
    def of(
        cls,
        normalizer: Normalizer,
        gram: Floats,
        moment: Floats,
        energy: Floats,
        rows: Floats | None = None,
        ramps: Ramps | None = None,
    ) -> LinearData:
        """Sums that are known, with what follows from the normalizer."""
        still = no_change(normalizer, gram.shape[-1])
        sizes = normalizer.n_inputs, normalizer.n_memory, normalizer.n_known
        return cls(gram, moment, energy, still, *sizes, rows, ramps)

    @property
    def by_column(self) -> bool:
        """Whether every column of the target has rows of its own."""
        return self.gram.ndim == 4

    @property
    def count(self) -> Floats:
        """``(N,)``, transitions of each agent; of the column with most, each by its weight."""
        count = self.counts
        return count.max(axis=1) if self.by_column else count

    @property
    def counts(self) -> Floats:
        """The same of every column, ``(N, D)``, where columns have rows of their own."""
        return self.gram[..., 0, 0] if self.rows is None else self.rows

    @property
    def kinds(self) -> NDArray[np.intp]:
        """Return ``(q,)``, the field of ``linear.Ratio`` that each linear feature is of, or RAMP.

        What agents make of known inputs differs as what they make of the state does.
        """
        further = n_ramps(self.ramps, self.rows is not None)
        size = self.gram.shape[-1] - further
        n_action = action_features(size, self.n_inputs, self.rows is not None)
        of_state = self.n_inputs - self.n_memory - self.n_known
        sizes = [1, of_state, self.n_memory, self.n_known, n_action]
        base = np.repeat([LEVEL, STATE, MEMORY, STATE, ACTION], sizes)
        base = base if self.rows is None else np.r_[base, base, np.full(n_action, ACTION)]
        return np.append(base, np.full(further, RAMP))

    def parts(self) -> Iterator[tuple[slice, LinearData]]:
        """Yield the sums of columns that have the same rows, and which columns these are."""
        if not self.by_column:
            yield slice(None), self
            return
        for d in range(self.energy.shape[1]):
            columns = slice(d, d + 1)
            yield (
                columns,
                self._replace(
                    gram=self.gram[:, d],
                    moment=self.moment[:, :, columns],
                    energy=self.energy[:, columns],
                    still=self.still[:, columns],
                    rows=None if self.rows is None else self.rows[:, d],
                ),
            )

    def features(self, memory: bool) -> NDArray[np.intp]:
        """Numbers of the linear features: all, or those that are not of the memory."""
        kinds = self.kinds
        return np.flatnonzero((kinds != RAMP) & (memory | (kinds != MEMORY)))

    def additive_features(self) -> NDArray[np.intp]:
        """Numbers of the features that additive models are made of: levels and ramps.

        Where times are uneven also what an action does at once.
        """
        kinds = self.kinds
        read = (kinds == LEVEL) | (kinds == RAMP)
        if self.rows is not None:
            at_once = np.flatnonzero(kinds == ACTION)
            read[at_once[-len(at_once) // 3 :]] = True
        return np.flatnonzero(read)

    def reading(self, features: NDArray[np.intp]) -> LinearData:
        """The sums of some of the features, for shared coefficients; the first is 1."""
        return self._replace(
            gram=self.gram[..., features, :][..., features],
            moment=self.moment[:, features],
            still=self.still[features],
        )

    def without_ramps(self) -> LinearData:
        """The sums of linear models alone."""
        if self.ramps is None:
            return self
        return self.reading(np.flatnonzero(self.kinds != RAMP))._replace(ramps=None)

    def without_memory(self) -> LinearData:
        """The sums of a model that reads the present state alone."""
        if not self.n_memory:
            return self
        read = self.features(memory=False)
        return self._replace(
            gram=self.gram[..., read, :][..., read],
            moment=self.moment[:, read],
            still=self.still[read],
            n_inputs=self.n_inputs - self.n_memory,
            n_memory=0,
        )

    def take(self, agents: NDArray[np.integer]) -> LinearData:
        """The sums of some agents."""
        return self._replace(
            gram=self.gram[agents],
            moment=self.moment[agents],
            energy=self.energy[agents],
            rows=None if self.rows is None else self.rows[agents],
        )

    def split(self) -> LinearData:
        """The same sums with a gram for every column."""
        if self.by_column:
            return self
        n_state = self.energy.shape[1]
        return self._replace(
            gram=np.repeat(self.gram[:, None], n_state, axis=1),
            rows=None if self.rows is None else np.repeat(self.rows[:, None], n_state, axis=1),
        )

    def like(self, other: LinearData) -> LinearData:
        """The same sums in the form of others, if that has more to tell."""
        return self.split() if other.by_column else self

    def join(self, other: LinearData) -> LinearData:
        """The sums of these agents and of further ones."""
        mine, theirs = self.like(other), other.like(self)
        return mine._with(
            np.concatenate(pair) for pair in zip(mine._sums(), theirs._sums(), strict=True)
        )

    def add(self, agents: NDArray[np.integer], other: LinearData) -> LinearData:
        """These sums and further ones of some of the agents, ``other`` in the order of these."""
        found = [part.copy() for part in self.like(other)._sums()]
        for total, more in zip(found, other.like(self)._sums(), strict=True):
            np.add.at(total, agents, more)
        return self._with(found)

    def put(self, agents: NDArray[np.integer], other: LinearData) -> LinearData:
        """These sums with those of some agents replaced, ``other`` in the order of these."""
        found = [part.copy() for part in self.like(other)._sums()]
        for total, new in zip(found, other.like(self)._sums(), strict=True):
            total[agents] = new
        return self._with(found)

    def _sums(self) -> list[Floats]:
        """Everything that adds up over transitions."""
        parts = [self.gram, self.moment, self.energy]
        return parts if self.rows is None else [*parts, self.rows]

    def _with(self, sums: Iterable[Floats]) -> LinearData:
        """The same with other sums, in the order of ``_sums``."""
        names = ("gram", "moment", "energy", "rows")
        return self._replace(**dict(zip(names, sums, strict=False)))


def linear_features_of(
    normalizer: Normalizer,
    standard: Floats,
    action: NDArray[Any],
    n_levels: int,
    ramps: Ramps | None = None,
) -> Floats:
    """Phi ``(K, q)`` of standardised states and raw actions; ``n_levels`` is 0 for continuous."""
    base, code = _base(normalizer, standard, action, n_levels)
    length = base[:, -1 - code.shape[1], None] if normalizer.uneven else None
    return all_features(base, length, code, ramps)


def _base(
    normalizer: Normalizer, standard: Floats, action: NDArray[Any], n_levels: int
) -> tuple[Floats, Floats]:
    """Return (1, inputs, action), ``(K, 1 + I + A)``, and the action alone."""
    inputs = normalizer.inputs(standard)
    code = np.eye(n_levels)[action] if n_levels else normalizer.encode_action(action)
    return np.concatenate([np.ones((len(inputs), 1)), inputs, code], axis=1), code


def find_ramps(normalizer: Normalizer, data: Transitions, n_levels: int) -> Ramps:
    """Return the ramps of some transitions: of state, known inputs and action.

    The length of a step has none, nor has the memory.

    Args:
        normalizer: float64, on the host.
        data: transitions that the ramps are to lie in.
        n_levels: L of a discrete action, 0 for continuous ones.
    """
    base, code = _base(normalizer, normalizer.carry(data.start), data.action, n_levels)
    columns = base[:, 1:]
    kinds = LinearData.none(normalizer, 0, n_levels).kinds[1 : 1 + columns.shape[1]]
    left_out = kinds == MEMORY
    if normalizer.uneven:
        left_out[-1 - code.shape[1]] = True
    return Ramps.of(columns, left_out)


def no_change(normalizer: Normalizer, n_features: int) -> Floats:
    """``(q, D)``: the coefficients that leave the state as it is."""
    n_state = len(normalizer.state_mean)
    shared = np.zeros((n_features, n_state))
    direct = 1 - normalizer.keep
    shared[0] = (direct * normalizer.state_mean - normalizer.target_mean) / normalizer.target_scale
    plain = [d for d in range(n_state) if d not in normalizer.angles]
    for place, d in enumerate(plain):  # an angle is never predicted itself
        shared[1 + place, d] = direct[d] * normalizer.state_scale[d] / normalizer.target_scale[d]
    return shared


def linear_data(
    normalizer: Normalizer,
    data: Transitions,
    n_agents: int,
    n_levels: int,
    ramps: Ramps | None = None,
) -> LinearData:
    """The sums that every linear fit is made from.

    Args:
        normalizer: float64, on the host.
        data: transitions, those of an agent next to each other.
        n_agents: N.
        n_levels: L of a discrete action, 0 for continuous ones.
        ramps: of additive models, where these are to be fitted as well.
    """
    standard = normalizer.carry(data.start)
    phi = linear_features_of(normalizer, standard, data.action, n_levels, ramps)
    y = normalizer.encode_target(data.state, data.next_state)
    weight = data.weight
    found = LinearData.none(normalizer, n_agents, n_levels, ramps)
    alike = data.memory is not None and data.present is None  # in all columns
    found = found if weight is None or alike else found.split()
    gram, moment, energy = found[:3]
    # Rows of an agent are next to each other: from one bound to the next.
    bounds = np.flatnonzero(np.r_[True, data.agent[1:] != data.agent[:-1], True]) if len(y) else []
    for start, stop in itertools.pairwise(bounds):
        rows, n = slice(start, stop), data.agent[start]
        if weight is None:
            gram[n] += phi[rows].T @ phi[rows]
            moment[n] += phi[rows].T @ y[rows]
            energy[n] += np.square(y[rows]).sum(axis=0)
            if found.rows is not None:
                found.rows[n] += stop - start
        elif alike:
            counted = weight[rows, :1]
            gram[n] += (phi[rows] * counted).T @ phi[rows]
            moment[n] += phi[rows].T @ (counted * y[rows])
            energy[n] += (counted * np.square(y[rows])).sum(axis=0)
            if found.rows is not None:
                found.rows[n] += counted.sum()
        else:
            counted = phi[rows].T * weight[rows].T[:, None]  # (D, q, k)
            product = counted @ phi[rows]
            gram[n] += (product + np.swapaxes(product, 1, 2)) / 2  # to the last bit
            moment[n] += phi[rows].T @ (weight[rows] * y[rows])
            energy[n] += (weight[rows] * np.square(y[rows])).sum(axis=0)
            if found.rows is not None:
                found.rows[n] += weight[rows].sum(axis=0)
    return found
