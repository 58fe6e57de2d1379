"""Trajectories in Python: a list of them, a mapping of arrays each, of whatever lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twinfold.data.rl.episodes import Episode, as_arrays
from twinfold.errors import InvalidDataError

_NEEDED = ("observations", "actions")
_ENDS = ("terminated", "terminals")


def from_trajectories(trajectories: Sequence[Any]) -> list[Episode]:
    """Return the episodes of a list of trajectories.

    Args:
        trajectories: each has ``observations`` ``(T + 1, D)``, or ``(T, D)`` where the state after
            the last action is not known or stands in ``next_observations`` ``(T, D)``; ``actions``
            ``(T, A)`` or ``(T,)``; and if there are such ``rewards`` ``(T,)``, and ``terminated``
            or ``terminals``, one value or ``(T,)``, of which the last counts. One that did not end
            by itself was cut off.

    Raises:
        InvalidDataError: an array is missing or of a length that does not fit; the message says of
            which trajectory.
    """
    return [_episode(each, f"trajectory {i}") for i, each in enumerate(trajectories)]


def _episode(given: Any, where: str) -> Episode:
    if not isinstance(given, Mapping):
        raise InvalidDataError(
            f"{where} is of type {type(given).__name__}; a mapping of arrays is needed, with "
            f"{' and '.join(_NEEDED)}"
        )
    missing = [name for name in _NEEDED if name not in given]
    if missing:
        there = ", ".join(map(str, given)) or "none"
        raise InvalidDataError(
            f"{where}: no array {' and no '.join(map(repr, missing))}; there are {there}"
        )
    state = as_arrays(given["observations"], f"{where}, observations")
    action = np.asarray(given["actions"])
    n_steps = len(action) if action.ndim else 0
    after = given.get("next_observations")
    if after is not None and len(state) == n_steps:
        last = as_arrays(after, f"{where}, next_observations")[-1:]
        state = np.concatenate([state, last])
    if not n_steps or len(state) not in (n_steps, n_steps + 1):
        raise InvalidDataError(
            f"{where}: {len(state)} observations and {n_steps} actions; there must be an action or "
            "more, and as many observations or one more"
        )
    reward = given.get("rewards")
    reward = None if reward is None else np.ravel(reward)
    if reward is not None and len(reward) != n_steps:
        raise InvalidDataError(f"{where}: {len(reward)} rewards and {n_steps} actions")
    ends = next((np.ravel(given[name]) for name in _ENDS if name in given), np.zeros(1))
    ended = bool(ends.size and ends[-1])
    return Episode(state, action, reward, ended, truncated=not ended)
