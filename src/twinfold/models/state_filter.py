"""A filter of states of which some values are missing: what rows before say, and what all rows say.

Row by row the state is predicted from that before, with its covariance; what is observed then
replaces the prediction, and corrects what is not observed by as much as their errors go together
(an extended Kalman filter, and the smoother of Rauch, Tung and Striebel 1965). See ``filling`` for
what it is used for. The model of a step is any: an agent's own linear one, or nets.

Axes: R rows, L segments, N agents, D state columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from twinfold.data.filled import Filled, Smoothed
from twinfold.data.panel import PanelDataset
from twinfold.metrics import robust_scale
from twinfold.models.normalizer import Normalizer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FilterSettings:
    """Numbers of a filter.

    Attributes:
        least_noise: of one step, in standard deviations of the target.
        handed_on: share of the noise of one step that is of the state itself, not of its
            measurement.
        jitter: variance that is added to what a smoother divides by.
        unknown: trust in a state that nothing is known of.
    """

    least_noise: float = 1e-6
    handed_on: float = 0.2
    jitter: float = 1e-12
    unknown: float = 1e-6


FILTER = FilterSettings()
"""Those of every panel."""


@runtime_checkable
class Step(Protocol):
    """A model of one step, of standardised states."""

    @property
    def noise(self) -> Floats:
        """Sigma, variance of one step's residuals ``(D,)``, of standardised states."""
        ...

    def __call__(self, state: Floats, rows: NDArray[np.integer]) -> tuple[Floats, Floats, Floats]:
        """Return the next states ``(L, D)``, their slopes ``(L, D, D)``, and Q, ``(L, D)``.

        Args:
            state: ``(L, D)``.
            rows: ``(L,)``, where in the panel.
        """
        ...


class Passed(NamedTuple):
    """The outcome of a filter.

    Attributes:
        filled: what the rows before say, and what all rows say.
        noise: ``(D,)``, scale of what the filter did not predict, in standard deviations of the
            target.
    """

    filled: Filled
    noise: Floats


def filtered(panel: PanelDataset, norm: Normalizer, step: Step) -> Passed:
    """Return what the rows before, and what all rows, say in place of missing values.

    Args:
        panel: some of its values are missing.
        norm: float64, on the host.
        step: the model of one step.
    """
    observed = norm.encode_state(panel.state)
    there = ~np.isnan(observed)
    state, doubt = np.empty_like(observed), np.zeros_like(observed)
    surprise = np.full_like(observed, np.nan)  # what was observed, less what was predicted
    ahead = np.zeros_like(observed)  # variance before what the row itself says
    left = np.zeros((*observed.shape, observed.shape[1]))  # covariance of what is known
    passed, belief = [], _at_first(panel, observed)
    for rows, inner in _steps(panel.segment):
        belief = belief.first(len(rows))
        ahead[rows] = np.einsum("ldd->ld", belief.covariance)
        belief = belief.updated(observed[rows])
        state[rows], left[rows] = belief
        if not inner.any():
            break
        here, before = rows[inner], belief.some(inner)
        after, slopes, more = step(before.mean, here)
        moved = slopes @ before.covariance @ np.swapaxes(slopes, 1, 2)
        doubt[here] = np.maximum(np.einsum("ldd->ld", moved), 0.0) / step.noise
        surprise[here] = observed[here + 1] - after
        belief = _Belief(after, moved + more[:, None] * np.eye(len(step.noise)))
        passed.append((here, before, slopes, belief))
    smoothed, unsure = state.copy(), np.zeros_like(observed)
    for here, before, slopes, after in reversed(passed):
        system = after.covariance + FILTER.jitter * np.eye(len(step.noise))
        gain = np.linalg.solve(system, slopes @ before.covariance)
        smoothed[here] += np.einsum("led,le->ld", gain, smoothed[here + 1] - after.mean)
        left[here] += np.swapaxes(gain, 1, 2) @ (left[here + 1] - after.covariance) @ gain
        spread = np.einsum("lde,lef,ldf->ld", slopes, left[here], slopes)
        unsure[here] = np.maximum(spread, 0.0) / step.noise
    doubt[there.all(axis=1)] = 0.0
    trust = np.maximum(1 / (1 + doubt), FILTER.unknown)
    raw, best = (
        np.where(there, panel.state, norm.decode_state(part)) for part in (state, smoothed)
    )
    after = np.roll(np.arange(len(best)), -1)
    told = 1 - np.einsum("ldd->ld", left) / np.maximum(ahead, FILTER.jitter)
    told = np.where(there, 1.0, np.clip(told, 0.0, 1.0))[after] / (1 + unsure)
    all_rows = Smoothed(best, best[after], told, _rows_ahead(panel.segment, there.all(axis=1)))
    weight = np.where(np.isnan(surprise), 0.0, trust)
    scale = robust_scale(surprise * norm.state_scale / norm.target_scale, None, weight)
    return Passed(Filled(raw, trust, all_rows), np.maximum(scale, FILTER.least_noise))


def _rows_ahead(segment: NDArray[np.integer], whole: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return how many rows after the next one may say something of this row and of that, ``(R,)``.

    None beyond one that was wholly observed: given that, what comes later tells nothing of before.
    """
    ends = np.append(segment[1:] != segment[:-1], True) | whole
    place = np.flatnonzero(ends)
    rows = np.arange(len(segment))
    after = np.minimum(rows + 1, len(segment) - 1)
    return np.maximum(place[np.searchsorted(place, after)] - after, 0).astype(np.int32)


def _steps(
    segment: NDArray[np.integer],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Yield the first row of every segment, then the second ones, and which are not their last.

    The longest segments come first, so that those that go on are the first ones.
    """
    starts = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]])
    length = np.diff(np.append(starts, len(segment)))
    order = np.argsort(-length, kind="stable")
    starts, length = starts[order], length[order]
    for step in range(int(length[0])):
        count = int(np.searchsorted(-length, -step))
        yield starts[:count] + step, length[:count] > step + 1


class _Belief(NamedTuple):
    """States of some segments, standardised: mean ``(L, D)`` and covariance ``(L, D, D)``."""

    mean: Floats
    covariance: Floats

    def first(self, count: int) -> _Belief:
        """Those of the first segments."""
        return _Belief(self.mean[:count], self.covariance[:count])

    def some(self, chosen: NDArray[np.bool_]) -> _Belief:
        """Those of some segments, by a mask."""
        return _Belief(self.mean[chosen], self.covariance[chosen])

    def updated(self, observed: Floats) -> _Belief:
        """With what is observed ``(L, D)``, NaN where nothing is."""
        known = ~np.isnan(observed)
        if known.all():
            return _Belief(observed.copy(), np.zeros_like(self.covariance))
        # Without a variance of its own, an observed column has a gain of 1 from itself.
        both = known[:, :, None] & known[:, None, :]
        eye = np.eye(known.shape[1])
        size = np.einsum("ldd->ld", self.covariance).max(axis=1)[:, None, None] + 1e-300
        system = np.where(both, self.covariance / size + 1e-12 * eye, eye)
        cross = np.where(known[:, None, :], self.covariance / size, 0.0)  # (L, D, D)
        gain = np.swapaxes(np.linalg.solve(system, np.swapaxes(cross, 1, 2)), 1, 2)
        surprise = np.where(known, observed - self.mean, 0.0)
        mean = self.mean + np.einsum("lde,le->ld", gain, surprise)
        covariance = self.covariance - gain @ np.swapaxes(cross, 1, 2) * size
        covariance = np.where(~known[:, :, None] & ~known[:, None, :], covariance, 0.0)
        return _Belief(np.where(known, observed, mean), covariance)


def _at_first(panel: PanelDataset, observed: Floats) -> _Belief:
    """Return what is believed of each segment's first row: where its agent usually is."""
    starts = np.flatnonzero(np.r_[True, panel.segment[1:] != panel.segment[:-1]])
    length = np.diff(np.append(starts, len(panel.segment)))
    agent = panel.agent[starts[np.argsort(-length, kind="stable")]]
    mean, variance = _agents_usual(observed, panel.agent, panel.n_agents)
    return _Belief(mean[agent], variance[agent][..., None] * np.eye(observed.shape[1]))


def _agents_usual(
    observed: Floats, agent: NDArray[np.integer], n_agents: int
) -> tuple[Floats, Floats]:
    """Return where each agent usually is, and its variance: ``(N, D)`` each, standardised.

    Of an agent or a column with fewer than two values, what all have.
    """
    known = ~np.isnan(observed)
    values, n_state = np.where(known, observed, 0.0), observed.shape[1]
    count, total, squares = np.zeros((3, n_agents, n_state))
    for sums, part in ((count, known), (total, values), (squares, values**2)):
        np.add.at(sums, agent, part)
    mean = total / np.maximum(count, 1)
    variance = squares / np.maximum(count, 1) - mean**2
    few = count < 2
    return np.where(few, 0.0, mean), np.where(few, 1.0, np.maximum(variance, 1e-12))
