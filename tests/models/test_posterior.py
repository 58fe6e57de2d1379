"""The regression of agent factors: against loops in NumPy, an optimiser, and the laws of sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.data.transitions import Transitions
from twinfold.models import posterior as module
from twinfold.models.fitted_model import FittedModel
from twinfold.models.member_features import features_of
from twinfold.models.posterior import Evidence, gather, misfit, solve
from twinfold.models.rollout import rollout_members
from twinfold.uncertainty.support import own_share

Build = Callable[..., FittedModel]
KINDS: list[dict[str, Any]] = [
    {},
    {"discrete": False, "n_action": 1, "n_state": 2, "members": 2},
    {"discrete": False, "features": "joint", "angles": (1,), "direct": (2,), "members": 1},
]


def rows_by_hand(
    reference: Any, model: FittedModel, m: int, data: Transitions
) -> list[tuple[int, Any, Any, Any]]:
    """Agent, features ``(D, r)``, residual from the prior mean and weight of every transition."""
    norm, prior = model.normalizer, model.posterior.prior
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
    random_model: Build, courses: Any, reference: Any, kind: dict[str, Any], models: Any
) -> None:
    model = random_model(posterior=True, **kind)
    data = newcomers(model, courses, [9, 1, 4])
    model = models.with_wall(model, data)
    prior = model.posterior.prior
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
    prior = model.posterior.prior
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
    prior = model.posterior.prior
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
    prior = model.posterior.prior
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


# What data does


def test_order_and_parts_of_the_data_do_not_matter(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    data = newcomers(model, courses, [9, 1, 4])
    prior, nets = model.posterior.prior, (model.members, model.normalizer)
    whole = gather(*nets, prior, data, 3)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(data))
    shuffled = shuffled[np.argsort(data.agent[shuffled], kind="stable")]
    assert not np.array_equal(shuffled, np.arange(14))
    assert_close(gather(*nets, prior, data.select(shuffled), 3), whole)
    some = rng.random(14) < 0.5
    first, second = (gather(*nets, prior, data.select(rows), 3) for rows in (some, ~some))
    assert_close(first.add(np.arange(3), second), whole)


def test_without_data_the_posterior_is_the_prior(random_model: Build) -> None:
    prior = random_model(posterior=True).posterior.prior
    mean, covariance = solve(prior, Evidence.none(3, 2, 3))
    assert np.array_equal(mean, np.repeat(prior.mean[:, None], 2, axis=1))
    for n in range(2):
        np.testing.assert_allclose(covariance[:, n] @ prior.precision, np.stack([np.eye(3)] * 3),
                                   atol=1e-9)  # fmt: skip


def test_every_transition_leaves_less_unknown(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    data = newcomers(model, courses, [12])
    prior = model.posterior.prior
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
    prior = model.posterior.prior
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


# Whose data a prediction rests on


def test_own_share_is_the_variance_that_own_data_took_away(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    prior = model.posterior.prior
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
        found = gather(model.members, model.normalizer, model.posterior.prior, rows, n_agents)
        assert found.missing.sum() == (data.weight == 0).sum()
        np.testing.assert_array_equal(
            found.values(data.state.shape[1]),
            np.bincount(data.agent, (data.weight > 0).sum(axis=1), n_agents),
        )
        for m in range(model.n_members):
            gram, moment = np.zeros_like(found.gram[m]), np.zeros_like(found.moment[m])
            for k in range(len(data)):
                n, z = data.agent[k], reference.features(model, m, data.state[k], data.action[k])
                prior, norm = model.posterior.prior, model.normalizer
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
