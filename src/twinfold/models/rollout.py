"""Predictions with all that makes them uncertain: members that differ, and agents little known.

    paths_m   rollout of member m with the agent's mean factors
    sd        spread, over draws from the posterior of the factors, about each member's own path

The draws are antithetic pairs, and the same standard normal numbers serve all agents and all
questions: an answer does not depend on what else is asked.
"""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.models.factor_model import FactorModel
from twinfold.models.fitted_model import FittedModel
from twinfold.models.long_steps import in_parts
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import POSTERIOR, Posterior, factor_draws
from twinfold.utils.device import on_device

Floats = NDArray[np.float64]

_BATCH = 1024  # rollouts per call of the compiled program


@functools.partial(jax.jit, static_argnames="n_steps")
def _rollout_batch(
    members: FactorModel,
    normalizer: Normalizer,
    state: Float[Array, "Q W"],
    actions: Array,
    known: Float[Array, "Q H E"],
    n_steps: int,
) -> Float[Array, "M Q H W"]:
    """Carries; members one after the other, each from its own predictions.

    The factors of ``members`` are those of the questions, ``(M, Q, r)``.
    """

    def one_member(member: FactorModel) -> Float[Array, "Q H W"]:
        factors = member.agents  # (Q, r)

        def one_step(states: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
            action, told = given
            states = normalizer.told(states, told)
            target = jax.vmap(member)(factors, normalizer.inputs(states), action)
            states = normalizer.advance(states, target, action)
            return states, states

        given = jnp.swapaxes(actions, 0, 1), jnp.swapaxes(known, 0, 1)
        _, path = jax.lax.scan(one_step, state, given, length=n_steps)
        return jnp.swapaxes(path, 0, 1)

    return jax.lax.map(one_member, members)


def rollout_members(
    members: FactorModel,
    normalizer: Normalizer,
    agent: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
    known: Floats | None = None,
) -> Floats:
    """Open-loop predictions of every member for many (agent, start, actions) at once.

    Runs in batches of one size, so that one compilation serves all tables of a similar length.

    Args:
        members: a stack.
        normalizer: float64, on the host.
        agent: ``(Q,)`` indices.
        state: ``(Q, D)`` starts, raw units, or ``(Q, W)`` with the steps before.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        known: ``(Q, H, E)``, known inputs of each step, raw units; those of the start if None.

    Returns:
        ``(M, Q, H, D)`` float64, raw units: the states after each action.
    """
    parts = in_parts(normalizer, actions, known)
    if parts is not None:
        return parts.ends(
            rollout_members(members, normalizer, agent, state, parts.action, parts.known)
        )
    n_queries, horizon = actions.shape[:2]
    n_members, n_state = len(members.agents), len(normalizer.state_mean)
    out = np.empty((n_members, n_queries, horizon, n_state))
    if not out.size:
        return out
    # Lengths are rounded up so that a table whose queries differ in length compiles few programs.
    padded = next((size for size in (1, 8) if horizon <= size), -(-horizon // 16) * 16)
    batch = min(_BATCH, 1 << (n_queries - 1).bit_length())
    device = normalizer.on_device()
    start = normalizer.carry(state).astype(np.float32)
    codes = normalizer.encode_action(actions)
    codes = codes.astype(np.int32 if actions.ndim == 2 else np.float32)
    told = np.repeat(normalizer.known_of(start)[:, None], horizon, axis=1)
    if known is not None and normalizer.n_known:
        told = normalizer.encode_known(known).astype(np.float32)
    table = np.asarray(members.agents)
    for first in range(0, n_queries, batch):
        rows = slice(first, first + batch)
        size = len(start[rows])
        fill = [(0, batch - size), (0, padded - horizon)] + [(0, 0)] * (codes.ndim - 2)
        # Without the table, whose length would make a program of every number of agents.
        factors = table[:, np.pad(agent[rows], fill[:1])]
        path = _rollout_batch(
            eqx.tree_at(lambda m: m.agents, members, factors),
            device,
            np.pad(start[rows], [fill[0], (0, 0)]),
            np.pad(codes[rows], fill),
            np.pad(told[rows], [*fill[:2], (0, 0)]),
            padded,
        )
        out[:, rows] = normalizer.decode_path(np.asarray(path)[:, :size, :horizon])
    return out


def agent_responses(
    model: FittedModel, agent: NDArray[np.integer], state: Floats, actions: NDArray[Any]
) -> Floats:
    """Return the responses of agents to the same probes: a gauge-free description of agents.

    Factors are unique only up to a change of basis, and differ between members; what they predict
    does not. Agents with like responses are alike.

    Args:
        model: a fitted model.
        agent: ``(N',)`` indices.
        state: ``(P, D)`` raw units.
        actions: ``(P,)`` level indices or ``(P, A)`` raw units.

    Returns:
        ``(M, N', P * D)``: the one-step targets that each member predicts, standardised; linear in
        the factors.
    """
    start = np.tile(state, (len(agent), 1))
    paths = rollout_members(
        model.members,
        model.normalizer,
        np.repeat(agent, len(state)),
        start,
        np.tile(actions, (len(agent), *[1] * (actions.ndim - 1)))[:, None],
    )[:, :, 0]
    target = np.stack([model.normalizer.encode_target(start, path) for path in paths])
    return target.reshape(model.n_members, len(agent), -1)


def rollout_factors(
    model: FittedModel,
    factors: Floats,
    who: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
    known: Floats | None = None,
) -> Floats:
    """Open-loop predictions with given factors: ``(M, Q, K, H, D)``.

    Args:
        model: a fitted model.
        factors: ``(M, U, K, r)``.
        who: ``(Q,)``, which of the U.
        state: ``(Q, D)`` raw units.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        known: ``(Q, H, E)``, known inputs, as ``rollout_members``.

    Raises:
        UsageError: a value is too far from the data to compute with.
    """
    model.check_reach(state, actions, known)
    return _rolled(model.members, model.normalizer, factors, who, state, actions, known)


def _rolled(
    members: FactorModel,
    normalizer: Normalizer,
    factors: Floats,
    who: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
    known: Floats | None = None,
) -> Floats:
    n_members, n_agents, n_draws, rank = factors.shape
    table = factors.reshape(n_members, n_agents * n_draws, rank)
    # Few sizes, few programs.
    fill = (1 << (table.shape[1] - 1).bit_length()) - table.shape[1]
    table = np.pad(table, [(0, 0), (0, fill), (0, 0)])
    members = eqx.tree_at(lambda m: m.agents, members, on_device(table))
    index = (np.asarray(who)[:, None] * n_draws + np.arange(n_draws)).reshape(-1)
    paths = rollout_members(
        members,
        normalizer,
        index,
        np.repeat(state, n_draws, axis=0),
        np.repeat(actions, n_draws, axis=0),
        None if known is None else np.repeat(known, n_draws, axis=0),
    )
    return paths.reshape(n_members, len(state), n_draws, *paths.shape[2:])


def predict_paths(
    model: FittedModel,
    agent: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
    known: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Open-loop predictions of every member, and how much the agent's own factors leave open.

    Args:
        model: a fitted model.
        agent: ``(Q,)`` indices.
        state: ``(Q, D)`` starts, raw units.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        known: ``(Q, H, E)``, known inputs, as ``rollout_members``.

    Returns:
        Paths ``(M, Q, H, D)``, raw units, and standard deviations ``(Q, H, D)``, infinite where
        most members diverge.

    Raises:
        UsageError: a value is too far from the data to compute with.
    """
    model.check_reach(state, actions, known)
    return posterior_paths(
        model.members, model.normalizer, model.posterior, agent, state, actions, known
    )


def posterior_paths(
    members: FactorModel,
    normalizer: Normalizer,
    posterior: Posterior,
    agent: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
    known: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Return what ``predict_paths`` does, for a model that is not finished yet.

    Args:
        members: a stack.
        normalizer: float64, on the host.
        posterior: of all agents.
        agent: ``(Q,)`` indices.
        state: ``(Q, D)`` starts, raw units.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        known: ``(Q, H, E)``, known inputs, as ``rollout_members``.
    """
    paths = rollout_members(members, normalizer, agent, state, actions, known)
    if not paths.size:
        return paths, np.zeros(paths.shape[1:])
    who, place = np.unique(agent, return_inverse=True)
    factors = factor_draws(posterior, who, POSTERIOR.draws)
    drawn = _rolled(members, normalizer, factors, place, state, actions, known)
    with np.errstate(invalid="ignore", over="ignore"):  # of a member that diverged
        variance = np.square(drawn - paths[:, :, None]).mean(axis=2)
    return paths, np.sqrt(np.median(np.nan_to_num(variance, nan=np.inf), axis=0))
