"""Data of the continuous task: long episodes, six actions, and what each policy earns."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from twinfold.benchmark.collect import Trajectories, collect, simulate_policy, to_frame
from twinfold.tasks import agent_covariates, get_task

TASK = get_task("half_cheetah")
COVARIATES = agent_covariates(TASK, 12, 0)
POLICIES = ("random", "pure", "pure-eps-40")


@pytest.fixture(scope="module")
def runs() -> dict[str, Trajectories]:
    return {name: simulate_policy(TASK, COVARIATES, name, n_steps=300) for name in POLICIES}


def test_every_episode_is_cut_off_after_1000_steps():
    data = collect(TASK, "pure-eps-40", 3, 0)
    assert not data.warnings
    assert data.n_transitions == 3 * 1000


def test_the_table_has_six_columns_of_actions(runs: dict[str, Trajectories]):
    table = to_frame(TASK, runs["pure"])
    assert len(table) == 12 * 301
    last = table["t"] == 300
    np.testing.assert_array_equal(table["truncated"], last)
    assert not table["terminated"].to_numpy().any()
    actions = table[list(TASK.action_names)].to_numpy()
    np.testing.assert_array_equal(np.isnan(actions).all(axis=1), last)
    assert np.nanmax(np.abs(actions)) <= 1


def test_rows_follow_the_physics_of_their_agent(runs: dict[str, Trajectories]):
    times = np.arange(0, 300, 29)
    for found in runs.values():
        for agent in (0, 5, 11):
            own = TASK.covariates(np.repeat(COVARIATES[agent : agent + 1], len(times), axis=0))
            before, actions = found.states[agent, 0, times], found.actions[agent, 0, times]
            reached = np.asarray(jax.vmap(TASK.step)(own, before, actions))
            np.testing.assert_array_equal(reached, found.states[agent, 0, times + 1])
            rewards = jax.vmap(TASK.reward)(before, actions, reached)
            np.testing.assert_allclose(found.rewards[agent, 0, times], rewards, rtol=1e-5)


def test_trained_policies_run_and_noise_slows_them_down(runs: dict[str, Trajectories]):
    mean = {name: found.rewards.mean() for name, found in runs.items()}
    assert mean["random"] < 0
    assert mean["pure"] > mean["pure-eps-40"] > mean["random"] + 0.3


def test_simulating_repeats_itself(runs: dict[str, Trajectories]):
    again = simulate_policy(TASK, COVARIATES, "pure-eps-40", n_steps=300)
    for found, first in zip(again, runs["pure-eps-40"], strict=True):
        np.testing.assert_array_equal(found, first)
