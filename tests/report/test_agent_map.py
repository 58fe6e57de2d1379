from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from twinfold.errors import UsageError
from twinfold.report.agent_map import explained, principal_components

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(3, 40), st.integers(2, 6))
def test_components_are_those_of_scikit_learn_up_to_sign(seed: int, n: int, r: int) -> None:
    factors = np.random.default_rng(seed).normal(size=(n, r)) * 3.0 ** np.arange(r)
    points, shares = principal_components(factors)
    reference = PCA(2, svd_solver="full").fit(factors)
    np.testing.assert_allclose(np.abs(points), np.abs(reference.transform(factors)), atol=1e-8)
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_, atol=1e-10)


@given(seeds)
def test_the_map_does_not_depend_on_the_coordinates_orientation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(12, 3)) * (1.0, 4.0, 16.0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = factors @ rotation + rng.normal(size=3)
    np.testing.assert_allclose(
        principal_components(factors)[0], principal_components(moved)[0], atol=1e-8
    )


@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (2, 2), (1, 1)])
def test_few_agents_or_factors_give_a_map_all_the_same(shape: tuple[int, int]) -> None:
    points, shares = principal_components(np.random.default_rng(0).normal(size=shape))
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    assert np.isfinite(shares).all()


def test_equal_agents_share_a_point() -> None:
    points, shares = principal_components(np.ones((4, 3)))
    np.testing.assert_array_equal(points, 0.0)
    np.testing.assert_array_equal(shares, 0.0)


@pytest.mark.parametrize("factors", [np.zeros(3), np.zeros((0, 2)), np.array([[1.0], [np.nan]])])
def test_factors_that_cannot_be_mapped_are_refused(factors) -> None:
    with pytest.raises(UsageError):
        principal_components(factors)


@given(seeds)
def test_explained_is_the_regressions_r2_in_any_coordinates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(60, 3))
    covariates = factors[:, :2] + rng.normal(size=(60, 2))
    change = rng.normal(size=(3, 3)) + 4.0 * np.eye(3)
    found = explained(factors @ change + 1.0, covariates)
    for c in range(2):
        model = LinearRegression().fit(factors, covariates[:, c])
        np.testing.assert_allclose(found[c], model.score(factors, covariates[:, c]), atol=1e-8)


def test_few_agents_explain_nothing() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(explained(rng.normal(size=(39, 3)), rng.normal(size=(39, 2)))).all()
