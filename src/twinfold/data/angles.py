"""Angles in radians: all that differ by whole turns are one direction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinfold.data.table_settings import TABLE


def wrap(x: ArrayLike) -> NDArray[np.floating]:
    """The same angles in (-pi, pi], elementwise.

    Angles that are in this range already are given back unchanged.
    """
    x = np.asarray(x)
    turns = np.ceil((x - np.pi) / (2 * np.pi))
    # Just beyond a border, the difference may round to the wrong side of it.
    wrapped = np.minimum(x - 2 * np.pi * turns, np.pi)
    return np.where(wrapped <= -np.pi, np.pi, wrapped)


def looks_like_degrees(x: NDArray[np.floating], joined: NDArray[np.bool_]) -> bool:
    """Return whether a column of angles is in degrees, by its jumps of about 360.

    Degrees that never wrap around cannot be told from radians that count the turns.

    Args:
        x: ``(R,)``, rows sorted in time.
        joined: ``(R,)``, whether the row is followed by the next of the same trajectory.
    """
    steps = np.abs(np.diff(x))[joined[:-1]]
    wraps = (steps > TABLE.turn_from) & (steps <= TABLE.turn_to)
    return bool(np.abs(x).max() > TABLE.far_angle and wraps.any())
