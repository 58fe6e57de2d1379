"""Steps longer than any in the training data, where times are uneven: taken in several parts.

An action that stays on acts in each of the parts; one that acts at once (a dose) in the first
alone, and is 0 after it. Which it is, the training data says: a pooled linear model explains more
if actions act by the length of the step, or if they act at once.

Axes: S paths, H steps, P parts of them, A action columns, E known inputs, q linear features.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.models.linear_terms import action_features
from twinfold.models.normalizer import Normalizer

Floats = NDArray[np.float64]

MOST_PARTS = 64
"""Parts of a step, at the most."""


class Parts(NamedTuple):
    """Paths with long steps in parts.

    Attributes:
        action: ``(S, P)`` level indices or ``(S, P, A)`` raw units.
        known: ``(S, P, E)`` raw units.
        last: ``(S, H)``, place of the last part of each step.
    """

    action: NDArray[Any]
    known: Floats
    last: NDArray[np.intp]

    def ends(self, paths: Floats) -> Floats:
        """Return what follows whole steps, ``(..., S, H, D)``, of paths ``(..., S, P, D)``."""
        place = np.broadcast_to(self.last[..., None], (*paths.shape[:-3], *self.last.shape, 1))
        return np.take_along_axis(paths, place, axis=-2)


def in_parts(normalizer: Normalizer, action: NDArray[Any], known: Floats | None) -> Parts | None:
    """Return paths with steps longer than any in training in parts; None if there is no such step.

    Args:
        normalizer: float64, on the host.
        action: ``(S, H)`` level indices or ``(S, H, A)`` raw units.
        known: ``(S, H, E)`` raw units; None for none.
    """
    if known is None or not normalizer.uneven:
        return None
    longest = normalizer.known_high[-1]
    number = np.ceil(known[..., -1] / longest * (1 - 1e-9)).astype(np.int64).clip(1, MOST_PARTS)
    if number.max(initial=1) == 1:
        return None
    ends = np.cumsum(number, axis=1)
    part = np.arange(ends[:, -1].max())
    step = np.minimum((part[:, None] >= ends[:, None]).sum(axis=2), number.shape[1] - 1)  # (S, P)
    row = np.arange(len(step))[:, None]
    told, acted = known[row, step], action[row, step]
    told[..., -1] /= number[row, step]
    if acted.ndim == 3 and normalizer.known_at_once:
        first = part == (ends - number)[row, step]
        acted = np.where(first[..., None], acted, 0.0)
    return Parts(acted, told, ends - 1)


def acts_at_once(sums: Iterable[tuple[Floats, Floats]], n_inputs: int) -> bool:
    """Return whether actions do at once what they do, rather than by the length of the step.

    Args:
        sums: ``(q, q)``, of phi phi^T over all agents, and ``(q, D)``, of phi y^T; of each column
            of the target where these have rows of their own.
        n_inputs: I, of the linear features.
    """
    known = list(sums)
    q = len(known[0][0])
    base = 1 + n_inputs + action_features(q, n_inputs, uneven=True)
    at_once = np.arange(q) >= 2 * base
    by_length = ~at_once & (np.arange(q) % base > n_inputs)

    def explained(left_out: NDArray[np.bool_]) -> float:
        used = np.flatnonzero(~left_out)
        total = 0.0
        for gram, moment in known:
            system = gram[np.ix_(used, used)] + 1e-6 * np.eye(len(used))
            total += float(np.sum(moment[used] * np.linalg.solve(system, moment[used])))
        return total

    return explained(by_length) > explained(at_once)
