"""The map from covariates to factors: its closed forms against fits made one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from twinfold.benchmark.studies.covariate_map import fit_covariate_map

RNG = np.random.default_rng(0)
COVARIATES = RNG.uniform([2.0, 0.15], [18.0, 0.85], (40, 2))


def smooth(covariates: Any) -> Any:
    """Factors (2, n, 3) of two members that depend on covariates smoothly."""
    force, length = covariates.T
    one = np.stack([force / length / 20, np.sin(force / 4), length**2], axis=-1)
    return np.stack([one, one[:, ::-1] + 1.0])


METRIC = np.stack([np.diag([1.0, 2.0, 0.5])] * 2)


def left_out_by_hand(factors: Any, ridge: float, length: float) -> float:
    """Share of squared differences that is not explained, each agent left out of a fit."""
    explained, whole = np.zeros(2), np.zeros(2)
    n_agents = len(COVARIATES)
    scale = COVARIATES.std(axis=0)
    x = COVARIATES / scale
    kernel = np.exp(-np.square(x[:, None] - x[None]).sum(-1) / (2 * length**2))
    for n in range(n_agents):
        rest = np.arange(n_agents) != n
        # An unpenalised intercept: the normal equations with a row for it.
        size = n_agents - 1
        system = np.zeros((size + 1, size + 1))
        system[:size, :size] = kernel[np.ix_(rest, rest)] + ridge * n_agents * np.eye(size)
        system[:size, size] = system[size, :size] = 1.0
        for m in range(2):
            target = np.concatenate([factors[m, rest], np.zeros((1, 3))])
            solved = np.linalg.solve(system, target)
            guess = kernel[n, rest] @ solved[:size] + solved[size]
            error = factors[m, n] - guess
            away = factors[m, n] - factors[m, rest].mean(axis=0)
            explained[m] += error @ METRIC[m] @ error
            whole[m] += away @ METRIC[m] @ away
    return float((explained / whole).mean())


@pytest.mark.parametrize(("ridge", "length"), [(1e-3, 1.0), (1e-1, 0.5)])
def test_the_error_of_agents_left_out_is_that_of_leaving_each_out(
    ridge: float, length: float
) -> None:
    factors = smooth(COVARIATES)
    found = fit_covariate_map(factors, METRIC, COVARIATES, [ridge], [length])
    assert found.left_out == pytest.approx(left_out_by_hand(factors, ridge, length), rel=1e-6)


def test_factors_are_those_of_kernel_ridge_regression_with_an_intercept() -> None:
    factors = smooth(COVARIATES)
    found = fit_covariate_map(factors, METRIC, COVARIATES, [1e-3], [1.0])
    new = RNG.uniform([2.0, 0.15], [18.0, 0.85], (7, 2))
    # The intercept as a constant in the kernel, so wide that it is hardly penalised.
    x, y = ((v - COVARIATES.mean(0)) / COVARIATES.std(0) for v in (COVARIATES, new))
    kernels = [np.exp(-np.square(v[:, None] - x[None]).sum(-1) / 2) + 1e6 for v in (x, y)]
    reader: Any = KernelRidge  # its annotations know whole numbers only
    for m in range(2):
        ridge = reader(alpha=1e-3 * len(x), kernel="precomputed").fit(kernels[0], factors[m])
        np.testing.assert_allclose(
            found.factors(new)[m], ridge.predict(kernels[1]), rtol=1e-3, atol=1e-3
        )


def test_the_best_of_what_is_tried_is_taken_and_a_smooth_map_is_learned() -> None:
    factors = smooth(COVARIATES)
    found = fit_covariate_map(factors, METRIC, COVARIATES, [1e-6, 1e-1], [1.0, 100.0])
    single = [
        fit_covariate_map(factors, METRIC, COVARIATES, [ridge], [length]).left_out
        for ridge in (1e-6, 1e-1)
        for length in (1.0, 100.0)
    ]
    assert found.left_out == min(single)
    assert found.left_out < 0.05


def test_a_member_that_diverged_and_a_covariate_that_does_not_vary_do_no_harm() -> None:
    factors, constant = smooth(COVARIATES), COVARIATES * [1.0, 0.0] + [0.0, 0.5]
    alone = fit_covariate_map(factors[:1], METRIC[:1], constant, [1e-3], [1.0])
    broken = factors.copy()
    broken[1] = np.nan
    both = fit_covariate_map(broken, METRIC, constant, [1e-3], [1.0])
    assert both.left_out == alone.left_out
    np.testing.assert_array_equal(both.factors(constant)[0], alone.factors(constant)[0])
