"""Two numbers per agent for the map, and how much of the covariates the factors hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twinfold.errors import UsageError

FloatArray = npt.NDArray[np.float64]


def principal_components(factors: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the first two principal components of the agents' factors.

    Factors are not unique, only predictions are. A map that does not depend on the coordinates of
    the factors is made by giving predictions here instead: each agent's predicted changes, in
    standard units, at the same few hundred states and actions.

    The larger end of each component is positive, so that equal factors give equal maps. NumPy's
    SVD gives what scikit-learn's ``PCA(2)`` does without loading it.

    Args:
        factors: ``(N, r)``, finite.

    Returns:
        Coordinates ``(N, 2)`` and the share of the variance that each explains ``(2,)``; a
        component that does not exist (r or N too small) is zero.

    Raises:
        UsageError: no agent, not two axes, or a factor that is not finite.
    """
    array = np.asarray(factors, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise UsageError(f"factors of shape {array.shape} must have shape (N, r), N and r positive")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise UsageError(f"the factors of agent number {row} are not finite: {array[row]}")
    left, scale, _ = np.linalg.svd(array - array.mean(axis=0), full_matrices=False)
    coordinates = np.zeros((array.shape[0], 2))
    shares = np.zeros(2)
    kept = min(2, scale.size)
    coordinates[:, :kept] = left[:, :kept] * scale[:kept]
    total = float((scale**2).sum())
    if total > 0.0:
        shares[:kept] = scale[:kept] ** 2 / total
    largest = np.take_along_axis(coordinates, np.abs(coordinates).argmax(axis=0)[None], axis=0)[0]
    return coordinates * np.where(largest < 0.0, -1.0, 1.0), shares


def explained(
    factors: npt.ArrayLike, covariates: npt.ArrayLike, agents_per_coefficient: int = 10
) -> FloatArray:
    """Return the share of each covariate that a linear function of the factors explains.

    The R2 of a least-squares regression with intercept. It does not change if the factors are
    given in other coordinates.

    Args:
        factors: ``(N, r)``.
        covariates: ``(N, C)``.
        agents_per_coefficient: below that, a regression explains noise.

    Returns:
        ``(C,)``; NaN if there are fewer agents per coefficient, or nothing varies.
    """
    x = np.asarray(factors, dtype=np.float64)
    y = np.asarray(covariates, dtype=np.float64)
    if x.shape[0] < agents_per_coefficient * (x.shape[1] + 1):
        return np.full(y.shape[1], np.nan)
    design = np.concatenate([np.ones((x.shape[0], 1)), x], axis=1)
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0.0, 1.0 - (residual**2).sum(axis=0) / total, np.nan)


def matched(what: str, values: npt.ArrayLike, ids: Sequence[object]) -> FloatArray:
    """Return ``values`` as a float array, checked to have one row per agent.

    Raises:
        UsageError: they do not.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != len(ids):
        raise UsageError(f"{what} of shape {array.shape} do not fit {len(ids)} agents")
    return array
