"""The share of covariates that a map of agents explains, and the check of what is drawn on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twinfold.errors import UsageError

FloatArray = npt.NDArray[np.float64]


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
