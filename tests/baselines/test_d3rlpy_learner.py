"""Our batches are the library's, and our nets do what its nets do."""

from __future__ import annotations

from typing import Any

import d3rlpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from d3rlpy.dataset import BasicTransitionPicker, Episode

from twinfold.baselines import OfflineSettings
from twinfold.baselines.d3rlpy_learner import (
    batch_arrays,
    extract_rule,
    make_learner,
    one_thread,
)
from twinfold.baselines.experience import experience_of
from twinfold.data.panel import PanelDataset
from twinfold.tasks.task import Task

SMALL = OfflineSettings(steps=4, batch=16, hidden=(8, 8), bcq_candidates=5, target_interval=2)


def test_batches_hold_the_transitions_that_the_library_makes_of_the_table(
    pole: Task, poles: PanelDataset
) -> None:
    frame, expected = poles.to_frame(), []
    for _, rows in frame.groupby("agent_id", sort=False):
        ended = bool(rows["terminated"].iloc[-1])
        # The library wants a state without an action only where an episode goes on.
        kept = rows.iloc[:-1] if ended else rows.fillna({"action": 0, "reward": 0.0})
        own = Episode(
            observations=kept[list(pole.state_names)].to_numpy(np.float32),
            actions=kept[["action"]].to_numpy(np.float32),
            rewards=kept[["reward"]].to_numpy(np.float32),
            terminated=ended,
        )
        picker = BasicTransitionPicker()
        expected += [picker(own, t) for t in range(own.transition_count)]
    found = batch_arrays(
        experience_of(poles, pole), pole, np.zeros(4, np.float32), np.ones(4, np.float32)
    )
    terminal = np.array([[one.terminal] for one in expected])
    assert 0 < terminal.sum() < poles.n_agents
    np.testing.assert_array_equal(found["terminals"], terminal)
    for name in ("observation", "action", "reward"):
        theirs = np.array([getattr(one, name) for one in expected])
        np.testing.assert_array_equal(found[f"{name}s"], theirs)
    on = terminal[:, 0] == 0  # behind an end the library has zeros, and reads them not
    theirs = np.array([one.next_observation for one in expected])
    np.testing.assert_array_equal(found["next_observations"][on], theirs[on])


def test_states_are_standardised_and_actions_moved_to_the_range_of_the_library(
    either_task: Task, lived: Any
) -> None:
    given = lived(either_task)
    mean, scale = given.state.mean(axis=0), given.state.std(axis=0)
    found = batch_arrays(given, either_task, mean, scale)
    np.testing.assert_allclose(found["observations"].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found["observations"].std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(found["observations"][1:], found["next_observations"][:-1])
    if either_task.n_actions is None:
        expected = given.action / [2.0, 5.0] - [0.0, 1.0]
    else:
        expected = given.action[:, None]
    np.testing.assert_allclose(found["actions"], expected, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["bcq", "cql"])
def test_our_nets_do_what_the_library_does(
    either_task: Task, lived: Any, algorithm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = either_task
    rate = 3e-3 if task.n_actions is None else 0.03  # the actor must not end at its limits
    settings = SMALL.model_copy(update={"learning_rate": rate})
    given = lived(task, 64)
    arrays = batch_arrays(given, task, np.zeros(4, np.float32), np.ones(4, np.float32))
    some: Any = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    zero, one = torch.zeros(64, 1), torch.ones(64, 1)
    batch = d3rlpy.torch_utility.TorchMiniBatch(
        **some,
        next_actions=some["actions"],
        returns_to_go=zero,
        intervals=one,
        device="cpu:0",
    )
    with one_thread(0):
        learner = make_learner(task, algorithm, settings)
        for step in range(20):
            learner.impl.update(batch, step)
    if algorithm == "cql" and task.n_actions is None:  # the weight of what is conservative stays
        (weight,) = learner.impl.modules.log_alpha.parameters()
        assert float(weight.exp()) == 1.0
    rule = extract_rule(learner, task, algorithm, settings, seed=3)
    # BCQ draws latents for every state anew; ours are drawn once.
    latents = np.random.default_rng((3, 1)).standard_normal((5, 4)).astype(np.float32)
    monkeypatch.setattr(
        torch, "randn", lambda n, m, device: torch.from_numpy(np.tile(latents, (n // 5, 1)))
    )
    states = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    theirs = learner.predict(states)
    ours = jax.vmap(rule)(jnp.asarray(states))
    if task.n_actions is not None:
        assert 0 < theirs.mean() < 1
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert theirs.std() > 0.01
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
