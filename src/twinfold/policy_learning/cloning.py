"""A policy made to do what was done in recorded data (behaviour cloning)."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from numpy.typing import ArrayLike

from twinfold.policy_learning.actor_critic import Policy


def clone_actions(
    policy: Policy,
    states: ArrayLike,
    actions: ArrayLike,
    key: Array,
    *,
    steps: int = 2000,
    batch: int = 256,
    learning_rate: float = 1e-3,
) -> Policy:
    """Return the policy with its actor fitted to recorded actions by maximum likelihood.

    The spread of continuous actions stays as it was, so that the training that follows explores.

    Args:
        policy: where the fit begins; its critic stays as it is.
        states: raw units, ``(K, D)``.
        actions: indices of levels, ``(K,)``, or raw units, ``(K, A)``.
        key: of the batches.
        steps: of Adam.
        batch: recorded steps of one of them.
        learning_rate: of Adam.
    """
    if not steps:
        return policy
    given = jnp.asarray(states, jnp.float32)
    kind = jnp.int32 if policy.actions.n_levels else jnp.float32
    done = jnp.asarray(actions, kind)
    actor = _clone(policy, given, done, key, steps, batch, learning_rate)
    return Policy(policy.nets._replace(actor=actor), policy.scale, policy.actions)


@eqx.filter_jit
def _clone(
    policy: Policy,
    states: Array,
    actions: Array,
    key: Array,
    steps: int,
    batch: int,
    learning_rate: float,
) -> Any:
    choices = jax.vmap(policy.choice)(actions)
    adam = optax.adam(learning_rate)

    def loss(actor: Any, rows: Array) -> Array:
        now = Policy(policy.nets._replace(actor=actor), policy.scale, policy.actions)
        return -jax.vmap(now.log_likelihood)(states[rows], choices[rows])[0].mean()

    def one_step(before: Any, key: Array) -> Any:
        actor, memory = before
        rows = jax.random.randint(key, (batch,), 0, len(states))
        change, memory = adam.update(jax.grad(loss)(actor, rows), memory)
        return (optax.apply_updates(actor, change), memory), None

    actor = policy.nets.actor
    begin = actor, adam.init(actor)  # pyright: ignore
    return jax.lax.scan(one_step, begin, jax.random.split(key, steps))[0][0]
