"""Trajectories that an agent may take: rollouts with the noise of the world in every step.

Axes: M members, n draws, H steps, D state columns.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.errors import UsageError
from twinfold.models.factor_model import FactorModel
from twinfold.models.fitted_model import FittedModel
from twinfold.models.long_steps import in_parts
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import factor_draws
from twinfold.models.world_noise import WorldNoise
from twinfold.utils.device import on_device

Floats = NDArray[np.float64]


def noisy_paths(
    model: FittedModel,
    agent: int,
    start: Floats,
    codes: NDArray[Any],
    n_draws: int,
    seed: int = 0,
    known: Floats | None = None,
    *,
    mean: bool = False,
) -> Floats:
    """Return draws of what may be measured after each action, ``(M, n, H, D)``, raw units.

    Each has factors of its own, drawn from the agent's posterior, noise of the process in every
    step, and noise of measurement in every row, that of the start included.

    Args:
        model: a fitted model.
        agent: index.
        start: ``(D,)`` raw units, or ``(W,)`` with the steps before.
        codes: ``(H,)`` level indices or ``(H, A)`` raw units.
        n_draws: n, of each member.
        seed: of the draws.
        known: ``(H, E)``, known inputs of each step, raw units; None for a model without any.
        mean: take the agent's mean factors for the true ones: what is left is noise.

    Raises:
        UsageError: the run holds no noise.
    """
    parts = in_parts(model.normalizer, codes[None], None if known is None else known[None])
    if parts is not None:  # steps longer than any in the data
        whole = (parts.action[0], n_draws, seed, parts.known[0])
        return noisy_paths(model, agent, start, *whole, mean=mean)[:, :, parts.last[0]]
    noise = noise_of(model)
    model.check_reach(start, codes, known)
    index = np.array([agent])
    factors = factor_draws(model.posterior, index, n_draws, seed)[:, 0]
    if mean:
        factors = np.repeat(np.asarray(model.members.agents)[:, agent, None], n_draws, axis=1)
    horizon = len(codes)
    padded = 1 << (horizon - 1).bit_length()  # few lengths, few programs
    encoded = model.normalizer.encode_action(codes)
    fill = [(0, padded - horizon)] + [(0, 0)] * (encoded.ndim - 1)
    kind = np.int32 if model.discrete else np.float32
    norm = model.normalizer
    begin = norm.carry(start)
    told = np.repeat(norm.known_of(begin)[None], horizon, axis=0)
    if known is not None and norm.n_known:
        told = norm.encode_known(known)
    paths = _roll(
        model.members,
        model.normalizer.on_device(),
        on_device(factors),
        jax.tree.map(on_device, noise.take(index)),
        on_device(begin),
        jnp.asarray(np.pad(encoded, fill).astype(kind)),
        on_device(np.pad(told, [*fill[:1], (0, 0)], mode="edge")),
        jax.random.split(jax.random.key(seed), (model.n_members, n_draws)),
        padded,
    )
    return np.asarray(paths, np.float64)[:, :, :horizon]


def noise_of(model: FittedModel) -> WorldNoise:
    """Return the noise of a run's data.

    Raises:
        UsageError: the run is of a version that did not learn it.
    """
    if model.noise is None:
        raise UsageError("the run is of an earlier version and knows of no noise; fit again")
    return model.noise


@functools.partial(jax.jit, static_argnames="n_steps")
def _roll(
    members: FactorModel,
    normalizer: Normalizer,
    factors: Float[Array, "M n r"],
    noise: WorldNoise,
    start: Float[Array, " W"],
    actions: Array,
    known: Float[Array, "H E"],
    keys: Array,
    n_steps: int,
) -> Float[Array, "M n H D"]:
    n_state = normalizer.state_mean.shape[-1]
    scale = normalizer.state_scale

    def one_draw(member: FactorModel, u: Array, key: Array) -> Array:
        key_row, key_start, key_steps = jax.random.split(key, 3)
        missed = noise.measured * jax.random.normal(key_start, (n_state,)) / scale
        carry = start.at[:n_state].add(-missed)

        def one_step(carry: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            action, told, chance = inputs
            carry = normalizer.told(carry, told)
            target = member(u, normalizer.inputs(carry), action)
            after = normalizer.next_state(carry, target)
            sd = noise.sd(noise.agent[0], carry[:n_state], jnp) / scale
            if normalizer.uneven:  # over a longer step there is more of it
                sd = sd * jnp.sqrt(jnp.maximum(carry[-1], 0.0))
            after = jnp.clip(after + sd * chance, normalizer.low, normalizer.high)
            return normalizer.moved(carry, after, action), after

        chances = jax.random.normal(key_steps, (n_steps, n_state))
        path = jax.lax.scan(one_step, carry, (actions, known, chances))[1]
        rows = noise.measured * jax.random.normal(key_row, path.shape) / scale
        path = jnp.clip(path + rows, normalizer.low, normalizer.high)
        return normalizer.decode_state(path)

    def one_member(inputs: tuple[FactorModel, Array, Array]) -> Array:
        member, us, own = inputs
        return jax.vmap(lambda u, key: one_draw(member, u, key))(us, own)

    return jax.lax.map(one_member, (members, factors, keys))
