"""What is kept of a training run and when it stops, with a stand-in for the library.

The last test trains with the library itself; it is skipped where that is not installed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from twinfold.errors import UsageError
from twinfold.policies import train
from twinfold.policies.recipes import RECIPES, Recipe, get_recipe
from twinfold.policies.store import load_layers, load_record
from twinfold.tasks import TASK_NAMES, get_task

TASK = get_task("cart_pole")
RECIPE = Recipe(
    algorithm="DQN",
    agents=((10.0, 0.5), (14.0, 0.5)),
    default_agent=(10.0, 0.5),
    target=100.0,
    test_target=150.0,
    hidden=(4,),
    max_steps=400,
    eval_every=10,
    eval_episodes=2,
    record_episodes=7,
    tolerance=5.0,
    patience=8,
    settings={"learning_rate": 0.1},
)


class Callback:
    num_timesteps = 0


class Learner:
    """Steps through training without learning; its network tells the step."""

    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, policy: str, env: Any, **settings: Any) -> None:
        del policy
        self.made.append({"env": env, **settings})
        self.policy = SimpleNamespace(qf_state=SimpleNamespace(params={"params": {}}))

    def learn(self, steps: int, callback: Any) -> None:
        for step in range(1, steps + 1):
            callback.num_timesteps = step
            layer = {"kernel": np.full((4, 2), step, np.float32), "bias": np.zeros(2, np.float32)}
            self.policy.qf_state.params["params"] = {"Dense_0": layer}
            if not callback._on_step():
                return


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The stand-in; returns what learners were made with."""
    modules = {
        "sbx": SimpleNamespace(DQN=Learner),
        "stable_baselines3.common.callbacks": SimpleNamespace(BaseCallback=Callback),
    }
    monkeypatch.setattr(train, "_library", lambda module="sbx": modules[module])
    monkeypatch.setattr(train.importlib.metadata, "version", lambda name: "0.0")
    Learner.made = []
    return Learner.made


def returns_by_step(monkeypatch: pytest.MonkeyPatch, curve: dict[int, float]) -> list[int]:
    """Let the network of step t earn ``curve[t]``; returns the steps of the measurements."""
    measured = []

    def episode_returns(task: Any, layers: Any, agents: Any, episodes: int, seed: int) -> Any:
        step = int(layers[0][0][0, 0])
        measured.append(step)
        return np.full((len(np.atleast_2d(agents)), episodes), curve.get(step, 0.0))

    monkeypatch.setattr(train, "episode_returns", episode_returns)
    return measured


def test_training_stops_at_once_when_the_target_is_met(library: Any, monkeypatch: Any):
    measured = returns_by_step(monkeypatch, {10: 20, 20: 60, 30: 97, 40: 100})
    record, layers = train.train_policy(TASK, "0", RECIPE, seed=0, progress=lambda line: None)
    assert record["steps"] == 30
    assert layers[0][0][0, 0] == 30
    assert max(measured) == 30


def test_the_nearest_network_is_kept_when_training_jumps_over_the_target(
    library: Any, monkeypatch: Any
):
    curve = dict.fromkeys(range(10, 401, 10), 200.0) | {10: 20.0, 20: 70.0, 50: 110.0}
    measured = returns_by_step(monkeypatch, curve)
    record, _ = train.train_policy(TASK, "0", RECIPE, seed=0, progress=lambda line: None)
    assert record["steps"] == 50
    # Passed at step 30, and given up after so many more measurements.
    assert max(measured) == 30 + 10 * RECIPE.patience


def test_a_target_out_of_reach_ends_with_the_steps(library: Any, monkeypatch: Any):
    measured = returns_by_step(monkeypatch, {70: 40.0})
    record, _ = train.train_policy(TASK, "0", RECIPE, seed=0, progress=lambda line: None)
    assert record["steps"] == 70
    assert max(measured) == RECIPE.max_steps


def test_a_lucky_measurement_is_repeated_with_more_episodes(library: Any, monkeypatch: Any):
    episodes_of: dict[int, list[int]] = {}

    def episode_returns(task: Any, layers: Any, agents: Any, episodes: int, seed: int) -> Any:
        step = int(layers[0][0][0, 0])
        episodes_of.setdefault(step, []).append(episodes)
        value = {20: 100.0 if episodes == RECIPE.eval_episodes else 60.0, 30: 98.0}.get(step, 0.0)
        return np.full((len(np.atleast_2d(agents)), episodes), value)

    monkeypatch.setattr(train, "episode_returns", episode_returns)
    record, _ = train.train_policy(TASK, "0", RECIPE, seed=0, progress=lambda line: None)
    assert record["steps"] == 30
    assert episodes_of[10] == [RECIPE.eval_episodes]
    assert episodes_of[20] == [RECIPE.eval_episodes, RECIPE.record_episodes]


def test_all_policies_are_trained_each_on_its_agent_and_seed(
    library: list[dict[str, Any]], monkeypatch: Any, tmp_path: Path
):
    returns_by_step(monkeypatch, {10: 100.0, 20: 150.0})
    lines: list[str] = []
    records = train.train_policies(TASK, tmp_path, seed=7, recipe=RECIPE, progress=lines.append)
    assert [record["name"] for record in records] == ["0", "1", "test"]
    assert len({record["seed"] for record in records}) == 3
    assert [made["seed"] for made in library] == [record["seed"] for record in records]
    assert [record["steps"] for record in records] == [10, 10, 20]
    assert all(made["learning_rate"] == 0.1 for made in library)
    assert any("cart_pole 1: step 10, return 100.0 (target 100)" in line for line in lines)
    for record in records:
        assert load_record(tmp_path, "cart_pole", record["name"]) == record
        assert load_layers(tmp_path, "cart_pole", record["name"])[0][0].shape == (4, 2)
    only = train.train_policies(
        TASK, tmp_path, seed=7, only=["test"], recipe=RECIPE, progress=lines.append
    )
    assert [record["name"] for record in only] == ["test"]


def test_what_cannot_be_trained(monkeypatch: Any, tmp_path: Path, library: Any):
    with pytest.raises(UsageError, match=r"'best'.*0, 1, test"):
        train.train_policies(TASK, tmp_path, only=["best"], recipe=RECIPE)
    with pytest.raises(UsageError, match=r"'pendulum'.*mountain_car"):
        get_recipe("pendulum")
    returns_by_step(monkeypatch, {})
    short = dataclasses.replace(RECIPE, max_steps=5)
    with pytest.raises(UsageError, match="max_steps"):
        train.train_policy(TASK, "0", short, seed=0, progress=lambda line: None)


@pytest.mark.skipif(importlib.util.find_spec("sbx") is not None, reason="SBX is installed")
def test_without_the_library_the_error_names_the_extra(tmp_path: Path):
    with pytest.raises(UsageError, match=r"pip install 'twinfold\[policies\]'"):
        train.train_policies(TASK, tmp_path)


def test_recipes_fit_their_tasks():
    assert set(RECIPES) == set(TASK_NAMES)
    for name, recipe in RECIPES.items():
        task = get_task(name)
        for agent in (*recipe.agents, recipe.default_agent):
            assert np.all(task.covariate_low <= agent)
            assert np.all(agent <= task.covariate_high)


def test_the_library_trains_a_network_that_the_task_can_run(tmp_path: Path):
    pytest.importorskip("sbx")
    recipe = dataclasses.replace(
        get_recipe("cart_pole"), max_steps=1500, agents=((10.0, 0.5),), hidden=(16, 16)
    )
    (record,) = train.train_policies(TASK, tmp_path, only=["0"], recipe=recipe)
    assert record["steps"] in (500, 1000, 1500)
    sizes = [weight.shape for weight, _ in load_layers(tmp_path, "cart_pole", "0")]
    assert sizes == [(4, 16), (16, 16), (16, 2)]
