"""Episodes of a policy in a world: what it earns where it was trained, or in the true task."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.policy_learning.actor_critic import Policy
from twinfold.policy_learning.world import World, advance, begin


def world_returns(
    policy: Policy, world: World, key: Array, n_episodes: int, *, random: bool = False
) -> NDArray[np.float64]:
    """Return what a policy earns in each model of a world, without discount, ``(W, n_episodes)``.

    Args:
        policy: who acts.
        world: where it acts; each episode begins at one of the starts and takes at most
            ``world.max_steps`` steps.
        key: of starts and random actions.
        n_episodes: number of episodes in each model.
        random: whether actions are drawn; else the most likely levels or the means are taken.
    """
    return np.asarray(_returns(policy, world, key, n_episodes, random), np.float64)


@eqx.filter_jit
def _returns(
    policy: Policy, world: World, key: Array, n_episodes: int, random: bool
) -> Float[Array, "W E"]:
    key_begin, key_steps = jax.random.split(key)
    simulation = begin(world, key_begin, n_episodes)
    shape = simulation.step.shape

    def unfinished(now: Any) -> Array:
        _, alive, _, step = now
        return alive.any() & (step < world.max_steps)

    def one_step(now: Any) -> Any:
        simulation, alive, total, step = now
        key_act, key_start = jax.random.split(jax.random.fold_in(key_steps, step))
        keys = jax.random.split(key_act, shape)

        def act(state: Array, key: Array) -> Array:
            return policy.act(state, key if random else None)

        action = jax.vmap(jax.vmap(act))(simulation.state, keys)
        simulation, outcome = advance(world, simulation, action, key_start)
        total = total + jnp.where(alive, outcome.reward, 0.0)
        return simulation, alive & ~outcome.ended, total, step + 1

    first = simulation, jnp.ones(shape, bool), jnp.zeros(shape), jnp.int32(0)
    return jax.lax.while_loop(unfinished, one_step, first)[2]
