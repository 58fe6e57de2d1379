"""An agent's simulators with the noise of the world in every step, for plans and policy values.

The noise of a measurement moves nothing and is left out. Axes: M members, D state columns.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinfold.data.ids import AgentId
from twinfold.models.agent_dynamics import AgentDynamics
from twinfold.models.dynamics import Dynamics
from twinfold.models.fitted_model import FittedModel
from twinfold.models.noisy_rollout import noise_of
from twinfold.models.world_noise import WorldNoise
from twinfold.utils.device import on_device


class NoisyDynamics(Dynamics):
    """A member with noise; a rollout from one state under one key has the same noise every time.

    Attributes:
        inner: the member.
        noise: of the agent, float32; ``noise.agent`` is ``(D,)``.
        key: of the noise, two numbers.
    """

    inner: AgentDynamics
    noise: WorldNoise
    key: Array

    def init(self, state: Float[Array, " D"]) -> Any:
        """Return the carry of a rollout from ``state``."""
        return self.inner.init(state), self.key

    def init_by(self, state: Float[Array, " D"], key: Array) -> Any:
        """Return the carry of a rollout with noise of its own."""
        return self.inner.init(state), self.key ^ _bits(key)

    def encode(self, action: Array) -> Any:
        """Return what ``step`` needs of an action."""
        return self.inner.encode(action)

    def step(self, carry: Any, code: Any) -> tuple[Any, Float[Array, " D"]]:
        """Return the new carry and the next state ``(D,)``, with its noise."""
        before, key = carry
        norm = self.inner.normalizer
        now, chance = jax.random.split(_key(key))
        after, state = self.inner.step(before, code)
        stepwise = isinstance(after, tuple)  # known inputs of every step, and its number
        whole, old = (after[0], before[0]) if stepwise else (after, before)
        old = norm.told(old, norm.known_of(whole))
        sd = self.noise.sd(self.noise.agent, old[: len(state)], jnp)
        if norm.uneven:  # over a longer step there is more of it
            sd = sd * jnp.sqrt(jnp.maximum(old[-1], 0.0))
        state = state + sd * jax.random.normal(chance, state.shape)
        standard = jnp.clip(norm.encode_state(state), norm.low, norm.high)
        moved = norm.moved(old, standard, code.action)
        following = (moved, after[1]) if stepwise else moved
        return (following, _bits(now)), norm.decode_state(standard)

    def known_inputs(self, carry: Any) -> Float[Array, " E"]:
        """Return the known inputs of the row that a rollout has reached, raw units."""
        return self.inner.known_inputs(carry[0])

    def at_step(self, step: Array) -> NoisyDynamics:
        """Return the model, or the stack, whose ``init`` begins at a later step of an episode."""
        return eqx.tree_at(lambda member: member.inner, self, self.inner.at_step(step))


def _key(key: Array) -> Array:
    """Return a key of its two numbers."""
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def _bits(key: Array) -> Array:
    """Return the two numbers of a key."""
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


def with_noise(
    stack: AgentDynamics, model: FittedModel, agent: AgentId, draws: int = 1, seed: int = 0
) -> NoisyDynamics:
    """Return a stack of simulators of an agent with noise, each ``draws`` times, with its own.

    Args:
        stack: of the agent, with a leading axis on every array.
        model: the run, which knows the noise.
        agent: the user's id.
        draws: how often each of the stack is in the result.
        seed: of the noise.

    Raises:
        UsageError: the agent is unknown, or the run holds no noise.
    """
    noise = noise_of(model)
    own = noise._replace(agent=noise.agent[model.agent_index(agent)])
    arrays, static = eqx.partition(stack, eqx.is_array)
    size = draws * jax.tree.leaves(arrays)[0].shape[0]
    tiled = jax.tree.map(lambda leaf: jnp.repeat(leaf, draws, axis=0), arrays)
    return NoisyDynamics(
        eqx.combine(tiled, static),
        WorldNoise(*(_tiled(leaf, size) for leaf in own)),
        jax.random.key_data(jax.random.split(jax.random.key(seed), size)),
    )


def _tiled(values: Any, size: int) -> Array:
    leaf = on_device(np.asarray(values))
    return jnp.broadcast_to(leaf, (size, *leaf.shape))
