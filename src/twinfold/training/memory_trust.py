"""How much transitions count of which a model with a memory does not know all earlier steps.

The first transitions of a trajectory have no rows before them, and what is not known of a step is
taken to be as usual. Where the memory explains much and there is little noise, such a transition is
far off, and counted in full it would outweigh all others. So it counts by the variance of the noise
over that of what a model leaves of transitions like it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twinfold.data.transitions import Transitions
from twinfold.models.linear import fit_linear
from twinfold.models.linear_kinds import ALIKE, LINEAR, Ratio
from twinfold.models.linear_sums import linear_data, linear_features_of
from twinfold.models.normalizer import Normalizer

Floats = NDArray[np.float64]


def memory_trust(
    data: Transitions, normalizer: Normalizer, n_agents: int, n_levels: int
) -> tuple[float, ...]:
    """Return by how much transitions count of which 0, 1, .. k - 2 earlier steps are known.

    Linear models with slopes of the agents' own, of the transitions of which all steps are known,
    odd ones and even ones in turn, predict the others. How much agents differ in them is what has
    the least error.

    Args:
        data: transitions of a model that reads k rows.
        normalizer: float64, on the host.
        n_agents: N.
        n_levels: L of a discrete action, 0 for continuous ones.

    Returns:
        ``(k - 1,)``, at most 1; empty if all count in full.
    """
    steps, whole = data.steps_known, data.history - 1
    parts = [(steps == whole) & (data.step % 2 == half) for half in (0, 1)]
    if min(part.sum() for part in parts) < LINEAR.known_rows:
        return ()
    squared = _left_by_others(data, normalizer, parts, n_agents, n_levels)
    noise = np.maximum(_mean(squared, data, steps == whole), LINEAR.floor**2)
    trust = []
    for known in range(whole):
        some = steps == known
        left = _mean(squared, data, some) if some.any() else noise
        trust.append(float(np.min(noise / np.maximum(left, noise))))
    return tuple(trust) if min(trust) < 1 else ()


def _left_by_others(
    data: Transitions,
    normalizer: Normalizer,
    parts: Sequence[NDArray[np.bool_]],
    n_agents: int,
    n_levels: int,
) -> Floats:
    """Return squared errors ``(K, D)`` of predictions by models of other transitions.

    Args:
        data: all transitions.
        normalizer: float64, on the host.
        parts: ``(K,)`` each, transitions that a model is fitted to; those of no part are predicted
            by the models of all.
        n_agents: N.
        n_levels: L of a discrete action, 0 for continuous ones.
    """
    phi = linear_features_of(normalizer, normalizer.carry(data.start), data.action, n_levels)
    target = normalizer.encode_target(data.state, data.next_state)
    sums = [linear_data(normalizer, data.select(part), n_agents, n_levels) for part in parts]
    among = np.any(parts, axis=0)
    best, least = np.zeros(target.shape), np.inf
    for ratio in [ALIKE, *(Ratio(*[size] * 4) for size in LINEAR.any_size)]:
        squared = np.zeros(target.shape)
        for part, fitted_to in zip(parts, sums, strict=True):
            fit = fit_linear(fitted_to, "slopes", ratio)
            predicted = np.einsum("kq,kqd->kd", phi, fit.coefficients(data.agent))
            squared += np.where(part[:, None], 0.0, np.square(target - predicted))
        squared[~among] /= len(parts)
        error = _mean(squared, data, among).sum()
        if error < least:
            best, least = squared, error
    return best


def _mean(squared: Floats, data: Transitions, rows: NDArray[np.bool_]) -> Floats:
    """Return the mean of some rows by column, ``(D,)``, each by how much it counts."""
    if data.weight is None:
        return squared[rows].mean(axis=0)
    weight = data.weight[rows]
    return (weight * squared[rows]).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
