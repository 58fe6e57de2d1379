"""Fixed columns of Z: the linear model that agents share, and coefficients of their own.

Axes: D state coordinates, I inputs of the state net, A action columns, L action levels,
q = 1 + I + A (or L) linear features, and R ramps of an additive model behind them, c fixed columns.

Where times are uneven, with h the length of the step in usual ones, the last of the inputs,

    phi(s, a, h) = (h (1, inputs, action), (1 - e^-h) (1, inputs, action), action)

q = 2 (1 + I + A) + A: a change that grows with time, one that levels off (so that what decays does
so over long steps as well), and one at once (a dose that is given). There are then two of every
ramp likewise, one that grows and one that levels off.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinfold.models.ramps import Ramps


class LinearTerms(eqx.Module):
    """Fixed columns of Z: a linear model that all agents share, and coefficients of their own.

        phi(s, a) = (1, inputs, action)     a discrete action as one of L indicators

    Column 0 of Z is ``phi @ shared``, and every agent's factor for it is 1. Column k after it is
    ``phi[i_k]`` in coordinate d_k and zero elsewhere: the factor is the agent's own deviation from
    the shared coefficient (a mixed-effects model; Laird and Ware 1982).

    Attributes:
        shared: ``(q, D)``, coefficients of the standardised target.
        own: pairs (i_k, d_k).
        ramps: of an additive model, further features; None for a linear one.
    """

    shared: Float[Array, "q D"]
    own: tuple[tuple[int, int], ...] = eqx.field(static=True, default=())
    ramps: Ramps | None = None

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


def linear_features(
    size: int,
    inputs: Float[Array, " I"],
    action: Array,
    uneven: bool = False,
    ramps: Ramps | None = None,
) -> Float[Array, " q"]:
    """(1, inputs, action), of length q = ``size``; a level's index becomes an indicator.

    Where times are ``uneven``, these over the step. With ``ramps``, they and these are ``size``.
    """
    size -= n_ramps(ramps, uneven)
    if jnp.ndim(action) == 0:
        n_levels = action_features(size, inputs.shape[-1], uneven)
        action = jax.nn.one_hot(action, n_levels, dtype=inputs.dtype)
    base = jnp.concatenate([jnp.ones(1, inputs.dtype), inputs, action])
    return all_features(base, inputs[-1:] if uneven else None, action, ramps)


def all_features(base: Any, length: Any, action: Any, ramps: Ramps | None) -> Any:
    """Return the linear features, and behind them the ramps if there are any, ``(..., q + R)``.

    Args:
        base: (1, inputs, action), ``(..., 1 + I + A)``.
        length: of the step where times are uneven, ``(..., 1)``; else None.
        action: ``(..., A)``.
        ramps: of inputs and action.
    """
    xp = np if isinstance(base, np.ndarray) else jnp
    parts = [base if length is None else over_step(base, length, action)]
    if ramps is not None:
        heights = ramps.heights(base[..., 1:])
        parts += [heights] if length is None else [length * heights, -xp.expm1(-length) * heights]
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=-1)


def n_ramps(ramps: Ramps | None, uneven: bool) -> int:
    """Return how many of the features are ramps."""
    return 0 if ramps is None else ramps.size * (1 + uneven)


def action_features(size: int, n_inputs: int, uneven: bool) -> int:
    """Return A, or L, of ``size`` linear features and I inputs."""
    return (size - 2 * (1 + n_inputs)) // 3 if uneven else size - 1 - n_inputs


def over_step(base: Any, length: Any, action: Any) -> Any:
    """Return the linear features of a step, ``(..., q)``, where times are uneven.

    Args:
        base: (1, inputs, action), ``(..., 1 + I + A)``.
        length: of the step, in usual ones, ``(..., 1)``.
        action: ``(..., A)``.
    """
    xp = np if isinstance(base, np.ndarray) else jnp
    return xp.concatenate([length * base, -xp.expm1(-length) * base, action], axis=-1)
