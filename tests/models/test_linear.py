"""Linear models of a panel: the closed forms against least squares written out, and laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.data.transitions import Transitions
from twinfold.models.linear import (
    Ridges,
    best_ridge,
    fit_average,
    fit_linear,
    rollout_linear,
    strength,
)
from twinfold.models.linear_kinds import ADDITIVE, ALIKE, KINDS, Part, Ratio, ratios
from twinfold.models.linear_sums import LinearData, find_ramps, linear_data, linear_features_of
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import fit_normalizer

N_AGENTS, N_ROWS = 6, 20


def panel(
    seed: int = 0, own: float = 0.3, noise: float = 0.1, discrete: bool = False, rows: int = N_ROWS
) -> Transitions:
    """Agents with levels of their own around one linear model of two columns."""
    rng = np.random.default_rng(seed)
    agent = np.repeat(np.arange(N_AGENTS), rows).astype(np.int32)
    n = len(agent)
    state = rng.normal(size=(n, 2)) * [1.0, 5.0] + [3.0, -2.0]
    action: Any = rng.integers(0, 3, n).astype(np.int32) if discrete else rng.normal(size=(n, 1))
    push = (action if discrete else action[:, 0]) * 0.5
    level = own * rng.normal(size=(N_AGENTS, 2))
    change = np.stack([-0.2 * state[:, 0] + push, 0.1 * state[:, 0] - 0.3 * state[:, 1]], axis=1)
    after = state + change + level[agent] + noise * rng.normal(size=(n, 2))
    steps = np.tile(np.arange(rows), N_AGENTS).astype(np.int32)
    return Transitions(agent, state, action, after, agent, steps)


def prepared(
    data: Transitions, discrete: bool = False, additive: bool = False
) -> tuple[Normalizer, LinearData]:
    normalizer, n_levels = fit_normalizer(data), 3 if discrete else 0
    ramps = find_ramps(normalizer, data, n_levels) if additive else None
    return normalizer, linear_data(normalizer, data, N_AGENTS, n_levels, ramps)


def design(normalizer: Normalizer, data: Transitions, n_levels: int = 0) -> tuple[Any, Any]:
    standard = normalizer.encode_state(data.state)
    phi = linear_features_of(normalizer, standard, data.action, n_levels)
    return phi, normalizer.encode_target(data.state, data.next_state)


@pytest.mark.parametrize("discrete", [False, True])
def test_the_pooled_model_is_ridge_regression(discrete: bool) -> None:
    data = panel(discrete=discrete)
    normalizer, sums = prepared(data, discrete)
    phi, y = design(normalizer, data, 3 if discrete else 0)
    found = fit_linear(sums, "pooled", ridge=2.0)
    penalty = np.diag([1e-6] + [2.0] * (phi.shape[1] - 1))
    np.testing.assert_allclose(
        found.shared, np.linalg.solve(phi.T @ phi + penalty, phi.T @ y), rtol=1e-8, atol=1e-10
    )
    assert found.own == ()
    residual = y - phi @ found.shared
    np.testing.assert_allclose(found.noise, np.sqrt(np.square(residual).mean(axis=0)), rtol=1e-6)


@given(
    seed=st.integers(0, 100),
    level=st.floats(0.01, 3),
    state=st.sampled_from([0.0, 0.1, 1.0]),
    action=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=15, deadline=None)
def test_own_coefficients_are_the_best_linear_predictions(
    seed: int, level: float, state: float, action: float
) -> None:
    """Against generalised least squares with the covariance of all rows written out."""
    data = panel(seed, rows=5)
    normalizer, sums = prepared(data)
    phi, y = design(normalizer, data)
    found = fit_linear(sums, "slopes", Ratio(level, state, action), ridge=0.5)
    variance = np.array([level, state, state, action])
    z = np.zeros((len(phi), N_AGENTS, phi.shape[1]))
    z[np.arange(len(phi)), data.agent] = phi
    z = z.reshape(len(phi), -1)
    covariance = np.eye(len(phi)) + z @ np.diag(np.tile(variance, N_AGENTS)) @ z.T
    inverse = np.linalg.inv(covariance)
    penalty = np.diag([1e-6, 0.5, 0.5, 0.5])
    shared = np.linalg.solve(phi.T @ inverse @ phi + penalty, phi.T @ inverse @ y)
    own = np.tile(variance, N_AGENTS)[:, None] * (z.T @ inverse @ (y - phi @ shared))
    expected = shared + own.reshape(N_AGENTS, -1, 2)
    np.testing.assert_allclose(
        found.coefficients(np.arange(N_AGENTS)), expected, rtol=1e-6, atol=1e-8
    )


def test_the_order_of_kinds_is_from_the_simplest_and_each_says_what_it_is() -> None:
    data = panel()
    normalizer, sums = prepared(data, additive=True)
    fits = {kind: fit_linear(sums, kind, ratios(kind)[-1]) for kind in KINDS}
    start, action = data.state[:4], np.zeros((4, 3, 1))

    def rolled(kind: Any) -> Any:
        own = fits[kind].coefficients(data.agent[:4])
        return rollout_linear(normalizer, own, start, action, 0, ramps=fits[kind].ramps)

    np.testing.assert_allclose(rolled("no change"), np.repeat(start[:, None], 3, 1), atol=1e-9)
    drift = (data.next_state - data.state).mean(axis=0)
    np.testing.assert_allclose(rolled("drift")[:, 0] - start, np.tile(drift, (4, 1)), atol=1e-6)
    assert fits["own drift"].own == ((0, 0), (0, 1))
    assert fits["levels"].own == ((0, 0), (0, 1))
    assert len(fits["slopes"].own) > 2
    assert fits["additive"].own == ()
    assert fits["additive slopes"].own == fits["slopes"].own
    for simple in (
        ("no change", "drift", "pooled", "levels"),
        ("drift", "additive", "additive slopes"),
    ):
        noise = [fits[kind].noise.mean() for kind in simple]
        assert noise == sorted(noise, reverse=True)


@given(weight=st.floats(0.05, 0.95), kind=st.sampled_from(KINDS))
@settings(max_examples=15, deadline=None)
def test_an_average_is_a_linear_model_between_its_parts(weight: float, kind: Any) -> None:
    _, sums = prepared(panel(), additive=True)
    own, ridges = Ratio(0.3, 0.1, 0.0), Ridges(2.0, 3.0)
    parts = [
        Part(weight, kind, ratios(kind)[-1]),
        Part(1 - weight, "slopes", own),
    ]
    found = fit_average(sums, parts, ridges)
    first = fit_linear(sums, kind, parts[0].ratio, 3.0 if kind in ADDITIVE else 2.0)
    second = fit_linear(sums, "slopes", own, 2.0)
    more = [(0, len(found.shared) - len(second.shared)), (0, 0)]
    assert (more[0][1] > 0) == (kind in ADDITIVE) == (found.ramps is not None)
    between = weight * first.shared + (1 - weight) * np.pad(second.shared, more)
    np.testing.assert_allclose(found.shared, between, rtol=1e-12)
    alone = fit_average(sums, [Part(1.0, "slopes", own)], ridges)
    for got, wanted in zip(alone[:5], second[:5], strict=True):
        np.testing.assert_allclose(got, wanted)
    assert alone.static is second.static is None
    assert found.variance.min() > 0


def test_agents_that_hardly_differ_are_alike_and_no_ratio_makes_them_so() -> None:
    data = panel()
    _, sums = prepared(data)
    pooled = fit_linear(sums, "pooled", ridge=1.0)
    nearly = fit_linear(sums, "levels", Ratio(1e-9), ridge=1.0)
    np.testing.assert_allclose(nearly.shared, pooled.shared, atol=1e-6)
    np.testing.assert_allclose(nearly.factors[:, 1:], 0.0, atol=1e-6)
    assert fit_linear(sums, "levels", ALIKE, ridge=1.0).own == ()
    sizes = [sum(ratio) for ratio in ratios("slopes")]
    assert sizes == sorted(sizes)


def test_more_noise_asks_for_more_ridge() -> None:
    quiet, loud = (best_ridge(prepared(panel(noise=s, own=0.0))[1]) for s in (0.01, 30.0))
    assert quiet < loud


def test_an_agent_without_rows_is_as_all_are() -> None:
    data = panel()
    some = data.select(np.flatnonzero(data.agent != 2))
    normalizer = fit_normalizer(some)
    found = fit_linear(linear_data(normalizer, some, N_AGENTS, 0), "levels", Ratio(1.0))
    np.testing.assert_allclose(found.factors[2, 1:], 0.0, atol=1e-12)
    assert np.abs(found.factors[[0, 1, 3], 1:]).min() > 0


@pytest.mark.parametrize("discrete", [False, True])
def test_an_additive_model_is_a_ridge_of_ramps_and_deviations_are_linear(discrete: bool) -> None:
    """Against generalised least squares with the covariance of all rows written out."""
    data = panel(discrete=discrete, rows=8)
    n_levels = 3 if discrete else 0
    normalizer, sums = prepared(data, discrete, additive=True)
    phi, y = design(normalizer, data, n_levels)
    assert sums.ramps is not None
    both = np.concatenate([phi[:, :1], sums.ramps.heights(phi[:, 1:])], axis=1)
    found = fit_linear(sums, "additive slopes", Ratio(0.5, 0.1, 0.0), ridge=0.7)
    variance = np.r_[0.5, 0.1, 0.1, np.zeros(phi.shape[1] - 3)]
    z = np.zeros((len(phi), N_AGENTS, phi.shape[1]))
    z[np.arange(len(phi)), data.agent] = phi
    z = z.reshape(len(phi), -1)
    covariance = np.eye(len(phi)) + z @ np.diag(np.tile(variance, N_AGENTS)) @ z.T
    inverse = np.linalg.inv(covariance)
    penalty = np.diag([1e-6] + [0.7] * (both.shape[1] - 1))
    shared = np.linalg.solve(both.T @ inverse @ both + penalty, both.T @ inverse @ y)
    q = phi.shape[1]
    np.testing.assert_allclose(found.shared[0], shared[0], atol=1e-8)
    np.testing.assert_allclose(found.shared[1:q], 0.0)
    np.testing.assert_allclose(found.shared[q:], shared[1:], atol=1e-8)
    own = np.tile(variance, N_AGENTS)[:, None] * (z.T @ inverse @ (y - both @ shared))
    deviations = found.coefficients(np.arange(N_AGENTS)) - found.shared
    np.testing.assert_allclose(deviations[:, :q], own.reshape(N_AGENTS, q, 2), atol=1e-8)


def test_linear_models_are_the_same_with_ramps_beside_them() -> None:
    data = panel()
    (_, plain), (_, both) = prepared(data), prepared(data, additive=True)
    linear: list[Any] = [kind for kind in KINDS if kind not in ADDITIVE]
    for kind in linear:
        for got, wanted in zip(
            fit_linear(both, kind, ratios(kind)[-1])[:5],
            fit_linear(plain, kind, ratios(kind)[-1])[:5],
            strict=True,
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
    assert strength(plain) == best_ridge(plain)
