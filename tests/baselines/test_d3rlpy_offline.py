"""Our batches are the library's, our nets say what its say, and training leaves no traces."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import d3rlpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from d3rlpy.dataset import BasicTransitionPicker, Episode

from twinfold.baselines import OfflineSettings, fit_offline, offline_settings
from twinfold.baselines.d3rlpy_offline import (
    batch_arrays,
    extract_rule,
    make_learner,
    train_offline,
)
from twinfold.baselines.experience import Experience, experience_of
from twinfold.baselines.offline_policy import net
from twinfold.benchmark.collect import collect
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.tasks.registry import get_task
from twinfold.tasks.task import Task

SMALL = OfflineSettings(steps=4, batch=16, hidden=(8, 8), bcq_candidates=5, target_interval=2)
POLE = replace(get_task("cart_pole"), max_steps=20)
# Continuous actions without a physics engine: the states of the pole, two actions.
GLIDER = replace(
    POLE,
    name="glider",
    action_names=("left", "right"),
    action_type="continuous",
    n_actions=None,
    action_low=np.array([-2.0, 0.0]),
    action_high=np.array([2.0, 10.0]),
)


@pytest.fixture(scope="module")
def poles() -> PanelDataset:
    return collect(POLE, "random", 12, 3)


def experience(task: Task, n: int = 60, seed: int = 0) -> Experience:
    """Random transitions in five episodes, of which two have an end."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(n + 1, 4)).astype(np.float32)
    if task.n_actions is not None:
        action: Any = rng.integers(0, task.n_actions, n).astype(np.int32)
    else:
        action = rng.uniform(task.action_low, task.action_high, (n, 2)).astype(np.float32)
    episode = np.arange(n, dtype=np.int32) // (n // 5)
    last = np.r_[episode[1:] != episode[:-1], True]
    # What is best depends on the state.
    reward = (5 * states[:-1, 0] * (2 * action.reshape(n, -1)[:, 0] - 1)).astype(np.float32)
    return Experience(states[:-1], action, reward, states[1:], last & (episode % 2 == 1), episode)


def test_batches_hold_the_transitions_that_the_library_makes_of_the_table(
    poles: PanelDataset,
) -> None:
    frame, expected = poles.to_frame(), []
    for _, rows in frame.groupby("agent_id", sort=False):
        ended = bool(rows["terminated"].iloc[-1])
        # The library wants a state without an action only where an episode goes on.
        kept = rows.iloc[:-1] if ended else rows.fillna({"action": 0, "reward": 0.0})
        own = Episode(
            observations=kept[list(POLE.state_names)].to_numpy(np.float32),
            actions=kept[["action"]].to_numpy(np.float32),
            rewards=kept[["reward"]].to_numpy(np.float32),
            terminated=ended,
        )
        picker = BasicTransitionPicker()
        expected += [picker(own, t) for t in range(own.transition_count)]
    found = batch_arrays(
        experience_of(poles, POLE), POLE, np.zeros(4, np.float32), np.ones(4, np.float32)
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


def test_states_are_standardised_and_actions_moved_to_the_range_of_the_library() -> None:
    given = experience(GLIDER)
    mean, scale = given.state.mean(axis=0), given.state.std(axis=0)
    found = batch_arrays(given, GLIDER, mean, scale)
    np.testing.assert_allclose(found["observations"].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found["observations"].std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(found["observations"][1:], found["next_observations"][:-1])
    np.testing.assert_allclose(found["actions"], given.action / [2.0, 5.0] - [0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("task", [POLE, GLIDER], ids=["discrete", "continuous"])
@pytest.mark.parametrize("algorithm", ["bcq", "cql"])
def test_our_nets_do_what_the_library_does(
    task: Task, algorithm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SMALL.model_copy(update={"learning_rate": 0.03})
    learner = make_learner(task, algorithm, settings)
    given = experience(task, 64)
    arrays = batch_arrays(given, task, np.zeros(4, np.float32), np.ones(4, np.float32))
    some = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    zero, one = torch.zeros(64, 1), torch.ones(64, 1)
    batch = d3rlpy.torch_utility.TorchMiniBatch(
        **some,
        next_actions=some["actions"],
        returns_to_go=zero,
        intervals=one,
        device="cpu:0",
    )
    for step in range(20):
        learner.impl.update(batch, step)
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


@pytest.mark.parametrize("task", [POLE, GLIDER], ids=["discrete", "continuous"])
@pytest.mark.parametrize("algorithm", ["bcq", "cql"])
def test_a_seed_decides_everything(task: Task, algorithm: Any) -> None:
    def train(seed: int) -> Any:
        given = experience(task)
        found = train_offline(given, task, algorithm, SMALL, seed, agents=None, fingerprint="abc")
        return found, np.concatenate([np.ravel(x) for x in jax.tree.leaves(found.actor)])

    torch.manual_seed(1)
    (first, a), (_, b), (_, c) = train(7), train(7), train(8)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.isfinite(a).all()
    assert first.info.losses
    assert all(loss is not None for loss in first.info.losses.values())


def test_training_leaves_no_traces(
    poles: PanelDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1].copy()  # pyright: ignore  # noqa: NPY002
    fit_offline(poles, POLE, "cql", settings=SMALL)
    after = torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1]  # pyright: ignore  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_ends_the_training(poles: PanelDataset) -> None:
    threads = torch.get_num_threads()

    def interrupt(what: str, done: int, total: int) -> None:
        assert (what, done, total) == ("training of BCQ", 4, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_offline(poles, POLE, "bcq", settings=SMALL, progress=interrupt)
    assert torch.get_num_threads() == threads


def test_one_agent_learns_from_its_own_trajectory(poles: PanelDataset) -> None:
    alone = fit_offline(poles, POLE, "cql", [4], SMALL, source={"seed": 3, "covariates": [1]})
    own = experience_of(poles.select_agents([4]), POLE)
    assert alone.method == "cql-a"
    assert (alone.info.agents, alone.info.transitions) == ((4,), len(own))
    assert alone.info.source == {"seed": 3}  # hidden physics are left out
    np.testing.assert_allclose(alone.actor.state_mean, own.state.mean(axis=0), rtol=1e-5)
    together = fit_offline(poles, POLE, "cql", settings=SMALL)
    assert together.method == "cql-p"
    assert together.info.transitions == poles.n_transitions
    assert together.info.episodes == poles.n_agents
    assert together.record()["settings"]["steps"] == 4


@pytest.mark.parametrize("algorithm", ["bcq", "cql"])
def test_the_better_action_is_learned(poles: PanelDataset, algorithm: Any) -> None:
    """Where an action is worth what it pays at once, the one that pays is taken."""
    paid = replace(POLE, reward=lambda state, action, after: 10.0 * action)
    settings = offline_settings("discrete").model_copy(
        update={"steps": 150, "hidden": (16,), "discount": 0.0, "learning_rate": 1e-2}
    )
    policy = fit_offline(poles, paid, algorithm, settings=settings)
    assert policy.act(poles.state).mean() > 0.95


def test_what_lies_behind_a_time_out_counts_and_behind_an_end_does_not() -> None:
    """All pay 1: a state that ends is worth 1, one whose recording stops 1 + 0.9 + ... = 10."""
    n = 64
    state = np.zeros((n, 4), np.float32)
    state[n // 2 :] = 1.0
    settings = SMALL.model_copy(
        update={"steps": 400, "discount": 0.9, "learning_rate": 1e-2, "target_interval": 5}
    )
    worth = {}
    for ends in (False, True):
        given = Experience(
            state=state,
            action=np.arange(n, dtype=np.int32) % 2,
            reward=np.ones(n, np.float32),
            next_state=state,
            terminal=np.full(n, ends),
            episode=np.arange(n, dtype=np.int32),
        )
        policy = train_offline(given, POLE, "bcq", settings, 0, agents=None, fingerprint="abc")
        values: Any = policy.actor.rule.values  # pyright: ignore[reportAttributeAccessIssue]
        standard = (state[0] - policy.actor.state_mean) / policy.actor.state_scale
        worth[ends] = float(net(values, standard).mean())
    assert worth[True] == pytest.approx(1.0, abs=0.1)
    assert worth[False] == pytest.approx(10.0, abs=1.0)


def test_what_is_wrong_is_said(poles: PanelDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="unknown algorithm 'sac'; valid: bcq, cql"):
        inspect.unwrap(train_offline)(  # types are checked in tests
            experience(POLE), POLE, "sac", SMALL, 0, agents=None, fingerprint="abc"
        )
    with pytest.raises(UsageError, match="unknown agent 99"):
        fit_offline(poles, POLE, "bcq", [99])
    with pytest.raises(UsageError, match="seed"):
        fit_offline(poles, POLE, "bcq", seed=-1)
    monkeypatch.setitem(sys.modules, "d3rlpy", None)
    with pytest.raises(UsageError, match=r"pip install 'twinfold\[baselines\]'"):
        fit_offline(poles, POLE, "bcq")
