"""The prior and the noise that trained agents tell: spread, walls, and what does not count."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.adaptation import empirical_bayes as empirical
from twinfold.adaptation.empirical_bayes import empirical_prior, maximised, trained_posterior
from twinfold.models.fitted_model import FittedModel
from twinfold.models.member_features import features_of
from twinfold.models.posterior import Evidence, gather, misfit, solve
from twinfold.models.prior import prior_root

Build = Callable[..., FittedModel]


# The prior


@given(n_agents=st.integers(1, 6), rank=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_the_prior_is_the_spread_of_the_agents_and_one_more(
    n_agents: int, rank: int, seed: int
) -> None:
    factors = np.random.default_rng(seed).normal(size=(2, n_agents, rank))
    prior = empirical_prior(factors, np.full((2, 3), 0.0))
    assert np.all(prior.noise > 0)  # never certain
    for m in range(2):
        mean = factors[m].sum(axis=0) / n_agents
        deviation = factors[m] - mean
        about = factors[m] if n_agents == 1 else deviation
        one_more = np.eye(rank) * (np.mean(about**2) + 1e-12)
        share = 1.0 if n_agents < rank else rank / n_agents  # of an agent
        covariance = sum((np.outer(x, x) for x in deviation), share * one_more)
        covariance /= n_agents + share
        if n_agents == 1:
            covariance = one_more
        np.testing.assert_allclose(prior.mean[m], mean, atol=1e-12)
        np.testing.assert_allclose(prior.precision[m] @ covariance, np.eye(rank), atol=1e-6)


def test_what_many_agents_do_not_differ_in_is_taken_to_be_alike() -> None:
    """Agents on a line, as those that differ in one hidden quantity: little is left off it."""
    rng = np.random.default_rng(0)
    along = np.array([2.0, 1.0, 0.0, 0.0]) / np.sqrt(5)
    off = []
    for n_agents in (4, 40, 400):
        factors = rng.normal(size=(1, n_agents, 1)) * along
        covariance = np.linalg.inv(empirical_prior(factors, np.ones((1, 3))).precision[0])
        off.append(covariance[3, 3] / (along @ covariance @ along))
    assert 0.02 < off[0] < 0.2
    assert off[1] < off[0] / 30
    assert 0 < off[2] < off[1] / 30


def test_agents_that_are_all_alike_still_have_a_prior() -> None:
    prior = empirical_prior(np.ones((1, 4, 2)), np.ones((1, 3)))
    assert np.isfinite(prior.precision).all()
    assert np.isfinite(prior_root(prior)).all()


def test_the_root_of_the_prior_is_one(random_model: Build) -> None:
    prior = random_model(posterior=True).posterior.prior
    root = prior_root(prior)
    np.testing.assert_allclose(
        root @ np.swapaxes(root, 1, 2) @ prior.precision, np.stack([np.eye(3)] * 3), atol=1e-9
    )


# Trained agents


def test_where_nothing_is_noisy_rows_that_nothing_explains_hardly_count(
    random_model: Build, courses: Any
) -> None:
    model = random_model(members=1)
    factors = courses.factors(model)
    panel = courses.panel(model, [30] * len(factors), factors, noise=1e-4)
    rows = courses.transitions(model, panel)
    odd = np.flatnonzero(rows.agent == 0)[::10]
    after = rows.next_state.copy()
    after[odd] += 0.3 * model.normalizer.target_scale  # far beyond the noise, not beyond the agents
    rows = replace(rows, next_state=after)
    n_agents = len(factors)
    posterior = trained_posterior(model.members, model.normalizer, rows, None, n_agents)
    by_prior = gather(model.members, model.normalizer, posterior.prior, rows, n_agents)
    error = np.abs(posterior.solve()[0][0, 0] - factors[0]).max()
    before = np.abs(solve(posterior.prior, by_prior)[0][0, 0] - factors[0]).max()
    assert error < 0.1 * before


def rows_of(rng: Any, factors: Any, noise: float, n_rows: int) -> Evidence:
    """Of one member and N agents, by a design that is random."""
    _, n_agents, rank = factors.shape
    z = rng.normal(size=(1, n_agents, n_rows, rank)) / noise
    y = np.einsum("mnkr,mnr->mnk", z, factors) + rng.normal(size=(1, n_agents, n_rows))
    return Evidence(
        np.swapaxes(z, 2, 3) @ z,
        np.einsum("mnkr,mnk->mnr", z, y),
        np.square(y).sum(axis=2),
        np.full(n_agents, n_rows),
        np.zeros(n_agents, np.int64),
    )


def test_the_covariance_over_agents_is_not_that_of_what_noise_makes_of_them() -> None:
    """Least squares by each agent's own rows scatter far more than the agents do."""
    rng = np.random.default_rng(0)
    truth = np.array([1.0, -2.0]) + 0.3 * rng.normal(size=(1, 200, 2))
    found = rows_of(rng, truth, 1.0, 5)
    alone = np.asarray(np.linalg.solve(found.gram, found.moment[..., None])[..., 0], np.float64)
    wide = empirical_prior(alone, np.ones((1, 1)))
    prior, evidence = maximised(wide, found.from_mean(wide.mean), 0, rounds=200)
    assert np.trace(np.linalg.inv(wide.precision[0])) > 3 * 2 * 0.3**2
    covariance = np.linalg.inv(prior.precision[0])
    np.testing.assert_allclose(np.diag(covariance), 0.3**2, atol=0.05)
    np.testing.assert_allclose(prior.mean[0], [1.0, -2.0], atol=0.15)
    error = [np.square(x - truth).mean() for x in (alone, solve(prior, evidence)[0])]
    assert error[1] < 0.5 * error[0]


def test_without_noise_the_covariance_is_that_of_the_agents() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(1, 100, 3)) @ np.diag([1.0, 0.5, 0.1])
    found = rows_of(rng, truth, 1e-6, 8)
    start = empirical_prior(truth, np.ones((1, 1)))
    prior, evidence = maximised(start, found.from_mean(start.mean), 0)
    np.testing.assert_allclose(solve(prior, evidence)[0], truth, atol=1e-4)
    np.testing.assert_allclose(prior.precision, start.precision, rtol=0.02, atol=0.05)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_the_posterior_does_not_depend_on_what_the_evidence_is_counted_from(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = rows_of(rng, rng.normal(size=(1, 4, 3)), 1.0, 6)
    prior = empirical_prior(rng.normal(size=(1, 6, 3)), np.ones((1, 1)))
    move = rng.normal(size=(1, 3))
    other = prior._replace(mean=prior.mean + move)
    flat = 1e-9 * np.eye(3)[None]
    for p, q in ((prior, other), (prior._replace(precision=flat), other._replace(precision=flat))):
        moved = found.from_mean(move)
        direct = solve(p, found)[0] if p is not prior else None
        shifted = solve(q, moved)[0]
        if direct is not None:  # a flat prior: its mean does not matter
            np.testing.assert_allclose(shifted, direct, atol=1e-5)
    shift = rng.normal(size=(1, 4, 3))
    np.testing.assert_allclose(
        misfit(prior, found, shift), misfit(other, moved, shift - move), rtol=1e-6
    )


def test_the_noise_is_the_robust_scale_of_errors_and_not_below_held_out_ones(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    panel = courses.panel(model, [12] * 5, courses.factors(model))
    data = courses.transitions(model, panel)
    z = features_of(model.members, model.normalizer, data.state, data.action)
    agents = np.asarray(model.members.agents, np.float64)
    expected, target = np.empty((3, 3)), model.normalizer.encode_target(data.state, data.next_state)
    for m, d in np.ndindex(3, 3):
        errors = [abs(target[k, d] - z[m, k, d] @ agents[m, data.agent[k]]) for k in range(60)]
        expected[m, d] = 1.4826 * sorted(errors)[29:31][0] / 2 + 1.4826 * sorted(errors)[30] / 2
    plain = trained_posterior(model.members, model.normalizer, data, None, 5)
    np.testing.assert_allclose(plain.prior.noise, expected, rtol=1e-4)
    held_out = np.array([0.0, 0.5, 100.0])
    raised = trained_posterior(model.members, model.normalizer, data, held_out, 5)
    np.testing.assert_allclose(raised.prior.noise, np.maximum(expected, held_out), rtol=1e-4)


def test_transitions_that_end_at_a_wall_have_the_noise_of_those(
    random_model: Build, courses: Any, models: Any
) -> None:
    model = random_model(posterior=True)
    panel = courses.panel(model, [60] * 5, courses.factors(model))
    data = courses.transitions(model, panel)
    free = np.full(3, np.inf)
    norm = dataclasses.replace(model.normalizer, low=-free, high=free)
    without = trained_posterior(model.members, norm, data, None, 5).prior
    np.testing.assert_array_equal(without.limit_noise, without.noise)
    norm = dataclasses.replace(models.with_wall(model, data).normalizer, low=-free)
    data.next_state[[7, 30, 41], 0] = data.next_state[:, 0].max()
    data.next_state[7, 1] += 100  # stopped by the wall
    prior = trained_posterior(model.members, norm, data, None, 5).prior
    np.testing.assert_array_equal(prior.walls, [norm.low, norm.high])
    (at,) = np.nonzero(prior.at_wall(norm.encode_state(data.next_state)))
    assert {7, 30, 41} <= set(at.tolist())
    assert len(at) == 4
    z = features_of(model.members, norm, data.state[at], data.action[at])
    factors = np.asarray(model.members.agents, np.float64)[:, data.agent[at]]
    target = norm.encode_target(data.state[at], data.next_state[at])
    errors = target - np.einsum("mkdr,mkr->mkd", z, factors)
    # Of four errors the largest hundredth is none.
    there = np.sqrt(np.mean(errors**2, axis=1))
    np.testing.assert_allclose(prior.limit_noise, np.maximum(prior.noise, there), rtol=1e-5)
    assert prior.limit_noise[:, 1].min() > 10 * prior.noise[:, 1].max()
    # Whom it is of, and where it stopped, then says nearly nothing.
    one = data.select(data.agent == data.agent[7])
    rest = one.select(~prior.at_wall(norm.encode_state(one.next_state)))
    found = [gather(model.members, norm, prior, rows, 5) for rows in (one, rest)]
    (mean, _), (without, _) = (solve(prior, evidence) for evidence in found)
    (naive, _) = solve(
        prior, gather(model.members, norm, prior._replace(limit_noise=prior.noise), one, 5)
    )
    agent = one.agent[0]
    near, far = (np.abs(x[:, agent] - without[:, agent]).max() for x in (mean, naive))
    assert near < 0.1 * far


def test_one_gross_error_does_not_set_the_noise_at_walls() -> None:
    error = np.random.default_rng(0).normal(size=(400, 1))
    usual = empirical._trimmed_rms(error, None)
    assert usual == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.1)
    error[7] = 1e6
    assert empirical._trimmed_rms(error, None) == pytest.approx(usual, rel=0.02)


def test_a_limit_that_is_the_usual_value_is_no_wall(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    data = courses.transitions(model, courses.panel(model, [60] * 5, courses.factors(model)))
    far = np.full(3, np.inf)
    flag = data.next_state[:, 2] >= np.quantile(data.next_state[:, 2], 0.9)
    for share, wall in ((0.1, True), (0.9, False)):
        low, high = -far, far.copy()
        data.next_state[:, 2] = np.where(flag == (share == 0.1), 3.0, 1.0)
        high[2] = model.normalizer.encode_state(data.next_state)[:, 2].max()
        norm = dataclasses.replace(model.normalizer, low=low, high=high)
        prior = trained_posterior(model.members, norm, data, None, 5).prior
        assert np.isfinite(prior.walls[1, 2]) == wall
        if not wall:
            np.testing.assert_array_equal(prior.limit_noise, prior.noise)


def test_many_rare_walls_are_the_usual_thing_too(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    data = courses.transitions(model, courses.panel(model, [60] * 5, courses.factors(model)))
    data.next_state[:] = np.random.default_rng(0).uniform(0.0, 1.0, data.next_state.shape)
    edge = np.array([0.9, 0.88, 0.95])  # reached by 10, 12 and 5 % of the transitions
    data.next_state[:] = np.minimum(data.next_state, edge)
    high = model.normalizer.encode_state(edge)
    norm = dataclasses.replace(model.normalizer, low=np.full(3, -np.inf), high=high)
    prior = trained_posterior(model.members, norm, data, None, 5).prior
    np.testing.assert_array_equal(prior.walls[1], [high[0], np.inf, high[2]])
    assert prior.at_wall(norm.encode_state(data.next_state)).mean() <= 0.2


def test_a_member_that_diverged_leaves_the_others_as_they_are(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    broken = eqx.tree_at(
        lambda nets: nets.head.weight, model.members, replace_fn=lambda x: x.at[1].set(jnp.nan)
    )
    panel = courses.panel(model, [12] * 5, courses.factors(model))
    data = courses.transitions(model, panel)
    found = trained_posterior(broken, model.normalizer, data, None, 5)
    sound = trained_posterior(model.members, model.normalizer, data, None, 5)
    for a, b in zip(found.evidence[:3], sound.evidence[:3], strict=True):
        np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])
    mean, _ = solve(found.prior, found.evidence)
    assert np.isfinite(mean[[0, 2]]).all()
