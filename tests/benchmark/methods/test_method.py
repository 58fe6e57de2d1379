"""A method with a policy of its own, from suite to page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.benchmark.methods.registry import registered
from twinfold.errors import DivergedError, InvalidDataError
from twinfold.tasks import get_task

RECORDS = Path("results/mine-quick.jsonl")
SUITE = """
name = "mine"
kind = "return"
tasks = ["cart_pole"]
datasets = ["random"]
methods = ["leaning"]
agents = [0, 3]

[data]
agents = 6

[baselines.leaning]
angle = 0.01

[baselines.leaning.cart_pole]
angle = 0.02

[profiles.quick]
episodes = 2
policy_episodes = 3

[profiles.other]
methods = ["leaning"]
training_agents = [5]
agents = [3]
policy_episodes = 1
"""


@pytest.fixture
def mine(bench: Any) -> Any:
    Path("suites/mine.toml").write_text(SUITE)
    return bench


def lines(path: Path = RECORDS) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stepwise_returns(agent: int, episodes: int, seed: int) -> list[float]:
    """Episodes of the policy, one after the other, step by step."""
    task = get_task("cart_pole")
    own = task.covariates(task.test_agents[agent])
    found = []
    for key in jax.random.split(jax.random.key(seed), (1, episodes))[0]:
        state, total = task.reset(own, jax.random.split(key, 3)[1]), 0.0
        for _ in range(task.max_steps):
            action = np.int32(state[2] > 0.02)
            reached = task.step(own, state, action)
            total += float(task.reward(state, action, reached))
            state = reached
            if task.terminated(state):
                break
        found.append(total)
    return found


def test_a_policy_is_fitted_played_recorded_and_shown(mine: Any, leaning: Any) -> None:
    with registered(leaning):
        done = mine("run", "mine")
        assert done.code == 0, done.err
        first, second = lines()
        assert (first["planner"], first["settings"]["plan"]) == (None, None)
        assert first["settings"]["fit"] == {"angle": 0.02, "seed": 0}
        assert first["budget"] == {"repeats": 1, "episodes": 3}
        assert first["seconds"]["fit"] == 0.5
        assert first["figures"]["values"] == stepwise_returns(0, 3, seed=0)
        assert second["figures"]["values"] == stepwise_returns(3, 3, seed=3)
        assert first["figures"]["mean"] == pytest.approx(np.mean(first["figures"]["values"]))
        (fit,) = Path("runs/bench").iterdir()
        assert fit.name.startswith("cart_pole-random-leaning-0-")
        assert mine("run", "mine").out == f"{RECORDS}: 0 cells measured, 2 were there\n"
        assert "| random | Leaning | " in mine("table", "mine").out
        done = mine("page", "mine")
        assert done.code == 0, done.err
        assert "Pushes to the side" in Path("results/quick.html").read_text()
        # Other settings are another fit, and those of the records are told.
        path = Path("suites/mine.toml")
        path.write_text(SUITE.replace("angle = 0.02", "angle = 0.03"))
        assert "fit.angle: 0.02, not 0.03" in mine("run", "mine").err


def test_a_fit_per_agent_and_one_that_builds_on_another(mine: Any, make_leaning: Any) -> None:
    alone = make_leaning(name="alone", per_agent=True)
    above = make_leaning(name="leaning", per_agent=True, needs=("alone",))
    path = Path("suites/mine.toml")
    path.write_text(
        SUITE.replace('methods = ["leaning"]\nagents', 'methods = ["alone", "leaning"]\nagents')
    )
    with registered(alone), registered(above):
        done = mine("run", "mine")
        assert done.code == 0, done.err
        records = lines()
        assert [(r["method"], r["agent"]) for r in records] == [
            ("alone", 0), ("alone", 3), ("leaning", 0), ("leaning", 3)
        ]  # fmt: skip
        assert records[2]["settings"]["fit"]["alone"] == {"angle": 0.0, "seed": 0}
        names = sorted(file.name.rsplit("-", 2)[0] for file in Path("runs/bench").iterdir())
        assert names == [
            f"cart_pole-random-{name}-agent{n}" for name in ("alone", "leaning") for n in (0, 3)
        ]
        for file in Path("runs/bench").glob("*-leaning-*"):
            info = json.loads(file.read_text())["info"]
            assert info["below"] == [info["agent"]]


@pytest.mark.parametrize(
    "kind", [FloatingPointError, DivergedError, np.linalg.LinAlgError, InvalidDataError]
)
def test_what_cannot_be_fitted_is_recorded_and_tried_again(
    mine: Any, make_leaning: Any, kind: Callable[[Any], Exception]
) -> None:
    told = ["the loss was nan"] if kind is InvalidDataError else "the loss was nan"
    with registered(make_leaning(broken=kind(told))):
        done = mine("run", "mine")
        assert done.code == 1
        assert "2 cells could not be measured. The first is cart_pole, random, leaning" in done.err
        assert "the loss was nan" in done.err
        assert [record["error"] for record in lines()] == ["the loss was nan"] * 2
        status = mine("status", "mine")
        assert (
            "failed: cart_pole, random, leaning, agent 3, repeat 0: the loss was nan" in status.out
        )
        assert "| random | Leaning | failed / – | failed / – |" in mine("table", "mine").out
        mine("page", "mine")
        assert "the loss was nan" in Path("results/quick.html").read_text()
    with registered(make_leaning()):
        done = mine("run", "mine")
        assert done.out == f"{RECORDS}: 2 cells measured, 0 were there\n"
        assert [record["error"] for record in lines()] == [None, None]
        assert "failed:" not in mine("status", "mine").out


def test_a_missing_package_is_told_before_anything_is_fitted(mine: Any, make_leaning: Any) -> None:
    with registered(make_leaning(modules=("no_such_package",), extra="baselines")):
        done = mine("run", "mine")
    assert done.code == 2
    assert "method 'leaning' needs no_such_package, which is not installed" in done.err
    assert "pip install 'twinfold[baselines]'" in done.err
    assert not RECORDS.exists()


def test_a_profile_changes_what_it_names(mine: Any, leaning: Any) -> None:
    with registered(leaning):
        done = mine("run", "mine", "--profile", "other")
        assert done.code == 0, done.err
        (record,) = lines(Path("results/mine-other.jsonl"))
    assert record["settings"]["data"] == {"agents": 5, "seed": 0}
    assert (record["agent"], record["figures"]["n"]) == (3, 1)


def test_a_damaged_fit_is_named(mine: Any, leaning: Any) -> None:
    with registered(leaning):
        mine("run", "mine")
        (fit,) = Path("runs/bench").iterdir()
        fit.write_text("{")
        done = mine("run", "mine", "--records", "new.jsonl")
    assert done.code == 1
    assert f"{fit} is damaged\nerror: or remove {fit}" in done.err
