"""Heads and factors in closed form, in turns: against plain least squares, and what they gain."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.models.factor_model import FactorModel, Structure, init_factor_model
from twinfold.training.head_refinement import refine_heads
from twinfold.training.train_step import TrainData

N_AGENTS, N_STATE, RANK, WIDTH = 6, 3, 2, 4


def member(seed: int, *, joint: bool, discrete: bool) -> FactorModel:
    config = FitConfig(state_net=(8, WIDTH), action_net=(5,))
    key, structure = jax.random.key(seed), Structure(joint, RANK)
    return init_factor_model(key, config, N_AGENTS, N_STATE, 2, discrete, structure)


def data_of(truth: FactorModel, noise: float = 0.0, n_rows: int = 600) -> TrainData:
    rng = np.random.default_rng(3)
    agent = np.sort(rng.integers(0, N_AGENTS, n_rows)).astype(np.int32)
    inputs = rng.normal(size=(n_rows, N_STATE)).astype(np.float32)
    if isinstance(truth.action_head, jax.Array):
        action = rng.integers(0, 2, n_rows).astype(np.int32)
    else:
        action = rng.normal(size=(n_rows, 2)).astype(np.float32)
    who, seen, done = map(jnp.asarray, (agent, inputs, action))
    target = np.asarray(jax.vmap(truth)(truth.agents[who], seen, done))
    target = target + noise * rng.normal(size=target.shape).astype(np.float32)
    return TrainData(who, seen, done, jnp.asarray(target))


def rms(model: FactorModel, data: TrainData) -> float:
    predicted = jax.vmap(model)(model.agents[data.agent], data.inputs, data.action)
    return float(jnp.sqrt(jnp.mean((predicted - data.target) ** 2)))


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("discrete", [False, True])
def test_a_head_that_is_off_is_found_again(joint: bool, discrete: bool) -> None:
    truth = member(0, joint=joint, discrete=discrete)
    data = data_of(truth)
    rows = np.arange(len(data.agent), dtype=np.int32)
    weight = truth.head.weight + 0.3 * jax.random.normal(jax.random.key(9), truth.head.weight.shape)
    off = eqx.tree_at(lambda m: m.head.weight, truth, weight)
    (polished,) = refine_heads([off], data, rows, 1)
    assert rms(off, data) > 0.1
    # What is left is the ridge of the residual scale and single precision.
    assert rms(polished, data) < 0.02 * rms(off, data)
    assert jax.tree.structure(polished) == jax.tree.structure(truth)


@pytest.mark.parametrize("joint", [False, True])
def test_rounds_take_head_and_factors_to_what_made_the_data(joint: bool) -> None:
    truth = member(0, joint=joint, discrete=True)
    data = data_of(truth)
    rows = np.arange(len(data.agent), dtype=np.int32)
    noise = jax.random.normal(jax.random.key(5), truth.agents.shape)
    off = eqx.tree_at(lambda m: m.agents, truth, truth.agents + 0.2 * noise)
    errors = [rms(refine_heads([off], data, rows, rounds)[0], data) for rounds in (0, 2, 20)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1 * errors[0]


def test_one_solution_is_that_of_plain_least_squares() -> None:
    truth = member(0, joint=True, discrete=False)
    data = data_of(truth, noise=0.1)
    rows = np.arange(len(data.agent), dtype=np.int32)[::2]  # the other half must not count
    start = member(1, joint=True, discrete=False)
    found = refine_heads([start], data, rows, 1)[0]
    hidden = []
    for k in rows:
        x = data.inputs[k] @ start.state_layers[0].weight + start.state_layers[0].bias
        x = jax.nn.relu(x + start.action_factors(data.action[k]))
        x = jax.nn.relu(x @ start.state_layers[1].weight + start.state_layers[1].bias)
        hidden.append(np.append(np.asarray(x, np.float64), 1.0))
    factors = np.asarray(start.agents, np.float64)[np.asarray(data.agent)[rows]]
    design = np.einsum("kh,kr->khr", hidden, factors).reshape(len(rows), -1)
    target = np.asarray(data.target, np.float64)[rows]
    old = np.concatenate([start.head.weight, start.head.bias[None]]).astype(np.float64)
    old = old.reshape(-1, N_STATE, RANK)
    new = np.concatenate([found.head.weight, found.head.bias[None]]).reshape(-1, N_STATE, RANK)
    for d in range(N_STATE):
        before = old[:, d].ravel()
        residual = target[:, d] - design @ before
        scales = [
            1.4826 * np.median(np.abs(target[:, e] - design @ old[:, e].ravel()))
            for e in range(N_STATE)
        ]
        every = np.stack([target[:, e] - design @ old[:, e].ravel() for e in range(N_STATE)], 1)
        distance = np.sqrt(np.mean((every / scales) ** 2, axis=1))
        weight = np.minimum(1.0, 3.0 / distance)
        ridge = scales[d] ** 2 / np.mean(old**2)
        gram = design.T @ (design * weight[:, None]) + ridge * np.eye(design.shape[1])
        wanted = before + np.linalg.solve(gram, design.T @ (weight * residual))
        np.testing.assert_allclose(new[:, d].ravel(), wanted, rtol=2e-3, atol=2e-4)


def test_a_member_that_diverged_does_not_stop_the_others() -> None:
    truth = member(0, joint=False, discrete=True)
    data = data_of(truth)
    rows = np.arange(len(data.agent), dtype=np.int32)
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, truth)
    found = refine_heads([broken, member(1, joint=False, discrete=True)], data, rows, 1)
    assert np.isfinite(rms(found[1], data))


def test_every_column_is_solved_for_by_its_own_rows() -> None:
    truth = member(0, joint=True, discrete=True)
    data = data_of(truth, noise=0.02)
    rows = np.arange(len(data.agent), dtype=np.int32)
    weight = np.random.default_rng(4).random(data.target.shape) < 0.6
    hidden = jnp.where(weight, data.target, 9.0)
    off = eqx.tree_at(lambda m: m.head.weight, truth, truth.head.weight * 1.3)
    part = data._replace(target=hidden, weight=jnp.asarray(weight, jnp.float32))
    (found,) = refine_heads([off], part, rows, 1)
    assert rms(found, data) < 0.2 * rms(off, data)
    whole = data._replace(weight=jnp.ones_like(data.target))
    one, two = (refine_heads([off], x, rows, 1)[0] for x in (data, whole))
    np.testing.assert_allclose(one.head.weight, two.head.weight, rtol=2e-3, atol=2e-4)
