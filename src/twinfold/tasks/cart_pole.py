"""CartPole: a pole balanced on a cart; agents differ by the push force and the pole's length.

With the force F = +force (action 1) or -force (action 0), half the pole's length l, the masses
m_c = 1 kg and m_p = 0.1 kg, M = m_c + m_p and g = 9.8 m/s^2,

    h        = (F + m_p l theta_dot^2 sin theta) / M
    theta_dd = (g sin theta - h cos theta) / (l (4/3 - m_p cos^2 theta / M))
    x_dd     = h - m_p l theta_dd cos theta / M

followed by one explicit Euler step of 0.02 s. Units: m, m/s, rad, rad/s. Source: Gymnasium's
``CartPole-v1`` (force 10 N, l = 0.5 m); the ranges over agents are those of the PerSim experiments
(arXiv 2102.06961). The reward is 1 per step; the episode ends at |x| > 2.4 m or |theta| > 12
degrees.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinfold.tasks.task import Task

GRAVITY = 9.8
CART_MASS = 1.0
POLE_MASS = 0.1
TOTAL_MASS = CART_MASS + POLE_MASS
TIME_STEP = 0.02
X_LIMIT = 2.4
THETA_LIMIT = 12 * 2 * math.pi / 360


class CartPoleCovariates(NamedTuple):
    """Hidden physics of one agent: push force in N and half the pole's length in m."""

    force: Float[Array, ""]
    length: Float[Array, ""]


def reset(covariates: CartPoleCovariates, key: Array) -> Float[Array, " 4"]:
    """Every coordinate uniform in [-0.05, 0.05]."""
    del covariates
    return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)


def step(
    covariates: CartPoleCovariates, state: Float[Array, " 4"], action: Int[Array, ""]
) -> Float[Array, " 4"]:
    """One Euler step of the equations above."""
    x_dot, theta, theta_dot = state[1], state[2], state[3]
    force = jnp.where(action == 1, covariates.force, -covariates.force)
    length = covariates.length
    sin, cos = jnp.sin(theta), jnp.cos(theta)
    push = (force + POLE_MASS * length * theta_dot**2 * sin) / TOTAL_MASS
    theta_acc = (GRAVITY * sin - push * cos) / (
        length * (4.0 / 3.0 - POLE_MASS * cos**2 / TOTAL_MASS)
    )
    x_acc = push - POLE_MASS * length * theta_acc * cos / TOTAL_MASS
    return state + TIME_STEP * jnp.stack([x_dot, x_acc, theta_dot, theta_acc])


def reward(
    state: Float[Array, " 4"], action: Int[Array, ""], next_state: Float[Array, " 4"]
) -> Float[Array, ""]:
    """1 per step, the last one included."""
    del state, action
    return jnp.ones_like(next_state[0])


def terminated(next_state: Float[Array, " 4"]) -> Bool[Array, ""]:
    """Return whether the cart left the track or the pole fell."""
    return (jnp.abs(next_state[0]) > X_LIMIT) | (jnp.abs(next_state[2]) > THETA_LIMIT)


TASK = Task(
    name="cart_pole",
    state_names=("x", "x_dot", "theta", "theta_dot"),
    action_names=("action",),
    action_type="discrete",
    n_actions=2,
    action_low=None,
    action_high=None,
    covariate_names=CartPoleCovariates._fields,
    covariate_low=np.array([2.0, 0.15]),
    covariate_high=np.array([18.0, 0.85]),
    test_agents=np.array([[2.0, 0.5], [10.0, 0.5], [18.0, 0.5], [10.0, 0.85], [10.0, 0.15]]),
    max_steps=200,
    # The limits of the episode, doubled as in Gymnasium; speeds that random episodes stay within.
    state_low=np.array([-2 * X_LIMIT, -4.0, -2 * THETA_LIMIT, -8.0]),
    state_high=np.array([2 * X_LIMIT, 4.0, 2 * THETA_LIMIT, 8.0]),
    make_covariates=CartPoleCovariates,
    reset=reset,
    step=step,
    reward=reward,
    terminated=terminated,
)
