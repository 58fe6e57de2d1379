"""Ridge regressions of agents' factors, judged by agents that are left out, in closed form.

Axes: M members, n agents, r rank, F regressors, k singular values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Ridges(NamedTuple):
    """Ridge regressions of n agents' factors on centred regressors, of any strength.

    Attributes:
        left, size, right: ``(n, k)``, ``(k,)``, ``(k, F)``, singular values of the regressors.
        deviation: ``(M, n, r)``, of the factors from their mean.
    """

    left: Floats
    size: Floats
    right: Floats
    deviation: Floats

    @classmethod
    def of(cls, regressors: Floats, deviation: Floats) -> Ridges:
        """Return the regressions on centred regressors ``(n, F)``."""
        return cls(*np.linalg.svd(regressors, full_matrices=False), deviation)

    def leverage(self, ridge: float) -> Floats:
        """Return how much of each agent's own value is in what is expected of it, ``(n,)``."""
        n_agents = len(self.left)
        shrunk = self.size**2 / (self.size**2 + ridge * n_agents)
        return 1 / n_agents + np.square(self.left) @ shrunk

    def left_out(self, ridge: float) -> Floats:
        """Return the residuals of each agent when it is left out, in closed form: ``(M, n, r)``."""
        left, n_agents = self.left, len(self.left)
        shrunk = self.size**2 / (self.size**2 + ridge * n_agents)
        fitted = np.einsum("nk,k,jk,mjr->mnr", left, shrunk, left, self.deviation, optimize=True)
        return (self.deviation - fitted) / (1 - self.leverage(ridge))[:, None]

    def weights(self, ridge: float) -> Floats:
        """Return the regression's weights, ``(M, F, r)``."""
        solved = self.right.T * (self.size / (self.size**2 + ridge * len(self.left))) @ self.left.T
        return solved @ self.deviation

    def best(self, ridges: Sequence[float], metric: Floats, sound: NDArray[np.bool_]) -> float:
        """Return the strength with the least errors of predictions of agents left out.

        Args:
            ridges: strengths to try, per agent.
            metric: ``(M, r, r)``, what an error of factors does to predictions.
            sound: ``(M,)``, members that count.
        """
        unit = self.unit(metric, sound)
        errors = [
            (squared_errors(self.left_out(ridge), metric, sound) / unit).mean() for ridge in ridges
        ]
        return float(ridges[int(np.argmin(errors))])

    def without(self, metric: Floats, sound: NDArray[np.bool_]) -> Floats:
        """Return squared errors of predictions ``(m, n)`` by the mean of the other agents."""
        return squared_errors(self.deviation / (1 - 1 / len(self.left)), metric, sound)

    def unit(self, metric: Floats, sound: NDArray[np.bool_]) -> Floats:
        """Return the mean over agents of ``without``, ``(m, 1)``."""
        return np.maximum(self.without(metric, sound).mean(axis=1, keepdims=True), 1e-300)


def squared_errors(residual: Floats, metric: Floats, sound: NDArray[np.bool_]) -> Floats:
    """Return squared errors of predictions, ``(m, n)``, of the m members that count.

    Args:
        residual: ``(M, n, r)``, of factors.
        metric: ``(M, r, r)``, what an error of factors does to predictions.
        sound: ``(M,)``, members that count.
    """
    return np.einsum("mnr,mrs,mns->mn", residual, metric, residual, optimize=True)[sound]
