"""Ramps: piecewise linear functions of single inputs that stay where they are beyond the data.

    ramp_fk(x) = gain_fk clip((x_f - start_fk) slope_fk, 0, 1)

A sum of them, with a weight each, is an additive model (Hastie and Tibshirani 1986) of straight
pieces. Where a linear model goes on for ever, it says what it says at the edge: states that run
beyond those of the training rows, as those of most panels do, are not driven any further by that.

Axes: F columns (inputs and action), k ramps of each, R = F k.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinfold.models.linear_kinds import LINEAR

Floats = NDArray[np.float64]


class Ramps(NamedTuple):
    """Where ramps begin, how steep they are, and how much they count.

    Attributes:
        start: ``(F, k)``, in the units of the columns.
        slope: ``(F, k)``, per unit; 0 for ramps that are not needed.
        gain: ``(F, k)``, of one standard deviation in the training rows; 0 likewise.
    """

    start: Any
    slope: Any
    gain: Any

    @classmethod
    def of(cls, columns: Floats, left_out: NDArray[np.bool_]) -> Ramps:
        """Return the ramps between quantiles of some rows.

        The outermost ones are those that hardly any row is beyond, so that a single outlier does
        not stretch what all others have. A column of few values has a ramp between any two.

        Args:
            columns: ``(K, F)``, of training rows.
            left_out: ``(F,)``, columns without ramps.
        """
        n_ramps, n_columns = LINEAR.ramps, columns.shape[1]
        start, slope, gain = (np.zeros((n_columns, n_ramps)) for _ in range(3))
        inner = np.arange(1, n_ramps) / n_ramps
        shares = np.concatenate([[LINEAR.beyond], inner, [1 - LINEAR.beyond]])
        for f in np.flatnonzero(~left_out):
            knots = np.unique(columns[:, f])
            if len(knots) > n_ramps + 1:
                between = np.unique(np.quantile(columns[:, f], shares))
                knots = between if len(between) > 1 else knots[[0, -1]]
            used = len(knots) - 1
            if used < 1:
                continue
            start[f, :used], slope[f, :used] = knots[:-1], 1 / np.diff(knots)
            heights = np.clip((columns[:, f, None] - start[f]) * slope[f], 0.0, 1.0)
            spread = heights.std(axis=0)
            gain[f] = np.divide(1.0, spread, out=np.zeros(n_ramps), where=spread > LINEAR.floor)
        return cls(start, slope, gain)

    @classmethod
    def blank(cls, n_columns: int, n_ramps: int) -> Ramps:
        """Return as many ramps as F and k say, all of them flat."""
        return cls(*(jnp.zeros((n_columns, n_ramps)) for _ in range(3)))

    @property
    def size(self) -> int:
        """R, the number of ramps."""
        return self.start.shape[-2] * self.start.shape[-1]

    def heights(self, columns: Any) -> Any:
        """Return the ramps of some columns, ``(..., R)``.

        Args:
            columns: ``(..., F)``.
        """
        xp = np if isinstance(columns, np.ndarray) else jnp
        found = xp.clip((columns[..., None] - self.start) * self.slope, 0.0, 1.0) * self.gain
        return found.reshape(*columns.shape[:-1], self.size)
