"""Linear models whose own coefficients depend on static columns: against the sums written out."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings, strategies as st

from twinfold.data.transitions import Transitions
from twinfold.models.linear import best_ridge, fit_average, fit_linear, left_out_errors
from twinfold.models.linear_kinds import LINEAR, Part, Ratio
from twinfold.models.linear_static import Effects
from twinfold.models.linear_sums import LinearData, linear_data, linear_features_of
from twinfold.models.normalizer_fit import fit_normalizer

N_AGENTS, RIDGE = 30, 0.5


def patients(
    seed: int, rows: int = 3, weight: float = 1.0, columns: int = 2
) -> tuple[LinearData, Any, Any, Any, Any]:
    """Agents of few rows, whose level depends on the first column, as sums and row by row."""
    rng = np.random.default_rng(seed)
    agent = np.repeat(np.arange(N_AGENTS), rows).astype(np.int32)
    n, x = len(agent), rng.normal(size=(N_AGENTS, columns))
    x -= x.mean(axis=0)
    state, action = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    after = 0.8 * state + action * [1.0, -0.5] + weight * x[agent, :1] * [2.0, 1.0]
    after = after + 0.3 * rng.normal(size=(n, 2))
    step = np.tile(np.arange(rows), N_AGENTS).astype(np.int32)
    data = Transitions(agent, state, action, after, agent, step)
    normalizer = fit_normalizer(data)
    phi = linear_features_of(normalizer, normalizer.encode_state(state), action, 0)
    y = normalizer.encode_target(state, after)
    return linear_data(normalizer, data, N_AGENTS, 0), x, phi, y, agent


@given(
    seed=st.integers(0, 100),
    level=st.floats(0.01, 3),
    state=st.sampled_from([0.0, 0.1]),
    action=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=15, deadline=None)
def test_columns_move_the_mean_of_own_coefficients(
    seed: int, level: float, state: float, action: float
) -> None:
    """Against generalised least squares with all rows, columns and covariances written out."""
    sums, x, phi, y, agent = patients(seed)
    variance = np.array([level, state, state, action])
    own = np.flatnonzero(variance)
    ridge = best_ridge(sums, Effects(x, own))
    found = fit_linear(sums, "slopes", Ratio(level, state, action), static=x)
    z = np.zeros((len(phi), N_AGENTS, phi.shape[1]))
    z[np.arange(len(phi)), agent] = phi
    z = z.reshape(len(phi), -1)
    inverse = np.linalg.inv(np.eye(len(phi)) + z @ np.diag(np.tile(variance, N_AGENTS)) @ z.T)
    moved = (x[agent][:, :, None] * phi[:, None, own]).reshape(len(phi), -1)
    design = np.concatenate([phi, moved], axis=1)
    penalty = np.diag([LINEAR.free] + [ridge] * (design.shape[1] - 1))
    every = np.linalg.solve(design.T @ inverse @ design + penalty, design.T @ inverse @ y)
    left = z.T @ inverse @ (y - design @ every)
    deviation = (np.tile(variance, N_AGENTS)[:, None] * left).reshape(N_AGENTS, -1, 2)
    gamma = np.zeros((x.shape[1], phi.shape[1], 2))
    gamma[:, own] = every[phi.shape[1] :].reshape(x.shape[1], len(own), 2)
    expected = every[: phi.shape[1]] + np.einsum("nc,cqd->nqd", x, gamma) + deviation
    np.testing.assert_allclose(
        found.coefficients(np.arange(N_AGENTS)), expected, rtol=1e-6, atol=1e-8
    )
    assert found.static is not None
    np.testing.assert_allclose(found.static, gamma, rtol=1e-6, atol=1e-8)


@given(seed=st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_errors_of_agents_left_out_are_those_of_fits_without_them(seed: int) -> None:
    sums, x, phi, y, agent = patients(seed)
    own = np.array([0, 3])
    errors = left_out_errors(sums, Effects(x, own))
    fold = np.random.default_rng(17).permutation(N_AGENTS) % LINEAR.folds
    design = np.concatenate(
        [phi, (x[agent][:, :, None] * phi[:, None, own]).reshape(len(phi), -1)], 1
    )
    expected = 0.0
    for out in range(LINEAR.folds):
        known, left = fold[agent] != out, fold[agent] == out
        penalty = np.diag([LINEAR.free] + [1e-3] * (design.shape[1] - 1))
        gram = design[known].T @ design[known] + penalty
        weights = np.linalg.solve(gram, design[known].T @ y[known])
        expected += np.sum((y[left] - design[left] @ weights) ** 2) - np.sum(y[left] ** 2)
    np.testing.assert_allclose(errors[0], expected, rtol=1e-6)


def test_columns_that_are_zero_change_nothing_of_what_is_shared() -> None:
    sums, x, *_ = patients(0)
    ratio, ridge = Ratio(0.1, 0.1, 0.0), best_ridge(sums)
    without = fit_linear(sums, "slopes", ratio, ridge)
    found = fit_linear(sums, "slopes", ratio, ridge, static=np.zeros_like(x))
    np.testing.assert_allclose(found.shared, without.shared, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.factors, without.factors, rtol=1e-8, atol=1e-10)


def test_an_agent_without_rows_is_what_its_columns_say() -> None:
    sums, x, *_ = patients(0, rows=4)
    for part in (sums.gram, sums.moment, sums.energy):
        part[7] = 0.0
    found = fit_linear(sums, "levels", Ratio(0.01), static=x)
    assert found.static is not None
    own = np.einsum("c,cqd->qd", x[7], found.static) + found.shared
    np.testing.assert_allclose(found.coefficients(np.array([7]))[0], own)
    assert abs(own - found.shared).max() > 0.1


def test_a_part_of_an_average_may_read_columns() -> None:
    sums, x, *_ = patients(0)
    ratio = Ratio(0.1)
    parts = [Part(0.25, "levels", ratio, static=True), Part(0.75, "pooled", Ratio())]
    found, alone = fit_average(sums, parts, static=x), fit_linear(sums, "levels", ratio, static=x)
    assert found.static is not None
    assert alone.static is not None
    np.testing.assert_allclose(found.static, 0.25 * alone.static)
    assert fit_average(sums, parts[1:], static=x).static is None


def test_too_many_coefficients_of_columns_move_levels_alone() -> None:
    columns = LINEAR.most_static // 4 + 1
    sums, x, *_ = patients(0, columns=columns)
    found = fit_linear(sums, "slopes", Ratio(0.1, 0.1, 0.3), static=x)
    assert found.static is not None
    assert np.abs(found.static[:, 0]).max() > 0
    np.testing.assert_array_equal(found.static[:, 1:], 0.0)
