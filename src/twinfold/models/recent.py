"""Where the data of agents ended: what a prediction that goes on from there starts from.

Axes: N agents, D state columns, W = D and the steps before (``Normalizer.carry``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinfold.data.memory import acted, per_usual_step, turned, with_memory
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.data.transitions import Transitions

Floats = NDArray[np.float64]


def last_starts(data: Transitions, n_agents: int, roles: Roles, uneven: bool = False) -> Floats:
    """Return the last state of every agent, the steps that led to it, and the known inputs.

    Args:
        data: transitions, those of an agent next to each other and in the order of time.
        n_agents: N.
        roles: they say which columns are angles.
        uneven: whether times are uneven.

    Returns:
        ``(N, W)`` raw units. NaN for an agent without a transition, and for what is not known.
    """
    last = np.flatnonzero(np.r_[data.agent[1:] != data.agent[:-1], True][: len(data)])
    state, memory = data.next_state[last], None
    if data.memory is not None:
        change = turned(state - data.state[last], roles)
        if uneven and data.known is not None:
            change = per_usual_step(change, data.known[last, -1:])
        size, told = data.memory.shape[2] - data.state.shape[1], None
        if data.known is not None:
            told = data.known[last]
        past = acted(data.action[last], told, size, uneven)
        step = np.concatenate([change, past], axis=1)[:, None]
        memory = np.concatenate([step, data.memory[last, :-1]], axis=1)
    start = with_memory(state, memory, None if data.known_after is None else data.known_after[last])
    found = np.full((n_agents, start.shape[1] if len(last) else data.start.shape[1]), np.nan)
    found[data.agent[last]] = start
    return found


def last_times(panel: PanelDataset) -> Floats:
    """Return when the last transition of every agent ended, ``(N,)``, in ticks of the times."""
    ticks = panel.time.view(np.int64) if panel.time.dtype.kind in "mM" else panel.time
    reached = 1 + np.flatnonzero(panel.segment[1:] == panel.segment[:-1])
    found = np.full(panel.n_agents, np.nan)
    found[panel.agent[reached]] = ticks[reached]  # the last of an agent stays
    return found
