"""The closed form of agent factors, against plain NumPy and against what it must not do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.models import refit
from twinfold.models.factor import FactorModel, init_factor_model
from twinfold.models.train import TrainData

N_AGENTS, N_STATE, RANK = 4, 3, 5


def stack(n_members: int = 2) -> FactorModel:
    config = FitConfig(rank=RANK, state_net=(16,), action_net=(8,))
    keys = jax.random.split(jax.random.key(1), n_members)
    return jax.vmap(lambda key: init_factor_model(key, config, N_AGENTS, N_STATE, 2, False))(keys)


def sample(members: FactorModel, noise: float = 0.0, rows_of_last: int = 0) -> TrainData:
    """Transitions whose true factors are not those of the members; agent 3 has few or none."""
    rng = np.random.default_rng(0)
    agent = np.sort(np.r_[rng.integers(0, N_AGENTS - 1, 300), np.full(rows_of_last, 3)])
    state = rng.normal(size=(len(agent), N_STATE)).astype(np.float32)
    action = rng.normal(size=(len(agent), 2)).astype(np.float32)
    first = jax.tree.map(lambda leaf: leaf[0], members)
    features = np.asarray(jax.vmap(first.features)(state, action))
    target = np.einsum("kdr,kr->kd", features, TRUE[agent])
    target += noise * rng.normal(size=target.shape)
    return TrainData(*map(jnp.asarray, (agent.astype(np.int32), state, action, target)))


TRUE = np.random.default_rng(7).normal(size=(N_AGENTS, RANK))


def test_clean_data_gives_back_the_true_factors() -> None:
    members = stack(1)
    data = sample(members)
    found = refit.refit_factors(members, data, np.arange(len(data.agent), dtype=np.int32))
    np.testing.assert_allclose(found.agents[0, :3], TRUE[:3], atol=2e-3)


def test_one_round_is_ridge_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit, "_ROUNDS", 1)
    monkeypatch.setattr(refit, "_HUBER", 1e9)  # no residual is an outlier
    members = stack()
    data = sample(members, noise=0.3, rows_of_last=2)
    rows = np.arange(len(data.agent), dtype=np.int32)
    found = refit.refit_factors(members, data, rows)
    for m in range(2):
        member = jax.tree.map(lambda leaf, m=m: leaf[m], members)
        features = np.asarray(jax.vmap(member.features)(data.state, data.action), np.float64)
        factors = np.asarray(member.agents, np.float64)
        mean, covariance = factors.mean(axis=0), np.cov(factors.T, bias=True)
        isotropic = (np.trace(covariance) / RANK + 1e-8) * np.eye(RANK)
        covariance = (N_AGENTS * covariance + isotropic) / (N_AGENTS + 1)
        agent, target = np.asarray(data.agent), np.asarray(data.target, np.float64)
        residual = target - np.einsum("kdr,kr->kd", features, factors[agent])
        scale = 1.4826 * np.median(np.abs(residual), axis=0)
        for n in range(N_AGENTS):
            own = agent == n
            design = (features[own] / scale[:, None]).reshape(-1, RANK)
            wanted = (target[own] / scale).reshape(-1)
            precision = np.linalg.inv(covariance)
            expected = np.linalg.solve(
                design.T @ design + precision, design.T @ wanted + precision @ mean
            )
            np.testing.assert_allclose(found.agents[m, n], expected, rtol=1e-3, atol=1e-3)


def test_gross_errors_hardly_matter() -> None:
    members = stack(1)
    data = sample(members, noise=0.01)
    target = np.array(data.target)
    target[::25] += 50.0
    rows = np.arange(len(data.agent), dtype=np.int32)
    found = refit.refit_factors(members, data._replace(target=jnp.asarray(target)), rows)
    np.testing.assert_allclose(found.agents[0, :3], TRUE[:3], atol=0.1)


def test_an_agent_without_rows_is_at_the_mean_and_only_given_rows_count() -> None:
    members = stack(1)
    data = sample(members)
    rows = np.flatnonzero(np.asarray(data.agent) != 1).astype(np.int32)
    found = refit.refit_factors(members, data, rows)
    mean = np.asarray(members.agents[0]).mean(axis=0)
    np.testing.assert_allclose(found.agents[0, [1, 3]], np.tile(mean, (2, 1)), atol=1e-4)


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    members = stack()
    data = sample(members, noise=0.1, rows_of_last=1)
    rows = np.arange(len(data.agent), dtype=np.int32)
    whole = refit.refit_factors(members, data, rows)
    monkeypatch.setattr(refit, "_CHUNK", 7)
    parts = refit.refit_factors(members, data, rows)
    np.testing.assert_allclose(parts.agents, whole.agents, rtol=1e-4, atol=1e-5)
