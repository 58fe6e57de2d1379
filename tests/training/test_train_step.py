"""The compiled train step against a plain loop with Optax, and the stream of batches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.config import FitConfig
from twinfold.models.factor_model import FactorModel, Structure, init_factor_model
from twinfold.models.normalizer import Normalizer
from twinfold.training.train_step import (
    CHUNK,
    Layout,
    TrainData,
    TrainState,
    Unroll,
    batches,
    init_state,
    run_chunk,
)

CONFIG = FitConfig(rank=3, state_net=(8,), action_net=(6,))
RATE = 0.03
OUTLIER = 1.0  # standard deviations beyond which an error counts linearly


def fresh(seed: int, discrete: bool = True, joint: bool = False) -> FactorModel:
    return init_factor_model(jax.random.key(seed), CONFIG, 4, 2, 3, discrete, Structure(joint, 3))


def problem(discrete: bool = True, n_rows: int = 40) -> TrainData:
    rng = np.random.default_rng(0)
    action = rng.integers(0, 3, n_rows) if discrete else rng.normal(size=(n_rows, 3))
    return TrainData(
        agent=jnp.asarray(rng.integers(0, 4, n_rows), jnp.int32),
        inputs=jnp.asarray(rng.normal(size=(n_rows, 2)), jnp.float32),
        action=jnp.asarray(action, jnp.int32 if discrete else jnp.float32),
        target=jnp.asarray(rng.normal(size=(n_rows, 2)), jnp.float32),
    )


def chunk(
    models: list[FactorModel],
    data: TrainData,
    rows: Any,
    *,
    total: int = 30,
    start: int = 0,
    shrinkage: Any = 0.0,
    decay: float = 0.0,
    state: TrainState | None = None,
    unroll: Unroll | None = None,
) -> tuple[TrainState, Any]:
    return run_chunk(
        Layout.of(models[0]),
        init_state(models) if state is None else state,
        data,
        jnp.asarray(rows, jnp.int32),
        jnp.asarray(start),
        jnp.asarray(total),
        jnp.asarray(RATE, jnp.float32),
        jnp.broadcast_to(jnp.asarray(shrinkage, jnp.float32), (len(models),)),
        jnp.asarray(decay, jnp.float32),
        unroll,
    )


def rows_for(steps: int, group: int = 1, batch: int = 5, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 40, (steps, group, batch)).astype(np.int32)


def optax_loop(
    model: FactorModel, data: TrainData, rows: Any, total: int, shrinkage: float, decay: float
) -> tuple[FactorModel, float]:
    """Adam as Optax writes it, one array at a time, the loss written out."""

    def loss_of(model: FactorModel, batch: Any) -> Any:
        rows = [
            model(model.agents[data.agent[k]], data.inputs[k], data.action[k]) - data.target[k]
            for k in batch
        ]
        error = 2 * optax.huber_loss(jnp.stack(rows), delta=OUTLIER)
        away = model.agents - jnp.mean(model.agents, axis=0, keepdims=True)
        return jnp.mean(error) + shrinkage * jnp.sum(away**2)

    # Weights decay; biases and agent factors do not.
    decays = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.ndim > 1 and path[0].name != "agents", model
    )
    optimiser = optax.adamw(
        optax.cosine_decay_schedule(RATE, total), weight_decay=decay, mask=decays
    )
    state = optimiser.init(model)  # pyright: ignore[reportArgumentType]

    @jax.jit
    def step(model: Any, state: Any, batch: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_of)(model, batch)
        updates, state = optimiser.update(gradient, state, model)
        return optax.apply_updates(model, updates), state, loss

    losses = []
    for batch in rows:
        model, state, loss = step(model, state, jnp.asarray(batch))
        losses.append(float(loss))
    return model, float(np.mean(losses))


@pytest.mark.parametrize(
    ("discrete", "joint", "shrinkage", "decay"),
    [
        (True, False, 0.02, 0.0),
        (False, False, 0.0, 0.0),
        (True, True, 0.0, 0.5),
        (False, True, 0.02, 0.5),
    ],
)
def test_a_chunk_is_the_optax_loop(
    discrete: bool, joint: bool, shrinkage: float, decay: float
) -> None:
    data, model = problem(discrete), fresh(0, discrete, joint)
    rows = rows_for(25)
    expected, loss = optax_loop(model, data, rows[:, 0], 30, shrinkage, decay)
    state, got = chunk([model], data, rows, shrinkage=shrinkage, decay=decay)
    trained = Layout.of(model).unflatten(state.vector[0])
    for leaf, other, before in zip(
        *(jax.tree.leaves(tree) for tree in (trained, expected, model)), strict=True
    ):
        np.testing.assert_allclose(leaf, other, atol=2e-4)
        assert np.abs(np.asarray(leaf) - before).max() > 0.02  # training went somewhere
    np.testing.assert_allclose(got, [loss], rtol=1e-4)


def unrolled(horizon: int) -> tuple[TrainData, Unroll]:
    """A problem whose second column is predicted directly, between limits that are met."""
    data, rng = problem(), np.random.default_rng(1)
    normalizer = Normalizer(
        state_mean=np.array([1.0, -2.0]),
        state_scale=np.array([2.0, 0.5]),
        keep=np.array([1.0, 0.0]),
        target_mean=np.array([0.1, -2.0]),
        target_scale=np.array([0.5, 0.4]),
        wave_mean=np.zeros(0),
        wave_scale=np.zeros(0),
        action_mean=np.zeros(0),
        action_scale=np.zeros(0),
        low=np.array([-0.8, -np.inf]),
        high=np.array([0.8, np.inf]),
        target_low=np.full(2, -1.5),
        target_high=np.full(2, 1.5),
    )
    # The first state of a stretch is given; those on the way come from the targets.
    state = jnp.asarray(rng.normal(size=(40, 2)), jnp.float32)
    return data, Unroll(state, jnp.arange(horizon, dtype=jnp.int32), normalizer.on_device())


@pytest.mark.parametrize("horizon", [1, 4])
def test_an_unrolled_loss_is_that_of_a_plain_loop(horizon: int) -> None:
    data, unroll = unrolled(horizon)
    norm, model = unroll.normalizer, fresh(0)
    rows = rows_for(1) % (40 - horizon)
    errors = []
    for row in rows[0, 0]:
        guess = true = np.asarray(unroll.state[row])
        for k in range(row, row + horizon):
            factors = model.agents[data.agent[row]]
            predicted = model(factors, jnp.asarray(guess), data.action[k])
            guess, true = (
                np.asarray(norm.advance(jnp.asarray(before), target))
                for before, target in ((guess, predicted), (true, data.target[k]))
            )
            errors.append((guess - true) * norm.state_scale / norm.target_scale)
    away = model.agents - model.agents.mean(axis=0)
    expected = 2 * optax.huber_loss(jnp.asarray(errors), delta=OUTLIER).mean()
    expected += 0.02 * (away**2).sum()
    state, loss = chunk([model], data, rows, shrinkage=0.02, unroll=unroll)
    np.testing.assert_allclose(loss, [expected], rtol=1e-5)
    moved = state.vector - init_state([model]).vector
    assert np.abs(np.asarray(moved)).max() > 0.5 * RATE


def test_members_of_a_group_do_not_touch_each_other() -> None:
    """The path of an accelerator (several members) against that of a CPU (one at a time)."""
    data, models, rows = problem(), [fresh(seed) for seed in range(3)], rows_for(20, group=3)
    shrinkages = [0.0, 0.01, 0.5]
    together, losses = chunk(models, data, rows, shrinkage=shrinkages)
    for g, model in enumerate(models):
        alone, loss = chunk([model], data, rows[:, g : g + 1], shrinkage=shrinkages[g])
        np.testing.assert_allclose(together.vector[g], alone.vector[0], atol=1e-4)
        np.testing.assert_allclose(losses[g], loss[0], rtol=1e-4)


def test_two_chunks_are_one_longer_chunk() -> None:
    data, model, rows = problem(), fresh(0), rows_for(20)
    whole, _ = chunk([model], data, rows)
    first, _ = chunk([model], data, rows[:12])
    both, _ = chunk([model], data, rows[12:], start=12, state=first)
    for got, expected in zip(jax.tree.leaves(both), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_steps_beyond_the_end_change_nothing() -> None:
    data, model, rows = problem(), fresh(0), rows_for(40)
    to_the_end, _ = chunk([model], data, rows[:30])
    beyond, _ = chunk([model], data, rows)
    np.testing.assert_array_equal(beyond.vector, to_the_end.vector)


def test_shrinkage_draws_agents_together_and_moves_those_without_data() -> None:
    data = problem()
    data = data._replace(agent=jnp.minimum(data.agent, 2))  # agent 3 has no data
    model, rows = fresh(0), rows_for(300)

    def factors(shrinkage: float) -> Any:
        state, _ = chunk([model], data, rows, total=300, shrinkage=shrinkage)
        return np.asarray(Layout.of(model).unflatten(state.vector[0]).agents)

    free, tied = factors(0.0), factors(1.0)
    np.testing.assert_array_equal(free[3], model.agents[3])
    assert tied.std(axis=0).mean() < 0.2 * free.std(axis=0).mean()


def test_training_lowers_the_loss() -> None:
    data, model = problem(), fresh(0)
    _, first = chunk([model], data, rows_for(1, batch=40), total=2000)
    state, _ = chunk([model], data, rows_for(1500, batch=20), total=1500)
    _, last = chunk([model], data, rows_for(1, batch=40), total=1, start=1, state=state)
    assert last[0] < 0.3 * first[0]


@given(st.integers(0, 10), st.booleans(), st.booleans())
@settings(max_examples=8)
def test_layout_is_lossless(seed: int, discrete: bool, joint: bool) -> None:
    model = fresh(seed, discrete, joint)
    layout = Layout.of(model)
    assert layout == Layout.of(jax.eval_shape(lambda: model))
    assert layout != Layout.of(fresh(seed, discrete, not joint))
    assert hash(layout) == hash(Layout.of(fresh(seed + 1, discrete, joint)))
    state = init_state([model, fresh(seed + 1, discrete, joint)])
    assert not any(leaf.any() for leaf in jax.tree.leaves(state.adam))
    again = layout.unflatten(state.vector[0])
    assert jax.tree.structure(again) == jax.tree.structure(model)
    for leaf, expected in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(leaf, expected)
    np.testing.assert_array_equal(init_state([again]).vector, state.vector[:1])


@given(
    st.integers(1, 3000),
    st.sampled_from([1, 3, 64, 130]),
    st.integers(0, 3),
    st.integers(0, 2),
)
@settings(max_examples=30)
def test_every_epoch_visits_every_row_once(n_rows: int, size: int, seed: int, member: int) -> None:
    rows = np.arange(n_rows, dtype=np.int32) * 3 + 7
    chunks = [batches(seed, member, start, rows, size) for start in (0, CHUNK, 2 * CHUNK)]
    assert all(part.shape == (CHUNK, size) and part.dtype == np.int32 for part in chunks)
    stream = np.concatenate([part.ravel() for part in chunks])
    whole = len(stream) // n_rows * n_rows
    epochs = stream[:whole].reshape(-1, n_rows)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(rows, (len(epochs), 1)))
    rest = stream[whole:]
    assert len(np.unique(rest)) == len(rest)
    assert np.isin(rest, rows).all()
    # A pure function of where it starts: asked again, in another order, it is the same.
    np.testing.assert_array_equal(batches(seed, member, 2 * CHUNK, rows, size), chunks[2])


def test_batches_differ_by_seed_member_epoch_and_start() -> None:
    rows = np.arange(1000, dtype=np.int32)

    def stream(seed: int, member: int, start: int) -> Any:
        return batches(seed, member, start, rows, 4).ravel()

    base = stream(0, 0, 0)
    assert not np.array_equal(base[:1000], base[1000:])  # the next epoch is shuffled anew
    for other in (stream(1, 0, 0), stream(0, 1, 0), stream(0, 0, CHUNK)):
        assert not np.array_equal(base, other)


def test_a_start_within_an_epoch_goes_on_where_the_stream_is() -> None:
    """Not only at chunk boundaries: a stream is cut anywhere."""
    rows = np.arange(77, dtype=np.int32)
    whole = np.concatenate([batches(0, 0, s, rows, 3) for s in (0, CHUNK)])
    np.testing.assert_array_equal(batches(0, 0, 123, rows, 3), whole[123 : 123 + CHUNK])


@pytest.mark.parametrize("several", [False, True])
def test_targets_without_weight_do_not_move_a_member(several: bool) -> None:
    """Whatever stands for a missing value, training is the same; and weights scale the loss."""
    data, unroll = unrolled(3)
    unroll = unroll if several else None
    weight = jnp.asarray(np.random.default_rng(1).random(data.target.shape) < 0.6, jnp.float32)
    weight = weight.at[:3].set(1.0)
    rows = jnp.zeros((4, 1, 3), jnp.int32)
    model = fresh(0, discrete=not jnp.issubdtype(data.action.dtype, jnp.floating))
    hidden = jnp.where(weight > 0, data.target, 7.0) if not several else data.target
    found = [
        chunk([model], data._replace(target=target, weight=weight), rows, unroll=unroll)
        for target in (data.target, hidden)
    ]
    np.testing.assert_array_equal(found[0][0].vector, found[1][0].vector)
    full, none = (
        chunk([model], data._replace(weight=w), rows, unroll=unroll)
        for w in (jnp.ones_like(weight), jnp.zeros_like(weight))
    )
    plain = chunk([model], data, rows, unroll=unroll)
    np.testing.assert_allclose(full[1], plain[1], rtol=1e-6)
    np.testing.assert_allclose(full[0].vector, plain[0].vector, rtol=1e-5, atol=1e-6)
    assert float(none[1][0]) == 0.0
