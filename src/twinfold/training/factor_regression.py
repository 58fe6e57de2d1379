"""Agent factors in closed form, with everything else of a member held fixed.

The model is linear in the factors, y = Z(s, a) u + noise, so that given the nets each agent's
factors are a small regression on its own transitions alone. Gradient descent leaves them a little
off, most so for agents at the edge of the population. Here they are the mode of

    sum_k sum_d rho((y_kd - (Z_k u)_d) / scale_d) + (u - mu)^T Sigma^-1 (u - mu) / 2

with rho Huber's loss, scale_d a robust scale of the residuals of all agents, and mu, Sigma the mean
and (regularised) covariance of the trained factors, by iteratively reweighted least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from twinfold.metrics import robust_scale
from twinfold.models.factor_model import FactorModel
from twinfold.models.prior import with_fixed
from twinfold.training.regression_settings import REGRESSION
from twinfold.training.train_step import TrainData
from twinfold.utils.cores import usable_cores
from twinfold.utils.device import on_device

Floats = NDArray[np.float64]

_CHUNK = 8192  # transitions whose features are held at once, fewer if the rank is high:
_VALUES = 2**23  # numbers in their (r, r) products, 32 MB per thread


def solve_factors(
    members: Sequence[FactorModel],
    data: TrainData,
    rows: NDArray[np.int32],
    rounds: int = 3,
    variance: Floats | None = None,
) -> list[FactorModel]:
    """Return the members with the factors of every agent solved for.

    Args:
        members: trained members, of any structures.
        data: standardised transitions, sorted by agent.
        rows: row numbers of ``data`` to use, ascending.
        rounds: of reweighting.
        variance: ``(S,)``, prior variance of the own linear coefficients.

    Returns:
        The members with new ``agents``; agents without a row are at the mean.
    """
    agent = np.asarray(data.agent)
    with ThreadPoolExecutor(usable_cores()) as pool:
        solved = list(
            pool.map(lambda member: _solve(member, data, rows, agent, rounds, variance), members)
        )
    return [
        eqx.tree_at(lambda m: m.agents, member, on_device(factors))
        for member, factors in zip(members, solved, strict=True)
    ]


def _solve(
    member: FactorModel,
    data: TrainData,
    rows: NDArray[np.int32],
    agent: NDArray[np.int32],
    rounds: int,
    variance: Floats | None,
) -> Floats:
    # One shape for all chunks, so that there is one program; the surplus counts for nothing.
    size = min(_CHUNK, max(32, _VALUES // member.rank**2), len(rows))
    chunks = np.append(rows, np.full(-len(rows) % size, rows[-1], np.int32)).reshape(-1, size)
    sample = rows[:: -(-len(rows) // REGRESSION.scale_sample)]
    n_sample = len(sample)
    target = np.asarray(data.target)[sample]
    counted = None if data.weight is None else np.asarray(data.weight)[sample]
    sample = np.append(sample, np.full(-n_sample % size, sample[-1], np.int32))

    factors = np.asarray(member.agents, np.float64)
    mean, covariance = net_moments(factors, member.n_fixed)
    inverse = np.asarray(np.linalg.inv(covariance), np.float64)
    precision = with_fixed(inverse, member.n_fixed, variance)
    for turn in range(rounds):
        current = on_device(factors)
        residual = np.concatenate(
            [_residuals(member, data, current, part) for part in sample.reshape(-1, size)]
        )
        # Until the factors have been solved for once, nothing says what cannot be explained.
        explained = target if turn else None
        scale = np.maximum(robust_scale(residual[:n_sample], explained, counted), REGRESSION.floor)
        gram = np.tile(precision, (len(factors), 1, 1))  # (N, r, r)
        # Solved for the change: what is summed in float32 is small then.
        moment = (mean - factors) @ precision  # (N, r)
        left = len(rows)
        for chunk in chunks:
            who, place = np.unique(agent[chunk], return_inverse=True)
            real = np.arange(size) < left
            left -= size
            # Sums within a chunk are float32, sums of chunks float64.
            products, sums = _moments(member, data, current, chunk, place, real, scale)
            gram[who] += np.asarray(products)[: len(who)]
            moment[who] += np.asarray(sums)[: len(who)]
        factors = factors + np.linalg.solve(gram, moment[..., None])[..., 0]
    return factors


def net_moments(factors: Floats, n_fixed: int) -> tuple[Floats, Floats]:
    """Return the mean of all factors, ``(r,)``, and covariance of the nets' terms, ``(k, k)``.

    The mean of the fixed columns' factors is known: 1, and no deviation from what is shared.
    """
    mean = factors.mean(axis=0)
    mean[:n_fixed] = np.eye(1, n_fixed)[0]
    deviation = factors[:, n_fixed:] - mean[n_fixed:]
    # One more agent, isotropic: with few agents some directions were never seen to vary.
    size = np.square(deviation).mean() if deviation.size else 0.0
    isotropic = (size + REGRESSION.floor**2) * np.eye(deviation.shape[1])
    return mean, (deviation.T @ deviation + isotropic) / (len(factors) + 1)


@jax.jit
def _residuals(
    member: FactorModel, data: TrainData, factors: Float[Array, "N r"], rows: Int[Array, " k"]
) -> Float[Array, "k D"]:
    predicted = jax.vmap(member)(factors[data.agent[rows]], data.inputs[rows], data.action[rows])
    return data.target[rows] - predicted


@jax.jit
def _moments(
    member: FactorModel,
    data: TrainData,
    factors: Float[Array, "N r"],
    rows: Int[Array, " k"],
    place: Int[Array, " k"],
    real: Array,
    scale: Float[Array, " D"],
) -> tuple[Float[Array, "k r r"], Float[Array, "k r"]]:
    """Return weighted Z^T Z and Z^T residual of a chunk, by the agent's ``place`` in it."""
    features = jax.vmap(member.features)(data.inputs[rows], data.action[rows])  # (k, D, r)
    target = data.target[rows]
    residual = target - jnp.einsum("kdr,kr->kd", features, factors[data.agent[rows]])
    scale = scale.astype(jnp.float32)
    counted = 1.0 if data.weight is None else data.weight[rows]
    distance = jnp.maximum(jnp.abs(residual) * jnp.sqrt(counted), 1e-12)
    weight = counted * jnp.minimum(1.0, REGRESSION.huber * scale / distance) / scale**2
    weighted = features * (weight * real[:, None])[..., None]
    outer = jnp.einsum("kdr,kds->krs", weighted, features)
    product = jnp.einsum("kdr,kd->kr", weighted, residual)
    sums = [jax.ops.segment_sum(x, place, len(rows), True) for x in (outer, product)]
    return sums[0], sums[1]
