"""How much better an action was than what the policy does on average.

Schulman, Moritz, Levine, Jordan, Abbeel: High-Dimensional Continuous Control Using Generalized
Advantage Estimation, ICLR 2016. With the value V, and s' the state that step t led to,

    delta_t = r_t + gamma [not terminated_t] V(s'_t) - V(s_t)
    A_t     = delta_t + gamma lambda [not ended_t] A_{t+1}

An episode that is cut off (truncated) ends, but what would have come counts by V(s'_t).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def advantages(
    reward: Float[Array, "T *E"],
    value: Float[Array, "T *E"],
    next_value: Float[Array, "T *E"],
    terminated: Bool[Array, "T *E"],
    ended: Bool[Array, "T *E"],
    discount: float,
    trace: float,
) -> Float[Array, "T *E"]:
    """Return the generalised advantage estimates of T steps of several episodes.

    Args:
        reward: of each step, ``(T, ...)``.
        value: V of the state before each step, ``(T, ...)``.
        next_value: V of the state that each step led to, ``(T, ...)``.
        terminated: whether the episode ended by itself after the step, ``(T, ...)``.
        ended: whether it ended at all after the step, ``(T, ...)``.
        discount: gamma.
        trace: lambda.
    """
    delta = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    keep = discount * trace * jnp.where(ended, 0.0, 1.0)

    def one_step(after: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, keep = step
        now = delta + keep * after
        return now, now

    return jax.lax.scan(one_step, jnp.zeros_like(delta[0]), (delta, keep), reverse=True)[1]
