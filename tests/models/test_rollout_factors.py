"""Predictions and what is unknown of an agent: draws against their covariance and loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import POSTERIOR, Evidence, Posterior, factor_draws, solve
from twinfold.models.rollout import predict_paths, rollout_factors, rollout_members
from twinfold.simulation.simulator import Simulator

Build = Callable[..., FittedModel]


def known(model: FittedModel) -> Posterior:
    assert model.posterior is not None
    return model.posterior


def questions(model: FittedModel, agents: Any, horizon: int = 5) -> tuple[Any, Any, Any]:
    rng, number = np.random.default_rng(2), len(agents)
    norm = model.normalizer
    state = norm.state_mean + 0.3 * norm.state_scale * rng.normal(size=(number, 3))
    actions: Any = rng.integers(0, 4, (number, horizon)).astype(np.int32)
    if not model.discrete:
        actions = rng.normal(size=(number, horizon, len(model.roles.action)))
    return np.array(agents), state, actions


def test_draws_have_the_mean_and_the_covariance_of_the_posterior(random_model: Build) -> None:
    posterior = known(random_model(posterior=True, lengths=(2, 12)))
    agents = np.array([3, 0])
    draws = factor_draws(posterior, agents, 20_000)
    mean, covariance = solve(posterior.prior, posterior.evidence.take(agents))
    assert draws.shape == (3, 2, 20_000, 3)
    np.testing.assert_allclose(draws.mean(axis=2), mean, atol=1e-9)  # pairs mirror each other
    away = draws - mean[:, :, None]
    found = np.einsum("mukr,muks->murs", away, away) / 20_000
    scale = np.sqrt(np.einsum("murr->mur", covariance))
    error = (found - covariance) / (scale[..., None] * scale[..., None, :])
    assert np.abs(error).max() < 0.05


def test_pairs_of_draws_mirror_each_other(random_model: Build) -> None:
    posterior = known(random_model(posterior=True))
    agents = np.array([1, 4])
    mean, _ = solve(posterior.prior, posterior.evidence.take(agents))
    draws = factor_draws(posterior, agents, 5)
    np.testing.assert_allclose((draws[:, :, 0] + draws[:, :, 1]) / 2, mean, atol=1e-12)
    np.testing.assert_allclose((draws[:, :, 2] + draws[:, :, 3]) / 2, mean, atol=1e-12)
    assert draws.shape[2] == 5
    assert not np.allclose(draws[:, :, 4], mean)
    assert not np.allclose(draws[:, :, 0], draws[:, :, 2])
    assert not np.allclose(draws, factor_draws(posterior, agents, 5, seed=1))


def test_draws_of_an_agent_do_not_depend_on_who_else_is_asked_about(random_model: Build) -> None:
    posterior = known(random_model(posterior=True))
    together = factor_draws(posterior, np.array([4, 0, 2]), POSTERIOR.draws)
    alone = factor_draws(posterior, np.array([2]), POSTERIOR.draws)
    np.testing.assert_array_equal(together[:, 2], alone[:, 0])


@pytest.mark.parametrize("kind", [{}, {"discrete": False, "features": "joint", "angles": (1,)}])
def test_the_unknown_is_the_spread_over_draws(
    random_model: Build, reference: Any, kind: dict[str, Any]
) -> None:
    model = random_model(posterior=True, **kind)
    agent, state, actions = questions(model, [2, 0, 2])
    paths, unknown = predict_paths(model, agent, state, actions)
    for q in range(3):
        draws = factor_draws(known(model), agent[q : q + 1], POSTERIOR.draws)[:, 0]
        question = (model, int(agent[q]), state[q], actions[q])
        np.testing.assert_allclose(
            paths[:, q], reference.member_paths(*question), rtol=1e-3, atol=1e-3
        )
        expected = reference.unknown(*question, draws)
        np.testing.assert_allclose(unknown[q], expected, rtol=2e-2, atol=1e-3)
    assert unknown.max() > 0.05


def test_an_agent_with_more_data_leaves_less_unknown(random_model: Build) -> None:
    model = random_model(posterior=True, members=1, lengths=(12, 1))
    posterior = known(model)
    nothing = posterior._replace(evidence=Evidence.none(1, 5, 3))
    agent, state, actions = questions(model, [0, 1])
    state, actions = np.stack([state[0]] * 2), np.stack([actions[0]] * 2)
    _, some = predict_paths(model, agent, state, actions)
    _, none = predict_paths(replace(model, posterior=nothing), agent, state, actions)
    assert some[0].max() < 0.5 * some[1].max()
    assert some[1].max() < none[1].max()


def test_a_member_that_diverged_does_not_stop_the_others(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    broken = eqx.tree_at(
        lambda nets: (nets.head.weight, nets.agents),
        model.members,
        replace_fn=lambda x: x.at[1].set(jnp.nan),
    )
    data = courses.transitions(model, courses.panel(model, [12] * 5, courses.factors(model)))
    posterior = trained_posterior(broken, model.normalizer, data, None, 5)
    ill = replace(model, members=broken, posterior=posterior)
    paths, unknown = predict_paths(ill, *questions(model, [2, 0]))
    assert np.isfinite(paths[[0, 2]]).all()
    assert np.isfinite(unknown).all()


# Draws as courses


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_samples_are_rollouts_of_draws(random_model: Build, number: int) -> None:
    model = random_model(posterior=True)
    state, levels = model.normalizer.state_mean, [0, 5, -1]
    drawn = Simulator(model, "u2").sample(state, levels, number, seed=4)
    assert drawn.shape == (number, 3, 3)
    factors = factor_draws(known(model), np.array([2]), -(-number // 3), seed=4)
    for k in range(number):
        m, draw = k % 3, k // 3
        one = eqx.tree_at(
            lambda nets: nets.agents, model.members, jnp.asarray(factors[:, :, draw], jnp.float32)
        )
        path = rollout_members(
            one, model.normalizer, np.array([0]), state[None], np.array([[1, 2, 0]], np.int32)
        )
        np.testing.assert_allclose(drawn[k], path[m, 0], rtol=1e-4, atol=1e-4)


def test_rollouts_of_given_factors_are_those_of_agents_that_have_them(random_model: Build) -> None:
    model = random_model()
    agent, state, actions = questions(model, [0, 3, 4, 3])
    paths = rollout_members(model.members, model.normalizer, agent, state, actions)
    who = np.array([1, 0, 2, 0])  # of 3, 0 and 4
    factors = np.asarray(model.members.agents, np.float64)[:, [3, 0, 4], None]
    other = np.concatenate([factors, 2 * factors], axis=2)
    got = rollout_factors(model, other, who, state, actions)
    assert got.shape == (3, 4, 2, 5, 3)
    np.testing.assert_allclose(got[:, :, 0], paths, rtol=1e-5, atol=1e-5)
    assert not np.allclose(got[:, :, 1], paths)
