"""The train step: minibatch Adam on the standardised error of one-step differences.

One chunk of steps is one program: a scan over steps, vmapped over the members of a group. Batches
are epochs of random permutations, a pure function of (seed, member, epoch), so that training can
stop after any chunk and go on later to the same result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from twinfold.models.factor_model import FactorModel
from twinfold.models.normalizer import Normalizer
from twinfold.training.regression_settings import REGRESSION
from twinfold.utils.device import on_device, zeros_like

CHUNK = 500  # steps per call of the compiled program

_ADAM = optax.scale_by_adam()


class Layout(NamedTuple):
    """Layout of a member's arrays in one flat vector; hashable, a static argument of ``jax.jit``.

    Adam on one vector is one fused loop instead of one per array: a third off a small step.

    Attributes:
        structure: of the pytree.
        shapes: of its leaves.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: FactorModel) -> Layout:
        """Return the layout of one member (arrays or their shapes)."""
        leaves, structure = jax.tree.flatten(model)
        return cls(structure, tuple(leaf.shape for leaf in leaves))

    def weights(self) -> np.ndarray:
        """Return 1 for the weights of nets, 0 for biases and agent factors, ``(P,)``."""
        names = jax.tree_util.tree_flatten_with_path(
            jax.tree.unflatten(self.structure, [0] * len(self.shapes))
        )[0]
        parts = [
            np.full(
                math.prod(shape), len(shape) > 1 and ".agents" not in jax.tree_util.keystr(path)
            )
            for (path, _), shape in zip(names, self.shapes, strict=True)
        ]
        return np.concatenate(parts).astype(np.float32) * self.trained()

    def trained(self) -> np.ndarray:
        """Return 0 for what stays as it is: linear terms, their factors, the edge, ``(P,)``."""
        like = jax.tree.unflatten(
            self.structure, [np.ones(shape, np.float32) for shape in self.shapes]
        )
        if like.linear is not None:
            for leaf in jax.tree.leaves(like.linear):
                leaf[...] = 0.0
            like.agents[:, : like.n_fixed] = 0.0
        if like.edge is not None:
            like.edge[...] = 0.0
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(like)])

    def unflatten(self, vector: Float[Array, " P"] | Float[np.ndarray, " P"]) -> FactorModel:
        """Return a member from its vector."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        known = isinstance(vector, np.ndarray)
        parts = np.split(vector, ends[:-1]) if known else jnp.split(vector, ends[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        leaves = [on_device(leaf) for leaf in leaves] if known else leaves
        return jax.tree.unflatten(self.structure, leaves)


class TrainData(NamedTuple):
    """Standardised transitions on the device.

    Attributes:
        agent: ``(K,)`` agent index.
        inputs: ``(K, I)``, what the state net reads.
        action: ``(K, A)``, or ``(K,)`` level index.
        target: ``(K, D)``.
        weight: ``(K, D)``, of each target, 0 where it was not observed; None if all count alike.
    """

    agent: Int[Array, " K"]
    inputs: Float[Array, "K I"]
    action: Array
    target: Float[Array, "K D"]
    weight: Float[Array, "K D"] | None = None


class Unroll(NamedTuple):
    """Data that training on several steps at once needs beyond :class:`TrainData`.

    Attributes:
        state: ``(K, W)``, carries, where each transition starts.
        offsets: ``(H,)``, 0 .. H-1.
        normalizer: the float32 one.
    """

    state: Float[Array, "K W"]
    offsets: Int[Array, " H"]
    normalizer: Normalizer


class TrainState(NamedTuple):
    """Everything that training changes, for a group of G members of P parameters each.

    Attributes:
        vector: ``(G, P)``, parameters.
        adam: moments ``(G, P)`` and step count ``(G,)``.
    """

    vector: Float[Array, "G P"]
    adam: optax.OptState


def init_state(models: Sequence[FactorModel]) -> TrainState:
    """Return the state before the first step."""
    vectors = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(m)]) for m in models]
    return _fresh(on_device(np.stack(vectors)))


def restarted(state: TrainState) -> TrainState:
    """Return the same parameters with a fresh optimiser, for another phase of training."""
    return _fresh(state.vector)


def _fresh(vector: Float[Array, "G P"]) -> TrainState:
    return TrainState(vector, zeros_like(jax.vmap(_ADAM.init), vector))


def _loss(
    model: FactorModel,
    data: TrainData,
    unroll: Unroll | None,
    rows: Int[Array, " B"],
    shrinkage: Array,
) -> Float[Array, ""]:
    """Return the error of a batch, of one step or several, plus the shrinkage of agent factors."""
    single = unroll is None
    error = _step_error(model, data, rows) if single else _path_error(model, data, unroll, rows)
    return error + _pull(model, shrinkage)


def _step_error(model: FactorModel, data: TrainData, rows: Int[Array, " B"]) -> Float[Array, ""]:
    """Return the error of a batch of single steps.

    The error is squared up to ``REGRESSION.outlier`` standard deviations and grows linearly from
    there (twice Huber's loss): rare large events, such as hitting a wall, must not drown the rest.
    """
    factors = model.agents[data.agent[rows]]  # (B, r), gathered, never one-hot
    predicted = jax.vmap(model)(factors, data.inputs[rows], data.action[rows])
    weight = None if data.weight is None else data.weight[rows]
    return _huber(predicted - data.target[rows], weight)


def _path_error(
    model: FactorModel, data: TrainData, unroll: Unroll, rows: Int[Array, " B"]
) -> Float[Array, ""]:
    """Return the error of a batch of predictions over H steps, each from the one before.

    One-step errors that add up, or that feed on themselves, weigh more here. The true path is
    added up from the targets, so that an angle never jumps by a turn.
    """
    factors = model.agents[data.agent[rows]]
    normalizer = unroll.normalizer
    unit = normalizer.state_scale / normalizer.target_scale

    def one_step(paths: tuple[Array, Array], offset: Array) -> tuple[tuple[Array, Array], Array]:
        guess, true = paths
        place = rows + offset
        known = normalizer.known_of(unroll.state[place])
        guess, true = normalizer.told(guess, known), normalizer.told(true, known)
        predicted = jax.vmap(model)(factors, normalizer.inputs(guess), data.action[place])
        guess = normalizer.advance(guess, predicted, data.action[place])
        true = normalizer.advance(true, data.target[place], data.action[place])
        away = (guess - true)[:, : len(unit)]  # of the states, not of what is remembered
        counted = None if data.weight is None else jnp.sign(data.weight[place])
        return (guess, true), _huber(away * unit, counted)

    start = unroll.state[rows]
    _, errors = jax.lax.scan(one_step, (start, start), unroll.offsets)
    return errors.mean()


def _huber(error: Array, weight: Array | None) -> Float[Array, ""]:
    """Return the mean over all targets; those of weight 0 add nothing to it."""
    distance = jnp.abs(error)
    inside = jnp.minimum(distance, REGRESSION.outlier)
    loss = inside * (2 * distance - inside)
    return jnp.mean(loss if weight is None else weight * loss)


def _pull(model: FactorModel, shrinkage: Array) -> Float[Array, ""]:
    """Return the penalty on the squared distances of agent factors from their mean."""
    own = model.agents[:, model.n_fixed :]
    return shrinkage * jnp.sum((own - own.mean(axis=0)) ** 2)


@functools.partial(jax.jit, static_argnames="layout", donate_argnames="state")
def run_chunk(
    layout: Layout,
    state: TrainState,
    data: TrainData,
    rows: Int[Array, "C G B"],
    start: Int[Array, ""],
    total: Int[Array, ""],
    learning_rate: Float[Array, ""],
    shrinkage: Float[Array, " G"],
    decay: Float[Array, ""],
    unroll: Unroll | None = None,
) -> tuple[TrainState, Float[Array, " G"]]:
    """Take C steps of a group of G members.

    Args:
        layout: of a member.
        state: of the group.
        data: transitions.
        rows: batches, ``(C, G, B)`` row numbers of ``data``.
        start: number of steps already taken.
        total: steps after which the learning rate is zero; steps beyond it change nothing.
        learning_rate: the peak of the cosine.
        shrinkage: weight of each member's penalty on the squared distances of its factors from
            their mean.
        decay: of the weights of the nets, decoupled from the gradient, per unit of learning rate.
        unroll: for predictions over several steps that begin at ``rows``; None for one step.

    Returns:
        The new state and the mean loss of the chunk per member.
    """
    weights, trained = layout.weights(), layout.trained()
    frozen = not trained.all()

    def one_member(
        before: TrainState, batch: Int[Array, " B"], shrinkage: Array, step: Array
    ) -> tuple[TrainState, Array]:
        def loss_of(vector: Array) -> Array:
            return _loss(layout.unflatten(vector), data, unroll, batch, shrinkage)

        loss, gradient = jax.value_and_grad(loss_of)(before.vector)
        update, adam = _ADAM.update(gradient, before.adam)
        rate = learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / total, 1.0)))
        change = jnp.asarray(update) + decay * weights * before.vector
        if frozen:
            change = change * trained
        return TrainState(before.vector - rate * change, adam), loss

    def one_step(before: TrainState, inputs: tuple[Array, Array]) -> tuple[TrainState, Array]:
        step, batch = inputs
        if len(batch) == 1:
            # A batched product with a batch of one takes twice as long on a CPU as a plain one.
            alone = jax.tree.map(lambda leaf: leaf[0], before)
            return jax.tree.map(
                lambda leaf: leaf[None], one_member(alone, batch[0], shrinkage[0], step)
            )
        return jax.vmap(one_member, in_axes=(0, 0, 0, None))(before, batch, shrinkage, step)

    steps = start + jnp.arange(len(rows))
    state, losses = jax.lax.scan(one_step, state, (steps.astype(jnp.float32), rows))
    return state, losses.mean(axis=0)


@functools.lru_cache(maxsize=16)
def _block(seed: int, member: int, block: int, n_rows: int) -> np.ndarray:
    """Return one epoch, or several of few rows: a generator each would cost more than the steps.

    ``(E * n_rows,)``: E random permutations, one after the other.
    """
    rng = np.random.default_rng((seed, member, block))
    rows = np.tile(np.arange(n_rows, dtype=np.int32), (_epochs_per_block(n_rows), 1))
    return rng.permuted(rows, axis=1).ravel()


def _epochs_per_block(n_rows: int) -> int:
    return -(-1024 // n_rows)


def batches(
    seed: int, member: int, start: int, rows: np.ndarray, batch_size: int, count: int = CHUNK
) -> np.ndarray:
    """Return the next ``count`` batches of a member, ``(count, B)`` int32 row numbers.

    The stream of rows is one random permutation of ``rows`` after another.
    """
    n_rows = len(rows)
    size = n_rows * _epochs_per_block(n_rows)
    first, last = start * batch_size, (start + count) * batch_size
    blocks = range(first // size, (last - 1) // size + 1)
    stream = np.concatenate([_block(seed, member, block, n_rows) for block in blocks])
    offset = first - blocks.start * size
    return rows[stream[offset : offset + count * batch_size].reshape(count, batch_size)]
