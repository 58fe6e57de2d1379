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

# A smallest (largest) value is a wall if it occurs this often, and this many times as often as each
# of this many distinct values next to it. A rounded sensor has no such peak at its end.
_AT_LIMIT, _PEAK, _NEIGHBOURS = 5, 5, 5
_ROUNDING = 1e-12  # of float64 sums and differences, with a wide margin
_STILL = 1e-3  # scale of differences that are all the same, in standard deviations of the state


class Normalizer(eqx.Module):
    """Means and scales; a column that never changes has scale 1, its differences a small one.

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

    A value that a coordinate of the next state never passes and reaches exactly, far more often
    than the values next to it, is a hard limit (the end of a track, an empty tank).
    """
    mean, scale = _moments(data.state, data.state, 1.0)
    # Where every difference is the same, what a model makes of it must not add up in a rollout.
    change = data.next_state - data.state
    target_mean, target_scale = _moments(change, data.state, _STILL * scale)
    if np.issubdtype(data.action.dtype, np.floating):
        action_mean, action_scale = _moments(data.action, data.action, 1.0)
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


def _moments(
    values: np.ndarray, source: np.ndarray, if_constant: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of columns that were computed from the columns of ``source``."""
    mean = values.mean(axis=0)
    scale = values.std(axis=0)
    # Rounding alone gives a constant column a tiny spread, relative to what it was computed from.
    constant = scale <= _ROUNDING * np.maximum(np.abs(source).max(axis=0, initial=0), 1e-30)
    return mean, np.where(constant, if_constant, scale)


def _limits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.full(values.shape[1], -np.inf)
    high = np.full(values.shape[1], np.inf)
    for d in range(values.shape[1]):
        distinct, counts = np.unique(values[:, d], return_counts=True)
        if len(distinct) < 2:
            continue
        if counts[0] >= max(_AT_LIMIT, _PEAK * counts[1 : 1 + _NEIGHBOURS].max()):
            low[d] = distinct[0]
        if counts[-1] >= max(_AT_LIMIT, _PEAK * counts[-1 - _NEIGHBOURS : -1].max()):
            high[d] = distinct[-1]
    return low, high
