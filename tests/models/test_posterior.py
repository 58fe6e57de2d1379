"""The regression of agent factors: against loops in NumPy, an optimiser, and the laws of sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings, strategies as st

from twinfold.adaptation import empirical_bayes as empirical
from twinfold.adaptation.empirical_bayes import empirical_prior, maximised, trained_posterior
from twinfold.data.transitions import Transitions
from twinfold.models import posterior as module
from twinfold.models.fitted_model import FittedModel
from twinfold.models.member_features import features_of
from twinfold.models.posterior import Evidence, Posterior, gather, misfit, solve
from twinfold.models.prior import prior_root
from twinfold.models.rollout import rollout_members
from twinfold.uncertainty.support import own_share

Build = Callable[..., FittedModel]
KINDS: list[dict[str, Any]] = [
    {},
    {"discrete": False, "n_action": 1, "n_state": 2, "members": 2},
    {"discrete": False, "features": "joint", "angles": (1,), "direct": (2,), "members": 1},
]


def known(model: FittedModel) -> Posterior:
    assert model.posterior is not None
    return model.posterior


def rows_by_hand(
    reference: Any, model: FittedModel, m: int, data: Transitions
) -> list[tuple[int, Any, Any, Any]]:
    """Agent, features ``(D, r)``, residual from the prior mean and weight of every transition."""
    norm, prior = model.normalizer, known(model).prior
    covariance, out = np.linalg.inv(prior.precision[m]), []
    for k in range(len(data)):
        z = reference.features(model, m, data.state[k], data.action[k])
        residual = norm.encode_target(data.state[k], data.next_state[k]) - z @ prior.mean[m]
        weight = np.empty(len(residual))
        after = (data.next_state[k] - norm.state_mean) / norm.state_scale
        limited = any(after <= prior.walls[0]) or any(after >= prior.walls[1])
        noise = (prior.limit_noise if limited else prior.noise)[m]
        for d in range(len(residual)):
            deviation = np.sqrt(z[d] @ covariance @ z[d] + noise[d] ** 2)
            # Huber: beyond three standard deviations the pull of a residual grows no more.
            weight[d] = min(1.0, 3 * deviation / abs(residual[d])) / noise[d] ** 2
        out.append((int(data.agent[k]), z, residual, weight))
    return out


def with_wall(model: FittedModel, data: Transitions) -> FittedModel:
    """The same, where the largest value of the first column is a wall with a noise of its own."""
    norm, posterior = model.normalizer, known(model)
    high = np.full(len(norm.state_mean), np.inf)
    high[0] = norm.encode_state(data.next_state)[:, 0].max()
    prior = posterior.prior._replace(
        limit_noise=7 * posterior.prior.noise, walls=np.stack([-np.full(len(high), np.inf), high])
    )
    return dataclasses.replace(
        model,
        normalizer=dataclasses.replace(norm, high=high),
        posterior=posterior._replace(prior=prior),
    )


def newcomers(model: FittedModel, courses: Any, lengths: list[int], **options: Any) -> Transitions:
    """Data of agents that the members have not, a gross error among them."""
    factors = np.random.default_rng(3).normal(size=(len(lengths), model.members.rank))
    ids = [f"new {n}" for n in range(len(lengths))]
    panel = courses.panel(model, lengths, factors, ids=ids, seed=5, **options)
    data = courses.transitions(model, panel)
    data.next_state[0] += 40 * model.normalizer.target_scale
    return data


# Against plain NumPy


@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_is_bayesian_linear_regression(
    random_model: Build, courses: Any, reference: Any, kind: dict[str, Any]
) -> None:
    model = random_model(posterior=True, **kind)
    data = newcomers(model, courses, [9, 1, 4])
    model = with_wall(model, data)
    prior = known(model).prior
    found = gather(model.members, model.normalizer, prior, data, 3)
    mean, covariance = solve(prior, found)
    assert found.count.tolist() == [9, 1, 4]
    n_members, rank = prior.mean.shape
    weights = []
    for m in range(n_members):
        rows = rows_by_hand(reference, model, m, data)
        weights += [weight * prior.noise[m] ** 2 for *_, weight in rows]
        for n in range(3):
            gram, moment = np.zeros((rank, rank)), np.zeros(rank)
            own = [row[1:] for row in rows if row[0] == n]
            for z, residual, weight in own:
                for d in range(len(residual)):
                    gram += weight[d] * np.outer(z[d], z[d])
                    moment += weight[d] * residual[d] * z[d]
            shift = np.linalg.solve(prior.precision[m] + gram, moment)
            left = sum(float(w @ (residual - z @ shift) ** 2) for z, residual, w in own)
            phi = max(1.0, left / (len(own) * len(model.roles.state)))
            np.testing.assert_allclose(found.gram[m, n], gram, rtol=1e-4, atol=1e-4 * gram.max())
            np.testing.assert_allclose(mean[m, n], prior.mean[m] + shift, rtol=1e-3, atol=1e-4)
            expected = phi * np.linalg.inv(prior.precision[m] + gram)
            np.testing.assert_allclose(
                covariance[m, n], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()
            )
    assert min(weight.min() for weight in weights) < 0.5  # the gross error
    assert max(weight.min() for weight in weights) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_an_optimiser_that_trains_the_factors_alone_finds_the_same(
    random_model: Build, courses: Any, reference: Any, kind: dict[str, Any]
) -> None:
    model = random_model(posterior=True, **kind)
    data = newcomers(model, courses, [7, 2])
    prior = known(model).prior
    mean, _ = solve(prior, gather(model.members, model.normalizer, prior, data, 2))
    for m, n in np.ndindex(len(prior.mean), 2):
        own = [row[1:] for row in rows_by_hand(reference, model, m, data) if row[0] == n]

        def loss(u: Any, m: int = m, own: Any = own) -> float:
            shift = u - prior.mean[m]
            total = shift @ prior.precision[m] @ shift
            return total + sum(float(w @ (res - z @ shift) ** 2) for z, res, w in own)

        best = scipy.optimize.minimize(loss, prior.mean[m], method="BFGS", options={"gtol": 1e-4})
        np.testing.assert_allclose(mean[m, n], best.x, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_chunks_do_not_change_the_sums(
    random_model: Build, courses: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(posterior=True)
    data = newcomers(model, courses, [9, 1, 4])
    prior = known(model).prior
    whole = gather(model.members, model.normalizer, prior, data, 3)
    monkeypatch.setattr(module, "_CHUNK", size)
    seen: list[tuple[int, int]] = []
    parts = gather(model.members, model.normalizer, prior, data, 3, lambda *done: seen.append(done))
    assert seen == [(min(k, 14), 14) for k in range(size, 14 + size, size)]
    assert_close(parts, whole)


def assert_close(got: Evidence, expected: Evidence) -> None:
    """Equal to the rounding of float32 features."""
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_rank_one_updates_lead_to_the_same_covariance(
    random_model: Build, courses: Any, reference: Any
) -> None:
    """A Kalman filter of a state that stands still: Sherman and Morrison, number by number."""
    model = random_model(posterior=True)
    data = newcomers(model, courses, [8])
    prior = known(model).prior
    found = gather(model.members, model.normalizer, prior, data, 1)
    mean, covariance = solve(prior, found)
    phi = misfit(prior, found, mean - prior.mean[:, None])
    for m in range(3):
        cov, shift = np.linalg.inv(prior.precision[m]), np.zeros(3)
        for _, z, residual, weight in reversed(rows_by_hand(reference, model, m, data)):
            for d in range(len(residual)):
                gain = cov @ z[d] / (1 / weight[d] + z[d] @ cov @ z[d])
                shift = shift + gain * (residual[d] - z[d] @ shift)
                cov = cov - np.outer(gain, z[d] @ cov)
        np.testing.assert_allclose(covariance[m, 0] / phi[m, 0], cov, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(mean[m, 0], prior.mean[m] + shift, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_features_times_factors_are_the_predictions(
    random_model: Build, kind: dict[str, Any]
) -> None:
    model = random_model(**kind)
    # Without limits, that cut what is linear.
    ends = dict.fromkeys(("high", "target_high"), np.inf)
    ends |= dict.fromkeys(("low", "target_low"), -np.inf)
    wide = {name: np.full(len(model.roles.state), value) for name, value in ends.items()}
    norm, rng = replace(model.normalizer, **wide), np.random.default_rng(0)
    state = norm.state_mean + norm.state_scale * rng.normal(size=(5, len(norm.state_mean)))
    action: Any = rng.integers(0, 4, 5) if model.discrete else rng.normal(size=(5, 1))
    if not model.discrete:
        action = np.resize(action, (5, len(model.roles.action)))
    agent = np.arange(5)
    z = features_of(model.members, norm, state, action)
    factors = np.asarray(model.members.agents, np.float64)[:, agent]
    target = np.einsum("mkdr,mkr->mkd", z, factors) * norm.target_scale + norm.target_mean
    paths = rollout_members(model.members, norm, agent, state, action[:, None])[:, :, 0]
    np.testing.assert_allclose(norm.keep * state + target, paths, rtol=1e-4, atol=1e-4)


# Sums


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


def test_order_and_parts_of_the_data_do_not_matter(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    data = newcomers(model, courses, [9, 1, 4])
    prior, nets = known(model).prior, (model.members, model.normalizer)
    whole = gather(*nets, prior, data, 3)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(data))
    shuffled = shuffled[np.argsort(data.agent[shuffled], kind="stable")]
    assert not np.array_equal(shuffled, np.arange(14))
    assert_close(gather(*nets, prior, data.select(shuffled), 3), whole)
    some = rng.random(14) < 0.5
    first, second = (gather(*nets, prior, data.select(rows), 3) for rows in (some, ~some))
    assert_close(first.add(np.arange(3), second), whole)


# What data does


def test_without_data_the_posterior_is_the_prior(random_model: Build) -> None:
    prior = known(random_model(posterior=True)).prior
    mean, covariance = solve(prior, Evidence.none(3, 2, 3))
    assert np.array_equal(mean, np.repeat(prior.mean[:, None], 2, axis=1))
    for n in range(2):
        np.testing.assert_allclose(covariance[:, n] @ prior.precision, np.stack([np.eye(3)] * 3),
                                   atol=1e-9)  # fmt: skip


def test_every_transition_leaves_less_unknown(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    data = newcomers(model, courses, [12])
    prior = known(model).prior
    inside = np.linalg.inv(prior.precision)
    for k in range(1, 13):
        found = gather(model.members, model.normalizer, prior, data.select(np.arange(k)), 1)
        mean, covariance = solve(prior, found)
        phi = misfit(prior, found, mean - prior.mean[:, None])
        now = covariance[:, 0] / phi[..., None]
        # Less in every direction, not only in all.
        assert np.linalg.eigvalsh(inside - now).min() > -1e-9
        assert np.all(np.trace(now, axis1=1, axis2=2) < np.trace(inside, axis1=1, axis2=2))
        inside = now


def test_data_that_contradicts_itself_widens_the_posterior(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    factors = np.random.default_rng(3).normal(size=(1, 3))
    panel = courses.panel(model, [20], factors, ids=["x"])
    data = courses.transitions(model, panel)
    prior = known(model).prior
    far = data.next_state.copy()
    far[::2] += 3 * model.normalizer.target_scale  # the same rows, and every other one elsewhere
    found = [
        gather(model.members, model.normalizer, prior, replace(data, next_state=x), 1)
        for x in (data.next_state, far)
    ]
    (mean, plain), (other, torn) = (solve(prior, x) for x in found)
    phis = [
        misfit(prior, x, u - prior.mean[:, None])[:, 0]
        for x, u in zip(found, (mean, other), strict=True)
    ]
    assert np.all(phis[1] > 1.5 * phis[0])
    assert phis[0][0] < 2  # the first member made these courses
    assert phis[1][0] > 25
    assert np.all(np.trace(torn[:, 0], axis1=1, axis2=2) > np.trace(plain[:, 0], axis1=1, axis2=2))


def test_the_misfit_is_the_mean_squared_residual_and_at_least_one(random_model: Build) -> None:
    prior = known(random_model(posterior=True)).prior
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
    prior = known(random_model(posterior=True)).prior
    root = prior_root(prior)
    np.testing.assert_allclose(
        root @ np.swapaxes(root, 1, 2) @ prior.precision, np.stack([np.eye(3)] * 3), atol=1e-9
    )


# Trained agents


@pytest.mark.parametrize("kind", KINDS)
def test_trained_agents_are_known_as_new_ones_with_the_same_rows_are(
    random_model: Build, courses: Any, kind: dict[str, Any]
) -> None:
    model = random_model(**kind)
    panel = courses.panel(model, [12, 3, 1, 12, 3], courses.factors(model))
    rows = courses.transitions(model, panel)
    posterior = trained_posterior(model.members, model.normalizer, rows, None, 5)
    assert posterior.trained.all()
    assert posterior.evidence.count.tolist() == [12, 3, 1, 12, 3]
    again = gather(model.members, model.normalizer, posterior.prior, rows, 5)
    mean, covariance = solve(posterior.prior, posterior.evidence)
    np.testing.assert_allclose(solve(posterior.prior, again)[0], mean, rtol=1e-6, atol=1e-8)
    assert np.linalg.eigvalsh(covariance).min() > 0


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
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    panel = courses.panel(model, [60] * 5, courses.factors(model))
    data = courses.transitions(model, panel)
    free = np.full(3, np.inf)
    norm = dataclasses.replace(model.normalizer, low=-free, high=free)
    without = trained_posterior(model.members, norm, data, None, 5).prior
    np.testing.assert_array_equal(without.limit_noise, without.noise)
    norm = dataclasses.replace(with_wall(model, data).normalizer, low=-free)
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


# Whose data a prediction rests on


def test_own_share_is_the_variance_that_own_data_took_away(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    prior = known(model).prior
    data = newcomers(model, courses, [12, 1, 3])
    found = gather(model.members, model.normalizer, prior, data, 3)
    found = found.join(Evidence.none(3, 1, 3))
    z = features_of(model.members, model.normalizer, data.state, data.action)
    for n in range(4):
        share = own_share(prior, found, z, np.full(len(data), n))
        for k in range(len(data)):
            shares = []
            for m in range(3):
                before, after = 0.0, 0.0
                for d in range(3):
                    row = z[m, k, d] / prior.noise[m, d]
                    before += row @ np.linalg.solve(prior.precision[m], row)
                    after += row @ np.linalg.solve(prior.precision[m] + found.gram[m, n], row)
                shares.append(1 - after / before)
            assert share[k] == pytest.approx(np.mean(shares), abs=1e-9)
    twelve, one, three, none = (
        own_share(prior, found, z, np.full(len(data), n)).mean() for n in range(4)
    )
    assert none == pytest.approx(0, abs=1e-12)
    assert 0 < one < three < twelve < 1
    mixed = own_share(prior, found, z, data.agent)
    for n in range(3):
        rows = data.agent == n
        alone = own_share(prior, found, z, np.full(len(data), n))
        np.testing.assert_allclose(mixed[rows], alone[rows], rtol=1e-9)


def masked(data: Transitions, seed: int = 0) -> Transitions:
    rng = np.random.default_rng(seed)
    shape = data.next_state.shape
    weight = np.where(rng.random(shape) < 0.4, 0.0, rng.uniform(0.2, 1.0, shape))
    return dataclasses.replace(data, weight=weight, present=np.ones(shape, bool))


@pytest.mark.parametrize("options", KINDS)
def test_what_was_not_observed_is_in_no_sum(
    random_model: Build, courses: Any, reference: Any, options: dict[str, Any]
) -> None:
    """Against a loop over the observed terms alone, whatever stands for the others."""
    model = random_model(posterior=True, **options)
    panel = courses.panel(model, [7, 0, 4, 3, 5], courses.factors(model))
    data = masked(courses.transitions(model, panel))
    assert data.weight is not None
    n_agents = panel.n_agents
    other = np.where(data.weight > 0, data.next_state, data.next_state + 0.3)
    for rows in (data, dataclasses.replace(data, next_state=other)):
        found = gather(model.members, model.normalizer, known(model).prior, rows, n_agents)
        assert found.missing.sum() == (data.weight == 0).sum()
        np.testing.assert_array_equal(
            found.values(data.state.shape[1]),
            np.bincount(data.agent, (data.weight > 0).sum(axis=1), n_agents),
        )
        for m in range(model.n_members):
            gram, moment = np.zeros_like(found.gram[m]), np.zeros_like(found.moment[m])
            for k in range(len(data)):
                n, z = data.agent[k], reference.features(model, m, data.state[k], data.action[k])
                prior, norm = known(model).prior, model.normalizer
                left = norm.encode_target(data.state[k], data.next_state[k]) - z @ prior.mean[m]
                covariance = np.linalg.inv(prior.precision[m])
                seen = np.where(data.weight[k] > 0, data.next_state[k], np.nan)
                limited = prior.at_wall(norm.encode_state(seen[None]))[0]
                usual = (prior.limit_noise if limited else prior.noise)[m]
                for d in np.flatnonzero(data.weight[k]):
                    noise = usual[d] / np.sqrt(data.weight[k, d])
                    deviation = np.sqrt(z[d] @ covariance @ z[d] + noise**2)
                    w = min(1.0, 3 * deviation / abs(left[d])) / noise**2
                    gram[n] += w * np.outer(z[d], z[d])
                    moment[n] += w * left[d] * z[d]
            np.testing.assert_allclose(found.gram[m], gram, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(found.moment[m], moment, rtol=1e-4, atol=1e-3)


def test_the_misfit_counts_observed_values_alone(random_model: Build) -> None:
    prior = known(random_model(posterior=True)).prior
    rank, n_state = prior.mean.shape[1], prior.noise.shape[1]
    evidence = Evidence.none(len(prior.mean), 1, rank)
    evidence.count[:], evidence.energy[:] = 4, 40.0
    nothing = np.zeros((len(prior.mean), 1, rank))
    np.testing.assert_allclose(misfit(prior, evidence, nothing), 10 / n_state)
    evidence.missing[:] = 4 * n_state - 2
    np.testing.assert_allclose(misfit(prior, evidence, nothing), 20.0)
