"""The prior of an agent by columns that never change, where it depends on them in curves.

    u ~ N(mu + a + B^T phi(x), (1 + 1/n + phi^T (Phi^T Phi + lambda n I)^-1 phi) S + d^2 Lambda^-1)

phi: products of Legendre polynomials of the columns, each within the range of the n trained agents,
of a total degree that is at most ``degree``, less their means. a, B: ridge regression, member by
member. S: of its leave-one-out residuals, each divided by what it is expected to be larger for an
agent far from the others. Degree and strength are those with the least leave-one-out error of
predictions. Nothing of a single agent is kept. Polynomials are of no use far beyond their data:
they go on for a margin, then stay as they are, and d^2 of the variance of all agents is added.

Axes: M members, n agents, r rank, C static columns, F terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from twinfold.models.covariance import widened_covariance
from twinfold.models.left_out_ridge import Ridges, squared_errors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CurveSettings:
    """Numbers that decide what is said of agents beyond the trained ones.

    Attributes:
        margin: in halves of a column's range, for which polynomials go on beyond it.
        drift: standard deviations of all agents that an agent may be off for every half of a
            column's range that it is further away.
    """

    margin: float = 0.05
    drift: float = 3.0


CURVE = CurveSettings()
"""Those of every run."""

_RIDGES = np.logspace(-10, 2, 13)  # per agent


class StaticCurve(NamedTuple):
    """The regression of factors on polynomials of static columns. Float64, on the host.

    Attributes:
        degree: ``()``, the largest of a term.
        centre: ``(F,)``, means of the terms.
        shift: ``(M, r)``, a: expected factors less mu where the terms are their means.
        weights: ``(M, F, r)``, B.
        precision: ``(M, r, r)``, the inverse of S.
        spread: ``(F, F)``, (Phi^T Phi + lambda n I)^-1.
        agents: ``()``, n.
    """

    degree: Floats
    centre: Floats
    shift: Floats
    weights: Floats
    precision: Floats
    spread: Floats
    agents: Floats

    def own(self, precision: Floats, position: Floats) -> tuple[Floats, Floats]:
        """Return shift ``(M, N, r)`` and precision ``(M, N, r, r)`` of the priors of some agents.

        Args:
            precision: ``(M, r, r)``, Lambda.
            position: ``(N, C)``, columns within their ranges, -1 to 1.
        """
        inside = np.clip(position, -1 - CURVE.margin, 1 + CURVE.margin)
        terms = polynomial_terms(inside, int(self.degree)) - self.centre
        far = 1 + 1 / self.agents + np.einsum("nf,fg,ng->n", terms, self.spread, terms)
        own = self.precision[:, None] / far[:, None, None]
        for n in np.flatnonzero(beyond := np.abs(position - inside).max(axis=1)):
            # The inverse of P^-1 + d^2 Lambda^-1.
            added = precision / (CURVE.drift * beyond[n]) ** 2
            own[:, n] = own[:, n] @ np.linalg.solve(own[:, n] + added, added)
        return self.shift[:, None] + terms @ self.weights, own


def n_terms(n_columns: int, degree: int) -> int:
    """Return F: products of polynomials of columns, without the constant."""
    return comb(n_columns + degree, degree) - 1


def polynomial_terms(position: Floats, degree: int) -> Floats:
    """Return the products of Legendre polynomials of columns, ``(N, F)``.

    Args:
        position: ``(N, C)``, -1 to 1.
        degree: the largest of a product.
    """
    n_agents, n_columns = position.shape
    each = legendre.legvander(position, degree)  # (N, C, degree + 1)
    terms = []
    for total in range(1, degree + 1):
        for columns in combinations_with_replacement(range(n_columns), total):
            term = np.ones(n_agents)
            for column in set(columns):
                term = term * each[:, column, columns.count(column)]
            terms.append(term)
    return np.stack(terms, axis=1)


def fit_curve(
    own: Floats,
    metric: Floats,
    position: Floats,
    degrees: tuple[int, ...],
    agents_per_term: int,
) -> tuple[StaticCurve, Floats] | None:
    """Return the regression that does best on agents left out, and their residuals ``(M, n, r)``.

    Args:
        own: ``(M, n, r)``, factors of the trained agents less mu.
        metric: ``(M, r, r)``, what an error of factors does to predictions.
        position: ``(n, C)``, their columns, -1 to 1.
        degrees: to try, in rising order.
        agents_per_term: fewer allow no terms more.

    Returns:
        None if there are too few agents for any degree.
    """
    n_agents, n_columns = position.shape
    if n_terms(n_columns, degrees[0]) * agents_per_term > n_agents:
        return None
    sound: Any = np.isfinite(own).all(axis=(1, 2)) & np.isfinite(metric).all(axis=(1, 2))
    shift = own.mean(axis=1)
    best: tuple[float, int, float, Floats, Ridges] | None = None
    for degree in degrees:
        if n_terms(n_columns, degree) * agents_per_term > n_agents:
            break
        terms = polynomial_terms(position, degree)
        ridges = Ridges.of(terms - terms.mean(axis=0), own - shift[:, None])
        ridge = ridges.best(_RIDGES.tolist(), metric, sound)
        error = float(squared_errors(ridges.left_out(ridge), metric, sound).mean())
        if best is None or error < best[0]:
            best = error, degree, ridge, terms.mean(axis=0), ridges
    assert best is not None
    _, degree, ridge, centre, ridges = best
    residual = ridges.left_out(ridge)
    # An agent left out has a variance of 1 / (1 - leverage) in units of S.
    unit = residual * np.sqrt(1 - ridges.leverage(ridge))[:, None]
    size: Floats = np.square(unit).mean(axis=(1, 2)) + 1e-12
    gram = ridges.right.T @ (ridges.right * (ridges.size**2)[:, None])
    curve = StaticCurve(
        degree=np.array(float(degree)),
        centre=centre,
        shift=shift,
        weights=ridges.weights(ridge),
        precision=np.asarray(np.linalg.inv(widened_covariance(unit, size)), np.float64),
        spread=np.linalg.inv(gram + ridge * n_agents * np.eye(len(gram))),
        agents=np.array(float(n_agents)),
    )
    return curve, residual
