"""``twinfold policies``: train, list; and data collected under each policy."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from twinfold.policies import POLICY_NAMES
from twinfold.tasks import TASK_NAMES


def test_list_shows_every_policy_and_its_returns(twinfold: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    records = json.loads(twinfold("policies", "list", "--json").out)["policies"]
    assert {record["task"] for record in records} == set(TASK_NAMES)
    done = twinfold("policies", "list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    for record in records:
        own = f"{record['return_own_agent']['mean']:.0f}"
        assert any(
            record["task"] in line and f" {record['name']} " in line and f" {own} " in line
            for line in lines
        )


@pytest.mark.skipif(importlib.util.find_spec("sbx") is not None, reason="SBX is installed")
def test_training_without_the_library_names_the_extra(twinfold: Any, tmp_path: Path) -> None:
    done = twinfold("policies", "train", "--task", "cart_pole", "--out", tmp_path / "new")
    assert (done.code, done.out) == (2, "")
    assert "pip install 'twinfold[policies]'" in done.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "pendulum"), "mountain_car"),
        (("--task", "cart_pole", "--only", "best"), "0, 1, 2, 3, 4, test"),
    ],
)
def test_training_what_does_not_exist(
    twinfold: Any, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = twinfold("policies", "train", "--out", tmp_path / "new", *words)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_data_under_every_policy(twinfold: Any, tmp_path: Path, policy: str) -> None:
    words = ("data", "collect", "--task", "cart_pole", "--agents", 8, "--policy", policy)
    prints = []
    for name in ("one.parquet", "two.parquet"):
        done = twinfold(*words, "--out", tmp_path / name, "--json")
        assert (done.code, done.err) == (0, "")
        prints.append(json.loads(done.out)["fingerprint"])
    assert prints[0] == prints[1]
    source = json.loads((tmp_path / "one.manifest.json").read_text())["source"]
    assert source["policy"] == policy
    # A trained policy holds the pole up far longer than a random one.
    rows = len(pd.read_parquet(tmp_path / "one.parquet"))
    assert (rows / 8 > 60) == (policy != "random")


def test_an_unknown_policy_is_named_with_the_valid_ones(twinfold: Any, tmp_path: Path) -> None:
    words = ("--task", "cart_pole", "--policy", "dqn", "--out", tmp_path / "x.parquet")
    done = twinfold("data", "collect", *words)
    assert done.code == 2
    assert "'dqn'" in done.err
    assert ", ".join(POLICY_NAMES) in done.err
