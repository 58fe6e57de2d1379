"""Predicted trajectories as pictures show them: arrays that fit together, one panel per state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from twinfold.errors import UsageError


@dataclass(frozen=True, eq=False)
class Curves:
    """One predicted trajectory of H steps and D states, in raw units.

    NaN leaves a gap. Missing bands, members or truth are not drawn.

    Attributes:
        times: ``(H,)`` numbers or dates, the time of each predicted state.
        centre: ``(H, D)``, the ensemble's prediction.
        lower: ``(H, D)``, lower end of the band.
        upper: ``(H, D)``, upper end of the band.
        members: ``(M, H, D)``, each member's own trajectory.
        truth: ``(H, D)``, what really happened.

    Raises:
        UsageError: the shapes do not fit, or a band has one end only.
    """

    times: npt.NDArray[Any]
    centre: npt.NDArray[np.floating[Any]]
    lower: npt.NDArray[np.floating[Any]] | None = None
    upper: npt.NDArray[np.floating[Any]] | None = None
    members: npt.NDArray[np.floating[Any]] | None = None
    truth: npt.NDArray[np.floating[Any]] | None = None

    def __post_init__(self) -> None:
        for name in ("times", "centre", "lower", "upper", "members", "truth"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.asarray(value))
        if self.centre.ndim != 2:
            raise UsageError(f"centre of shape {self.centre.shape} must have shape (H, D)")
        if (self.lower is None) != (self.upper is None):
            raise UsageError("a band needs both its lower and its upper end")
        shape = self.centre.shape
        if self.times.shape != shape[:1]:
            raise UsageError(f"times of shape {self.times.shape} do not fit centre {shape}")
        for name in ("lower", "upper", "truth"):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise UsageError(f"{name} of shape {value.shape} does not fit centre {shape}")
        if self.members is not None and self.members.shape[1:] != shape:
            raise UsageError(f"members of shape {self.members.shape} do not fit centre {shape}")


def state_names(curves: Curves, names: Sequence[str]) -> tuple[str, ...]:
    """Return the D names, or ``state 1`` and so on if none are given.

    Raises:
        UsageError: a different number of names than states.
    """
    n_states = curves.centre.shape[1]
    if not names:
        return tuple(f"state {d + 1}" for d in range(n_states))
    if len(names) != n_states:
        raise UsageError(f"{len(names)} names for {n_states} states: {', '.join(names)}")
    return tuple(names)


def grid(n_states: int) -> tuple[int, int]:
    """Return the rows and columns of the panels of one trajectory."""
    columns = 1 if n_states < 4 else 2  # up to three stand below each other: their times line up
    return -(-n_states // columns), columns
