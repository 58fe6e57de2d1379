"""Fixed columns of Z: the linear model that agents share, and coefficients of their own.

Axes: D state coordinates, I inputs of the state net, A action columns, L action levels,
q = 1 + I + A (or L) linear features, c fixed columns.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class LinearTerms(eqx.Module):
    """Fixed columns of Z: a linear model that all agents share, and coefficients of their own.

        phi(s, a) = (1, inputs, action)     a discrete action as one of L indicators

    Column 0 of Z is ``phi @ shared``, and every agent's factor for it is 1. Column k after it is
    ``phi[i_k]`` in coordinate d_k and zero elsewhere: the factor is the agent's own deviation from
    the shared coefficient (a mixed-effects model; Laird and Ware 1982).

    Attributes:
        shared: ``(q, D)``, coefficients of the standardised target.
        own: pairs (i_k, d_k).
    """

    shared: Float[Array, "q D"]
    own: tuple[tuple[int, int], ...] = eqx.field(static=True, default=())

    @property
    def size(self) -> int:
        """Number of columns of Z."""
        return 1 + len(self.own)

    def columns(self, phi: Float[Array, " q"]) -> Float[Array, "D c"]:
        """The fixed columns at linear features phi."""
        shared = (phi @ self.shared)[:, None]
        if not self.own:
            return shared
        feature, coordinate = np.array(self.own, np.int32).T
        place = np.arange(self.shared.shape[-1])[:, None] == coordinate  # (D, c - 1)
        return jnp.concatenate([shared, jnp.where(place, phi[feature], 0.0)], axis=1)

    def of_agent(self, factors: Float[Array, " c"]) -> Float[Array, "q D"]:
        """The linear model of one agent."""
        total = self.shared * factors[0]
        if not self.own:
            return total
        feature, coordinate = np.array(self.own, np.int32).T
        return total.at[feature, coordinate].add(factors[1:])


def linear_features(size: int, inputs: Float[Array, " I"], action: Array) -> Float[Array, " q"]:
    """(1, inputs, action), of length q = ``size``; a level's index becomes an indicator."""
    if jnp.ndim(action) == 0:
        action = jax.nn.one_hot(action, size - 1 - inputs.shape[-1], dtype=inputs.dtype)
    return jnp.concatenate([jnp.ones(1, inputs.dtype), inputs, action])
