"""The prior of an agent by columns that never change.

    u ~ N(mu + a + B^T x, R^-1)                      for agents whose static columns x are all known
    u ~ N(mu + a + B^T E[x | o], R^-1 + B^T V B)     for agents of whom the columns o are known,
                                                     V = Cov[x | o]
    u ~ N(mu, Lambda^-1)                             for agents of whom none is known

a, B: ridge regression of the trained agents' factors, member by member. R: of its leave-one-out
residuals, so that columns that say nothing leave the prior as wide as it was. The strength of the
ridge, one for all members, is the one with the least leave-one-out error of predictions. What it
explains must exceed two standard errors over agents, or the columns are left aside.

Where polynomials of the columns predict agents left out better than a line by two standard errors,
agents of whom all columns are known have the prior of :mod:`twinfold.models.static_curve`.

The columns are taken to be jointly normal, x ~ N(0, S): what is not known of an agent is what goes
with what is known of it, and how far that leaves it open widens the agent's prior. S, and with
missing values the mean too, is the most likely one (expectation maximisation, Dempster, Laird and
Rubin 1977) given C agents more whose columns have nothing to do with each other. The regression is
of E[x | o].

Axes: M members, N agents, r rank, C static columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.models.covariance import widened_covariance
from twinfold.models.left_out_ridge import Ridges, squared_errors
from twinfold.models.static_curve import StaticCurve, fit_curve

Floats = NDArray[np.float64]

_RIDGES = np.logspace(-4, 3, 15).tolist()  # per agent, of standardised columns
_NO_SLOPE = 1e12  # the columns say nothing


@dataclass(frozen=True)
class StaticSettings:
    """Numbers that decide whether static columns are learned from.

    Attributes:
        fewest: trained agents with a static column, below which nothing is learned from these; and
            with all of them, above which R is of their residuals alone.
        standard_errors: over agents, that the columns must explain to be used, or take off the
            held-out error of a linear model to be read by it.
        rounds: of expectation maximisation, where columns have missing values.
        degrees: of polynomials of the columns, that are tried beside a line.
        agents_per_term: trained agents with all columns that a term of these needs.
    """

    fewest: int = 10
    standard_errors: float = 2.0
    rounds: int = 30
    degrees: tuple[int, ...] = (2, 3, 4, 6, 8)
    agents_per_term: int = 4


STATIC = StaticSettings()
"""Those of every fit."""


class OwnPrior(NamedTuple):
    """Prior of each agent before any of its data.

    Attributes:
        shift: ``(M, N, r)``, of its expected factors from mu.
        precision: ``(M, N, r, r)``.
    """

    shift: Floats
    precision: Floats


class StaticPrior(NamedTuple):
    """The regression of factors on static columns. Float64, on the host.

    Attributes:
        low: ``(C,)``, smallest value among the trained agents.
        high: ``(C,)``, largest.
        centre: ``(C,)``, mean.
        scale: ``(C,)``, standard deviation; 1 for a column that does not vary.
        shift: ``(M, r)``, a: expected factors less mu where x is zero.
        weights: ``(M, C, r)``, B; x is standardised.
        precision: ``(M, r, r)``, R.
        explained: ``()``, share of the squared differences between agents, as they show in
            predictions, that the columns of an agent left out explain.
        covariance: ``(C, C)``, S; None in runs of before it was kept, where agents without all
            columns have the prior of all.
        curve: the regression on polynomials, for agents of whom all columns are known; None where a
            line predicts as well.
    """

    low: Floats
    high: Floats
    centre: Floats
    scale: Floats
    shift: Floats
    weights: Floats
    precision: Floats
    explained: Floats
    covariance: Floats | None = None
    curve: StaticCurve | None = None

    def standard(self, values: Floats) -> Floats:
        """Standardised static columns, ``(N, C)``."""
        return (values - self.centre) / self.scale

    def own(self, precision: Floats, values: Floats) -> OwnPrior:
        """The priors of some agents.

        Args:
            precision: ``(M, r, r)``, Lambda.
            values: ``(N, C)``, raw units; NaN where a column is not known.
        """
        known: Any = ~np.isnan(values)
        some = known.any(axis=1) if self.covariance is not None else known.all(axis=1)
        x = np.where(known & some[:, None], self.standard(values), 0.0)
        own = np.where(some[:, None, None], self.precision[:, None], precision[:, None])
        for rows, root in _fill(x, known & some[:, None], self.covariance):
            # Woodbury: the inverse of R^-1 + B^T V B, V = root root^T.
            spread = root.T @ self.weights @ self.precision  # (M, C, r)
            inner = np.eye(len(root)) + spread @ np.swapaxes(root.T @ self.weights, 1, 2)
            left = np.swapaxes(spread, 1, 2) @ np.linalg.solve(inner, spread)
            own[:, rows] = (self.precision - left)[:, None]
        shift = np.where(some[:, None], self.shift[:, None] + x @ self.weights, 0.0)
        whole = known.all(axis=1)
        if self.curve is not None and whole.any():
            position = _position(values[whole], self.low, self.high)
            shift[:, whole], own[:, whole] = self.curve.own(precision, position)
        return OwnPrior(shift, own)


def _fill(
    x: Floats, known: NDArray[np.bool_], covariance: Floats | None
) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """Put E[x | o] in place of what is not known, and yield how far that leaves it open.

    Args:
        x: ``(N, C)``, standardised; changed in place.
        known: ``(N, C)``; agents of whom no column is known are left as they are.
        covariance: ``(C, C)``, S; None leaves all as it is.

    Yields:
        agents with the same columns known, and a root ``(C, C)`` of V.
    """
    partly = np.flatnonzero(known.any(axis=1) & ~known.all(axis=1))
    if covariance is None or not len(partly):
        return
    patterns, which = np.unique(known[partly], axis=0, return_inverse=True)
    for k, there in enumerate(patterns):
        rows, lacks = partly[np.ravel(which) == k], ~there
        slope = np.linalg.solve(covariance[np.ix_(there, there)], covariance[np.ix_(there, lacks)])
        x[np.ix_(rows, lacks)] = x[np.ix_(rows, there)] @ slope
        root = np.zeros_like(covariance)
        left = covariance[np.ix_(lacks, lacks)] - covariance[np.ix_(lacks, there)] @ slope
        root[np.ix_(lacks, lacks)] = np.linalg.cholesky(left)
        yield rows, root


class StaticColumns(NamedTuple):
    """Static columns of agents, standardised. Float64, on the host.

    Attributes:
        low, high, centre, scale: ``(C,)``, as those of :class:`StaticPrior`.
        covariance: ``(C, C)``, S.
        x: ``(N, C)``, E[x | o]; 0 where nothing is known of an agent.
        values: ``(N, C)``, raw units, NaN where not known.
    """

    low: Floats
    high: Floats
    centre: Floats
    scale: Floats
    covariance: Floats
    x: Floats
    values: Floats

    @classmethod
    def of(cls, values: Floats) -> StaticColumns | None:
        """Return columns ``(N, C)`` in raw units, NaN where not known, standardised.

        None if nothing is known of fewer agents than can say anything.
        """
        known: Any = ~np.isnan(values).all(axis=1)
        if int(known.sum()) < STATIC.fewest:
            return None
        raw = values[known]
        centre, scale, covariance, own = _joint_normal(raw)
        x = np.zeros_like(values)
        x[known] = own
        low = np.fmin(np.fmin.reduce(raw, axis=0), centre)  # of an empty column the same
        high = np.fmax(np.fmax.reduce(raw, axis=0), centre)
        return cls(low, high, centre, scale, covariance, x, values)


def given_static(
    precision: Floats, metric: Floats, columns: StaticColumns, weights: Floats
) -> StaticPrior:
    """Return the prior by static columns whose weights are known.

    Args:
        precision: ``(M, r, r)``, Lambda: what the columns leave open is what it says.
        metric: ``(M, r, r)``, mean of Z^T W Z over the agents' transitions.
        columns: of the trained agents.
        weights: ``(C, r)``, B.
    """
    shift = columns.x @ weights
    moved = np.einsum("nr,mrs,ns->m", shift, metric, shift) / len(shift)
    left = np.einsum("mrs,msr->m", metric, np.linalg.inv(precision))
    share = np.median(moved / np.maximum(moved + left, 1e-300))
    return StaticPrior(
        low=columns.low,
        high=columns.high,
        centre=columns.centre,
        scale=columns.scale,
        shift=np.zeros(precision.shape[:2]),
        weights=np.repeat(weights[None], len(precision), axis=0),
        precision=precision,
        explained=np.array(float(share)),
        covariance=columns.covariance,
    )


def fit_static(mean: Floats, factors: Floats, metric: Floats, values: Floats) -> StaticPrior | None:
    """Learn what static columns say of how agents differ.

    Factors are unique only up to a change of basis, so errors of theirs are measured by what they
    do to predictions: tr(metric E^T E).

    Args:
        mean: ``(M, r)``, mu.
        factors: ``(M, N, r)``, of the trained agents.
        metric: ``(M, r, r)``, mean of Z^T W Z over their transitions.
        values: ``(N, C)``, raw units; NaN where a column is not known.

    Returns:
        None if nothing can be learned.
    """
    known: Any = ~np.isnan(values).all(axis=1)
    n_known = int(known.sum())
    sound: Any = np.isfinite(factors).all(axis=(1, 2)) & np.isfinite(metric).all(axis=(1, 2))
    if n_known < STATIC.fewest or not sound.any():
        return None
    raw, own = values[known], factors[:, known] - mean[:, None]
    columns = StaticColumns.of(values)
    assert columns is not None
    low, high, centre, scale, joint, x, _ = columns
    x = x[known]
    shift = own.mean(axis=1)
    ridges = Ridges.of(x, own - shift[:, None])
    ridge = ridges.best(_RIDGES, metric, sound)
    residual = ridges.left_out(ridge)
    gain = _gain(ridges, residual, metric, sound)
    # Noise explains a little by luck: what is explained must stand out, agent by agent.
    if not _stands_out(gain):
        ridge, gain = _NO_SLOPE, np.zeros(n_known)
        residual = ridges.left_out(ridge)
    whole: Any = ~np.isnan(raw).any(axis=1)
    curve = None
    position = _position(raw[whole], low, high)
    tried = fit_curve(own[:, whole], metric, position, STATIC.degrees, STATIC.agents_per_term)
    if tried is not None:
        better = _gain(ridges, tried[1], metric, sound, whole)
        if _stands_out(better - gain[whole]):
            curve, gain = tried[0], better
    if curve is None and ridge == _NO_SLOPE:
        return None
    if STATIC.fewest <= whole.sum() < n_known:  # of others it is also what is not known of them
        residual = residual[:, whole]
    spread: Any = np.square(residual).mean(axis=(1, 2)) + 1e-12
    covariance = widened_covariance(residual, spread)
    return StaticPrior(
        low=low,
        high=high,
        centre=centre,
        scale=scale,
        shift=shift,
        weights=ridges.weights(ridge),
        precision=np.asarray(np.linalg.inv(covariance), np.float64),
        explained=np.array(float(gain.mean())),
        covariance=joint,
        curve=curve,
    )


def _position(values: Floats, low: Floats, high: Floats) -> Floats:
    """Return where columns ``(n, C)`` are in their ranges, -1 to 1; 0 if one does not vary."""
    half = (high - low) / 2
    return (values - (low + high) / 2) / np.where(half > 0, half, 1.0)


def _gain(
    ridges: Ridges,
    residual: Floats,
    metric: Floats,
    sound: NDArray[np.bool_],
    agents: NDArray[np.bool_] | slice = slice(None),
) -> Floats:
    """Return how much of each agent left out is explained, ``(n,)``, in units of their mean."""
    whole = ridges.without(metric, sound)[:, agents]
    left = squared_errors(residual, metric, sound)
    return ((whole - left) / ridges.unit(metric, sound)).mean(axis=0)


def _stands_out(gain: Floats) -> bool:
    """Return whether a mean over agents is above zero by more than luck."""
    return bool(gain.mean() > STATIC.standard_errors * gain.std() / len(gain) ** 0.5)


def _joint_normal(raw: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean and scale ``(C,)`` of columns ``(n, C)``, S, and E[x | o] of all agents."""
    known = ~np.isnan(raw)
    n_agents, n_columns = raw.shape
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, raw, 0.0).sum(axis=0) / count
    away = np.where(known, raw - centre, 0.0)
    scale = np.sqrt((away * away).sum(axis=0) / count)
    # A column that does not vary has a spread of rounding errors.
    scale = np.where(scale > 1e-12 * np.fmax.reduce(np.abs(raw), axis=0), scale, 1.0)
    x, covariance = away / scale, np.eye(n_columns)
    for _ in range(1 if known.all() else STATIC.rounds):
        total = n_columns * np.eye(n_columns)
        x = np.where(known, (raw - centre) / scale, 0.0)
        for rows, root in _fill(x, known, covariance):
            total += len(rows) * root @ root.T
        if not known.all():
            centre = centre + x.mean(axis=0) * scale
            x -= x.mean(axis=0)
        covariance = (x.T @ x + total) / (n_agents + n_columns)
    return centre, scale, covariance, x
