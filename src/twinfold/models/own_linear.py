"""Own linear models of agents, drawn to the pooled one by as much as the likelihood says.

Axes: N agents, D state columns, q linear features, k directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.models.linear_sums import LinearData

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OwnSettings:
    """Numbers that own linear models are made by.

    Attributes:
        kappas: variances of agents' deviations in units of the noise's; 0: agents are alike.
        rounding: of sums of squares, as a share: less cannot be told from nothing.
        free: rows of an agent beyond those that its weights take up, from which on it says by
            itself what the noise is.
        rounds: of expectation maximisation.
        spread: variance of agents' coefficients to begin with, in units of the noise's.
        least: smallest such variance.
    """

    kappas: tuple[float, ...] = (0.0, *(10.0 ** np.arange(-4, 3.5, 0.5)).tolist())
    rounding: float = 1e-12
    free: float = 3.0
    rounds: int = 10
    spread: float = 1.0
    least: float = 1e-9


OWN = OwnSettings()
"""Those of every panel."""


def own_deviations(sums: LinearData, pooled: Floats) -> Floats:
    """Return what each agent's weights add to the pooled ones, ``(N, q, D)``.

    Of an agent with sums G and r (moments of what the pooled model leaves),

        D_n = (G + I / kappa)^-1 r
        log L(kappa) = -1/2 [K log(sum e_n(kappa) / K) + sum log det(I + kappa G_n)]

    with e_n the penalised squares that are left and K the transitions.

    Args:
        sums: of the agents.
        pooled: ``(q, D)``, weights of all agents.
    """
    found = np.empty_like(sums.moment)
    for columns, part in sums.parts():
        found[:, :, columns] = _of_same_rows(part, pooled[:, columns])
    return found


def _of_same_rows(sums: LinearData, pooled: Floats) -> Floats:
    left = sums.moment - sums.gram @ pooled
    energy = sums.energy - np.einsum("qd,nqd->nd", pooled, sums.moment + left)
    values, vectors = np.linalg.eigh(sums.gram)  # (N, q), (N, q, q)
    values = np.maximum(values, 0.0)
    turned = np.einsum("nqk,nqd->nkd", vectors, left)
    rows = max(float(sums.count.sum()), 1.0)
    least = OWN.rounding * np.maximum(sums.energy.sum(axis=0), OWN.rounding)
    loss, kappas = [], np.array(OWN.kappas)
    for kappa in kappas:
        explained = np.square(turned) * (kappa / (1 + kappa * values))[..., None]
        squares = np.maximum(energy.sum(axis=0) - explained.sum(axis=(0, 1)), least)
        loss.append(rows * np.log(squares / rows) + np.log1p(kappa * values).sum())
    kappa = kappas[np.argmin(loss, axis=0)]  # (D,)
    weight = kappa / (1 + kappa * values[..., None])
    return np.einsum("nqk,nkd->nqd", vectors, weight * turned)


class OwnLinear(NamedTuple):
    """Linear models of agents, and what their own data leaves open of them.

    Attributes:
        weights: ``(N, q, D)``.
        open: ``(N, D, q, q)``, covariance of the weights, in units of the noise's variance.
        mean: ``(q, D)``, weights of the average agent.
        spread: ``(D, q)``, variance of agents' weights, in units of the noise's.
    """

    weights: Floats
    open: Floats
    mean: Floats
    spread: Floats


def own_linear(sums: LinearData, mean: Floats, spread: Floats | None = None) -> OwnLinear:
    """Return the linear models of agents under a prior that is learned from all of them.

        w_nd ~ N(mean_d, sigma_d^2 diag(spread_d))

    by expectation maximisation (Dempster, Laird and Rubin 1977): every coefficient of every column
    has a variance of its own, where ``own_deviations`` has one of them all.

    Args:
        sums: of the agents.
        mean: ``(q, D)``, to begin with, such as the pooled model.
        spread: ``(D, q)``, to begin with.
    """
    gram = sums.split().gram  # (N, D, q, q)
    rows = sums.split().counts  # (N, D)
    moment, mean = np.swapaxes(sums.moment, 1, 2), mean.T  # (N, D, q), (D, q)
    spread = np.full(mean.shape, OWN.spread) if spread is None else np.array(spread)
    most = np.maximum(sums.energy.sum(axis=0), OWN.rounding)
    least = OWN.rounding * most / np.maximum(rows.sum(axis=0), 1.0)
    weights = still_open = np.zeros(0)
    for _ in range(OWN.rounds):
        ridge = np.eye(mean.shape[1]) / np.maximum(spread, OWN.least)[..., None]
        still_open = np.linalg.inv(gram + ridge)
        turned = np.einsum("ndqr,dr->ndq", gram, mean)
        own = np.einsum("ndqr,ndr->ndq", still_open, moment - turned)
        weights = mean + own
        squares = sums.energy - 2 * (weights * moment).sum(axis=2)
        squares = squares + np.einsum("ndq,ndqr,ndr->nd", weights, gram, weights)
        free = rows - np.einsum("ndqr,ndrq->nd", gram, still_open)
        noise = np.maximum(_typical(squares, free), least)
        shift = own.mean(axis=0)
        spread = np.square(own - shift).mean(axis=0) / noise[:, None]
        spread = spread + np.einsum("ndqq->dq", still_open) / len(own)
        mean = mean + shift
    return OwnLinear(np.swapaxes(weights, 1, 2), still_open, mean.T, np.asarray(spread))


def _typical(squares: Floats, free: Floats) -> Floats:
    """Return the variance of the noise ``(D,)``: that of the median agent.

    An agent whose model is wrong must not decide for all.

    Args:
        squares: ``(N, D)``, sums of squared residuals.
        free: ``(N, D)``, rows less those that weights take up.
    """
    found = squares.sum(axis=0) / np.maximum(free.sum(axis=0), 1.0)
    for d in range(len(found)):
        enough = free[:, d] >= OWN.free
        if enough.any():
            found[d] = np.median(squares[enough, d] / free[enough, d])
    return found
