"""Means, scales and limits of a normalizer, from training transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from twinfold.data.angles import wrap
from twinfold.data.memory import acted, per_usual_step
from twinfold.data.table_settings import TABLE
from twinfold.data.transitions import Transitions
from twinfold.models.normalizer import NORMALIZER, Normalizer, difference_of


def fit_normalizer(
    data: Transitions,
    angles: Sequence[int] = (),
    direct: Sequence[int] = (),
    uneven: bool = False,
) -> Normalizer:
    """Means, scales and limits of training transitions.

    A value that a coordinate of the next state never passes and reaches exactly, far more often
    than the values next to it, is a hard limit (the end of a track, an empty tank).

    Args:
        data: training transitions.
        angles: columns of the state that are angles in radians.
        direct: columns of which the next value is predicted instead of the difference.
        uneven: whether the last of the known inputs is the length of the step.

    The normalizer has a memory if the transitions have one. Only what was observed counts.
    """
    state, next_state, paired = _observed(data)
    mean, scale = _moments(state, state, 1.0)
    turning = state[:, list(angles)]
    waves = np.concatenate([np.sin(turning), np.cos(turning)], axis=1)
    # About the mean direction: the same, however many turns a trajectory has counted.
    middle = np.arctan2(*np.split(_by_column(np.mean, waves), 2))
    mean[list(angles)] = middle
    scale[list(angles)] = _moments(wrap(turning - middle), turning, 1.0)[1]
    keep = np.ones(len(mean))
    keep[list(direct)] = 0.0
    target = np.where(paired, difference_of(data.state, data.next_state, keep, angles), np.nan)
    if np.issubdtype(data.action.dtype, np.floating):
        action_mean, action_scale = _moments(data.action, data.action, 1.0)
    else:
        action_mean = action_scale = np.zeros(0)
    plain = difference_of(data.state, data.next_state, np.ones(len(mean)), angles)
    plain = np.where(paired, plain, np.nan)
    if uneven and data.known is not None:
        plain = per_usual_step(plain, data.known[:, -1:])
    change_mean, change_scale = _moments(plain, state, NORMALIZER.still * scale)
    low, high = _limits(next_state)
    low[list(angles)], high[list(angles)] = -np.inf, np.inf
    return Normalizer(
        state_mean=mean,
        state_scale=scale,
        keep=keep,
        **_target_moments(target, keep, state, scale, uneven),
        wave_mean=_by_column(np.mean, waves),
        wave_scale=np.maximum(_by_column(np.std, waves), NORMALIZER.flat),
        action_mean=action_mean,
        action_scale=action_scale,
        low=(low - mean) / scale,
        high=(high - mean) / scale,
        change_mean=change_mean,
        change_scale=change_scale,
        **_acted_moments(data, action_mean, action_scale, uneven),
        **_known_moments(data.known, uneven),
        angles=tuple(angles),
        history=data.history,
        uneven=uneven,
    )


def _target_moments(
    target: np.ndarray, keep: np.ndarray, state: np.ndarray, scale: np.ndarray, uneven: bool
) -> dict[str, np.ndarray]:
    """Return means, scales and limits of targets ``(K, D)``, NaN where not known."""
    # Where every difference is the same, what a model makes of it must not add up in a rollout.
    mean, size = _moments(target, state, NORMALIZER.still * scale)
    if uneven:  # a step of no length is no change
        size = np.sqrt(_by_column(np.mean, np.square(target)))
        mean, size = 0 * size, np.where(size > 0, size, NORMALIZER.still * scale)
    low = (_by_column(np.min, target) - mean) / size
    high = (_by_column(np.max, target) - mean) / size
    reach = NORMALIZER.reach * (high - low)
    # No change is always possible, also of what has only grown: a prediction of none must be one.
    none = np.where(keep == 1, -mean / size, np.nan)
    return {
        "target_mean": mean,
        "target_scale": size,
        "target_low": np.fmin(low - reach, none),
        "target_high": np.fmax(high + reach, none),
    }


def _acted_moments(
    data: Transitions, action_mean: np.ndarray, action_scale: np.ndarray, uneven: bool
) -> dict[str, np.ndarray]:
    """Return means and scales of what acts in a step, as a memory holds it."""
    size = 0 if data.memory is None else data.memory.shape[2] - data.state.shape[1]
    if not size:
        return {}
    mean = acted(data.action, data.known, size, uneven).mean(axis=0)
    scale, n_known = np.ones(size), 0
    if data.known is not None:
        n_known = data.known.shape[1] - uneven
        scale[size - n_known :] = _moments(data.known, data.known, 1.0)[1][:n_known]
    if len(action_mean):
        mean[: size - n_known], scale[: size - n_known] = action_mean, action_scale
    return {"acted_mean": mean, "acted_scale": scale}


def _known_moments(known: np.ndarray | None, uneven: bool) -> dict[str, np.ndarray]:
    """Return means, scales and range of known inputs; the length of a step stays as it is."""
    if known is None:
        return {}
    mean, scale = _moments(known, known, 1.0)
    if uneven:
        mean[-1], scale[-1] = 0.0, 1.0
    return {
        "known_mean": mean,
        "known_scale": scale,
        "known_low": known.min(axis=0, initial=np.inf),
        "known_high": known.max(axis=0, initial=-np.inf),
    }


def unit_problems(
    normalizer: Normalizer, state: Sequence[str], action: Sequence[str]
) -> Iterator[str]:
    """Yield a line for every column whose units float32 cannot hold.

    Args:
        normalizer: float64, on the host.
        state: names of the state columns.
        action: names of the action columns; discrete ones have no units.
    """
    columns = [
        (f"column {name!r} ({role})", *numbers)
        for role, names, *arrays in (
            ("state", state, normalizer.state_mean, normalizer.state_scale),
            ("state", state, normalizer.target_mean, normalizer.target_scale),
            ("action", action, normalizer.action_mean, normalizer.action_scale),
        )
        for name, *numbers in zip(names, *arrays, strict=False)
    ]
    problems = {}
    for column, mean, scale in columns:
        if not max(abs(mean), scale) <= TABLE.largest:
            problems[column] = f"{column} has values of {max(abs(mean), scale):.1g}; divide it"
        elif scale < TABLE.smallest:
            problems[column] = f"{column} varies by {scale:.1g} only; multiply it"
    for line in problems.values():
        yield f"{line} by a constant: single precision cannot hold such numbers"


def erratic_columns(data: Transitions) -> tuple[int, ...]:
    """State columns of which the mean is a better guess of the next value than no change."""
    _, next_state, paired = _observed(data)
    change = _by_column(np.std, np.where(paired, data.next_state - data.state, np.nan))
    return tuple(np.flatnonzero(change > _by_column(np.std, next_state)).tolist())


def _observed(data: Transitions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return states and next states ``(K, D)``, NaN where missing, and where a change is known.

    Where hardly ever two values of a column follow each other, its changes are those from what
    stands for a missing value.
    """
    if data.present is None or data.counted is None:
        return data.state, data.next_state, np.ones(data.state.shape, bool)
    state = _or_all(data.present, data.state)
    next_state = _or_all(data.counted, data.next_state)
    both = data.present & data.counted
    enough = both.sum(axis=0) >= NORMALIZER.pairs
    paired = np.where(enough, both, data.counted)
    return state, next_state, np.where(paired.any(axis=0), paired, True)


def _or_all(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ``values`` with NaN where not known, but in columns of which nothing is."""
    return np.where(known | ~known.any(axis=0), values, np.nan)


def _by_column(statistic: Callable[..., Any], values: np.ndarray) -> np.ndarray:
    """Return a statistic of the values of each column, those that are NaN left out."""
    if not np.isnan(values).any():
        return statistic(values, axis=0)
    return np.array([statistic(column[~np.isnan(column)]) for column in values.T])


def _moments(
    values: np.ndarray, source: np.ndarray, if_constant: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of columns that were computed from the columns of ``source``."""
    mean, scale = _by_column(np.mean, values), _by_column(np.std, values)
    # Rounding alone gives a constant column a tiny spread, relative to what it was computed from.
    largest = np.nanmax(np.abs(source), axis=0, initial=0)
    constant = scale <= NORMALIZER.rounding * largest
    return mean, np.where(constant, if_constant, scale)


def _limits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.full(values.shape[1], -np.inf)
    high = np.full(values.shape[1], np.inf)
    for d in range(values.shape[1]):
        known = values[~np.isnan(values[:, d]), d]
        distinct, counts = np.unique(known, return_counts=True)
        if len(distinct) < 2:
            continue
        for limit, end, order in ((low, 0, counts), (high, -1, counts[::-1])):
            beside = order[1 : 1 + NORMALIZER.neighbours].max()
            if order[0] >= max(NORMALIZER.at_limit, NORMALIZER.peak * beside):
                limit[d] = distinct[end]
    return low, high
