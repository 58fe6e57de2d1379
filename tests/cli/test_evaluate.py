"""``twinfold evaluate``: the table is made from the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.paper import paper_figures
from twinfold.cli.evaluate import agent_range
from twinfold.report.tables import number

PREDICTION = ["--task", "cart_pole", "--agents", "3,0-1", "--trajectories", 9, "--steps", 12]
RETURN = ["--task", "cart_pole", "--agents", "0-1", "--episodes", 3]
RETURN += ["--candidates", 10, "--horizon", 4]


def test_prediction(twinfold: Any, cart_run: Path) -> None:
    record = json.loads(twinfold("evaluate", "prediction", cart_run, *PREDICTION, "--json").out)
    assert [row["agent"] for row in record["agents"]] == [3, 0, 1]
    assert (record["trajectories"], record["steps"], record["policy"]) == (9, 12, "test")
    assert record["dataset"] == "random"
    for agent, row in paper_figures("table1", "cart_pole", "random").items():
        assert record["paper"][str(agent)] == row
    done = twinfold("evaluate", "prediction", cart_run, *PREDICTION)
    assert (done.code, done.err) == (0, "")
    for row in record["agents"]:
        assert number(row["rmse_mean"]) in done.out
        assert row["rmse_low"] <= row["rmse_mean"] <= row["rmse_high"]
    assert number(record["paper"]["0"]["rmse_mean"]) in done.out
    assert f"median over 3 agents: {record['median_over_agents']:.4g}" in done.out


def test_return(twinfold: Any, cart_run: Path) -> None:
    done = twinfold("evaluate", "return", cart_run, *RETURN, "--json")
    assert (done.code, done.err) == (0, "")
    record = json.loads(done.out)
    assert record["episodes"] == 3
    assert record["plan"]["terminal_value"] == "none"
    assert record["plan"]["horizon"] == 4
    assert {row["n"] for row in record["agents"]} == {3}
    assert record["paper"]["0"] == paper_figures("table2", "cart_pole", "random")[0]
    done = twinfold("evaluate", "return", cart_run, *RETURN)
    for row in record["agents"]:
        assert f"{number(row['mean'])} ± {number(row['std'])}" in done.out
    assert "planned with: planner sticky, candidates 10, horizon 4" in done.out


@pytest.mark.parametrize(
    ("preset", "planner"), [("ours", "planner sticky"), ("paper", "planner shooting")]
)
def test_true_mpc(twinfold: Any, preset: str, planner: str) -> None:
    words = ["--task", "cart_pole", "--planner-preset", preset, "--agents", 0, "--episodes", 1]
    words += ["--max-steps", 5, "--candidates", 8, "--horizon", 3]
    done = twinfold("evaluate", "true-mpc", *words)
    assert (done.code, done.err) == (0, "")
    assert planner in done.out
    record = json.loads(twinfold("evaluate", "true-mpc", *words, "--json").out)
    assert record["method"] == "true-env-mpc"
    assert record["plan"]["candidates"] == 8
    assert record["agents"][0]["mean"] == 5
    done = twinfold("evaluate", "true-mpc", "--task", "cart_pole", "--max-steps", 0)
    assert (done.code, done.out) == (2, "")
    assert "--max-steps: '0' is not a whole number from 1" in done.err
    done = twinfold("evaluate", "true-mpc", "--task", "cart_pole", "--agents", 7)
    assert "agent 7 is no test agent; valid: 0 to 4" in done.err


def test_what_is_not_finite_becomes_null(
    twinfold: Any, cart_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {
        "kind": "prediction",
        "trajectories": 1,
        "steps": 2,
        "agents": [{"agent": 0, "rmse_mean": float("nan"), "r2_median": float("-inf")}],
        "median_over_agents": float("nan"),
        "paper": {},
        "note": "[note]",
    }
    monkeypatch.setattr("twinfold.benchmark.protocol.evaluate_prediction", lambda *_, **__: record)
    done = twinfold("evaluate", "prediction", cart_run, "--task", "cart_pole", "--json")
    read = json.loads(done.out, parse_constant=pytest.fail)
    assert read["agents"] == [{"agent": 0, "rmse_mean": None, "r2_median": None}]
    done = twinfold("evaluate", "prediction", cart_run, "--task", "cart_pole")
    assert done.code == 0
    assert "–" in done.out
    assert "[note]" in done.out


def test_agent_ranges() -> None:
    assert agent_range("0-4,7") == [0, 1, 2, 3, 4, 7]
    assert agent_range(" 3 , 1-2,3,2") == [3, 1, 2]
    for text in ("", "a", "1-", "-1", "1,,2", "1-2-3", "²", "1.5"):
        with pytest.raises(ValueError, match="ids and ranges such as 0-4,7"):
            agent_range(text)
    with pytest.raises(ValueError, match="'5-2' is no range"):
        agent_range("5-2")
    with pytest.raises(ValueError, match="'99999999999' is not a whole number from 0 and below"):
        agent_range("0-99999999999")


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("prediction", ["--agents", "x"], "--agents: 'x' is not ids and ranges"),
        ("prediction", ["--agents", "0-99"], "agent 60 are not known; valid: 0 to 59"),
        (
            "prediction",
            ["--trajectories", "0"],
            "--trajectories: '0' is not a whole number from 1 to",
        ),
        ("prediction", ["--steps", "-3"], "--steps: '-3' is not a whole number from 1 to"),
        ("prediction", ["--task", "mountain_car"], "fitted on data of 'cart_pole'"),
        ("return", ["--episodes", "-1"], "--episodes: '-1' is not a whole number from 1 to"),
        ("return", ["--horizon", "0"], "--horizon: '0' is not"),
        ("return", ["--candidates", "2"], "--candidates: '2' is not"),
        ("return", ["--task", "nothing"], "valid: cart_pole, mountain_car"),
    ],
)
def test_refusals(
    twinfold: Any, cart_run: Path, kind: str, words: list[str], expected: str
) -> None:
    flags = {"--task": "cart_pole"} | {words[0]: words[1]}
    done = twinfold("evaluate", kind, cart_run, *[word for pair in flags.items() for word in pair])
    assert (done.code, done.out) == (2, "")
    assert expected in done.err


@pytest.mark.parametrize("kind", ["prediction", "return"])
def test_runs_that_cannot_be_judged(
    twinfold: Any, tank_run: Path, tmp_path: Path, kind: str
) -> None:
    done = twinfold("evaluate", kind, tank_run, "--task", "mountain_car")
    assert (done.code, done.out) == (2, "")
    assert "does not fit task 'mountain_car'" in done.err
    done = twinfold("evaluate", kind, tmp_path / "none", "--task", "mountain_car")
    assert (done.code, done.out) == (1, "")
    assert "no run directory" in done.err
