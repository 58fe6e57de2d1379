"""Statistics of a comparison: intervals over fits and episodes, and how often one method is better.

    agents    are the strata: each is there in every resample, and nothing is drawn between them
    fits      (repeats) are drawn with replacement where there are several
    episodes  or trajectories are drawn with replacement within the fit that was drawn

A percentile interval of few fits is too short: with three it is a sketch of the truth. With one fit
it says nothing of how fits differ. Source: Agarwal et al., "Deep Reinforcement Learning at the Edge
of the Statistical Precipice", NeurIPS 2021. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from twinfold.errors import UsageError

Floats = NDArray[np.float64]
Sample = Sequence[npt.ArrayLike]
"""Values of one agent: an array of episodes per fit."""
Statistic = Callable[..., npt.ArrayLike]


@dataclass(frozen=True)
class BootstrapSettings:
    """Numbers that decide an interval.

    Attributes:
        level: coverage that it is meant to have.
        resamples: how many are drawn.
        seed: of the drawing; equal seeds give equal intervals.
        chunk: numbers that are held at once.
    """

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0
    chunk: int = 4_000_000


BOOTSTRAP = BootstrapSettings()
"""The settings of every table and page."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: of all that was measured.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def apart(self, other: Estimate) -> bool:
        """Return whether two intervals do not overlap; False if an end is not finite."""
        return self.high < other.low or other.high < self.low


def interval(
    agents: Sequence[Sample],
    statistic: Statistic = np.mean,
    settings: BootstrapSettings = BOOTSTRAP,
) -> Estimate:
    """Return a statistic of all values with its stratified bootstrap interval.

    Every fit of an agent counts alike, whatever the number of its episodes.

    Args:
        agents: by agent and fit, values of episodes.
        statistic: called as ``statistic(values, axis=-1)``, such as ``np.mean`` or
            ``twinfold.metrics.iqm``.
        settings: level, number of resamples and seed.

    Raises:
        UsageError: there is no value.
    """
    strata = [_square(sample) for sample in agents]
    if not strata:
        raise UsageError("an interval needs the values of one agent at least")
    value = float(np.asarray(statistic(np.concatenate([s.ravel() for s in strata]), axis=-1)))
    rng = np.random.default_rng(settings.seed)
    n_values = sum(stratum.size for stratum in strata)
    step = max(1, settings.chunk // n_values)
    found = []
    for first in range(0, settings.resamples, step):
        count = min(step, settings.resamples - first)
        drawn = [_drawn(stratum, count, rng) for stratum in strata]
        found.append(np.asarray(statistic(np.concatenate(drawn, axis=1), axis=-1)))
    return Estimate(value, *_ends(np.concatenate(found), settings.level))


def probability_of_improvement(
    better: Sequence[Sample],
    than: Sequence[Sample],
    lower_is_better: bool = False,
    settings: BootstrapSettings = BOOTSTRAP,
) -> Estimate:
    """Return the probability that one method does better than another, a draw of each.

    For an agent it is U / (n m), the Mann-Whitney statistic over the number of pairs (ties count
    half); over agents it is the mean.

    Args:
        better: of the first method, by agent and fit.
        than: of the second one, by the same agents.
        lower_is_better: whether values are errors.
        settings: level, number of resamples and seed.

    Raises:
        UsageError: the agents are not as many, or there is no value.
    """
    if len(better) != len(than) or not better:
        raise UsageError(
            f"two methods are compared by the same agents, not by {len(better)} and {len(than)}"
        )
    rng = np.random.default_rng(settings.seed)
    whole, drawn = [], []
    for first, second in zip(better, than, strict=True):
        x, y = _square(first), _square(second)
        gain = (y.ravel() - x.ravel()[:, None]) if lower_is_better else (
            x.ravel()[:, None] - y.ravel()
        )  # fmt: skip
        # What is not finite is worse than what is; two of these are alike.
        worse = np.isnan(gain)
        gain = np.where(worse, _by_finiteness(x.ravel(), y.ravel()), gain)
        wins = (gain > 0) + 0.5 * (gain == 0)
        whole.append(wins.mean())
        drawn.append(
            ((_weights(x, settings.resamples, rng) @ wins) * _weights(y, settings.resamples, rng))
            .sum(axis=1)
        )  # fmt: skip
    return Estimate(float(np.mean(whole)), *_ends(np.mean(np.stack(drawn), axis=0), settings.level))


def _by_finiteness(x: Floats, y: Floats) -> Floats:
    return np.isfinite(x)[:, None].astype(float) - np.isfinite(y)


def _ends(values: Floats, level: float) -> tuple[float, float]:
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _square(sample: Sample) -> Floats:
    """Return the values of an agent as ``(fits, episodes)``.

    Fits with fewer episodes than others are repeated in turn, so that each counts alike.

    Raises:
        UsageError: a fit has no episode, or there is no fit.
    """
    fits = [np.asarray(values, np.float64).ravel() for values in sample]
    if not fits or not all(len(values) for values in fits):
        raise UsageError("every agent and fit needs a value")
    longest = max(len(values) for values in fits)
    return np.stack([np.resize(values, longest) for values in fits])


def _drawn(values: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return resamples of an agent's values, ``(count, fits * episodes)``."""
    fits, episodes = _indices(values.shape, count, rng)
    return values[fits, episodes].reshape(count, -1)


def _weights(values: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return the share of every value in resamples, ``(count, fits * episodes)``."""
    fits, episodes = _indices(values.shape, count, rng)
    place = (fits * values.shape[1] + episodes).reshape(count, -1)
    flat = place + values.size * np.arange(count)[:, None]
    counts = np.bincount(flat.ravel(), minlength=count * values.size)
    return counts.reshape(count, values.size) / values.size


def _indices(
    shape: tuple[int, ...], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which fit and which episode every drawn value is, ``(count, fits, episodes)`` each."""
    n_fits, n_episodes = shape
    fits = rng.integers(n_fits, size=(count, n_fits, 1))
    episodes = rng.integers(n_episodes, size=(count, n_fits, n_episodes))
    return np.broadcast_to(fits, episodes.shape), episodes
