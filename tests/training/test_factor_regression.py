"""The closed form of agent factors, against plain NumPy and against what it must not do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.models.factor_model import FactorModel, Structure, init_factor_model
from twinfold.training import factor_regression
from twinfold.training.regression_settings import REGRESSION
from twinfold.training.train_step import TrainData

N_AGENTS, N_STATE, RANK = 4, 3, 5
TRUE = np.random.default_rng(7).normal(size=(N_AGENTS, RANK))


def member(seed: int = 1, *, joint: bool = False, rank: int = RANK) -> FactorModel:
    config = FitConfig(state_net=(16,), action_net=(8,))
    key, structure = jax.random.key(seed), Structure(joint, rank)
    return init_factor_model(key, config, N_AGENTS, N_STATE, 2, False, structure)


def sample(member: FactorModel, noise: float = 0.0, rows_of_last: int = 0) -> TrainData:
    """Transitions whose true factors are not those of the member; agent 3 has few or none."""
    rng = np.random.default_rng(0)
    agent = np.sort(np.r_[rng.integers(0, N_AGENTS - 1, 300), np.full(rows_of_last, 3)])
    inputs = rng.normal(size=(len(agent), N_STATE)).astype(np.float32)
    action = rng.normal(size=(len(agent), 2)).astype(np.float32)
    features = np.asarray(jax.vmap(member.features)(jnp.asarray(inputs), jnp.asarray(action)))
    target = np.einsum("kdr,kr->kd", features, TRUE[agent])
    target += noise * rng.normal(size=target.shape)
    return TrainData(*map(jnp.asarray, (agent.astype(np.int32), inputs, action, target)))


def every(data: TrainData) -> np.ndarray:
    return np.arange(len(data.agent), dtype=np.int32)


def by_hand(member: FactorModel, data: TrainData) -> np.ndarray:
    """One round of ridge regression, agent by agent, ``(N, r)``."""
    rank = member.rank
    features = np.asarray(jax.vmap(member.features)(data.inputs, data.action), np.float64)
    factors = np.asarray(member.agents, np.float64)
    mean, covariance = factors.mean(axis=0), np.cov(factors.T, bias=True)
    isotropic = (np.trace(covariance) / rank + REGRESSION.floor**2) * np.eye(rank)
    precision = np.linalg.inv((N_AGENTS * covariance + isotropic) / (N_AGENTS + 1))
    agent, target = np.asarray(data.agent), np.asarray(data.target, np.float64)
    residual = target - np.einsum("kdr,kr->kd", features, factors[agent])
    scale = 1.4826 * np.median(np.abs(residual), axis=0)
    out = np.empty((N_AGENTS, rank))
    for n in range(N_AGENTS):
        own = agent == n
        design = (features[own] / scale[:, None]).reshape(-1, rank)
        wanted = (target[own] / scale).reshape(-1)
        out[n] = np.linalg.solve(
            design.T @ design + precision, design.T @ wanted + precision @ mean
        )
    return out


@pytest.mark.parametrize("joint", [False, True])
def test_clean_data_gives_back_the_true_factors(joint: bool) -> None:
    start = member(joint=joint)
    data = sample(start)
    (found,) = factor_regression.solve_factors([start], data, every(data))
    np.testing.assert_allclose(found.agents[:3], TRUE[:3], atol=2e-3)


@pytest.mark.parametrize("joint", [False, True])
def test_one_round_is_ridge_regression(joint: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lenient = replace(REGRESSION, huber=1e9)  # no residual is an outlier
    monkeypatch.setattr(factor_regression, "REGRESSION", lenient)
    program: Any = factor_regression._moments
    program.clear_cache()  # of which the limit is a constant
    members = [member(seed, joint=joint) for seed in (1, 2)]
    data = sample(members[0], noise=0.3, rows_of_last=2)
    found = factor_regression.solve_factors(members, data, every(data), rounds=1)
    program.clear_cache()
    for got, start in zip(found, members, strict=True):
        np.testing.assert_allclose(got.agents, by_hand(start, data), rtol=1e-3, atol=1e-3)


def test_members_of_several_structures_are_solved_as_each_alone() -> None:
    members = [member(1), member(2, joint=True, rank=3), member(3, joint=True, rank=7)]
    data = sample(members[0], noise=0.1, rows_of_last=1)
    found = factor_regression.solve_factors(members, data, every(data))
    for got, start in zip(found, members, strict=True):
        (alone,) = factor_regression.solve_factors([start], data, every(data))
        np.testing.assert_array_equal(got.agents, alone.agents)
        assert jax.tree.structure(got) == jax.tree.structure(start)
        np.testing.assert_array_equal(got.head.weight, start.head.weight)  # nets stay as they are
        assert np.abs(np.asarray(got.agents) - start.agents).max() > 0.05


@pytest.mark.parametrize(("noise", "atol"), [(0.01, 0.1), (0.3, 0.35)])
def test_gross_errors_hardly_matter(noise: float, atol: float) -> None:
    start = member()
    data = sample(start, noise=noise)
    target = np.array(data.target)
    target[::25] += 50.0
    data = data._replace(target=jnp.asarray(target))
    (found,) = factor_regression.solve_factors([start], data, every(data))
    np.testing.assert_allclose(found.agents[:3], TRUE[:3], atol=atol)


@pytest.mark.parametrize("share", [0.005, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("jitter", [0.0, 0.001])
def test_a_state_that_seldom_changes_does_not_outweigh_the_others(
    share: float, jitter: float
) -> None:
    """Nearly all of its errors are tiny; taken for its noise, they would decide every factor."""
    rng = np.random.default_rng(0)
    start = member()
    clean = sample(start, noise=0.3)
    target = np.array(clean.target)
    target[:, 0] = jitter * rng.normal(size=len(target))
    events = rng.permutation(len(target))[: math.ceil(share * len(target))]
    target[events, 0] += 4.0
    data = clean._replace(target=jnp.asarray(target))
    scale = factor_regression.robust_scale(target, target)
    assert scale[0] == pytest.approx(4 * np.sqrt(len(events) / len(target)), rel=0.1)
    np.testing.assert_allclose(scale[1:], 1.4826 * np.median(np.abs(target[:, 1:]), axis=0))
    (found,) = factor_regression.solve_factors([start], data, every(data))
    with pytest.MonkeyPatch.context() as patch:
        median = factor_regression.robust_scale
        patch.setattr(factor_regression, "robust_scale", lambda e, target, w: median(e, None))
        (naive,) = factor_regression.solve_factors([start], data, every(data))
    error, worse = (np.abs(np.asarray(x.agents[:3]) - TRUE[:3]).max() for x in (found, naive))
    assert error < 0.7 * worse


@pytest.mark.parametrize("noise", [0.01, 0.4, 0.8, 2.0])
@pytest.mark.parametrize("share", [0.01, 0.04])
def test_gross_errors_are_no_events(noise: float, share: float) -> None:
    rng = np.random.default_rng(0)
    error = noise * rng.normal(size=(2000, 2))
    target = rng.normal(size=(2000, 2)) + error
    expected = 1.4826 * np.median(np.abs(error), axis=0)
    gross = rng.random(2000) < share
    error[gross, 0] += 50.0
    target[gross, 0] += 50.0
    np.testing.assert_allclose(factor_regression.robust_scale(error, target), expected, rtol=0.1)


def test_an_agent_without_rows_is_at_the_mean_and_only_given_rows_count() -> None:
    start = member()
    data = sample(start)
    rows = np.flatnonzero(np.asarray(data.agent) != 1).astype(np.int32)
    (found,) = factor_regression.solve_factors([start], data, rows)
    mean = np.asarray(start.agents).mean(axis=0)
    np.testing.assert_allclose(np.asarray(found.agents)[[1, 3]], np.tile(mean, (2, 1)), atol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("size", [7, 250, 300])  # the last chunk lacks 1, 199 and 299 rows
def test_chunks_do_not_change_the_answer(
    joint: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = member(joint=joint)
    data = sample(start, noise=0.1, rows_of_last=1)
    (whole,) = factor_regression.solve_factors([start], data, every(data))
    monkeypatch.setattr(factor_regression, "_CHUNK", size)
    (parts,) = factor_regression.solve_factors([start], data, every(data))
    np.testing.assert_allclose(parts.agents, whole.agents, rtol=1e-3, atol=1e-4)


def test_a_part_of_the_rows_gives_the_scale_of_the_residuals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = member()
    data = sample(start, noise=0.1)
    (whole,) = factor_regression.solve_factors([start], data, every(data))
    monkeypatch.setattr(factor_regression, "REGRESSION", replace(REGRESSION, scale_sample=100))
    (part,) = factor_regression.solve_factors([start], data, every(data))
    np.testing.assert_allclose(part.agents, whole.agents, atol=0.05)
    assert not np.array_equal(part.agents, whole.agents)


def test_what_was_not_observed_does_not_matter() -> None:
    start = member()
    data = sample(start, noise=0.1)
    weight = np.random.default_rng(2).random(data.target.shape) < 0.6
    masked = data._replace(weight=jnp.asarray(weight, jnp.float32))
    parts = [masked._replace(target=jnp.where(weight, data.target, x)) for x in (0.0, 50.0)]
    solve = factor_regression.solve_factors
    found = [solve([start], part, every(part))[0].agents for part in parts]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(np.asarray(found[0])[:3] - TRUE[:3]).max() < 0.3
    whole = data._replace(weight=jnp.ones_like(data.target))
    one, two = (
        factor_regression.solve_factors([start], part, every(part))[0].agents
        for part in (data, whole)
    )
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
