"""Trajectories that an agent may take: rollouts with the noise of the world in every step.

Axes: M members, Q questions, n draws, H steps, D state columns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
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

_VALUES = 2**22  # predicted numbers held at once


def noisy_paths(
    model: FittedModel,
    agent: NDArray[np.integer],
    start: Floats,
    codes: NDArray[Any],
    n_draws: int,
    seed: int = 0,
    known: Floats | None = None,
    *,
    mean: bool = False,
) -> Floats:
    """Return draws of what may be measured after each action, ``(M, Q, n, H, D)``, raw units.

    Each has factors of its own, drawn from the agent's posterior, noise of the process in every
    step, and noise of measurement in every row, that of the start included. The same random numbers
    serve all questions: an answer does not depend on what else is asked.

    Args:
        model: a fitted model.
        agent: ``(Q,)`` indices.
        start: ``(Q, D)`` raw units, or ``(Q, W)`` with the steps before.
        codes: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        n_draws: n, of each member.
        seed: of the draws.
        known: ``(Q, H, E)``, known inputs of each step, raw units; None for a model without any.
        mean: take the agent's mean factors for the true ones: what is left is noise.

    Raises:
        UsageError: the run holds no noise.
    """
    noise = noise_of(model)
    model.check_reach(start, codes, known)
    n_members, n_queries, horizon = model.n_members, *codes.shape[:2]
    n_state, rank = len(model.roles.state), model.members.agents.shape[-1]
    paths = np.empty((n_members, n_queries, n_draws, horizon, n_state))
    known = known if model.normalizer.n_known else None
    most = max(1, _VALUES // (n_members * n_draws * max(_padded(horizon) * n_state, rank)))
    for rows in _batches(model.normalizer, codes, known, most):
        told = None if known is None else known[rows]
        parts = in_parts(model.normalizer, codes[rows], told)
        acts = codes[rows] if parts is None else parts.action
        told = told if parts is None else parts.known
        drawn = _drawn(model, noise, agent[rows], start[rows], acts, told, n_draws, seed, mean)
        if parts is not None:
            drawn = np.swapaxes(parts.ends(np.swapaxes(drawn, 1, 2)), 1, 2)
        paths[:, rows] = drawn
    return paths


def _batches(
    normalizer: Normalizer, codes: NDArray[Any], known: Floats | None, most: int
) -> Iterator[NDArray[np.intp]]:
    """Yield the questions that are drawn together, at most so many.

    Those with steps longer than any in the data are alone: of how many parts they are taken in
    depends what is drawn.
    """
    alone = np.zeros(len(codes), bool)
    if in_parts(normalizer, codes, known) is not None:
        assert known is not None, "there are lengths"
        each = (in_parts(normalizer, codes[q : q + 1], known[q : q + 1]) for q in range(len(codes)))
        alone[:] = [parts is not None for parts in each]
    yield from np.flatnonzero(alone)[:, None]
    together = np.flatnonzero(~alone)
    yield from (together[first : first + most] for first in range(0, len(together), most))


def _padded(count: int) -> int:
    """Return a power of two: few sizes, few programs."""
    return 1 << (count - 1).bit_length()


def _drawn(
    model: FittedModel,
    noise: WorldNoise,
    agent: NDArray[np.integer],
    start: Floats,
    codes: NDArray[Any],
    known: Floats | None,
    n_draws: int,
    seed: int,
    mean: bool,
) -> Floats:
    """Return draws of questions ``(M, Q, n, H, D)`` of one program; see ``noisy_paths``."""
    norm, (n_queries, horizon) = model.normalizer, codes.shape[:2]
    padded, size = _padded(horizon), _padded(n_queries)
    who, place = np.unique(agent, return_inverse=True)
    if mean:
        factors = np.repeat(np.asarray(model.members.agents)[:, who, None], n_draws, axis=2)
    else:
        factors = factor_draws(model.posterior, who, n_draws, seed)
    encoded = norm.encode_action(codes)
    fill = [(0, size - n_queries), (0, padded - horizon)]
    kind = np.int32 if model.discrete else np.float32
    begin = norm.carry(start)
    told = np.repeat(norm.known_of(begin)[:, None], horizon, axis=1)
    if known is not None:
        told = norm.encode_known(known)
    asked = np.pad(place, fill[:1], mode="edge")
    paths = _roll(
        model.members,
        norm.on_device(),
        on_device(factors[:, asked]),
        jax.tree.map(on_device, noise.take(who[asked])),
        on_device(np.pad(begin, [fill[0], (0, 0)], mode="edge")),
        jnp.asarray(np.pad(encoded, fill + [(0, 0)] * (encoded.ndim - 2)).astype(kind)),
        on_device(np.pad(told, [*fill, (0, 0)], mode="edge")),
        jax.random.split(jax.random.key(seed), (model.n_members, n_draws)),
        padded,
    )
    return norm.decode_path(np.asarray(paths)[:, :n_queries, :, :horizon])


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
    factors: Float[Array, "M Q n r"],
    noise: WorldNoise,
    start: Float[Array, "Q W"],
    actions: Array,
    known: Float[Array, "Q H E"],
    keys: Array,
    n_steps: int,
) -> Float[Array, "M Q n H D"]:
    n_state = normalizer.state_mean.shape[-1]
    scale = normalizer.state_scale

    def one_draw(member: FactorModel, question: tuple[Array, ...], u: Array, key: Array) -> Array:
        agent, start, actions, known = question
        key_row, key_start, key_steps = jax.random.split(key, 3)
        missed = noise.measured * jax.random.normal(key_start, (n_state,)) / scale
        carry = start.at[:n_state].add(-missed)

        def one_step(carry: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            action, told, chance = inputs
            carry = normalizer.told(carry, told)
            target = member(u, normalizer.inputs(carry), action)
            after = normalizer.next_state(carry, target)
            sd = noise.sd(agent, carry[:n_state], jnp) / scale
            if normalizer.uneven:  # over a longer step there is more of it
                sd = sd * jnp.sqrt(jnp.maximum(carry[-1], 0.0))
            after = jnp.clip(after + sd * chance, normalizer.low, normalizer.high)
            return normalizer.moved(carry, after, action), after

        chances = jax.random.normal(key_steps, (n_steps, n_state))
        path = jax.lax.scan(one_step, carry, (actions, known, chances))[1]
        rows = noise.measured * jax.random.normal(key_row, path.shape) / scale
        return jnp.clip(path + rows, normalizer.low, normalizer.high)

    def one_member(inputs: tuple[FactorModel, Array, Array]) -> Array:
        member, us, own = inputs

        def one_question(question: tuple[Array, ...], u: Array) -> Array:
            return jax.vmap(lambda u, key: one_draw(member, question, u, key))(u, own)

        return jax.vmap(one_question)((noise.agent, start, actions, known), us)

    return jax.lax.map(one_member, (members, factors, keys))
