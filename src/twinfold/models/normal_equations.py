"""The normal equations of a Bayesian linear regression, solved whatever the size of its numbers.

    C = (Lambda + G)^-1,    d = C b        precision Lambda, data G = sum Z^T W Z, b = sum Z^T W y

A gross error of 1e10 among the states makes G so large that Lambda drowns in its rounding: as they
stand the equations are singular then, or their solution is noise. They are solved in units of the
prior instead, with R R^T = Lambda^-1 and R^T G R = V diag(l) V^T,

    C = R V diag(1 / (1 + l)) V^T R^T

where an l that is no more than rounding of the largest is 0: of that direction the data says
nothing, and what is known before it stays. So C is finite and positive semidefinite.

Axes: r rank; ``...`` members and agents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EquationSettings:
    """Numbers that decide which equations cannot be solved as they stand.

    Attributes:
        drowned: trace of Lambda^-1 G, how many times more the data says than the prior, up to
            which every system can.
        singular: smallest eigenvalue, of the matrix scaled to a unit diagonal, below which one
            cannot: more than ten of float64's sixteen digits would be lost.
        rounding: share of the largest eigenvalue of R^T G R that is rounding of a long sum.
    """

    drowned: float = 1e8
    singular: float = 1e-11
    rounding: float = 1e-13


EQUATIONS = EquationSettings()
"""Those of every posterior."""


def inverse(base: Floats, gram: Floats) -> Floats:
    """Return C, ``(..., r, r)``.

    Args:
        base: Lambda, ``(..., r, r)``.
        gram: G, ``(..., r, r)``, to which ``base`` is broadcast.
    """
    singular = _is_singular(base, gram)
    found = np.asarray(np.linalg.inv(_regular(base + gram, singular)), np.float64)
    if singular.any():
        root, _ = _root(*_some(singular, base, gram))
        found[singular] = root @ np.swapaxes(root, -1, -2)
    return found


def solution(base: Floats, gram: Floats, moment: Floats) -> Floats:
    """Return d, ``(..., r)``.

    Args:
        base: Lambda, ``(..., r, r)``.
        gram: G, ``(..., r, r)``, to which ``base`` is broadcast.
        moment: b, ``(..., r)``.
    """
    singular = _is_singular(base, gram)
    system = _regular(base + gram, singular)
    found = np.asarray(np.linalg.solve(system, moment[..., None])[..., 0], np.float64)
    if singular.any():
        root, told = _root(*_some(singular, base, gram))
        along = np.einsum("krs,kr->ks", root, moment[singular])
        found[singular] = np.einsum("krs,ks->kr", root, np.where(told, along, 0.0))
    return found


def _is_singular(base: Floats, gram: Floats) -> NDArray[np.bool_]:
    """Return which systems ``(...)`` cannot be solved as they stand; not those that are NaN."""
    more = np.einsum("...rs,...sr->...", np.linalg.inv(base), gram)
    doubtful = np.isfinite(more) & (more > EQUATIONS.drowned)
    if doubtful.any():
        precision = np.add(*_some(doubtful, base, gram))
        scale = np.sqrt(np.einsum("krr->kr", precision))
        unit = precision / (scale[:, :, None] * scale[:, None])
        doubtful[doubtful] = np.linalg.eigvalsh(unit)[:, 0] < EQUATIONS.singular
    return doubtful


def _some(chosen: NDArray[np.bool_], base: Floats, gram: Floats) -> tuple[Floats, Floats]:
    """Return base and data of some systems, ``(k, r, r)``."""
    return np.broadcast_to(base, gram.shape)[chosen], gram[chosen]


def _regular(precision: Floats, singular: NDArray[np.bool_]) -> Floats:
    """Return the systems with others in place of those that NumPy would refuse the whole for."""
    if not singular.any():
        return precision
    return np.where(singular[..., None, None], np.eye(precision.shape[-1]), precision)


def _root(base: Floats, gram: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return B with B B^T = C, ``(k, r, r)``, and of which of its columns the data says something.

    Args:
        base: Lambda, ``(k, r, r)``.
        gram: G, ``(k, r, r)``.
    """
    before = np.swapaxes(np.linalg.inv(np.linalg.cholesky(base)), -1, -2)  # R
    whitened = np.swapaxes(before, -1, -2) @ gram @ before
    size, vectors = np.linalg.eigh((whitened + np.swapaxes(whitened, -1, -2)) / 2)
    told = size > EQUATIONS.rounding * size[:, -1:]
    known = 1.0 / np.sqrt(1.0 + np.where(told, size, 0.0))
    return (before @ vectors) * known[:, None], told
