"""What stands for missing values of a state: what the rows before say, by the agent's own dynamics.

A Kalman filter (1960) with each agent's own linear model. Row by row the state is predicted from
that before, with its covariance; what is observed then replaces the prediction, and corrects what
is not observed by as much as their errors go together:

    m' = f_n(m, a)          P' = A_n P A_n^T + Q
    m <- m' + K (s - m')    P <- (I - K) P'
    K = P' (P' + R)^-1      R = 0 of an observed column, else infinite

Only earlier rows say what stands for a value, as at the start of a question: what follows is then
on average what the model makes of it, and nothing that is held out leaks into where a prediction
of it begins. How uncertain a filled state makes column d of the next row says what that counts:

    trust_d = Sigma_d / (A_n P A_n^T + Sigma)_d

with Sigma the variance of one step's residuals, so that where there is next to no noise complete
rows decide, and where there is much all count nearly alike. Of Sigma only a share is handed on from
row to row; what is noise of the measurement is not. To it comes what the agent's own data leaves
open of its model, so that an agent of few rows does not learn from what it has made up itself:

    Q = Sigma (share + phi^T C_n phi)

The linear models are found in turns with the states, by what all rows say of these (a smoother;
Rauch, Tung and Striebel 1965): a column that is measured now and then has no two values in a row
that would tell how it moves.

Axes: R rows, L segments, N agents, D state columns, q linear features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.filled import Filled, interpolated
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.metrics import robust_scale
from twinfold.models.linear import fit_linear
from twinfold.models.linear_sums import LinearData, linear_data, linear_features_of
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.models.own_linear import own_linear

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FillingSettings:
    """Numbers that missing values are filled in by.

    Attributes:
        rounds: of filling in and of fitting the linear models, at the most.
        adapted: rounds, where a model is there to begin with.
        settled: change of what is filled in, in units of the noise, from which on nothing more is
            gained.
        least_noise: of one step, in standard deviations of the target.
        handed_on: share of the noise of one step that is of the state itself, not of its
            measurement.
        jitter: variance that is added to what a smoother divides by.
        unknown: trust in a state that nothing is known of.
        step: of numerical derivatives, in standard deviations of the state.
    """

    rounds: int = 25
    adapted: int = 8
    settled: float = 0.02
    least_noise: float = 1e-6
    handed_on: float = 0.2
    jitter: float = 1e-12
    unknown: float = 1e-6
    step: float = 1e-4


FILLING = FillingSettings()
"""Those of every panel."""


class Own(NamedTuple):
    """Linear models of all agents, and the noise of one step.

    Attributes:
        normalizer: float64, on the host; without a memory.
        weights: ``(N, q, D)``.
        noise: ``(D,)``, in standard deviations of the target.
        n_levels: L of a discrete action, 0 for continuous ones.
        open: ``(N, D, q, q)``, covariance of the weights in units of the noise's variance: what the
            agent's own data leaves open.
    """

    normalizer: Normalizer
    weights: Floats
    noise: Floats
    n_levels: int
    open: Floats


class Passed(NamedTuple):
    """The outcome of a filter.

    Attributes:
        filled: what the rows before say.
        smoothed: ``(R, D)`` raw units, what all rows say.
        noise: ``(D,)``, scale of what the filter did not predict, as ``Own.noise``.
    """

    filled: Filled
    smoothed: Floats
    noise: Floats


def filled_in(panel: PanelDataset) -> PanelDataset:
    """Return the panel with what its own data says in place of missing values.

    A panel without any is given back as it is.
    """
    if panel.missing is None:
        return panel
    angles = [panel.roles.state.index(name) for name in panel.roles.angle]
    n_levels = 0 if panel.action_levels is None else len(panel.action_levels)
    state, spread, noise, found = interpolated(panel).state, None, None, None
    for _ in range(FILLING.rounds):
        data = replace(panel, state=state).transitions()
        normalizer = fit_normalizer(data, angles, uneven=panel.uneven)
        sums = linear_data(normalizer, data, panel.n_agents, n_levels)
        models = own_linear(sums, fit_linear(sums, "pooled").shared, spread)
        spread = models.spread
        if noise is None:
            noise = _noise(normalizer, data, models.weights, n_levels)
        own = Own(normalizer, models.weights, noise, n_levels, models.open)
        before, found = found, filtered(panel, own, panel.known_inputs())
        state, noise = found.smoothed, found.noise
        if before is not None:
            moved = (found.filled.state - before.filled.state) / normalizer.target_scale
            if np.all(np.sqrt(np.square(moved).mean(axis=0)) < FILLING.settled * noise):
                break
    assert found is not None
    return replace(panel, filled=found.filled)


def filled_by(
    panel: PanelDataset,
    normalizer: Normalizer,
    noise: Floats,
    before: LinearData,
    n_levels: int,
    known: Floats | None = None,
) -> PanelDataset:
    """Return the panel with what a model says in place of missing values, and its own data.

    Args:
        panel: data of some agents, its actions as the model counts them.
        normalizer: float64, on the host.
        noise: ``(D,)``, of one step, in standard deviations of the target.
        before: sums of what is known already: of the panel's agents, then of others.
        n_levels: L of a discrete action, 0 for continuous ones.
        known: ``(R, E)``, known inputs as the model reads them.
    """
    if panel.missing is None:
        return panel
    before, normalizer = before.without_memory(), replace(normalizer, history=1)
    sums, agents, spread = before, np.arange(panel.n_agents), None
    inner = np.flatnonzero(panel.segment[1:] == panel.segment[:-1])
    noise, found = np.maximum(noise, FILLING.least_noise), None
    for _ in range(FILLING.adapted):
        models = own_linear(sums, fit_linear(sums, "pooled").shared, spread)
        spread = models.spread
        own = Own(normalizer, models.weights[agents], noise, n_levels, models.open[agents])
        found = filtered(panel, own, known)
        data = replace(panel, state=found.smoothed).transitions()
        data = replace(data, known=None if known is None else known[inner])
        sums = before.add(agents, linear_data(normalizer, data, panel.n_agents, n_levels))
    assert found is not None
    return replace(panel, filled=found.filled)


def _noise(normalizer: Normalizer, data: Transitions, weights: Floats, n_levels: int) -> Floats:
    """Return the scale of what linear models ``(N, q, D)`` leave of the targets, ``(D,)``."""
    phi = linear_features_of(normalizer, normalizer.carry(data.start), data.action, n_levels)
    left = normalizer.encode_target(data.state, data.next_state)
    left = left - np.einsum("kq,kqd->kd", phi, weights[data.agent])
    return np.maximum(robust_scale(left, None), FILLING.least_noise)


def filtered(panel: PanelDataset, own: Own, known: Floats | None = None) -> Passed:
    """Return what the rows before, and what all rows, say in place of missing values.

    Args:
        panel: some of its values are missing.
        own: linear models of its agents.
        known: ``(R, E)``, known inputs.
    """
    norm = own.normalizer
    step = _Step(panel, own, None if known is None else norm.encode_known(known))
    observed = norm.encode_state(panel.state)
    there = ~np.isnan(observed)
    state, doubt = np.empty_like(observed), np.zeros_like(observed)
    surprise = np.full_like(observed, np.nan)  # what was observed, less what was predicted
    passed, belief = [], _at_first(panel, observed)
    for rows, inner in _steps(panel.segment):
        belief = belief.first(len(rows)).updated(observed[rows])
        state[rows] = belief.mean
        if not inner.any():
            break
        here, before = rows[inner], belief.some(inner)
        after, slopes, more = step(before.mean, here)
        moved = slopes @ before.covariance @ np.swapaxes(slopes, 1, 2)
        doubt[here] = np.maximum(np.einsum("ldd->ld", moved), 0.0) / step.noise
        surprise[here] = observed[here + 1] - after
        belief = _Belief(after, moved + more[:, None] * np.eye(len(step.noise)))
        passed.append((here, before, slopes, belief))
    smoothed = state.copy()
    for here, before, slopes, after in reversed(passed):
        system = after.covariance + FILLING.jitter * np.eye(len(step.noise))
        gain = np.linalg.solve(system, slopes @ before.covariance)
        smoothed[here] += np.einsum("led,le->ld", gain, smoothed[here + 1] - after.mean)
    doubt[there.all(axis=1)] = 0.0
    trust = np.maximum(1 / (1 + doubt), FILLING.unknown)
    raw, best = (
        np.where(there, panel.state, norm.decode_state(part)) for part in (state, smoothed)
    )
    weight = np.where(np.isnan(surprise), 0.0, trust)
    scale = robust_scale(surprise * norm.state_scale / norm.target_scale, None, weight)
    return Passed(Filled(raw, trust), best, np.maximum(scale, FILLING.least_noise))


class _Step:
    """One step of the agents' linear models, of standardised states."""

    def __init__(self, panel: PanelDataset, own: Own, told: Floats | None) -> None:
        """Begin.

        Args:
            panel: its actions are taken.
            own: linear models of its agents.
            told: ``(R, E)``, known inputs, standardised.
        """
        norm = own.normalizer
        self._panel, self._own, self._told = panel, own, told
        # Sigma, in units of the state.
        self.noise = np.square(own.noise * norm.target_scale / norm.state_scale)

    def __call__(self, state: Floats, rows: NDArray[np.integer]) -> tuple[Floats, Floats, Floats]:
        """Return the next states ``(L, D)``, their slopes ``(L, D, D)``, and Q, ``(L, D)``.

        Args:
            state: ``(L, D)``.
            rows: ``(L,)``, where in the panel.
        """
        after, phi = self._predicted(state, rows)
        slopes = np.empty((*state.shape, state.shape[1]))
        for d in range(state.shape[1]):
            aside = state.copy()
            aside[:, d] += FILLING.step
            slopes[:, :, d] = (self._predicted(aside, rows)[0] - after) / FILLING.step
        still_open = self._own.open[self._panel.agent[rows]]
        leverage = np.einsum("lq,ldqr,lr->ld", phi, still_open, phi)
        return after, slopes, self.noise * (FILLING.handed_on + leverage)

    def _predicted(self, state: Floats, rows: NDArray[np.integer]) -> tuple[Floats, Floats]:
        panel, own, told = self._panel, self._own, self._told
        carry = state if told is None else np.concatenate([state, told[rows]], axis=1)
        phi = linear_features_of(own.normalizer, carry, panel.action[rows], own.n_levels)
        target = np.einsum("kq,kqd->kd", phi, own.weights[panel.agent[rows]])
        return own.normalizer.advance(carry, target)[:, : state.shape[1]], phi


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
