"""The normal equations: laws that hold whatever the size, the number and the order of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from twinfold.models.normal_equations import inverse, solution
from twinfold.models.posterior import Evidence, solve, whitened
from twinfold.models.prior import Prior, no_walls, prior_root


@st.composite
def rows(draw: st.DrawFn) -> tuple[Prior, Any, Any]:
    """A prior of one member, and features and targets of the rows of an agent.

    Of any size, some alike, some collinear, one alone or a thousand the same.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    rank, n_state = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    number = draw(st.sampled_from([1, 2, 5, 30]))
    spread = np.diag(10.0 ** rng.uniform(-2, 2, rank)) @ rng.normal(size=(rank, 2 * rank))
    noise = np.full((1, n_state), 10.0 ** draw(st.sampled_from([-6, -3, 0])))
    precision: Any = np.linalg.inv(spread @ spread.T / rank)[None]
    prior = Prior(rng.normal(size=(1, rank)), precision, noise, noise, no_walls(n_state))
    features, target = rng.normal(size=(number, n_state, rank)), rng.normal(size=(number, n_state))
    if draw(st.booleans()):  # collinear
        features[..., -1] = 3 * features[..., 0]
    sizes = st.sampled_from([1.0, 1.0, 1e-30, 1e8, 1e12, 1e30])
    size = np.array(draw(st.lists(sizes, min_size=number, max_size=number)))
    features *= size[:, None, None]
    if draw(st.booleans()):  # of the targets as well
        target *= size[:, None]
    repeat = draw(st.sampled_from([1, 1, 1000 // number]))
    return prior, np.tile(features, (repeat, 1, 1)), np.tile(target, (repeat, 1))


def evidence_of(prior: Prior, features: Any, target: Any) -> Evidence:
    no_wall = np.zeros(len(features), bool)
    z, residual = whitened(prior, 0, prior_root(prior)[0], features, target, no_wall)
    gram, moment = np.einsum("kdr,kds->rs", z, z), np.einsum("kdr,kd->r", z, residual)
    energy, count = np.square(residual).sum(), np.array([len(z)])
    return Evidence(gram[None, None], moment[None, None], np.array([[energy]]), count, 0 * count)


def in_units(prior: Prior, mean: Any, covariance: Any) -> tuple[Any, Any]:
    """Mean and covariance in units of the prior."""
    root = np.linalg.inv(prior_root(prior)[0])
    return root @ (mean[0, 0] - prior.mean[0]), root @ covariance[0, 0] @ root.T


@given(rows())
def test_a_covariance_is_finite_and_positive_semidefinite(case: tuple[Prior, Any, Any]) -> None:
    prior, features, target = case
    mean, covariance = solve(prior, evidence_of(prior, features, target))
    assert np.isfinite(mean).all()
    assert np.isfinite(covariance).all()
    np.testing.assert_array_equal(covariance, np.swapaxes(covariance, -1, -2))
    _, own = in_units(prior, mean, covariance)
    values = np.linalg.eigvalsh((own + own.T) / 2)
    assert values[0] >= -1e-5 * max(values[-1], 1.0)


@given(rows(), st.integers(0, 100))
def test_the_order_of_rows_does_not_matter(case: tuple[Prior, Any, Any], seed: int) -> None:
    prior, features, target = case
    turned = np.random.default_rng(seed).permutation(len(features))
    one = in_units(prior, *solve(prior, evidence_of(prior, features, target)))
    other = in_units(prior, *solve(prior, evidence_of(prior, features[turned], target[turned])))
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-2, atol=1e-2 * max(1, np.abs(mine).max()))


def test_ordinary_equations_are_solved_as_they_stand() -> None:
    """To the last bit as NumPy does, whatever stands beside them."""
    rng = np.random.default_rng(0)
    base, moment = np.eye(3)[None], rng.normal(size=(4, 3))
    wide = rng.normal(size=(4, 3, 9))
    gram = wide @ np.swapaxes(wide, 1, 2)
    huge = np.array([3e9, 1.0, 2.0])
    gram[2], moment[2] = np.outer(huge, huge) * 1e10, huge * 1e10
    covariance, found = inverse(base, gram), solution(base, gram, moment)
    for n in (0, 1, 3):
        plain = base[0] + gram[n]
        np.testing.assert_array_equal(covariance[n], np.linalg.inv(plain))
        np.testing.assert_array_equal(found[n], np.linalg.solve(plain, moment[n]))
    # All that is told is along the one direction: the others stay as they were.
    along = huge / np.linalg.norm(huge)
    np.testing.assert_allclose(covariance[2], np.eye(3) - np.outer(along, along), atol=1e-9)
    np.testing.assert_allclose(found[2] @ huge, 1.0)
    # Ten of sixteen digits may be lost before a system counts as singular (EQUATIONS.singular): how
    # many are, differs between processors.
    np.testing.assert_allclose(found[2], along / np.linalg.norm(huge), atol=1e-5)


def test_nan_stays_nan_and_of_its_own_member() -> None:
    base, gram = np.array([[[np.nan]], [[1.0]]]), np.array([[[1.0]], [[1.0]]])
    np.testing.assert_array_equal(inverse(base, gram), [[[np.nan]], [[0.5]]])


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6, 1e12, 1e30])
def test_it_is_the_limit_of_ever_larger_rows(size: float) -> None:
    """Of a direction that is known exactly nothing is left open, of the others all."""
    base = np.diag([1.0, 4.0])[None]
    row = size * np.array([1.0, 1.0])
    found = inverse(base, np.outer(row, row)[None])[0]
    expected = np.linalg.inv(base[0])
    gain = expected @ row / (1 + row @ expected @ row)
    np.testing.assert_allclose(found, expected - np.outer(gain, row @ expected), atol=1e-6)


@pytest.mark.parametrize("size", [1e6, 1e10, 1e30])
def test_one_row_of_another_order_does_not_drown_the_others(size: float) -> None:
    rng = np.random.default_rng(1)
    noise = np.full((1, 1), 1e-3)
    prior = Prior(np.zeros((1, 3)), np.eye(3)[None], noise, noise, no_walls(1))
    features, true = rng.normal(size=(20, 1, 3)), np.array([0.5, -1.0, 2.0])
    features[7] *= size
    mean, covariance = solve(prior, evidence_of(prior, features, features @ true))
    np.testing.assert_allclose(mean[0, 0], true, atol=1e-3)
    assert np.linalg.eigvalsh(covariance[0, 0])[-1] < 1e-5
