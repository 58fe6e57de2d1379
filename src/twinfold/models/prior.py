"""The prior of an agent's factors: what is known of it before any of its data.

    u ~ N(mu, Lambda^-1),    y = Z u + e,    e_d ~ N(0, sigma_d^2)

learned from the training agents (``adaptation.empirical_bayes``); the posterior that data makes of
it is in :mod:`twinfold.models.posterior`. Axes: M members, r rank, D state columns, K transitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PriorSettings:
    """Numbers that decide how firmly the prior holds.

    Attributes:
        known: precision of a factor that is known before any data.
        huber: standard deviations of the prior's prediction beyond which a residual counts less.
        leverage: variance that the prior leaves open about a prediction, in units of the noise's,
            beyond which a transition counts less.
    """

    known: float = 1e20
    huber: float = 3.0
    leverage: float = 1e12


PRIOR = PriorSettings()
"""Those of every prior."""


class Prior(NamedTuple):
    """Knowledge of an agent before any of its data, and the noise. Float64, on the host.

    Attributes:
        mean: ``(M, r)``, mu.
        precision: ``(M, r, r)``, Lambda.
        noise: ``(M, D)``, sigma, in standard deviations of the target.
        limit_noise: ``(M, D)``, sigma of transitions that end at a wall: a smooth net is far off
            there, and a car that hits one must not decide what is known of it.
        walls: ``(2, D)``, standardised hard limits, lower and upper, that few transitions end at;
            infinite elsewhere.
    """

    mean: Floats
    precision: Floats
    noise: Floats
    limit_noise: Floats
    walls: Floats

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Which members have not diverged, ``(M,)``."""
        parts = (self.mean, self.precision, self.noise)
        return np.all([np.isfinite(part.reshape(len(part), -1)).all(axis=1) for part in parts], 0)

    def at_wall(self, standard: Floats) -> NDArray[np.bool_]:
        """Which standardised next states ``(K, D)`` are at a wall in any column: ``(K,)``."""
        return ((standard <= self.walls[0]) | (standard >= self.walls[1])).any(axis=-1)


def no_walls(n_state: int) -> Floats:
    """``(2, D)``, limits that no state is at."""
    return np.repeat([[-np.inf], [np.inf]], n_state, axis=1)


def prior_root(prior: Prior) -> Floats:
    """``(M, r, r)``, L with L L^T the prior covariance."""
    return np.asarray(np.linalg.cholesky(np.linalg.inv(prior.precision)), np.float64)


def with_fixed(precision: Floats, n_fixed: int, variance: Floats | None) -> Floats:
    """Precision ``(r, r)`` of all factors from that of the nets' terms ``(k, k)``.

    Args:
        precision: of the nets' terms.
        n_fixed: fixed columns; the factor of the first of them is known to be 1.
        variance: ``(S,)``, of the own linear coefficients, the fixed columns but the first.
    """
    if not n_fixed:
        return precision
    own = np.zeros(n_fixed - 1) if variance is None else variance
    known = np.append(PRIOR.known, 1.0 / np.maximum(own, 1.0 / PRIOR.known))
    rank = n_fixed + len(precision)
    whole = np.zeros((rank, rank))
    whole[np.arange(n_fixed), np.arange(n_fixed)] = known
    whole[n_fixed:, n_fixed:] = precision
    return whole
