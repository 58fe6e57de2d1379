"""Fits of MOReL: what is learned, what is feared, and where imagined episodes begin."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold import UsageError
from twinfold.baselines import MOReL, fit_morel
from twinfold.baselines.morel_training import (
    Ensemble,
    pessimistic_world,
    start_states,
    train_ensemble,
)
from twinfold.policy_learning import world_returns
from twinfold.tasks import get_task


def test_a_policy_climbs(climber: MOReL) -> None:
    assert climber.act(np.linspace(0, 10, 6)[:, None]).tolist() == [1] * 6
    last = climber.trained.info.history[-1]
    assert last is not None
    assert last > 5.0


def test_predictions_are_those_of_the_data(climber: MOReL) -> None:
    paths = climber.rollout([[2.0], [5.0]], [[1, 1, 0], [0, 0, 1]])
    assert paths.shape == (3, 2, 3, 1)
    wanted = np.array([[3.0, 4.0, 4.0], [5.0, 5.0, 6.0]])
    assert np.abs(paths[..., 0] - wanted).max() < 0.5
    # A stack behind the seam predicts the same.
    stack = climber.dynamics()
    found = jax.vmap(lambda m: m.step(m.init(jnp.array([2.0])), m.encode(jnp.asarray(1)))[1])(stack)
    np.testing.assert_allclose(found, paths[:, 0, 0], rtol=1e-5)


def test_a_model_says_where_it_comes_from(climber: MOReL, walkers: Any) -> None:
    info = climber.info
    chosen = walkers([30, 1, 30, 1, 30]).select_agents(["walker 0", "walker 2", "walker 4"])
    assert info.fingerprint == chosen.fingerprint()
    assert (info.agents, info.transitions, info.task) == (3, 90, "uphill")
    assert info.chosen == ("walker 0", "walker 2", "walker 4")
    assert info.source == {"task": "walk"}
    assert climber.method == "morel-a"
    of_all = info.model_copy(update={"chosen": None})
    assert dataclasses.replace(climber, info=of_all).method == "morel-p"
    mean, largest = info.discrepancy
    assert 0 < mean <= largest
    assert info.threshold == pytest.approx(3.0 * largest, rel=1e-5)
    # The smallest reward of the data is 0; one less at every step after halting, gamma is a half.
    assert info.halt_reward == pytest.approx(-(0.5 + 0.25 + 0.125 + 0.125), abs=1e-5)
    assert max(loss for loss in info.training_loss if loss is not None) < 0.2


def test_a_fit_follows_from_its_seed(climber: MOReL, walkers: Any, uphill: Any, quick: Any) -> None:
    calls: list[tuple[str, int, int]] = []
    panel = walkers([30, 1, 30, 1, 30])

    def leaves(model: MOReL) -> list[Any]:
        return jax.tree.leaves((model.nets, model.trained.policy.nets))

    again, other = (
        fit_morel(
            panel, uphill, ["walker 0", "walker 2", "walker 4"], quick(), seed,
            progress=lambda *call: calls.append(call),
        )
        for seed in (3, 4)
    )  # fmt: skip
    pairs = list(zip(leaves(climber), leaves(again), leaves(other), strict=True))
    assert all(np.array_equal(a, b) for a, b, _ in pairs)
    assert not any(np.array_equal(a, c) for a, _, c in pairs)
    # Members differ.
    assert not np.array_equal(pairs[0][0][0], pairs[0][0][1])
    assert ("training of MOReL's ensemble", 700, 700) in calls
    assert calls[-1][0] == "training of a policy"
    assert calls[-1][1] == calls[-1][2]


def test_what_is_unknown_ends_an_imagined_episode(
    climber: MOReL, walkers: Any, uphill: Any, quick: Any
) -> None:
    data = walkers([30]).transitions()
    nets = jax.tree.map(jnp.asarray, climber.nets)
    ensemble = Ensemble(nets, climber.normalizer, [0.0], np.array([1.0, 2.0]))
    returns = []
    for threshold in (1e6, 0.0):
        world = pessimistic_world(ensemble, data, uphill, quick(threshold=threshold), 0)
        np.testing.assert_allclose(world.dynamics.threshold, 2.0 * threshold)  # pyright: ignore
        returns.append(world_returns(climber.trained.policy, world, jax.random.key(0), 4))
    assert (returns[0] > 5.0).all()  # eight steps up
    assert (np.abs(returns[1]) < 0.5).all()  # one step up, and then HALT for ever


def test_imagined_episodes_begin_where_the_data_does(walkers: Any, quick: Any) -> None:
    data = walkers([3, 9, 20]).transitions()
    firsts = data.state[[0, 3, 12]]
    found = start_states(data, quick(n_starts=64), 0)
    assert found.shape == (64, 1)
    assert set(found.ravel()) == set(firsts.ravel())
    half = start_states(data, quick(n_starts=64, start_share=0.5), 0)
    assert np.isin(half, data.state).all()
    assert len(np.unique(half)) > 3
    assert np.isin(half, firsts).sum() >= 32


def test_a_panel_without_much_is_fitted_too(walkers: Any, quick: Any) -> None:
    ensemble = train_ensemble(walkers([1, 1]), quick(steps=1), jax.random.key(0))
    assert ensemble.apart.shape == (2,)
    assert np.isfinite(ensemble.apart).all()


def test_data_of_another_task_are_refused(walkers: Any, uphill: Any, quick: Any) -> None:
    panel = walkers([3, 3])
    with pytest.raises(UsageError, match=r"does not fit task 'mountain_car': it has 1 states"):
        fit_morel(panel, get_task("mountain_car"), settings=quick())
    with pytest.raises(UsageError, match="unknown agent 'walker 7'"):
        fit_morel(panel, uphill, ["walker 7"], quick())
    with pytest.raises(UsageError, match="seed must be between"):
        fit_morel(panel, uphill, settings=quick(), seed=-1)
