"""Held-out errors by horizon, and the width of the band that follows from them."""

from __future__ import annotations

import statistics

import numpy as np
from numpy.typing import NDArray

from twinfold.training.folds import Fold
from twinfold.training.selection_settings import SELECTION

Floats = NDArray[np.float64]


def error_by_horizon(folds: list[Fold], paths: list[Floats]) -> list[float]:
    """Return the RMSE over windows and columns after 1, 2, ... steps, in standard deviations."""
    horizon = max(fold.held.mask.shape[1] for fold in folds)
    total, count = np.zeros(horizon), np.zeros(horizon)
    for fold, own in zip(folds, paths, strict=True):
        mask = fold.held.steps
        error = fold.difference(own) / fold.normalizer.state_scale
        if fold.held.weight is not None:
            counted = fold.held.counted
            error = np.where(counted, error, 0.0)
            error *= np.sqrt(counted.shape[-1] / np.maximum(counted.sum(axis=-1), 1))[..., None]
        squared = np.minimum((error**2).mean(axis=-1), SELECTION.worst**2)
        squared = np.where(mask, np.nan_to_num(squared, nan=SELECTION.worst**2), 0.0)
        total[: mask.shape[1]] += squared.sum(axis=0)
        count[: mask.shape[1]] += mask.sum(axis=0)
    return [float(f"{value:.4g}") for value in np.sqrt(total / np.maximum(count, 1))]


def held_out_band(
    folds: list[Fold], paths: list[Floats], coverage: float, unknown: list[Floats] | None = None
) -> Floats:
    """Return the half-width ``(H, D)`` of a band for whole trajectories, by held-out errors.

    A quantile by horizon and column gives its form, made non-decreasing in the horizon, where few
    windows are long enough; it is then widened until it holds the share ``coverage`` of the windows
    altogether. Both are at the level ceil((n + 1) coverage) / n of split conformal prediction. Of
    each error, what is not known of the agent's factors is taken off, in quadrature: a band is made
    of both, and it would be counted twice.
    """
    horizon = max(fold.held.mask.shape[1] for fold in folds)
    quantile = statistics.NormalDist().inv_cdf(0.5 + coverage / 2)
    unknown = [np.zeros(1)] * len(folds) if unknown is None else unknown
    errors = []
    for fold, own, sd in zip(folds, paths, unknown, strict=True):
        squared = np.square(fold.difference(own)) - np.square(quantile * sd)
        error = np.sqrt(np.maximum(np.where(np.isfinite(squared), squared, np.inf), 0.0))
        error[~fold.held.counted] = np.nan
        room = [(0, 0), (0, horizon - error.shape[1]), (0, 0)]
        errors.append(np.pad(error, room, constant_values=np.nan))
    error = np.concatenate(errors)  # (n, H, D)
    width = np.stack([_conformal(step, coverage) for step in np.swapaxes(error, 0, 1)])
    # Where hardly any step errs, but whole windows do.
    most = np.asarray(np.fmax.reduce(error, axis=1))
    width = np.where(width == 0, _conformal(most, coverage), width)
    width = _known_before(np.fmax.accumulate(width, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):  # of a column that never errs
        scores = np.nanmax(np.where(width > 0, error / width, 0.0), axis=(1, 2))
        width = np.where(width > 0, width * _conformal(scores[:, None], coverage), 0.0)
    turn = list(folds[0].angles)
    width[:, turn] = np.minimum(width[:, turn], np.pi)  # no angle is further off
    return width


def _conformal(values: Floats, coverage: float) -> Floats:
    """Return each column's quantile of split conformal prediction; NaN is left out.

    NaN for a column without any value.
    """
    known = np.sort(values, axis=0)  # NaN comes last
    count = (~np.isnan(values)).sum(axis=0)
    rank = np.minimum(count, np.ceil((count + 1) * coverage).astype(int))
    found = np.take_along_axis(known, np.maximum(rank - 1, 0)[None], axis=0)[0]
    return np.where(count > 0, found, np.nan)


def _known_before(width: Floats) -> Floats:
    """Return widths ``(H, D)`` with those of steps at which nothing was observed yet.

    They are those of the first step at which something was; infinite where nothing ever was.
    """
    first = np.argmax(~np.isnan(width), axis=0)
    ahead = np.arange(len(width))[:, None] < first
    width = np.where(ahead, np.take_along_axis(width, first[None], axis=0), width)
    return np.where(np.isnan(width), np.inf, width)
