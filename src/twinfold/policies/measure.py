"""Returns that a network earns in the true task."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array

from twinfold.policies.nets import Layers, greedy
from twinfold.tasks.task import Task


def episode_returns(
    task: Task, layers: Layers, covariates: npt.ArrayLike, episodes: int, seed: int
) -> npt.NDArray[np.float32]:
    """Return what the greedy policy earns, ``(N, episodes)``, without discount.

    Args:
        task: the task.
        layers: the network.
        covariates: ``(N, C)``, true physics of the agents.
        episodes: the number per agent.
        seed: of the starts.
    """
    values = np.repeat(np.atleast_2d(covariates), episodes, axis=0)
    keys = jax.random.split(jax.random.key(seed), len(values))
    return np.asarray(_returns(task, layers, task.covariates(values), keys)).reshape(-1, episodes)


@functools.partial(jax.jit, static_argnums=0)
def _returns(task: Task, layers: Layers, covariates: Any, keys: Array) -> Array:
    """Return what is earned, ``(B,)``; the network is an argument, so this compiles once."""

    def advance(own: Any, state: Array) -> tuple[Array, Array, Array]:
        action = greedy(task, layers, state)
        reached = task.step(own, state, action)
        return reached, task.reward(state, action, reached), task.terminated(reached)

    def body(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        state, total, alive = carry
        reached, reward, end = jax.vmap(advance)(covariates, state)
        total = total + jnp.where(alive, reward, 0.0)
        return (jnp.where(alive[:, None], reached, state), total, alive & ~end), None

    state = jax.vmap(task.reset)(covariates, keys)
    carry = (state, jnp.zeros(len(keys)), jnp.ones(len(keys), bool))
    (_, total, _), _ = jax.lax.scan(body, carry, None, length=task.max_steps)
    return total
