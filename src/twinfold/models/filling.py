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

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.filled import interpolated
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.metrics import robust_scale
from twinfold.models.linear import fit_linear
from twinfold.models.linear_sums import LinearData, linear_data, linear_features_of
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.models.own_linear import own_linear
from twinfold.models.state_filter import FILTER, Passed, filtered

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FillingSettings:
    """Numbers that missing values are filled in by.

    Attributes:
        rounds: of filling in and of fitting the linear models, at the most.
        settled: change of what is filled in, in units of the noise, from which on nothing more is
            gained.
        step: of numerical derivatives, in standard deviations of the state.
    """

    rounds: int = 25
    settled: float = 0.02
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
        before, found = found, filtered_linear(panel, own, panel.known_inputs())
        state, noise = _smooth(found), found.noise
        if before is not None and _settled(before, found, normalizer, noise):
            break
    assert found is not None
    return replace(panel, filled=found.filled._replace(smoothed=None))


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
    noise, found = np.maximum(noise, FILTER.least_noise), None
    for _ in range(FILLING.rounds):
        models = own_linear(sums, fit_linear(sums, "pooled").shared, spread)
        spread = models.spread
        own = Own(normalizer, models.weights[agents], noise, n_levels, models.open[agents])
        last, found = found, filtered_linear(panel, own, known)
        if last is not None and _settled(last, found, normalizer, noise):
            break
        data = replace(panel, state=_smooth(found)).transitions()
        data = replace(data, known=None if known is None else known[inner])
        sums = before.add(agents, linear_data(normalizer, data, panel.n_agents, n_levels))
    assert found is not None
    return replace(panel, filled=found.filled._replace(smoothed=None))


def _settled(before: Passed, after: Passed, normalizer: Normalizer, noise: Floats) -> bool:
    """Return whether what is filled in has moved by next to nothing, in units of the noise."""
    moved = (after.filled.state - before.filled.state) / normalizer.target_scale
    return bool(np.all(np.sqrt(np.square(moved).mean(axis=0)) < FILLING.settled * noise))


def _smooth(passed: Passed) -> Floats:
    """Return what all rows say, ``(R, D)`` raw units."""
    assert passed.filled.smoothed is not None
    return passed.filled.smoothed.state


def _noise(normalizer: Normalizer, data: Transitions, weights: Floats, n_levels: int) -> Floats:
    """Return the scale of what linear models ``(N, q, D)`` leave of the targets, ``(D,)``."""
    phi = linear_features_of(normalizer, normalizer.carry(data.start), data.action, n_levels)
    left = normalizer.encode_target(data.state, data.next_state)
    left = left - np.einsum("kq,kqd->kd", phi, weights[data.agent])
    return np.maximum(robust_scale(left, None), FILTER.least_noise)


def filtered_linear(panel: PanelDataset, own: Own, known: Floats | None = None) -> Passed:
    """Return what the rows before, and what all rows, say in place of missing values.

    Args:
        panel: some of its values are missing.
        own: linear models of its agents.
        known: ``(R, E)``, known inputs.
    """
    norm = own.normalizer
    told = None if known is None else norm.encode_known(known)
    return filtered(panel, norm, _LinearStep(panel, own, told))


class _LinearStep:
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
        return after, slopes, self.noise * (FILTER.handed_on + leverage)

    def _predicted(self, state: Floats, rows: NDArray[np.integer]) -> tuple[Floats, Floats]:
        panel, own, told = self._panel, self._own, self._told
        carry = state if told is None else np.concatenate([state, told[rows]], axis=1)
        phi = linear_features_of(own.normalizer, carry, panel.action[rows], own.n_levels)
        target = np.einsum("kq,kqd->kd", phi, own.weights[panel.agent[rows]])
        return own.normalizer.next_state(carry, target), phi
