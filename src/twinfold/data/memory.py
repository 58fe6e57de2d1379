"""What a model reads beside the present state: the changes that led to it, and known inputs.

Axes: K rows, D state columns, m changes, E known inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.roles import Roles

Floats = NDArray[np.float64]


def with_memory(state: Floats, memory: Floats | None, known: Floats | None = None) -> Floats:
    """Return states ``(..., D)``, changes before ``(..., m D)``, known inputs ``(..., E)``."""
    parts = [part for part in (state, memory, known) if part is not None]
    return state if len(parts) == 1 else np.concatenate(parts, axis=-1)


def start_of(state: Floats, n_memory: int, known: Floats | None) -> Floats:
    """Return what a prediction starts from where the changes before are not known, ``(..., W)``.

    Args:
        state: ``(..., D)``.
        n_memory: m D, of a model with memory; else 0.
        known: ``(..., E)``, known inputs; ``state`` alone is returned if None.
    """
    if known is None:
        return state
    return with_memory(state, np.full((*state.shape[:-1], n_memory), np.nan), known)


def turned(change: Floats, roles: Roles) -> Floats:
    """Return changes of states ``(..., D)``, those of angles the short way round."""
    for name in roles.angle:
        d = roles.state.index(name)
        change[..., d] = wrap(change[..., d])
    return change


def changes_before(
    state: Floats,
    rows: NDArray[Any],
    known: NDArray[Any],
    history: int,
    roles: Roles,
    length: Floats | None = None,
) -> Floats:
    """Return the changes that led to some rows, ``(K, m D)``, m = history - 1, the latest first.

    Args:
        state: of all rows, those of a trajectory below each other, ``(R, D)``.
        rows: ``(K,)``, which.
        known: ``(K,)``, how many rows of its trajectory stand above each.
        history: rows that a model reads.
        roles: they say which columns are angles.
        length: ``(R,)``, of the step after each row, in usual ones, where times are uneven: changes
            are then those of a usual step.

    Returns:
        NaN where a change is not known.
    """
    found = []
    for back in range(1, history):
        there = known >= back
        now, before = np.where(there, rows - back + 1, 0), np.where(there, rows - back, 0)
        change = turned(state[now] - state[before], roles)
        if length is not None:
            change = change / length[before, None]
        found.append(np.where(there[:, None], change, np.nan))
    return np.concatenate(found, axis=1)
