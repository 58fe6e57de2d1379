"""What a model reads beside the present state: the steps that led to it, and known inputs.

Of each of the m steps before a state a memory holds B = D + V numbers, the latest step first: the
change of the state in it, and what acted in it (its action and its exogenous inputs).

Axes: K rows, D state columns, V numbers of what acted, E known inputs.
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
    """Return states ``(..., D)``, the steps before ``(..., m, B)``, known inputs ``(..., E)``.

    Side by side, ``(..., W)`` with W = D + m B + E.
    """
    if memory is not None:
        memory = memory.reshape(*memory.shape[:-2], memory.shape[-2] * memory.shape[-1])
    parts = [part for part in (state, memory, known) if part is not None]
    return state if len(parts) == 1 else np.concatenate(parts, axis=-1)


def start_of(state: Floats, n_memory: int, known: Floats | None) -> Floats:
    """Return what a prediction starts from where the steps before are not known, ``(..., W)``.

    Args:
        state: ``(..., D)``.
        n_memory: m B, of a model with memory; else 0.
        known: ``(..., E)``, known inputs; ``state`` alone is returned if None.
    """
    if known is None:
        return state
    return np.concatenate([state, np.full((*state.shape[:-1], n_memory), np.nan), known], axis=-1)


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


def n_acted(n_action: int, n_levels: int, n_exogenous: int) -> int:
    """Return V, how many numbers a memory holds of what acted in a step.

    Where nobody acts, or always in the same way, there is nothing to remember of it.

    Args:
        n_action: A of a continuous action.
        n_levels: L of a discrete one, else 0.
        n_exogenous: exogenous inputs.
    """
    n_action = n_levels or n_action
    return n_exogenous + (0 if n_levels == 1 else n_action)


def acted(action: NDArray[Any], known: Floats | None, size: int, uneven: bool = False) -> Floats:
    """Return what acted in some steps as a memory holds it, ``(..., V)``, raw units.

    The action, a level of a discrete one as indicators; then the exogenous inputs.

    Args:
        action: ``(..., A)`` raw units, or ``(...)`` level indices; NaN or -1 where not known.
        known: ``(..., E)``, known inputs of the steps; None without any.
        size: V; 0 for a memory of changes alone.
        uneven: whether the last of the known inputs is the length of the step, which a change by
            the usual step has in it already.
    """
    levels = np.issubdtype(action.dtype, np.integer)
    shape = action.shape if levels else action.shape[:-1]
    if not size:
        return np.zeros((*shape, 0))
    exogenous = np.zeros((*shape, 0)) if known is None else known[..., : known.shape[-1] - uneven]
    code = action
    if levels:
        code = np.where(action < 0, np.nan, 1.0)[..., None]
        code = code * (action[..., None] == np.arange(size - exogenous.shape[-1]))
    return np.concatenate([code, exogenous], axis=-1)


def steps_before(
    state: Floats,
    acted: Floats,
    rows: NDArray[Any],
    known: NDArray[Any],
    history: int,
    roles: Roles,
    length: Floats | None = None,
) -> Floats:
    """Return the steps that led to some rows, ``(K, m, B)``, m = history - 1, the latest first.

    Args:
        state: of all rows, those of a trajectory below each other, ``(R, D)``.
        acted: ``(R, V)``, what acted in the step after each row.
        rows: ``(K,)``, which.
        known: ``(K,)``, how many rows of its trajectory stand above each.
        history: rows that a model reads.
        roles: they say which columns are angles.
        length: ``(R,)``, of the step after each row, in usual ones, where times are uneven: changes
            are then those of a usual step.

    Returns:
        NaN where something is not known.
    """
    found = []
    for back in range(1, history):
        there = known >= back
        now, before = np.where(there, rows - back + 1, 0), np.where(there, rows - back, 0)
        change = turned(state[now] - state[before], roles)
        if length is not None:
            change = per_usual_step(change, length[before, None])
        step = np.concatenate([change, acted[before]], axis=1)
        found.append(np.where(there[:, None], step, np.nan))
    return np.stack(found, axis=1)
