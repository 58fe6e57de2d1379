"""A seed decides what is learned, ends and time-outs count as they should, no traces are left."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from twinfold.baselines import OfflineSettings, fit_offline, offline_settings
from twinfold.baselines.d3rlpy_offline import Origin, train_offline
from twinfold.baselines.experience import Experience, experience_of
from twinfold.baselines.offline_policy import net
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.tasks.task import Task

SMALL = OfflineSettings(steps=4, batch=16, hidden=(8, 8), bcq_candidates=5, target_interval=2)


@pytest.mark.parametrize("algorithm", ["bcq", "cql"])
def test_a_seed_decides_everything(either_task: Task, lived: Any, algorithm: Any) -> None:
    def train(seed: int) -> Any:
        given = lived(either_task)
        found = train_offline(given, either_task, algorithm, SMALL, seed, Origin("abc"))
        return found, np.concatenate([np.ravel(x) for x in jax.tree.leaves(found.actor)])

    torch.manual_seed(1)
    (first, a), (_, b), (_, c) = train(7), train(7), train(8)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.isfinite(a).all()
    assert first.info.losses
    assert all(loss is not None for loss in first.info.losses.values())


def test_training_leaves_no_traces(
    pole: Task, poles: PanelDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1].copy()  # pyright: ignore  # noqa: NPY002
    fit_offline(poles, pole, "cql", settings=SMALL)
    after = torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1]  # pyright: ignore  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_ends_the_training(pole: Task, poles: PanelDataset) -> None:
    threads = torch.get_num_threads()

    def interrupt(what: str, done: int, total: int) -> None:
        assert (what, done, total) == ("training of BCQ", 4, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_offline(poles, pole, "bcq", settings=SMALL, progress=interrupt)
    assert torch.get_num_threads() == threads


def test_one_agent_learns_from_its_own_trajectory(pole: Task, poles: PanelDataset) -> None:
    alone = fit_offline(poles, pole, "cql", [4], SMALL, source={"seed": 3, "covariates": [1]})
    own = experience_of(poles.select_agents([4]), pole)
    assert alone.method == "cql-a"
    assert (alone.info.agents, alone.info.transitions) == ((4,), len(own))
    assert alone.info.source == {"seed": 3}  # hidden physics are left out
    np.testing.assert_allclose(alone.actor.state_mean, own.state.mean(axis=0), rtol=1e-5)
    together = fit_offline(poles, pole, "cql", settings=SMALL)
    assert together.method == "cql-p"
    assert together.info.transitions == poles.n_transitions
    assert together.info.episodes == poles.n_agents
    assert together.record()["settings"]["steps"] == 4


@pytest.mark.parametrize("algorithm", ["bcq", "cql"])
def test_the_better_action_is_learned(pole: Task, poles: PanelDataset, algorithm: Any) -> None:
    """Where an action is worth what it pays at once, the one that pays is taken."""
    paid = replace(pole, reward=lambda state, action, after: 10.0 * action)
    settings = offline_settings("discrete").model_copy(
        update={"steps": 150, "hidden": (16,), "discount": 0.0, "learning_rate": 1e-2}
    )
    policy = fit_offline(poles, paid, algorithm, settings=settings)
    assert policy.act(poles.state).mean() > 0.95


def test_bcq_keeps_to_the_actions_of_the_data(pole: Task, lived: Any) -> None:
    """What was never done is worth about 0, what was done costs 5; it is done all the same."""
    given = lived(pole)
    given = replace(given, action=np.ones(60, np.int32), reward=np.full(60, -5, np.float32))
    settings = SMALL.model_copy(update={"steps": 150, "learning_rate": 1e-2})
    policy = train_offline(given, pole, "bcq", settings, 0, Origin("abc"))
    assert (policy.act(given.state) == 1).all()
    loose = settings.model_copy(update={"bcq_threshold": 1e-9})
    policy = train_offline(given, pole, "bcq", loose, 0, Origin("abc"))
    assert (policy.act(given.state) == 0).mean() > 0.5


def test_what_lies_behind_a_time_out_counts_and_behind_an_end_does_not(pole: Task) -> None:
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
        policy = train_offline(given, pole, "bcq", settings, 0, Origin("abc"))
        values: Any = policy.actor.rule.values  # pyright: ignore[reportAttributeAccessIssue]
        standard = (state[0] - policy.actor.state_mean) / policy.actor.state_scale
        worth[ends] = float(net(values, standard).mean())
    assert worth[True] == pytest.approx(1.0, abs=0.1)
    assert worth[False] == pytest.approx(10.0, abs=1.0)


def test_what_is_wrong_is_said(
    pole: Task, poles: PanelDataset, lived: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="unknown algorithm 'sac'; valid: bcq, cql"):
        inspect.unwrap(train_offline)(  # types are checked in tests
            lived(pole), pole, "sac", SMALL, 0, Origin("abc")
        )
    with pytest.raises(UsageError, match="unknown agent 99"):
        fit_offline(poles, pole, "bcq", [99])
    with pytest.raises(UsageError, match="seed"):
        fit_offline(poles, pole, "bcq", seed=-1)
    monkeypatch.setitem(sys.modules, "d3rlpy", None)
    with pytest.raises(UsageError, match=r"pip install 'twinfold\[baselines\]'"):
        fit_offline(poles, pole, "bcq")
