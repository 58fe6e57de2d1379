"""Standardisation of states, targets and actions, and the hard limits of the states.

The target of the model is the standardised difference of the next state from the state. Everything
is fitted on training transitions only.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from twinfold.data.panel import Transitions

# A smallest (largest) value that this many transitions reach exactly is a wall, not a coincidence.
_AT_LIMIT = 5


class Normalizer(eqx.Module):
    """Means and scales; a column that never changes has scale 1.

    Built with float64 NumPy arrays, for exact work on the host; :meth:`on_device` gives the float32
    copy that jitted code takes.

    Attributes:
        state_mean, state_scale: ``(D,)``, raw units.
        target_mean, target_scale: ``(D,)``, of the state differences, raw units.
        action_mean, action_scale: ``(A,)``; length 0 if the action is discrete.
        low, high: ``(D,)``, standardised limits of the next state, infinite where there are none.
    """

    state_mean: Any
    state_scale: Any
    target_mean: Any
    target_scale: Any
    action_mean: Any
    action_scale: Any
    low: Any
    high: Any

    def on_device(self) -> Normalizer:
        """The same in float32 JAX arrays."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), self)

    def encode_state(self, state: Any) -> Any:
        """Standardised states, ``(..., D)``."""
        return (state - self.state_mean) / self.state_scale

    def decode_state(self, standard: Any) -> Any:
        """States in raw units, ``(..., D)``."""
        return standard * self.state_scale + self.state_mean

    def encode_action(self, action: Any) -> Any:
        """Standardised continuous actions ``(..., A)``; discrete ones are left as they are."""
        return (action - self.action_mean) / self.action_scale if self.action_mean.size else action

    def encode_target(self, state: Any, next_state: Any) -> Any:
        """Standardised differences, ``(..., D)``."""
        return (next_state - state - self.target_mean) / self.target_scale

    def advance(self, standard: Array, target: Array) -> Array:
        """Standardised next state from a standardised state and a predicted target, ``(..., D)``.

        Differences are added in standardised units: in raw ones, a small change of a coordinate
        with a large offset would drown in float32.
        """
        change = (target * self.target_scale + self.target_mean) / self.state_scale
        return jnp.clip(standard + change, self.low, self.high)


def fit_normalizer(data: Transitions) -> Normalizer:
    """Means, scales and limits of training transitions.

    A value that a coordinate of the next state reaches exactly, several times, and never passes is
    taken as a hard limit (the end of a track, an empty tank, a saturated sensor).
    """
    mean, scale = _moments(data.state)
    target_mean, target_scale = _moments(data.next_state - data.state)
    if np.issubdtype(data.action.dtype, np.floating):
        action_mean, action_scale = _moments(data.action)
    else:
        action_mean = action_scale = np.zeros(0)
    low, high = _limits(data.next_state)
    return Normalizer(
        state_mean=mean,
        state_scale=scale,
        target_mean=target_mean,
        target_scale=target_scale,
        action_mean=action_mean,
        action_scale=action_scale,
        low=(low - mean) / scale,
        high=(high - mean) / scale,
    )


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = values.mean(axis=0)
    scale = values.std(axis=0)
    # Rounding alone gives a constant column a tiny spread.
    constant = scale <= 1e-9 * np.maximum(np.abs(values).max(axis=0, initial=0), 1e-30)
    return mean, np.where(constant, 1.0, scale)


def _limits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = values.min(axis=0), values.max(axis=0)
    varies = high > low
    at_low = (values == low).sum(axis=0) >= _AT_LIMIT
    at_high = (values == high).sum(axis=0) >= _AT_LIMIT
    return np.where(at_low & varies, low, -np.inf), np.where(at_high & varies, high, np.inf)
