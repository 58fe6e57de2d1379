"""``twinfold fit``: settings, refusals that come before any work, and what a run then holds."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import load_run


def tanks(path: Path, n_agents: int = 4, rows: int = 12) -> list[str]:
    """A table with UUID ids, odd names and two quantities as actions; returns its flags."""
    rng = np.random.default_rng(0)
    tables = []
    for n in range(n_agents):
        flow, heat = rng.uniform(0, 1, rows), rng.uniform(-1, 1, rows)
        tables.append(
            pd.DataFrame(
                {
                    "tank id": f"0b9a4c1e-52d8-4c7e-9a53-{n:012d}",
                    "Stunde": np.arange(rows),
                    "[bold]Füllstand": np.r_[0, np.cumsum(flow - 0.5 - 0.1 * n)[:-1]],
                    "T/°C": 20 + np.r_[0, np.cumsum(heat)[:-1]],
                    "Zu fluss": flow,
                    "heat (kW)": heat,
                }
            )
        )
    pd.concat(tables).to_csv(path, index=False)
    return [
        *("--agent", "tank id", "--time", "Stunde", "--state", "[bold]Füllstand,T/°C"),
        *("--action", "Zu fluss", "--action", "heat (kW)", "--action-type", "continuous"),
    ]


def test_fit_then_ask_as_it_says(
    twinfold: Any, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    monkeypatch.chdir(tmp_path)
    flags = tanks(Path("tanks.csv"))
    done = twinfold("fit", "tanks.csv", *flags, "--out", "my run", "--config", tiny)
    assert done.code == 0
    assert done.out.startswith("my run: 4 simulators, held-out error 0.")
    assert "all 44 transitions" in done.err
    *_, last = done.err.splitlines()
    assert last.startswith("ask: twinfold simulate 'my run' --agent 0b9a4c1e")
    asked = twinfold(*shlex.split(last.removeprefix("ask: twinfold ")))
    assert (asked.code, asked.err) == (0, "")
    assert "[bold]Füllstand" in asked.out
    config = tomllib.loads(Path("my run/config.toml").read_text())
    assert config["steps"] == 500
    again = twinfold("fit", "tanks.csv", *flags, "--out", "r2", "--config", "my run/config.toml")
    assert again.code == 0
    assert again.out == done.out.replace("my run", "r2")
    assert not Path("r2.partial").exists()


def test_flags_win_over_the_file_and_the_record_holds_both(
    twinfold: Any, tmp_path: Path, cart_table: Path, tiny: Path
) -> None:
    flags = ["--seed", 7, "--rank", 2, "--state-net", "8,8", "--steps", 500]
    flags += ["--shrinkages", "0.1", "--learning-rate", 0.005, "--validation-share", 0]
    out = tmp_path / "run"
    done = twinfold("fit", cart_table, "--out", out, "--config", tiny, *flags, "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    record = json.loads(done.out)
    config = record["config"]
    assert (config["seed"], config["rank"], config["state_net"]) == (7, 2, [8, 8])
    assert (config["shrinkages"], config["learning_rate"]) == ([0.1], 0.005)
    assert config["members"] == 2  # the file's
    assert record["validation"] == {"held_out": 0}
    assert record["source"]["task"] == "cart_pole"
    assert "covariates" not in record["source"]
    model = load_run(out)
    assert model.n_members == 2
    assert model.config.model_dump(mode="json") == config


def test_features_and_rank_can_be_given_or_left_to_the_data(
    twinfold: Any, tmp_path: Path, cart_table: Path, tiny: Path
) -> None:
    fit = ["fit", cart_table, "--config", tiny, "--quiet", "--json"]
    given = twinfold(*fit, "--features", "joint", "--rank", 3, "--out", tmp_path / "given")
    record = json.loads(given.out)
    assert (record["features"], record["rank"]) == ("joint", 3)
    assert record["validation"]["structures"] == []
    assert load_run(tmp_path / "given").members.joint
    left = twinfold(*fit, "--features", "auto", "--rank", "auto", "--out", tmp_path / "left")
    record = json.loads(left.out)
    assert (record["config"]["features"], record["config"]["rank"]) == ("auto", "auto")
    tried = [(row["features"], row["rank"]) for row in record["validation"]["structures"]]
    assert tried == [("separable", 8), ("joint", 4), ("joint", 8), ("joint", 16)]
    assert (record["features"], record["rank"]) in tried


def test_an_existing_run_is_refused_before_the_table_is_read(twinfold: Any, tmp_path: Path) -> None:
    kept = tmp_path / "run" / "precious.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    done = twinfold("fit", tmp_path / "there is none.csv", "--out", kept.parent)
    assert (done.code, done.out) == (2, "")
    assert f"{kept.parent} exists" in done.err
    assert kept.read_text() == "mine"


def test_an_invalid_table_leaves_nothing(twinfold: Any, tmp_path: Path) -> None:
    flags = tanks(tmp_path / "t.csv")
    frame = pd.read_csv(tmp_path / "t.csv")
    frame.loc[5, "T/°C"] = np.inf
    frame.to_csv(tmp_path / "t.csv", index=False)
    before = sorted(tmp_path.iterdir())
    done = twinfold("fit", tmp_path / "t.csv", *flags, "--out", tmp_path / "run")
    assert (done.code, done.out) == (3, "")
    assert "column 'T/°C' (state): infinity at row 5 (line 7), agent '0b9a4c1e" in done.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--rank", "high"], "--rank: 'high' is not auto or a whole number from 0 to 512"),
        (["--rank", "513"], "rank"),
        (["--features", "both"], "--features: 'both' is not one of auto, separable, joint"),
        (["--members", "0"], "members"),
        (["--state-net", "12,wide"], "--state-net: 'wide' is not a whole number from 1 to 4096"),
        (["--shrinkages", "little"], "--shrinkages: 'little' is not a number from 0"),
        (["--activation", "sine"], "activation"),
        (["--learning-rate", "-1"], "--learning-rate"),
        (["--config", "none.toml"], "none.toml"),
        (["--agent", "agent_id"], "--time, --state missing"),
    ],
)
def test_settings_that_cannot_be(
    twinfold: Any, tmp_path: Path, cart_table: Path, flags: list[str], expected: str
) -> None:
    out = tmp_path / "run"
    done = twinfold("fit", cart_table, "--out", out, *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert expected in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "expected"), [("setps = 3", "unknown setting 'setps'"), ("steps = ", "cannot read")]
)
def test_a_file_of_settings_that_cannot_be(
    twinfold: Any, tmp_path: Path, cart_table: Path, text: str, expected: str
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    done = twinfold("fit", cart_table, "--out", tmp_path / "run", "--config", config)
    assert (done.code, done.out) == (2, "")
    assert expected in done.err


def test_roles_flags_are_wanted_when_there_is_no_manifest(twinfold: Any, tmp_path: Path) -> None:
    flags = tanks(tmp_path / "t.csv")
    done = twinfold("fit", tmp_path / "t.csv", "--out", tmp_path / "run")
    assert done.code == 2
    assert "'[bold]Füllstand'" in done.err
    flags[5] = "[bold]Fullstand,T/°C"
    done = twinfold("fit", tmp_path / "t.csv", *flags, "--out", tmp_path / "run")
    assert done.code == 3
    assert "Did you mean '[bold]Füllstand'?" in done.err
    flags[-1] = "discrete,discrete,discrete"
    done = twinfold("fit", tmp_path / "t.csv", *flags, "--out", tmp_path / "run")
    assert done.code == 2
    assert "action_type" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_to(
    twinfold: Any, tmp_path: Path, cart_table: Path, tiny: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    done = twinfold("fit", cart_table, "--out", closed / "run", "--config", tiny)
    assert (done.code, done.out) == (2, "")
    assert "cannot write" in done.err


def test_a_file_in_the_way_of_the_run(
    twinfold: Any, tmp_path: Path, cart_table: Path, tiny: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = twinfold("fit", cart_table, "--out", tmp_path / "file" / "run", "--config", tiny)
    assert (done.code, done.out) == (2, "")
    assert "cannot write" in done.err


def test_an_interrupted_fit_of_other_settings_is_not_mixed_in(
    twinfold: Any, tmp_path: Path, cart_table: Path, tiny: Path
) -> None:
    partial = tmp_path / "run.partial"
    partial.mkdir()
    (partial / "identity.json").write_text("{}")
    done = twinfold("fit", cart_table, "--out", tmp_path / "run", "--config", tiny, "--quiet")
    assert (done.code, done.out) == (1, "")
    assert f"remove {partial}" in done.err
    assert (partial / "identity.json").read_text() == "{}"
