"""Agent factors in closed form, with everything else of a member held fixed.

The model is linear in the factors, y = Z(s, a) u + noise, so that given the nets each agent's
factors are a small regression on its own transitions alone. Gradient descent leaves them a little
off, most so for agents at the edge of the population. Here they are the mode of

    sum_k sum_d rho((y_kd - (Z_k u)_d) / scale_d) + (u - mu)^T Sigma^-1 (u - mu) / 2

with rho Huber's loss, scale_d a robust scale of the residuals of all agents, and mu, Sigma the mean
and (regularised) covariance of the trained factors, by iteratively reweighted least squares.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.models.factor import FactorModel
from twinfold.models.train import TrainData

Floats = NDArray[np.float64]

_CHUNK = 8192  # transitions whose features are held at once, fewer if the rank is high:
_VALUES = 2**23  # numbers in their (r, r) products, 64 MB per thread
_ROUNDS = 3  # of reweighting
_HUBER = 3.0  # robust scales beyond which a residual counts linearly
_FLOOR = 1e-4  # smallest scale, in standard deviations of the target


def refit_factors(members: FactorModel, data: TrainData, rows: NDArray[np.int32]) -> FactorModel:
    """The members with the factors of every agent solved for.

    Args:
        members: a stack of M trained members.
        data: standardised transitions, sorted by agent.
        rows: row numbers of ``data`` to use, ascending.

    Returns:
        The stack with new ``agents``; agents without a row are at the mean.
    """
    agent = np.asarray(data.agent)[rows]
    target = np.asarray(data.target, np.float64)[rows]
    # One shape for all chunks, so that there is one program.
    rank = members.agents.shape[-1]
    size = min(_CHUNK, max(32, _VALUES // rank**2), len(rows))
    padded = np.concatenate([rows, np.full(-len(rows) % size, rows[-1], np.int32)])
    chunks = padded.reshape(-1, size)

    def one(m: int) -> Floats:
        member = jax.tree.map(lambda leaf: leaf[m], members)
        factors = np.asarray(member.agents, np.float64)
        mean = factors.mean(axis=0)
        deviation = factors - mean
        # One more agent, isotropic: with few agents some directions were never seen to vary.
        isotropic = (np.square(deviation).mean() + _FLOOR**2) * np.eye(len(mean))
        covariance = (deviation.T @ deviation + isotropic) / (len(factors) + 1)
        precision = np.linalg.inv(covariance)
        for _ in range(_ROUNDS):
            residual = np.concatenate(
                [
                    target[place] - np.einsum("kdr,kr->kd", features, factors[agent[place]])
                    for place, features in _features(member, data, chunks, len(rows))
                ]
            )
            scale = np.maximum(1.4826 * np.median(np.abs(residual), axis=0), _FLOOR)
            weight = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(residual), 1e-12))
            weight /= scale**2
            gram = np.tile(precision, (len(factors), 1, 1))  # (N, r, r)
            moment = np.tile(precision @ mean, (len(factors), 1))  # (N, r)
            for place, features in _features(member, data, chunks, len(rows)):
                weighted = features * weight[place][..., None]  # (k, D, r)
                first = np.flatnonzero(np.r_[True, np.diff(agent[place]) > 0])
                who = agent[place][first]
                outer = np.swapaxes(weighted, 1, 2) @ features  # (k, r, r)
                gram[who] += np.add.reduceat(outer, first, axis=0)
                product = np.einsum("kdr,kd->kr", weighted, target[place])
                moment[who] += np.add.reduceat(product, first, axis=0)
            factors = np.linalg.solve(gram, moment[..., None])[..., 0]
        return factors

    affinity = getattr(os, "sched_getaffinity", None)
    threads = len(affinity(0)) if affinity else os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        solved = list(pool.map(one, range(len(members.agents))))
    agents = jnp.asarray(np.stack(solved), jnp.float32)
    return eqx.tree_at(lambda stack: stack.agents, members, agents)


def _features(
    member: FactorModel, data: TrainData, chunks: NDArray[np.int32], n_rows: int
) -> Iterator[tuple[slice, Floats]]:
    """Pairs (slice of the rows, Z of those rows ``(k, D, r)``), chunk by chunk."""
    size = chunks.shape[1]
    for start, rows in zip(range(0, n_rows, size), chunks, strict=True):
        place = slice(start, min(start + size, n_rows))
        features = np.asarray(_chunk_features(member, data, rows), np.float64)
        yield place, features[: place.stop - start]


@jax.jit
def _chunk_features(member: FactorModel, data: TrainData, rows: Array) -> Float[Array, "k D r"]:
    return jax.vmap(member.features)(data.state[rows], data.action[rows])
