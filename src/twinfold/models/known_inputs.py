"""Known inputs that are held at their last value: how far from that the data says they go.

Axes: K transitions, S starts, H steps, E known inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
        alike: changes after the words that are held, from which on no others are drawn.
    """

    kept: int = 128
    draws: int = 32
    alike: int = 4


KNOWN = KnownSettings()
"""Those of every run."""

_CAME = 0.5  # indicators are 0 and 1, their changes -1, 0 and 1


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
    words: Sequence[slice] = (),
    seed: int = 0,
) -> Floats:
    """Return paths that known inputs may take instead of staying: ``(n, S, H, E)`` raw units.

    Numbers change as they did after some row of the data. A word gives way to the word that came
    there, and rows with the word that is held go first: after Sunday comes Monday.

    Args:
        wander: as the function of that name returns.
        held: ``(S, H, E)``, the values that are held, or told.
        since: ``(S, H)``, for how many steps they have been held; 0 where they are told.
        low: ``(E,)``, their least values in the data; nothing goes below by a change.
        high: ``(E,)``, their greatest values in the data, likewise.
        words: of every column of words, where its levels are among known inputs.
        seed: of the draw.
    """
    rng = np.random.default_rng((seed, 29))
    order = rng.permutation(len(wander))
    chosen = order[_rows_alike(wander[order], held[:, -1], words)]
    reached = np.minimum(since, wander.shape[1] - 1)
    change = wander[chosen[:, :, None], reached]
    moved = np.clip(held + change, np.minimum(low, held), np.maximum(high, held))
    for levels in words:
        other = change[..., levels] > _CAME
        moved[..., levels] = np.where(other.any(axis=-1, keepdims=True), other, held[..., levels])
    return moved


def _rows_alike(wander: Floats, held: Floats, words: Sequence[slice]) -> NDArray[np.integer]:
    """Return which changes ``(n,)`` of some ``(k, H, E)`` each start ``(S,)`` may see: ``(n, S)``.

    Those after rows with the words that are held, again and again if they are few; all where they
    are too few to say how these words change.
    """
    fits = np.ones((len(wander), len(held)), bool)
    for levels in words:
        left: Any = np.any(wander[..., levels] < -_CAME, axis=1)  # (k, L), which word there was
        stays = ~left.any(axis=1, keepdims=True)
        fits &= stays | (left @ (held[:, levels] > _CAME).T)
    count = fits.sum(axis=0)
    fits[:, count < KNOWN.alike] = True
    count = np.maximum(fits.sum(axis=0), 1)
    first = np.argsort(~fits, axis=0, kind="stable")  # those that fit, in their order
    return np.take_along_axis(first, np.arange(KNOWN.draws)[:, None] % count, axis=0)
