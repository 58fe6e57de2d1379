"""Data of the continuous task: long episodes, six actions, and what each policy earns."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from twinfold.data.collect import Trajectories, collect, simulate_policy, to_frame
from twinfold.tasks import agent_covariates, get_task

TASK = get_task("half_cheetah")
COVARIATES = agent_covariates(TASK, 12, 0)
POLICIES = ("random", "pure", "pure-eps-20", "pure-eps-40")


@pytest.fixture(scope="module")
def runs() -> dict[str, Trajectories]:
    return {name: simulate_policy(TASK, COVARIATES, name) for name in POLICIES}


def test_every_episode_is_cut_off_after_1000_steps(runs: dict[str, Trajectories]):
    table = to_frame(TASK, runs["pure"])
    assert len(table) == 12 * 1001
    last = table["t"] == 1000
    np.testing.assert_array_equal(table["truncated"], last)
    assert not table["terminated"].to_numpy().any()
    actions = table[list(TASK.action_names)].to_numpy()
    np.testing.assert_array_equal(np.isnan(actions).all(axis=1), last)
    assert np.nanmax(np.abs(actions)) <= 1


def test_rows_follow_the_physics_of_their_agent(runs: dict[str, Trajectories]):
    times = np.arange(0, 1000, 97)
    for found in runs.values():
        for agent in (0, 5, 11):
            own = TASK.covariates(np.repeat(COVARIATES[agent : agent + 1], len(times), axis=0))
            before, actions = found.states[agent, 0, times], found.actions[agent, 0, times]
            reached = np.asarray(jax.vmap(TASK.step)(own, before, actions))
            np.testing.assert_array_equal(reached, found.states[agent, 0, times + 1])
            rewards = jax.vmap(TASK.reward)(before, actions, reached)
            np.testing.assert_allclose(found.rewards[agent, 0, times], rewards, rtol=1e-5)


def test_trained_policies_run_and_noise_slows_them_down(runs: dict[str, Trajectories]):
    mean = {name: found.rewards.sum(axis=-1).mean() for name, found in runs.items()}
    assert mean["random"] < 0
    assert mean["pure"] > mean["pure-eps-20"] > mean["random"] + 500
    assert mean["pure-eps-40"] > mean["random"] + 300


def test_collecting_repeats_itself():
    first, other = (collect(TASK, "pure-eps-40", 5, seed) for seed in (0, 1))
    assert first.fingerprint() == collect(TASK, "pure-eps-40", 5, 0).fingerprint()
    assert first.fingerprint() != other.fingerprint()
    assert not first.warnings
