"""The noise of the world: how far what happens is from what a simulator says, by chance.

Two kinds, told apart by the residuals r_t of one-step predictions along a trajectory:

    of the process       moves the state, and what follows goes on from there; its residuals do not
                         follow each other
    of the measurement   is in one row and gone in the next; the residual of the row is undone by
                         that of the next one

For agent n, in state column d and state s (standardised: z),

    sd = process_d * agent_{n,d} * exp(z . slope_d),    and of a row's measurement  measured_d

where slope is zero unless the data shows that the noise depends on the state. Where times are
uneven that is the process of a usual step, and one of length h has the root of h times the sd. What
the model itself gets wrong counts as noise where nothing tells the two apart.

Axes: N agents, K transitions, D state columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseSettings:
    """Numbers that decide what is noise, and of which kind.

    Attributes:
        rows: most transitions that are looked at.
        fewest: transitions without a missing value, from which on the others are left aside.
        reach: largest standardised state at which the noise still changes with it.
        evident: gain in log-likelihood, by which a dependence on the state has to show.
        certain: standard errors by which residuals have to undo each other, to be of measurement.
        most_measured: largest share of the variance of residuals that is of measurement.
        ridge: weight of the ridge of the slopes, per transition.
        least_agents: agents below which all are taken to be equally noisy.
    """

    rows: int = 20_000
    fewest: int = 50
    reach: float = 2.5
    evident: float = 8.0
    certain: float = 4.0
    most_measured: float = 0.98
    ridge: float = 1e-2
    least_agents: int = 3


NOISE = NoiseSettings()
"""Those of every fit."""


class WorldNoise(NamedTuple):
    """The noise of a run's data; see the module. Arrays of NumPy, or of JAX in compiled code.

    Attributes:
        process: ``(D,)``, raw units.
        agent: ``(N, D)``, factors.
        slope: ``(D, D)``, of each column's noise by standardised states.
        measured: ``(D,)``, raw units.
    """

    process: Any
    agent: Any
    slope: Any
    measured: Any

    @classmethod
    def even(cls, process: Floats, n_agents: int) -> WorldNoise:
        """Return the same noise of the process for all agents and states, ``(D,)``."""
        size = len(process)
        ones, none = np.ones((n_agents, size)), np.zeros((size, size))
        return cls(np.asarray(process, np.float64), ones, none, np.zeros(size))

    def take(self, agents: NDArray[np.integer]) -> WorldNoise:
        """Return the noise of some agents."""
        return self._replace(agent=self.agent[agents])

    def with_new(self, count: int) -> WorldNoise:
        """Return the noise with further agents, as noisy as agents are."""
        more = np.ones((count, self.agent.shape[1]))
        return self._replace(agent=np.concatenate([self.agent, more]))

    def sd(self, agent: Any, standard: Any, xp: Any = np) -> Any:
        """Return the standard deviation of the process in standardised states ``(..., D)``.

        Args:
            agent: ``(..., D)``, the factors of whose noise it is.
            standard: ``(..., D)``.
            xp: NumPy or ``jax.numpy``.
        """
        z = xp.clip(standard, -NOISE.reach, NOISE.reach)
        return self.process * agent * xp.exp(z @ self.slope.T)


def fit_noise(
    residual: Floats,
    standard: Floats,
    agent: NDArray[np.integer],
    follows: NDArray[np.bool_],
    slope: Floats,
    n_agents: int,
) -> WorldNoise:
    """Return the noise that residuals show.

    Args:
        residual: ``(K, D)``, of one-step predictions, raw units.
        standard: ``(K, D)``, standardised states that they start from.
        agent: ``(K,)``, whose.
        follows: ``(K,)``, whether the transition before goes on in this one.
        slope: ``(D,)``, how much of a change of a state is left in the next one.
        n_agents: N.
    """
    variance = np.maximum(np.square(residual).mean(axis=0), 1e-300)
    measured = _measured(residual, follows, slope, variance)
    left = np.maximum(
        variance - np.square(measured) * (1 + np.square(slope)),
        (1 - NOISE.most_measured) * variance,
    )
    unit = np.square(residual) / variance
    by_state = np.stack([_state_slope(unit[:, d], standard) for d in range(residual.shape[1])])
    z = np.clip(standard, -NOISE.reach, NOISE.reach)
    level = unit / np.exp(2 * z @ by_state.T)
    factors = _agent_factors(level, agent, n_agents)
    # The mean over the data stays that of the residuals.
    there = np.square(factors[agent]) * np.exp(2 * z @ by_state.T)
    return WorldNoise(
        np.sqrt(left / np.maximum(there.mean(axis=0), 1e-300)), factors, by_state, measured
    )


def _measured(
    residual: Floats, follows: NDArray[np.bool_], slope: Floats, variance: Floats
) -> Floats:
    """Return the standard deviation of measurement, ``(D,)``: -cov(r_t, r_t+1) = slope sd^2."""
    pairs = np.flatnonzero(follows)
    if not len(pairs):
        return np.zeros(len(variance))
    both = (residual[pairs] * residual[pairs - 1]).mean(axis=0)
    certain = -both > NOISE.certain * variance / len(pairs) ** 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(certain & (slope > 0.1), -both / slope, 0.0)
    most = NOISE.most_measured * variance / (1 + np.square(slope))
    return np.sqrt(np.clip(found, 0.0, most))


def _state_slope(unit: Floats, standard: Floats) -> Floats:
    """Return how the logarithm of the noise changes with the state, ``(D,)``; zero if not evident.

    By Fisher scoring of the Gaussian likelihood of r with variance exp(c + 2 z . slope).
    """
    z = np.clip(standard, -NOISE.reach, NOISE.reach)
    phi = np.concatenate([np.ones((len(z), 1)), z], axis=1)
    penalty = NOISE.ridge * len(z) * np.diag([0.0, *np.ones(z.shape[1])])
    beta = np.zeros(phi.shape[1])
    for _ in range(20):
        ratio = unit * np.exp(-np.clip(phi @ beta, -20, 20))
        gradient = phi.T @ (ratio - 1) - penalty @ beta
        beta = beta + np.clip(np.linalg.solve(phi.T @ phi + penalty, gradient), -0.5, 0.5)
    eta = np.clip(phi @ beta, -20, 20)
    flat = np.log(np.maximum(unit.mean(), 1e-300))
    gain = 0.5 * np.sum((flat + unit * np.exp(-flat)) - (eta + unit * np.exp(-eta)))
    return beta[1:] / 2 if gain > NOISE.evident + z.shape[1] else np.zeros(z.shape[1])


def _agent_factors(level: Floats, agent: NDArray[np.integer], n_agents: int) -> Floats:
    """Return how noisy each agent is, ``(N, D)``, shrunk to the mean by how much agents differ."""
    count = np.bincount(agent, minlength=n_agents).astype(np.float64)[:, None]
    total = np.zeros((n_agents, level.shape[1]))
    np.add.at(total, agent, level)
    rows = count[:, 0] > 1
    if rows.sum() < NOISE.least_agents:
        return np.ones_like(total)
    own = total[rows] / count[rows]
    # A mean square of K normal numbers has the variance 2/K by chance alone; outliers have more.
    chance = (level.var(axis=0) / np.maximum(level.mean(axis=0) ** 2, 1e-300)) / count[rows]
    mean = own.mean(axis=0)
    differ = own.var(axis=0) / np.maximum(mean**2, 1e-300) - chance.mean(axis=0)
    prior = 2 / np.maximum(differ, 1e-6)  # rows' worth of the mean agent
    return np.sqrt((total / np.maximum(mean, 1e-300) + prior) / (count + prior))
