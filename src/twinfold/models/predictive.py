"""Predictions with all that makes them uncertain: members that differ, and agents little known.

    paths_m   rollout of member m with the agent's mean factors
    sd        spread, over draws from the posterior of the factors, about each member's own path

The draws are antithetic pairs, and the same standard normal numbers serve all agents and all
questions: an answer does not depend on what else is asked.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinfold.models.ensemble import FittedModel, rollout_members
from twinfold.models.factor import FactorModel
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Posterior

Floats = NDArray[np.float64]

DRAWS = 4
"""Draws from the posterior for each member and question."""


def factor_draws(
    posterior: Posterior, agents: NDArray[np.integer], n_draws: int, seed: int = 0
) -> Floats:
    """Draws of the factors of some agents, ``(M, U, n_draws, r)``; pairs mirror each other.

    Args:
        posterior: of all agents.
        agents: ``(U,)`` indices.
        n_draws: an odd number leaves the last one without its mirror image.
        seed: of the standard normal numbers, which all agents share.
    """
    mean, covariance = posterior.take(agents).solve()
    n_members, _, rank = mean.shape
    rng = np.random.default_rng((seed, 5))
    half = rng.standard_normal((n_members, -(-n_draws // 2), rank))
    normal = np.stack([half, -half], axis=2).reshape(n_members, -1, rank)[:, :n_draws]
    # Through eigenvectors: a covariance that has all but vanished in a direction stays usable. That
    # of a member that diverged has none; its mean is not finite either.
    values, vectors = np.linalg.eigh(np.where(np.isfinite(covariance), covariance, 0.0))
    root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return mean[:, :, None] + np.einsum("murs,mks->mukr", root, normal)


def rollout_factors(
    model: FittedModel,
    factors: Floats,
    who: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
) -> Floats:
    """Open-loop predictions with given factors: ``(M, Q, K, H, D)``.

    Args:
        model: a fitted model.
        factors: ``(M, U, K, r)``.
        who: ``(Q,)``, which of the U.
        state: ``(Q, D)`` raw units.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
    """
    return _rolled(model.members, model.normalizer, factors, who, state, actions)


def _rolled(
    members: FactorModel,
    normalizer: Normalizer,
    factors: Floats,
    who: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
) -> Floats:
    n_members, n_agents, n_draws, rank = factors.shape
    table = factors.reshape(n_members, n_agents * n_draws, rank)
    # Few sizes, few programs.
    fill = (1 << (table.shape[1] - 1).bit_length()) - table.shape[1]
    table = np.pad(table, [(0, 0), (0, fill), (0, 0)])
    members = eqx.tree_at(lambda m: m.agents, members, jnp.asarray(table, jnp.float32))
    index = (np.asarray(who)[:, None] * n_draws + np.arange(n_draws)).reshape(-1)
    paths = rollout_members(
        members,
        normalizer,
        index,
        np.repeat(state, n_draws, axis=0),
        np.repeat(actions, n_draws, axis=0),
    )
    return paths.reshape(n_members, len(state), n_draws, *paths.shape[2:])


def predict_paths(
    model: FittedModel, agent: NDArray[np.integer], state: Floats, actions: NDArray[Any]
) -> tuple[Floats, Floats]:
    """Open-loop predictions of every member, and how much the agent's own factors leave open.

    Args:
        model: a fitted model.
        agent: ``(Q,)`` indices.
        state: ``(Q, D)`` starts, raw units.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.

    Returns:
        Paths ``(M, Q, H, D)``, raw units, and standard deviations ``(Q, H, D)``: zero if the model
        has no posterior, infinite where most members diverge.
    """
    if model.posterior is None:
        paths = rollout_members(model.members, model.normalizer, agent, state, actions)
        return paths, np.zeros(paths.shape[1:])
    return posterior_paths(model.members, model.normalizer, model.posterior, agent, state, actions)


def posterior_paths(
    members: FactorModel,
    normalizer: Normalizer,
    posterior: Posterior,
    agent: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
) -> tuple[Floats, Floats]:
    """What ``predict_paths`` returns, of a model that is not finished yet.

    Args:
        members: a stack.
        normalizer: float64, on the host.
        posterior: of all agents.
        agent: ``(Q,)`` indices.
        state: ``(Q, D)`` starts, raw units.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
    """
    paths = rollout_members(members, normalizer, agent, state, actions)
    if not paths.size:
        return paths, np.zeros(paths.shape[1:])
    who, place = np.unique(agent, return_inverse=True)
    factors = factor_draws(posterior, who, DRAWS)
    drawn = _rolled(members, normalizer, factors, place, state, actions)
    with np.errstate(invalid="ignore", over="ignore"):  # of a member that diverged
        variance = np.square(drawn - paths[:, :, None]).mean(axis=2)
    return paths, np.sqrt(np.median(np.nan_to_num(variance, nan=np.inf), axis=0))
