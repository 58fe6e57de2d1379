"""Where the training data lies: how far a predicted state is beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twinfold.utils.device import on_device

if TYPE_CHECKING:
    from twinfold.models.fitted_model import FittedModel


class DataBox(eqx.Module):
    """The range of every state coordinate in the training data, widened by a margin.

    Angles count by where they point: full turns are taken off, so that one whose data covers the
    circle is never outside.

    Attributes:
        low: ``(D,)``, raw units.
        high: ``(D,)``, raw units.
        scale: ``(D,)``, the unit of a deviation: standard deviations of the training data.
        angle: ``(D,)``, which coordinates are angles in radians.
    """

    low: Float[Array, " D"]
    high: Float[Array, " D"]
    scale: Float[Array, " D"]
    angle: Bool[Array, " D"]

    @classmethod
    def of_model(cls, model: FittedModel, margin: float, rounding: float = 1e-3) -> DataBox:
        """Return the box of a fitted model.

        Args:
            model: gives the ranges and standard deviations of its training data.
            margin: how much wider on either side, as a share of the range.
            rounding: what is added to that, in standard deviations: a limit of the data may be
                reached.
        """
        low, high = model.ranges.state_low, model.ranges.state_high
        scale = model.normalizer.state_scale
        wider = margin * (high - low) + rounding * scale
        angle = np.isin(model.roles.state, model.roles.angle)
        as_float = (on_device(x) for x in (low - wider, high + wider, scale))
        return cls(*as_float, angle=jnp.asarray(angle))

    def excess(self, state: Float[Array, " D"]) -> Float[Array, ""]:
        """Return how far a state is outside, in standard deviations, summed over its coordinates.

        0 inside; not defined for a state that is not finite.
        """
        x = self._turned(state)
        beyond = jnp.maximum(self.low - x, 0.0) + jnp.maximum(x - self.high, 0.0)
        return (beyond / self.scale).sum(axis=-1)

    def _turned(self, state: Float[Array, " D"]) -> Float[Array, " D"]:
        """Return the state with angles within half a turn of the middle of their range."""
        turn = 2 * jnp.pi
        turns = jnp.round((state - (self.low + self.high) / 2) / turn)
        return jnp.where(self.angle, state - turn * turns, state)
