"""Prediction error, robust statistics, summaries and principal components. NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from twinfold.errors import UsageError

Floats = NDArray[np.float64]
FloatArray = npt.NDArray[np.float64]
Statistic = Callable[..., npt.ArrayLike]

# Resamples drawn at once, in numbers: bounds the memory of a bootstrap over many values.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class RobustScaleSettings:
    """Numbers that tell a state that seldom changes from one with gross errors.

    Attributes:
        seldom: spread of a target that seldom changes, in units of what it mostly varies by.
        explained: most errors, in these units, below which they are explained.
    """

    seldom: float = 30.0
    explained: float = 0.5


ROBUST_SCALE = RobustScaleSettings()
"""Those of every scale."""


def rmse(
    predicted: npt.ArrayLike, true: npt.ArrayLike, mask: npt.ArrayLike | None = None
) -> FloatArray:
    """Root mean squared error of each trajectory, over its steps and coordinates, in raw units.

    Args:
        predicted: ``(..., H, D)``.
        true: ``(..., H, D)``.
        mask: ``(..., H)``, the steps that count; None counts all. What the other steps hold is
            ignored, NaN included.

    Returns:
        ``(...)``; NaN for a trajectory of which no step counts.

    Raises:
        UsageError: if the shapes do not fit.
    """
    predicted_, true_, mask_ = _trajectories(predicted, true, mask)
    squares = np.where(mask_[..., None], predicted_ - true_, 0.0) ** 2
    count = mask_.sum(axis=-1) * true_.shape[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(squares.sum(axis=(-2, -1)) / count)


def r2(
    predicted: npt.ArrayLike, true: npt.ArrayLike, mask: npt.ArrayLike | None = None
) -> FloatArray:
    """Variance-weighted coefficient of determination of each trajectory.

    With the squared error E_d and the variance V_d of coordinate d over the trajectory's steps,

        R2 = 1 - sum_d E_d / sum_d V_d,

    summed over the coordinates that vary. A coordinate that is constant has no weight, as in
    scikit-learn's ``r2_score(multioutput="variance_weighted")``.

    Args:
        predicted: ``(..., H, D)``.
        true: ``(..., H, D)``.
        mask: ``(..., H)``, the steps that count; None counts all.

    Returns:
        ``(...)``; NaN for a trajectory of which fewer than two steps count or nothing varies.

    Raises:
        UsageError: if the shapes do not fit.
    """
    predicted_, true_, mask_ = _trajectories(predicted, true, mask)
    counts = mask_[..., None]
    kept = np.where(counts, true_, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = kept.sum(axis=-2, keepdims=True) / counts.sum(axis=-2, keepdims=True)
        # Equality rather than a computed variance of 0: the mean of equal numbers is rounded.
        highest = np.where(counts, true_, -np.inf).max(axis=-2, initial=-np.inf)
        lowest = np.where(counts, true_, np.inf).min(axis=-2, initial=np.inf)
        varies = highest > lowest
        error = (np.where(counts, predicted_ - true_, 0.0) ** 2).sum(axis=-2)
        variance = (np.where(counts, true_ - centre, 0.0) ** 2).sum(axis=-2)
        return 1.0 - np.where(varies, error, 0.0).sum(axis=-1) / np.where(
            varies, variance, 0.0
        ).sum(axis=-1)


def iqm(values: npt.ArrayLike, axis: int = -1) -> Any:
    """Interquartile mean: the mean after a quarter of the values is cut off at either end.

    The number cut off at each end is rounded down, so with fewer than four values nothing is.
    NaN if any value is NaN, or if there is none. Source: Agarwal et al., "Deep Reinforcement
    Learning at the Edge of the Statistical Precipice", NeurIPS 2021.

    Args:
        values: the values.
        axis: the axis along which the mean is taken.

    Returns:
        An array without that axis; a NumPy scalar if none is left.
    """
    array = np.asarray(values, dtype=np.float64)
    n = array.shape[axis]
    if n == 0:
        return np.full(np.delete(array.shape, axis), np.nan)[()]
    cut = n // 4
    middle = np.sort(array, axis=axis).take(np.arange(cut, n - cut), axis=axis)
    # NaN sorts to the end and would be cut off unnoticed.
    broken = np.isnan(array).any(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.where(broken, np.nan, middle.mean(axis=axis))[()]


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Statistic = iqm,
    *,
    strata: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic, resampled within strata.

    Args:
        values: ``(n,)``.
        statistic: called as ``statistic(resamples, axis=-1)`` on ``(B, n)``.
        strata: ``(n,)`` labels, such as agents or fits; each stratum keeps its size in every
            resample. None resamples all values together.
        level: the coverage, in (0, 1).
        n_resamples: the number of resamples.
        seed: of the resampling; equal seeds give equal intervals.

    Returns:
        The lower and upper ends; both NaN if there is no value.

    Raises:
        UsageError: if a shape, the level or the number of resamples cannot be used.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise UsageError(f"values of shape {array.shape}: a bootstrap needs shape (n,)")
    if not 0.0 < level < 1.0:
        raise UsageError(f"level {level} is not between 0 and 1")
    if n_resamples < 1:
        raise UsageError(f"the number of resamples must be at least 1, not {n_resamples}")
    if array.size == 0:
        return float("nan"), float("nan")
    labels = np.zeros(array.size) if strata is None else np.asarray(strata)
    if labels.shape != array.shape:
        raise UsageError(f"strata of shape {labels.shape} do not fit values of {array.shape}")
    groups = [array[labels == label] for label in np.unique(labels)]
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // array.size)
    results: list[FloatArray] = []
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        resamples = np.concatenate(
            [group[rng.integers(group.size, size=(size, group.size))] for group in groups], axis=1
        )
        results.append(np.asarray(statistic(resamples, axis=-1), dtype=np.float64))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(results), [tail, 1.0 - tail])
    return float(low), float(high)


def summarise(
    values: npt.ArrayLike, *, strata: npt.ArrayLike | None = None, seed: int = 0
) -> dict[str, float | int]:
    """Mean, standard deviation, interquartile mean and its 95 % bootstrap interval.

    Args:
        values: any shape, taken as one sample of n values.
        strata: labels of the same shape; see ``bootstrap_interval``.
        seed: of the bootstrap.

    Returns:
        ``mean``, ``std`` (of the population: 0 for one value), ``iqm``, ``low``, ``high`` and
        ``n``. NaN if a value is NaN or there is none: a failed measurement is never dropped.

    Raises:
        UsageError: if the strata do not have the shape of the values.
    """
    array = np.asarray(values, dtype=np.float64)
    if strata is not None and np.shape(strata) != array.shape:
        raise UsageError(f"strata of shape {np.shape(strata)} do not fit values of {array.shape}")
    flat = array.ravel()
    if flat.size == 0:
        nan = float("nan")
        return {"mean": nan, "std": nan, "iqm": nan, "low": nan, "high": nan, "n": 0}
    labels = None if strata is None else np.ravel(np.asarray(strata))
    low, high = bootstrap_interval(flat, iqm, strata=labels, seed=seed)
    return {
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "iqm": float(iqm(flat)),
        "low": low,
        "high": high,
        "n": int(flat.size),
    }


def _trajectories(
    predicted: npt.ArrayLike, true: npt.ArrayLike, mask: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    predicted_ = np.asarray(predicted, dtype=np.float64)
    true_ = np.asarray(true, dtype=np.float64)
    if true_.ndim < 2 or predicted_.shape != true_.shape:
        raise UsageError(
            f"predicted {predicted_.shape} and true {true_.shape} must have one shape (..., H, D)"
        )
    mask_ = np.ones(true_.shape[:-1], bool) if mask is None else np.asarray(mask, dtype=bool)
    if mask_.shape != true_.shape[:-1]:
        raise UsageError(f"a mask of shape {mask_.shape} does not fit {true_.shape}")
    return predicted_, true_, mask_


def trimmed_mean(paths: Floats) -> Floats:
    """Robust mean over members, axis 0: a fifth of them, at least one, is cut off at either end.

    With fewer than three members nothing can be cut. A member that diverges (NaN, infinity) sorts
    to the end and is cut, as long as it is alone.
    """
    n_members = len(paths)
    cut = -(-n_members // 5) if n_members >= 3 else 0
    return np.sort(paths, axis=0)[cut : n_members - cut].mean(axis=0)


def mad_std(paths: Floats) -> Floats:
    """Robust standard deviation over members, axis 0: 1.4826 times the median absolute deviation.

    As robust as :func:`trimmed_mean`: one diverging member does not widen it. Zero for one member.
    """
    known = np.where(np.isnan(paths), np.inf, paths)
    with np.errstate(invalid="ignore"):  # infinity from infinity
        deviation = np.abs(known - np.median(known, axis=0))
    return 1.4826 * np.median(np.where(np.isnan(deviation), np.inf, deviation), axis=0)


def robust_scale(
    error: NDArray[np.floating],
    target: NDArray[np.floating] | None,
    weight: NDArray[np.floating] | None = None,
) -> NDArray[np.floating]:
    """Scale of the errors of each column, not that of the few that are gross: ``(D,)``.

    1.4826 times the median of their size. Of a state that seldom changes (a flag, an event) that
    says nothing of the changes, and the column would outweigh all others: where the target mostly
    hardly varies beside what it varies by in all, and most errors are no smaller than that, it is
    the root mean square, if that is more.

    Args:
        error: ``(K, D)``.
        target: ``(K, D)``, what was to be predicted; None for the median alone.
        weight: ``(K, D)``, the variance of an error is that of weight 1 divided by it; those of
            weight 0 do not count, and a column of which none counts has scale 1. None for all 1.
    """
    if weight is not None:
        found = np.ones(error.shape[1])
        for d in np.flatnonzero((weight > 0).any(axis=0)):
            counted = weight[:, d] > 0
            own = (error[counted, d] * np.sqrt(weight[counted, d]))[:, None]
            found[d] = robust_scale(own, None if target is None else target[counted, d, None])[0]
        return found
    usual = 1.4826 * np.median(np.abs(error), axis=0)
    if target is None:
        return usual
    away = target - np.median(target, axis=0)
    mostly = 1.4826 * np.median(np.abs(away), axis=0)
    in_all, whole = (np.sqrt(np.square(x).mean(axis=0)) for x in (away, error))
    seldom = (in_all > ROBUST_SCALE.seldom * mostly) & (usual >= ROBUST_SCALE.explained * mostly)
    return np.where(seldom, np.maximum(whole, usual), usual)


def principal_components(values: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the first two principal components of what describes agents: a map of them.

    Of factors the map would depend on their basis, which is not unique; of agents' responses to the
    same probes it does not. The larger end of each component is positive, so that equal values give
    equal maps. NumPy's SVD gives what scikit-learn's ``PCA(2)`` does without loading it.

    Args:
        values: ``(N, r)``, finite.

    Returns:
        Coordinates ``(N, 2)`` and the share of the variance that each explains ``(2,)``; a
        component that does not exist (r or N too small) is zero.

    Raises:
        UsageError: no agent, not two axes, or a value that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise UsageError(f"values of shape {array.shape} must have shape (N, r), N and r positive")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise UsageError(f"the values of agent number {row} are not finite: {array[row]}")
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
