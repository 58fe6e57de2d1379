"""Arrays as those of D4RL: all steps below each other, with flags where episodes end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from twinfold.data.rl.episodes import Episode, as_arrays
from twinfold.data.rl.hdf5 import open_hdf5, whole
from twinfold.errors import InvalidDataError

_NEEDED = ("observations", "actions", "rewards", "terminals")


def read_d4rl(file: Path) -> list[Episode]:
    """Return the episodes of a file of HDF5 with D4RL's arrays; see ``from_d4rl``."""
    with open_hdf5(file) as h5:
        wanted = (*_NEEDED, "timeouts", "next_observations")
        return from_d4rl({name: whole(h5[name]) for name in wanted if name in h5})


def from_d4rl(arrays: Mapping[str, Any]) -> list[Episode]:
    """Return the episodes of arrays.

    An episode ends at a step that is terminal or a timeout. With ``next_observations`` it also ends
    where the next observation is not that of the step below; without them, the state after its
    last action is not known.

    Args:
        arrays: ``observations`` ``(K, D)``, ``actions`` ``(K, A)`` or ``(K,)``, ``rewards``
            ``(K,)``, ``terminals`` ``(K,)``, and if there are such ``timeouts`` and
            ``next_observations``.

    Raises:
        InvalidDataError: an array is missing, or they differ in length.
    """
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise InvalidDataError(
            f"no array {' and no '.join(map(repr, missing))}; there are {', '.join(arrays)}"
        )
    state = as_arrays(arrays["observations"], "observations")
    action, reward = np.asarray(arrays["actions"]), np.ravel(arrays["rewards"])
    terminal = np.ravel(arrays["terminals"]).astype(bool)
    lengths = {n: len(arrays[n]) for n in (*_NEEDED, "timeouts") if n in arrays}
    if len(set(lengths.values())) > 1 or not len(state):
        raise InvalidDataError(f"arrays differ in length, or are empty: {lengths}")
    timeout = np.ravel(arrays.get("timeouts", np.zeros(len(state)))).astype(bool)
    after = arrays.get("next_observations")
    ends = terminal | timeout
    if after is not None:
        after = as_arrays(after, "next_observations")
        ends[:-1] |= np.any(after[:-1] != state[1:], axis=1)
    ends[-1] = True
    found, low = [], 0
    for high in np.flatnonzero(ends) + 1:
        part = slice(low, high)
        rows = state[part]
        if after is not None:
            rows = np.concatenate([rows, after[high - 1 : high]])
        ended = bool(terminal[high - 1])
        found.append(Episode(rows, action[part], reward[part], ended, truncated=not ended))
        low = high
    return found
