"""Known inputs that are held at their last value: how far from that the data says they go.

Axes: K transitions, S starts, H steps, E known inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinfold.data.transitions import Transitions
from twinfold.data.windows import HORIZON

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KnownSettings:
    """Numbers that decide how changes of known inputs are drawn from the data.

    Attributes:
        kept: starts that a run keeps the changes after, at the most.
        draws: of them for each question.
    """

    kept: int = 128
    draws: int = 16


KNOWN = KnownSettings()
"""Those of every run."""


def wander(data: Transitions, seed: int = 0) -> Floats | None:
    """Return changes of known inputs over 1 to H steps after some rows, ``(S, H, E)`` raw units.

    Where a trajectory ends, its last change goes on.

    Args:
        data: transitions ordered by agent and time.
        seed: of the draw of the rows.

    Returns:
        None without known inputs.
    """
    if data.known is None or not len(data):
        return None
    last = np.searchsorted(data.segment, data.segment, side="right") - 1  # of each row's trajectory
    rows = np.flatnonzero(last > np.arange(len(data)))
    if not len(rows):
        rows = np.arange(len(data))
    rng = np.random.default_rng((seed, 23))
    rows = np.sort(rng.permutation(rows)[: KNOWN.kept])
    horizon = min(HORIZON, int((last - np.arange(len(data))).max()) + 1)
    ahead = np.minimum(rows[:, None] + np.arange(horizon), last[rows][:, None])
    return data.known[ahead] - data.known[rows][:, None]


def draws_of(
    wander: Floats,
    held: Floats,
    since: NDArray[np.integer],
    low: Floats,
    high: Floats,
    seed: int = 0,
) -> Floats:
    """Return paths that known inputs may take instead of staying: ``(n, S, H, E)`` raw units.

    Args:
        wander: as the function of that name returns.
        held: ``(S, H, E)``, the values that are held, or told.
        since: ``(S, H)``, for how many steps they have been held; 0 where they are told.
        low: ``(E,)``, their least values in the data; nothing goes below by a change.
        high: ``(E,)``, their greatest values in the data, likewise.
        seed: of the draw.
    """
    rng = np.random.default_rng((seed, 29))
    rows = rng.permutation(len(wander))[: KNOWN.draws]
    moved = held + wander[rows][:, np.minimum(since, wander.shape[1] - 1)]
    return np.clip(moved, np.minimum(low, held), np.maximum(high, held))
