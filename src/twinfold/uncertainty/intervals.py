"""Bands about predictions: from held-out errors, disagreement and what is unknown of an agent."""

from __future__ import annotations

import math
import statistics

import numpy as np
from numpy.typing import NDArray

from twinfold.metrics import mad_std, trimmed_mean
from twinfold.models.fitted_model import FittedModel

Floats = NDArray[np.float64]


def band_factor(model: FittedModel, horizon: int, count: int | None = None) -> tuple[float, bool]:
    """Return how many times wider the band is for some steps, and whether that is a promise.

    Without reserved agents the factor is 1: the band holds held-out ends of known agents. Past
    the longest calibrated horizon that of the longest is used, without a promise.

    Args:
        model: the fitted model.
        horizon: number of steps.
        count: transitions that the agent is known by; None for as many as the reserved agents were.
    """
    if model.calibration is None:
        return 1.0, False
    kept = model.calibration
    scores = kept.scores[None] if count is None else kept.known_by(count)
    found = [_factor(one, model.config.band, horizon) for one in scores]
    return max(factor for factor, _ in found), all(promised for _, promised in found)


def _factor(scores: Floats, coverage: float, horizon: int) -> tuple[float, bool]:
    """Return what ``band_factor`` does, by the scores ``(n, H)`` of one kind."""
    factor, _ = conformal_factor(scores, coverage, horizon)
    if math.isfinite(factor) and horizon <= scores.shape[1]:
        return factor, True
    shorter = (conformal_factor(scores, coverage, h)[0] for h in range(horizon, 0, -1))
    return next((value for value in shorter if math.isfinite(value)), 1.0), False


def band_factors(
    model: FittedModel, horizon: NDArray[np.integer], agent: NDArray[np.integer]
) -> tuple[Floats, bool]:
    """Return the factors of questions ``(Q,)``, and whether all of them are promises.

    Args:
        model: the fitted model.
        horizon: steps of each question, ``(Q,)``.
        agent: index of the agent of each, ``(Q,)``.
    """
    counts = model.posterior.evidence.count[agent]
    kinds, kind = np.unique(np.stack([horizon, counts]), axis=1, return_inverse=True)
    found = [band_factor(model, int(steps), int(count)) for steps, count in kinds.T]
    factors = np.array([factor for factor, _ in found], np.float64)
    return factors[kind.ravel()], all(promised for _, promised in found)


def prediction_band(
    model: FittedModel,
    paths: Floats,
    steps: NDArray[np.integer],
    unknown: Floats | float = 0.0,
    factor: Floats | float = 1.0,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Centre, lower, upper and spread, each ``(..., D)``.

        centre +- q sqrt(b_h^2 + (z spread)^2),   spread^2 = spread over members^2 + unknown^2

    with b_h the half-width ``model.band`` after h steps, from held-out errors, z the normal
    quantile of the nominal coverage, and q the factor. Beyond the longest horizon H0 that was held
    out, b grows in proportion to the horizon: ``b_H0 * h / H0``. The band stays within the hard
    limits of the states (``Normalizer.low``, ``high``).

    Args:
        model: the fitted model.
        paths: ``(M, ..., D)``, raw units.
        steps: ``(...)``, or what broadcasts to it: number of actions taken, from 1.
        unknown: ``(..., D)``, standard deviation by what is not known of the agent.
        factor: ``(...)`` or a number, by ``band_factor``.
    """
    middle, wide, sd = uncalibrated_band(model, paths, steps, unknown)
    wide = wide * np.asarray(factor)[..., None]
    low, high = model.normalizer.limits()
    with np.errstate(invalid="ignore"):  # of a centre that diverged; nothing is excluded there
        below, above = (np.where(np.isinf(wide), s * np.inf, middle + s * wide) for s in (-1, 1))
        lower = np.minimum(np.clip(below, low, high), middle)
        upper = np.maximum(np.clip(above, low, high), middle)
    return middle, lower, upper, sd


def uncalibrated_band(
    model: FittedModel, paths: Floats, steps: NDArray[np.integer], unknown: Floats | float
) -> tuple[Floats, Floats, Floats]:
    """Centre, half-width of the band before any calibration, and spread, each ``(..., D)``.

    Args:
        model: the fitted model.
        paths: ``(M, ..., D)``, raw units.
        steps: ``(...)``, or what broadcasts to it: number of actions taken, from 1.
        unknown: ``(..., D)``, standard deviation by what is not known of the agent.
    """
    middle, sd = trimmed_mean(paths), np.hypot(mad_std(paths), unknown)
    quantile = statistics.NormalDist().inv_cdf(0.5 + model.config.band / 2)
    # A member that diverged leaves no finite spread: nothing is known, so nothing is excluded.
    wide = quantile * np.where(np.isfinite(sd), sd, np.inf)
    if model.band is not None:
        wide = np.hypot(half_width(model.band, steps), wide)
    return middle, wide, sd


def half_width(band: Floats, steps: NDArray[np.integer]) -> Floats:
    """Return the half-width after a number of steps, ``(..., D)``; past the last in proportion.

    Args:
        band: half-widths after 1, 2, ... steps, ``(H, D)``.
        steps: number of actions taken, from 1, ``(...)``.
    """
    longest = len(band)
    return band[np.minimum(steps, longest) - 1] * np.maximum(steps / longest, 1.0)[..., None]


def conformal_factor(scores: Floats, coverage: float, horizon: int) -> tuple[float, int]:
    """Return how many times to widen a band for h steps, and by how many agents that is.

    Args:
        scores: S_i(h) ``(n, H)``, NaN where an agent's data ends before.
        coverage: c.
        horizon: h; beyond H the factor of H.

    Returns:
        The factor, infinite if there are too few agents to say, and the number of agents that
        reach that far.
    """
    column = scores[:, min(horizon, scores.shape[1]) - 1]
    known = np.sort(column[~np.isnan(column)])
    rank = math.ceil((len(known) + 1) * coverage)
    return (float(known[rank - 1]) if rank <= len(known) else math.inf), len(known)


def compared_step(lengths: NDArray[np.integer], scores: Floats, coverage: float) -> int:
    """Return the step at which bands are compared: the median length, or how far they promise.

    Agents that the run knows are predicted over whole trajectories, longer than the ends that the
    band was calibrated on.

    Args:
        lengths: of the predicted trajectories, ``(S,)``.
        scores: of the calibration agents, ``(n, H)``.
        coverage: nominal.
    """
    median = int(np.median(lengths)) if len(lengths) else 1
    steps = range(min(median, scores.shape[1]), 0, -1)
    promised = (h for h in steps if math.isfinite(conformal_factor(scores, coverage, h)[0]))
    return next(promised, median)


def promised_steps(model: FittedModel) -> int:
    """Return for how many steps whole trajectories are promised by the reserved agents."""
    if model.calibration is None:
        return 0
    scores, coverage = model.calibration.scores, model.config.band
    steps = range(scores.shape[1], 0, -1)
    return next((h for h in steps if math.isfinite(conformal_factor(scores, coverage, h)[0])), 0)


def trajectory_scores(
    error: Floats,
    width: Floats,
    mask: NDArray[np.bool_],
    counted: NDArray[np.bool_] | None = None,
) -> Floats:
    """S_i(h), ``(S, H)``: NaN beyond the mask, infinite where a prediction is not finite.

    Args:
        error: ``(S, H, D)``.
        width: ``(S, H, D)``, half-widths of the uncalibrated band.
        mask: ``(S, H)``.
        counted: ``(S, H, D)``, which values were observed: the others do not count; None for all.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(error) / width
        ratio = ratio if counted is None else np.where(counted, ratio, 0.0)
    ratio = np.where(np.abs(error) == 0, 0.0, ratio)  # nothing is wrong, however narrow the band
    ratio = np.where(np.isnan(ratio), np.inf, ratio).max(axis=-1)
    return np.where(mask, np.maximum.accumulate(ratio, axis=1), np.nan)
