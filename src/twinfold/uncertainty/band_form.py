"""The form of a band: how its half-width grows with the horizon, and which columns need more.

Held-out ends of the agents that were fitted begin at one place in time or at three: what shook all
agents alike in those years looks like growth of the error with the horizon. Ends of agents left out
in turn begin elsewhere, and tell the form apart from it. Only the form is learned here; how wide
the band is altogether is the matter of ``conformal``.

Axes: S ends of at most H steps, D state columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinfold.uncertainty.holdout_evaluation import HOLDOUT, HoldoutResult, counted_values
from twinfold.uncertainty.holdout_statistics import holdout_statistics
from twinfold.uncertainty.intervals import half_width, trajectory_scores

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FormSettings:
    """Numbers that decide how far the form of a band is learned from calibration agents.

    Attributes:
        prior_agents: calibration agents that count as much as the form from held-out ends.
        most: largest error that counts, in medians of its column: one does not make the form.
    """

    prior_agents: float = 20.0
    most: float = 20.0


FORM = FormSettings()
"""Those of every band."""


def refined_band(band: Floats, found: Sequence[HoldoutResult]) -> Floats:
    """Return a band whose form is that of the errors of calibration agents, ``(H', D)``.

    It is as wide as before on the whole, never falls with the horizon, and is as long as the
    longest end.

    Args:
        band: half-widths by horizon and column, ``(H, D)``.
        found: predictions of calibration agents, of models with that band.
    """
    longest = max(len(band), *(int(one.ends.mask.sum(axis=1).max(initial=0)) for one in found))
    ratio = np.concatenate([_ratios(one, longest) for one in found])
    wide = half_width(band, np.arange(1, longest + 1))
    return np.maximum.accumulate(wide * np.exp(log_form(ratio)), axis=0)


def log_form(ratio: Floats) -> Floats:
    """Return the log of how much wider a band is to be after h steps, ``(H, D)``, in the mean 0.

    With e[h, d] the root mean square error after h steps in units of the band, by least squares
    over all h, weighted by the n[h, d] agents that reach so far,

        log e[h, d] = a_d + c_d log h
        log form[h, d] = w_d (a_d + c_d log h - m),     w_d = n_d / (n_d + FORM.prior_agents)

    m the weighted mean of a_d + c_d log h, n_d the most of n[h, d]. Beyond the longest end nothing
    is known of the growth: there the form is that of the longest.

    Args:
        ratio: absolute errors in half-widths of the band, ``(S, H, D)``; NaN where none is known.
    """
    ratio = np.minimum(ratio, FORM.most * _median(ratio))
    count = (~np.isnan(ratio)).sum(axis=0)  # (H, D)
    mean = np.nansum(np.square(ratio), axis=0) / np.maximum(count, 1)
    weight = np.where(mean > 0, count, 0)
    if not weight.any():  # of a model that never errs there is no form
        return np.zeros(mean.shape)
    y = 0.5 * np.log(np.where(mean > 0, mean, 1.0))
    steps = np.arange(1, len(y) + 1)[:, None]
    x = np.log(np.minimum(steps, np.max(np.where(weight > 0, steps, 1), axis=0)))

    # A line per column, through the means of what it is fitted to.
    total = np.maximum(weight.sum(axis=0), 1)
    x_mean, y_mean = ((weight * v).sum(axis=0) / total for v in (x, y))
    variance = (weight * np.square(x - x_mean)).sum(axis=0)
    # Of ends of a single length the growth is not known, and rounding must not make one.
    slope = (weight * (x - x_mean) * y).sum(axis=0) / np.maximum(variance, 1e-9 * total)
    known = weight.any(axis=0)
    line = np.where(known, y_mean + slope * (x - x_mean), 0.0)
    line -= known * (weight * line).sum() / weight.sum()
    agents = weight.max(axis=0)
    return line * agents / (agents + FORM.prior_agents)


def with_band(one: HoldoutResult, old: Floats, new: Floats) -> HoldoutResult:
    """Return predictions with the widths and scores that they have by another band.

    Args:
        one: predictions of a model whose band is ``old``.
        old: half-widths by horizon and column.
        new: those of the other band, likewise.
    """
    steps, counted = 1 + np.arange(one.width.shape[1]), counted_values(one.ends)
    # The width is made of the band and of what is not known of the agent, in quadrature.
    with np.errstate(invalid="ignore"):  # of a band that is infinite, which stays
        rest = np.square(one.width) - np.square(half_width(old, steps))
        width = np.sqrt(np.maximum(rest, 0.0) + np.square(half_width(new, steps)))
    width = np.where(np.isfinite(one.width), width, one.width)
    scores = trajectory_scores(_raw_error(one), width, one.ends.mask, counted)
    statistics = holdout_statistics(
        one.residual, scores, one.ends.mask, one.rmse, one.controls, HOLDOUT.shortest, counted
    )
    return one._replace(width=width, scores=scores, statistics=statistics)


def _raw_error(one: HoldoutResult) -> Floats:
    """Return predicted less true states, ``(S, H, D)``, raw units."""
    return one.error * one.model.normalizer.state_scale


def _ratios(one: HoldoutResult, longest: int) -> Floats:
    """Return errors in half-widths, ``(S, longest, D)``; NaN where nothing is known of them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(_raw_error(one)) / one.width
    known = one.ends.mask[..., None] & np.isfinite(ratio) & np.isfinite(one.width)
    ratio = np.where(known, ratio, np.nan)[:, :longest]
    return np.pad(ratio, [(0, 0), (0, longest - ratio.shape[1]), (0, 0)], constant_values=np.nan)


def _median(ratio: Floats) -> Floats:
    """Return each column's median of what is above zero, ``(D,)``; infinite where nothing is."""
    found = [column[column > 0] for column in np.moveaxis(ratio, -1, 0)]
    return np.array([np.median(some) if len(some) else np.inf for some in found])
