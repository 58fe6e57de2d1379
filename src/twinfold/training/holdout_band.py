"""Held-out errors by horizon, and the width of the band that follows from them."""

from __future__ import annotations

import statistics

import numpy as np
from numpy.typing import NDArray

from twinfold.training.selection_settings import SELECTION
from twinfold.training.trials import Fold

Floats = NDArray[np.float64]


def error_by_horizon(folds: list[Fold], paths: list[Floats]) -> list[float]:
    """Return the RMSE over windows and columns after 1, 2, ... steps, in standard deviations."""
    horizon = max(fold.held.mask.shape[1] for fold in folds)
    total, count = np.zeros(horizon), np.zeros(horizon)
    for fold, own in zip(folds, paths, strict=True):
        mask = fold.held.mask
        error = fold.difference(own) / fold.normalizer.state_scale
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
        error[~fold.held.mask] = np.nan
        room = [(0, 0), (0, horizon - error.shape[1]), (0, 0)]
        errors.append(np.pad(error, room, constant_values=np.nan))
    error = np.concatenate(errors)  # (n, H, D)
    width = np.stack([_conformal(step, coverage) for step in np.swapaxes(error, 0, 1)])
    # Where hardly any step errs, but whole windows do.
    width = np.where(width > 0, width, _conformal(np.nanmax(error, axis=1), coverage))
    width = np.maximum.accumulate(width, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # of a column that never errs
        scores = np.nanmax(np.where(width > 0, error / width, 0.0), axis=(1, 2))
        width = np.where(width > 0, width * _conformal(scores[:, None], coverage), 0.0)
    turn = list(folds[0].angles)
    width[:, turn] = np.minimum(width[:, turn], np.pi)  # no angle is further off
    return width


def _conformal(values: Floats, coverage: float) -> Floats:
    """Return each column's quantile of split conformal prediction; NaN is left out."""
    known = np.sort(values[~np.isnan(values[:, 0])], axis=0)
    return known[min(len(known), int(np.ceil((len(known) + 1) * coverage))) - 1]
