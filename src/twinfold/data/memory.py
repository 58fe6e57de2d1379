"""What a model reads beside the present state: the changes that led to it, and known inputs.

Axes: K rows, D state columns, m changes, E known inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.roles import Roles

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MemorySettings:
    """What decides how changes are remembered where times are uneven.

    Attributes:
        short: length, in usual steps, below which a step says little of how fast a state changes:
            its change is mostly noise of the two values, which a division by the length blows up.
    """

    short: float = 0.5


MEMORY = MemorySettings()
"""Those of every fit."""


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


def per_usual_step(change: Any, length: Any) -> Any:
    """Return changes over steps of some length as those of a usual step.

    Of a change c over a step h, c h / (h^2 + short^2): the change by length where the step is long,
    and nothing where it is so short that the change is that of the noise alone (the slope that is
    the most likely one where slopes vary by as much as noise makes of steps of length ``short``).

    Args:
        change: ``(..., D)``.
        length: ``(..., 1)``, in usual steps.
    """
    return change * (length / (length**2 + MEMORY.short**2))


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
            change = per_usual_step(change, length[before, None])
        found.append(np.where(there[:, None], change, np.nan))
    return np.concatenate(found, axis=1)
