"""From what is hidden of an agent to its factors: a map learned from the trained agents.

Kernel ridge regression of the factors on the covariates x, standardised, member by member, with an
unpenalised intercept:

    u(x) = mean u + k_c(x)^T (K_c + lambda n I)^-1 (U - mean u),   k(x, x') = exp(-|x-x'|^2 / 2 l^2)

where c marks centred kernels. Ridge lambda and length l, one for all members, are those with the
least error of predictions of agents left out, which has a closed form: residuals divided by one
minus the leverage. This is the paper's way to agents without data, with a regression of our own:
its appendix names none.

Axes: M members, n agents, r rank, C covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class CovariateMap(NamedTuple):
    """A learned map from covariates to factors.

    Attributes:
        centre: ``(C,)``, mean of the covariates.
        scale: ``(C,)``, their standard deviations.
        known: ``(n, C)``, standardised covariates of the trained agents.
        kernel: ``(n,)``, column means of the kernel between these.
        mean: ``(M, r)``, of their factors.
        weights: ``(M, n, r)``.
        length: l, in standard deviations.
        ridge: lambda.
        left_out: share of the squared differences between agents, as they show in predictions,
            that the map does not explain of an agent left out.
    """

    centre: Floats
    scale: Floats
    known: Floats
    kernel: Floats
    mean: Floats
    weights: Floats
    length: float
    ridge: float
    left_out: float

    def factors(self, covariates: Floats) -> Floats:
        """Return the factors of agents by their covariates.

        Args:
            covariates: of the agents, ``(U, C)``, raw units.

        Returns:
            ``(M, U, r)``.
        """
        raw = _kernel((covariates - self.centre) / self.scale, self.known, self.length)
        centred = raw - raw.mean(axis=1, keepdims=True) - self.kernel + self.kernel.mean()
        return self.mean[:, None] + centred @ self.weights


def fit_covariate_map(
    factors: Floats,
    metric: Floats,
    covariates: Floats,
    ridges: Sequence[float],
    lengths: Sequence[float],
) -> CovariateMap:
    """Return the map from covariates to factors that does best on agents left out.

    Args:
        factors: of the trained agents, ``(M, n, r)``.
        metric: what an error of factors does to predictions, ``(M, r, r)``; see ``static_prior``.
        covariates: of the trained agents, ``(n, C)``, raw units.
        ridges: penalties to try, per agent.
        lengths: length scales to try, in standard deviations.
    """
    sound = np.isfinite(factors).all(axis=(1, 2)) & np.isfinite(metric).all(axis=(1, 2))
    n_agents = len(covariates)
    centre, scale = covariates.mean(axis=0), covariates.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    known = (covariates - centre) / scale
    mean = factors.mean(axis=1)
    deviation = factors - mean[:, None]
    # What predicting the mean of the others costs is the unit of the errors.
    whole = _size(deviation[sound] / (1 - 1 / n_agents), metric[sound])

    best: Any = None
    for length in lengths:
        kernel = _kernel(known, known, length)
        means = kernel.mean(axis=0)
        centred = kernel - means - means[:, None] + means.mean()
        values, vectors = np.linalg.eigh(centred)
        values = np.maximum(values, 0.0)
        for ridge in ridges:
            shrunk = values / (values + ridge * n_agents)
            leverage = 1 / n_agents + np.square(vectors) @ shrunk
            fitted = vectors @ (shrunk[:, None] * (vectors.T @ deviation[sound]))
            residual = (deviation[sound] - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]
            left_out = float((_size(residual, metric[sound]) / whole).mean())
            if best is None or left_out < best[0]:
                solved = vectors / (values + ridge * n_agents) @ (vectors.T @ deviation)
                best = left_out, solved, means, length, ridge
    left_out, weights, means, length, ridge = best
    return CovariateMap(centre, scale, known, means, mean, weights, length, ridge, left_out)


def _kernel(one: Floats, other: Floats, length: float) -> Floats:
    """Return the Gaussian kernel between two sets of points, ``(A, B)``."""
    squares = np.square(one[:, None] - other[None]).sum(axis=-1)
    return np.exp(-squares / (2 * length**2))


def _size(residual: Floats, metric: Floats) -> Floats:
    """Return the mean over agents of squared errors of predictions, ``(M,)``."""
    squares = np.einsum("mnr,mrs,mns->mn", residual, metric, residual, optimize=True)
    return np.maximum(squares.mean(axis=1), 1e-300)
