"""MountainCar: an underpowered car in a valley; agents differ by gravity.

With the action a in {0: push left, 1: coast, 2: push right},

    v' = clip(v + 0.001 (a - 1) - g cos(3 x), -0.07, 0.07)
    x' = clip(x + v', -1.2, 0.6),    v' = 0 if x' = -1.2 and v' < 0

in the task's own units (position, and position per step). Source: Gymnasium's ``MountainCar-v0``
(g = 0.0025); the range of g over agents is that of the PerSim experiments (arXiv 2102.06961).
The reward is -1 per step and 0 on reaching x >= 0.5, where the episode ends.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinfold.tasks.task import Task

PUSH = 0.001
MAX_SPEED = 0.07
LEFT_WALL = -1.2
RIGHT_WALL = 0.6
GOAL = 0.5


class MountainCarCovariates(NamedTuple):
    """Hidden physics of one agent."""

    gravity: Float[Array, ""]


def reset(covariates: MountainCarCovariates, key: Array) -> Float[Array, " 2"]:
    """At rest, with x uniform in [-0.6, -0.4]."""
    del covariates
    return jnp.stack([jax.random.uniform(key, minval=-0.6, maxval=-0.4), jnp.zeros(())])


def step(
    covariates: MountainCarCovariates, state: Float[Array, " 2"], action: Int[Array, ""]
) -> Float[Array, " 2"]:
    """One step of the equations above."""
    position, velocity = state[0], state[1]
    velocity = velocity + (action - 1) * PUSH - covariates.gravity * jnp.cos(3.0 * position)
    velocity = jnp.clip(velocity, -MAX_SPEED, MAX_SPEED)
    position = jnp.clip(position + velocity, LEFT_WALL, RIGHT_WALL)
    velocity = jnp.where((position <= LEFT_WALL) & (velocity < 0), 0.0, velocity)
    return jnp.stack([position, velocity])


def reward(
    state: Float[Array, " 2"], action: Int[Array, ""], next_state: Float[Array, " 2"]
) -> Float[Array, ""]:
    """-1, or 0 on reaching the goal."""
    del state, action
    return jnp.where(terminated(next_state), 0.0, -1.0)


def terminated(next_state: Float[Array, " 2"]) -> Bool[Array, ""]:
    """Return whether the car is at the goal."""
    return next_state[0] >= GOAL


def progress(state: Float[Array, " 2"]) -> Float[Array, ""]:
    """The position: the goal is on the right."""
    return state[0]


TASK = Task(
    name="mountain_car",
    state_names=("position", "velocity"),
    action_names=("action",),
    action_type="discrete",
    n_actions=3,
    action_low=None,
    action_high=None,
    covariate_names=MountainCarCovariates._fields,
    covariate_low=np.array([0.0001]),
    covariate_high=np.array([0.0035]),
    test_agents=np.array([[0.0001], [0.0005], [0.001], [0.0025], [0.0035]]),
    max_steps=500,
    state_low=np.array([LEFT_WALL, -MAX_SPEED]),
    state_high=np.array([RIGHT_WALL, MAX_SPEED]),
    make_covariates=MountainCarCovariates,
    reset=reset,
    step=step,
    reward=reward,
    terminated=terminated,
    progress=progress,
)
