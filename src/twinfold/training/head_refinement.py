"""The last layer of the features in closed form, in turns with the agents' factors.

Given the hidden layers, a prediction is linear in the head and linear in the factors. Adam on small
batches leaves both a little off, which matters where the data is almost free of noise and errors of
one step grow a thousandfold within a rollout, as around an unstable equilibrium. With the hidden
features h (bias included), an action's factors w and an agent's u,

    y_d = sum_{i, l} head[i, d, l] x_il + noise,    x = h (u * w)^T    (joint features: h u^T)

so that the design x is the same for all coordinates d. Each round takes the head to the minimum of

    sum_k omega_k (y_kd - x_k head_d)^2 / scale_d^2 + |head_d - head'_d|^2 / tau^2

with head' the head so far, tau^2 its mean square, scale_d the robust scale of the residuals and
omega Huber's weights; then the factors are solved for (``refit``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from twinfold.metrics import robust_scale
from twinfold.models.factor_model import FactorModel, hidden_layers
from twinfold.training.factor_regression import solve_factors
from twinfold.training.regression_settings import REGRESSION
from twinfold.training.train_step import TrainData
from twinfold.training.trainer import Progress
from twinfold.utils.device import on_device

Floats = NDArray[np.float64]

_CHUNK = 4096  # transitions whose design is held at once


def refine_heads(
    members: Sequence[FactorModel],
    data: TrainData,
    rows: NDArray[np.int32],
    rounds: int,
    progress: Progress | None = None,
    variance: Floats | None = None,
) -> list[FactorModel]:
    """Return the members with heads and factors solved for in turns.

    A round costs K q^2 operations for K rows and q = (h + 1) r columns of the design.

    Args:
        members: trained members, of any structures.
        data: standardised transitions, sorted by agent.
        rows: row numbers of ``data`` to use, ascending.
        rounds: of both; 0 changes nothing.
        progress: receives ("polishing", rounds done, rounds in all).
        variance: ``(S,)``, prior variance of the own linear coefficients.
    """
    members = list(members)
    for done in range(rounds):
        # One after the other: the products below use all cores already.
        members = [_solve_head(member, data, rows) for member in members]
        members = solve_factors(members, data, rows, rounds=1, variance=variance)
        if progress is not None:
            progress("polishing", done + 1, rounds)
    return members


def _solve_head(member: FactorModel, data: TrainData, rows: NDArray[np.int32]) -> FactorModel:
    n_state, rank = data.target.shape[1], member.rank - member.n_fixed
    if not rank:
        return member
    # Rows of the design: hidden unit (the bias last), then term.
    head = np.concatenate([member.head.weight, member.head.bias[None]]).astype(np.float64)
    head = head.reshape(-1, n_state, rank).transpose(0, 2, 1).reshape(-1, n_state)
    target = np.asarray(data.target, np.float64)
    if member.linear is not None:
        target = target - _fixed(member, data)
    size = min(_CHUNK, len(rows))
    chunks = np.append(rows, np.full(-len(rows) % size, rows[-1], np.int32)).reshape(-1, size)

    def design(chunk: NDArray[np.int32]) -> Floats:
        hidden, code = map(np.asarray, _parts(member, data, jnp.asarray(chunk)))
        product = hidden[:, :, None].astype(np.float64) * code[:, None, :]
        return product.reshape(len(chunk), -1)

    residual = np.concatenate([target[chunk] - design(chunk) @ head for chunk in chunks])
    residual = residual[: len(rows)]
    if not np.isfinite(residual).all():
        return member  # it diverged: there is nothing to polish
    scale, weight = _weights(residual, None if data.weight is None else data.weight[rows])
    weight = np.append(weight, np.zeros((chunks.size - len(rows), weight.shape[1])), axis=0)
    residual = np.append(residual, np.zeros((chunks.size - len(rows), n_state)), axis=0)

    ridge = np.square(scale) / max(float(np.square(head).mean()), 1e-12)
    # Columns that count in the same rows share a gram.
    for k in range(weight.shape[1]):
        columns = np.arange(n_state) if weight.shape[1] == 1 else np.array([k])
        gram, moment = np.zeros((len(head), len(head))), np.zeros((len(head), len(columns)))
        for n, chunk in enumerate(chunks):
            part = slice(n * size, (n + 1) * size)
            root = np.sqrt(weight[part, k])[:, None]
            weighted = design(chunk) * root
            gram += weighted.T @ weighted
            moment += weighted.T @ (residual[part][:, columns] * root)
        diagonal = np.diag_indices(len(gram))
        own = gram[diagonal].copy()
        for place, d in enumerate(columns):
            gram[diagonal] = own + ridge[d] + 1e-12 * own.mean()  # the last keeps it definite
            factor = scipy.linalg.cho_factor(gram, lower=True, check_finite=False)
            head[:, d] += scipy.linalg.cho_solve(factor, moment[:, place], check_finite=False)
    layered = head.reshape(-1, rank, n_state).transpose(0, 2, 1).reshape(-1, n_state * rank)
    return eqx.tree_at(
        lambda m: (m.head.weight, m.head.bias),
        member,
        (on_device(layered[:-1]), on_device(layered[-1])),
    )


def _weights(residual: Floats, counted: Any) -> tuple[Floats, Floats]:
    """Return the robust scale of each column ``(D,)``, and the weights of rows.

    Args:
        residual: ``(K, D)``.
        counted: ``(K, D)``, how much each target counts; None if all count alike.

    Returns:
        Weights ``(K, 1)`` of all columns, or ``(K, D)``.
    """
    if counted is None:
        scale = np.maximum(1.4826 * np.median(np.abs(residual), axis=0), REGRESSION.floor)
        distance = np.sqrt(np.square(residual / scale).mean(axis=1))
        weight = np.minimum(1.0, REGRESSION.huber / np.maximum(distance, 1e-12))
        return scale, weight[:, None]
    counted = np.asarray(counted, np.float64)
    scale = np.maximum(robust_scale(residual, None, counted), REGRESSION.floor)
    squares = counted * np.square(residual / scale)
    distance = np.sqrt(squares.sum(axis=1) / np.maximum((counted > 0).sum(axis=1), 1))
    weight = np.minimum(1.0, REGRESSION.huber / np.maximum(distance, 1e-12))
    return scale, weight[:, None] * counted


@jax.jit
def _parts(
    member: FactorModel, data: TrainData, rows: Int[Array, " k"]
) -> tuple[Float[Array, "k h"], Float[Array, "k r"]]:
    """Return the two factors of the design: hidden units with a one for the bias, and terms."""

    def one(agent: Array, inputs: Array, action: Array) -> tuple[Array, Array]:
        code = member.action_factors(action)
        shift = code if member.joint else 0.0
        hidden = hidden_layers(member.state_layers, inputs, member.activation, shift)
        factors = member.agents[agent][member.n_fixed :]
        return jnp.append(hidden, 1.0), factors if member.joint else factors * code

    return jax.vmap(one)(data.agent[rows], data.inputs[rows], data.action[rows])


def _fixed(member: FactorModel, data: TrainData) -> Floats:
    """Return what the fixed columns predict, ``(K, D)``."""
    n_fixed = member.n_fixed

    @jax.jit
    def some(member: FactorModel, agent: Array, inputs: Array, action: Array) -> Array:
        def one(agent: Array, inputs: Array, action: Array) -> Array:
            assert member.linear is not None
            phi = member.linear_features(inputs, action)
            return member.linear.columns(phi) @ member.agents[agent][:n_fixed]

        return jax.vmap(one)(agent, inputs, action)

    return np.asarray(some(member, data.agent, data.inputs, data.action), np.float64)
