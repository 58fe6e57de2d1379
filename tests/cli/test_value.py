"""``twinfold value``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

QUICK = ["--task", "cart_pole", "--starts", 4, "--horizon", 40]


def test_the_table_and_the_record_agree(twinfold: Any, cart_run: Path) -> None:
    words = ["value", cart_run, *QUICK, "--policy", "pure", "--agent", "0,3", "--seed", 2]
    done = twinfold(*words, "--json")
    assert (done.code, done.err) == (0, "")
    record = json.loads(done.out)
    assert record["model_based"] is True
    assert [row["agent"] for row in record["values"]] == [0, 3]
    first = record["values"][0]
    assert first["model_based"] is True
    assert first["low"] <= first["value"] <= first["high"]
    assert (first["n_draws"], first["n_starts"], first["horizon"]) == (20, 4, 40)
    assert first["policy"] == "pure"
    done = twinfold(*words)
    assert done.code == 0
    assert "Model-based value of policy pure" in done.out
    assert "not from data of this policy" in " ".join(done.out.split())
    (row,) = (line for line in done.out.splitlines() if re.match(r"│ 0 ", line))
    assert f" {first['value']:.3g} " in row


def test_a_comparison(twinfold: Any, cart_run: Path) -> None:
    words = ["value", cart_run, *QUICK, "--policy", "test", "--against", "random", "--agent", "3"]
    done = twinfold(*words, "--json")
    assert (done.code, done.err) == (0, "")
    (row,) = json.loads(done.out)["values"]
    assert row["kind"] == "policy_comparison"
    assert (row["a"]["policy"], row["b"]["policy"]) == ("test", "random")
    assert 0 <= row["probability"] <= 1
    done = twinfold(*words)
    assert done.code == 0
    assert "Model-based comparison of test with random" in done.out
    assert f"{row['probability']:.2f}" in done.out


def test_the_planner(twinfold: Any, cart_run: Path) -> None:
    words = ["value", cart_run, "--task", "cart_pole", "--starts", 1, "--horizon", 3]
    words += ["--draws", 3, "--coverage", 0.5, "--policy", "plan", "--agent", 3]
    done = twinfold(*words)
    assert done.code == 0
    assert "takes minutes" in done.err
    assert "50 %" in done.out


def test_agents_left_out_are_the_first(twinfold: Any, cart_run: Path) -> None:
    done = twinfold("value", cart_run, *QUICK, "--policy", "random", "--json")
    assert [row["agent"] for row in json.loads(done.out)["values"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--policy", "best"], "unknown policy 'best'; valid: random, test, pure"),
        (["--against", "best"], "pure-eps-40, plan"),
        (["--agent", "99"], "unknown agent '99'"),
        (["--task", "mountain_car"], "fitted on data of 'cart_pole', not of 'mountain_car'"),
        (["--task", "acrobot"], "valid: cart_pole, mountain_car"),
        (["--draws", "5"], "needs 19 draws or more"),
        (["--starts", "0"], "--starts: '0' is not a whole number from 1"),
        (["--horizon", "0"], "--horizon: '0' is not a whole number from 1"),
        (["--discount", "2"], "'2' is not a number above 0 and at most 1"),
        (["--coverage", "90"], "'90' is not a number above 0 and below 1"),
        (["--seed", "-1"], "'-1' is not a whole number from 0"),
    ],
)
def test_refusals(twinfold: Any, cart_run: Path, words: list[str], expected: str) -> None:
    flags = {"--task": "cart_pole", "--agent": "3", "--policy": "random"} | {words[0]: words[1]}
    done = twinfold("value", cart_run, *[word for pair in flags.items() for word in pair])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert expected in done.err


def test_data_without_a_task(twinfold: Any, tank_run: Path) -> None:
    done = twinfold("value", tank_run, "--task", "cart_pole", "--policy", "random")
    assert done.code == 2
    assert "does not fit task 'cart_pole'" in done.err


@pytest.mark.parametrize("reward", ["1/0", "log(0-1)", "exp(1e9)"])
@pytest.mark.parametrize("words", [[], ["--against", "random"], ["--json"]])
def test_a_reward_that_is_no_number_anywhere_is_refused(
    twinfold: Any, tank_run: Path, reward: str, words: list[str]
) -> None:
    flags = ["--policy", "random", "--starts", 2, "--horizon", 2, "--reward", reward]
    done = twinfold("value", tank_run, *flags, *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: no world has finite returns: the reward ({reward}) divides")


def test_help_gives_an_example(twinfold: Any) -> None:
    assert "\n  twinfold value run " in twinfold("value", "--help").out


def test_what_a_fit_on_next_to_nothing_says_of_itself(twinfold: Any, tmp_path: Path) -> None:
    """A drift, of one transition each: it reacts to nothing, and nobody knows its errors."""
    table, run = tmp_path / "few.csv", tmp_path / "run"
    table.write_text("id,t,x,u\na,0,1,1\na,1,2,\nb,0,2,3\nb,1,4,\nc,0,1,2\nc,1,2.5,\n")
    columns = ["--agent", "id", "--time", "t", "--state", "x", "--action", "u"]
    done = twinfold("fit", table, *columns, "--action-type", "continuous", "--out", run)
    assert done.code == 0
    asked = {
        "simulate": ["--agent", "a", "--state", "1", "--actions", "1,2"],
        "plan": ["--agent", "a", "--state", "1", "--reward", "-x^2", "--horizon", 2],
        "value": ["--agent", "a", "--policy", "random", "--reward", "-x^2", "--horizon", 2],
    }
    for command, words in asked.items():
        done = twinfold(command, run, *words)
        assert done.code == 0
        assert "that is no evidence that it does nothing" in done.err
        assert ("nothing was held out when the model was fitted" in done.err) == (
            command != "value"
        )
