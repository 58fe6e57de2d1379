"""The sums that the regression of agent factors rests on: they add up, and tell a misfit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings, strategies as st

from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import Evidence, misfit

Build = Callable[..., FittedModel]


def evidence_of(rng: np.random.Generator, n_agents: int, n_members: int = 2, rank: int = 3) -> Any:
    """Sums of small whole numbers, which floating point adds without rounding."""
    shape = (n_members, n_agents)
    return Evidence(
        rng.integers(-9, 9, (*shape, rank, rank)).astype(float),
        rng.integers(-9, 9, (*shape, rank)).astype(float),
        rng.integers(0, 9, shape).astype(float),
        rng.integers(0, 9, n_agents),
        rng.integers(0, 9, n_agents),
    )


def same(a: Evidence, b: Evidence) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@given(seed=st.integers(0, 2**32), picked=st.sets(st.integers(0, 4), min_size=1))
@settings(max_examples=20)
def test_evidence_adds_up_and_can_be_taken_away(seed: int, picked: set[int]) -> None:
    rng = np.random.default_rng(seed)
    a, agents = evidence_of(rng, 5), rng.permutation(sorted(picked))
    b, c = evidence_of(rng, len(agents)), evidence_of(rng, len(agents))
    before = a.copy()
    total = a.add(agents, b)
    assert same(a, before)  # nobody's arrays were changed
    assert same(total.take(agents).minus(b), a.take(agents))
    assert same(total.add(agents, c), a.add(agents, c).add(agents, b))
    others = np.setdiff1d(np.arange(5), agents)
    assert same(total.take(others), a.take(others))
    assert same(a.join(b).take(slice(5)), a)
    assert same(a.join(b).take(np.arange(5, 5 + len(agents))), b)
    assert same(a.add(np.arange(5), Evidence.none(2, 5, 3)), a)


def test_the_misfit_is_the_mean_squared_residual_and_at_least_one(random_model: Build) -> None:
    prior = random_model(posterior=True).posterior.prior
    rng, weight = np.random.default_rng(0), 1 / prior.noise**2
    z, y, shift = rng.normal(size=(3, 6, 3, 3)), rng.normal(size=(3, 6, 3)), rng.normal(size=(3, 3))
    found = Evidence(
        np.einsum("mkdr,md,mkds->mrs", z, weight, z)[:, None],
        np.einsum("mkdr,md,mkd->mr", z, weight, y)[:, None],
        np.einsum("mkd,md,mkd->m", y, weight, y)[:, None],
        np.array([6]),
        np.array([0]),
    )
    left = np.einsum("md,mkd->m", weight, (y - np.einsum("mkdr,mr->mkd", z, shift)) ** 2)
    np.testing.assert_allclose(
        misfit(prior, found, shift[:, None])[:, 0], np.maximum(left / 18, 1), rtol=1e-9
    )
    assert np.all(misfit(prior, Evidence.none(3, 2, 3), np.zeros((3, 2, 3))) == 1.0)


def test_the_misfit_counts_observed_values_alone(random_model: Build) -> None:
    prior = random_model(posterior=True).posterior.prior
    rank, n_state = prior.mean.shape[1], prior.noise.shape[1]
    evidence = Evidence.none(len(prior.mean), 1, rank)
    evidence.count[:], evidence.energy[:] = 4, 40.0
    nothing = np.zeros((len(prior.mean), 1, rank))
    np.testing.assert_allclose(misfit(prior, evidence, nothing), 10 / n_state)
    evidence.missing[:] = 4 * n_state - 2
    np.testing.assert_allclose(misfit(prior, evidence, nothing), 20.0)
