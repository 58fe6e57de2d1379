"""``twinfold plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinfold.cli.planner_flags import PlannerFlags
from twinfold.planning.config import setting_fields
from twinfold.utils.text import banded

QUICK = ["--candidates", 20, "--horizon", 6]


def plan(twinfold: Any, run: Path, *words: Any, task: str = "cart_pole", agent: Any = 3) -> Any:
    return twinfold("plan", run, "--task", task, "--agent", agent, *QUICK, *words)


def test_the_table_and_the_record_agree(twinfold: Any, cart_run: Path, tmp_path: Path) -> None:
    words = ["--state", "-0.01,0,0.02,0", "--seed", 5]
    picture = tmp_path / "plan.html"
    done = plan(twinfold, cart_run, *words, "--json", "--plot", picture)
    assert (done.code, done.err) == (0, "")
    record = json.loads(done.out)
    assert record["agent"] == 3
    assert record["state"] == [-0.01, 0, 0.02, 0]
    assert len(record["actions"]) == 6
    assert set(record["actions"]) <= {0, 1}
    assert record["plan"]["candidates"] == 20
    assert record["plan"]["terminal_value"] == "none"
    assert record["plan"]["risk"] == 0.0
    assert record["prediction"]["step"] == [1, 2, 3, 4, 5, 6]
    assert picture.stat().st_size > 10_000
    done = plan(twinfold, cart_run, *words)
    assert "agent 3, from state -0.01, 0, 0.02, 0: plan of 6 steps worth" in done.out
    rows = [line.split("│") for line in done.out.splitlines() if line.startswith("│")]
    shown = [int(row[2]) for row in rows if row[2].strip()]  # a table below the other, perhaps
    assert shown == record["actions"] * (len(shown) // 6)
    course = record["prediction"]
    bands = zip(course["theta"], course["theta_lower"], course["theta_upper"], strict=True)
    for value, lower, upper in bands:
        assert banded(value, lower, upper) in done.out
    assert "planned with: planner sticky, candidates 20, horizon 6" in done.out


def test_a_plan_follows_from_its_seed(twinfold: Any, cart_run: Path) -> None:
    outs = [plan(twinfold, cart_run, "--json", "--seed", seed).out for seed in (1, 1, 2)]
    assert outs[0] == outs[1] != outs[2]


def test_every_setting_of_a_planner_has_a_flag() -> None:
    assert list(PlannerFlags.__dataclass_fields__) == list(setting_fields())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--agent", "99"], "unknown agent '99'"),
        (["--task", "mountain_car"], "fitted on data of 'cart_pole', not of 'mountain_car'"),
        (["--task", "acrobot"], "valid: cart_pole, mountain_car"),
        (["--state", "0,0"], "--state needs 4 numbers separated by commas (x, x_dot, theta"),
        (["--state", "0,0,0,inf"], "the state needs 4 finite numbers"),
        (["--planner", "cem"], "for discrete actions use 'sticky' or 'shooting'"),
        (["--planner", "guess"], "--planner: 'guess' is not one of sticky, shooting, icem"),
        (["--risk", "-1"], "--risk: '-1' is not a number from 0"),
        (["--behaviour", "-1"], "--behaviour: '-1' is not"),
        (["--discount", "2"], "--discount: '2' is not a number above 0 and at most 1"),
        (["--terminal-value", "grid"], "states of 1 to 3"),
        (["--terminal-value", "gird"], "--terminal-value: 'gird' is not one of none, grid"),
        (["--plot", "p.bmp"], "valid: .png"),
    ],
)
def test_refusals(twinfold: Any, cart_run: Path, words: list[str], expected: str) -> None:
    flags = {"--task": "cart_pole", "--agent": "3"} | {words[0]: words[1]}
    done = twinfold("plan", cart_run, *[word for pair in flags.items() for word in pair])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert expected.replace("states of 1 to 3", "1 to 3 coordinates") in done.err


def test_a_run_of_other_data(twinfold: Any, tank_run: Path) -> None:
    done = plan(twinfold, tank_run, agent="T-001/é")
    assert (done.code, done.out) == (2, "")
    assert "does not fit task 'cart_pole'" in done.err


def test_a_state_out_of_range_is_planned_from_unless_strict(twinfold: Any, cart_run: Path) -> None:
    words = ["plan", cart_run, "--task", "cart_pole", "--agent", 3, "--state", "0,0,0.05,40"]
    words += ["--horizon", 4, "--candidates", 20]
    done = twinfold(*words)
    assert done.code == 0
    assert "warning: agent 3: 1 first state lies outside the range of the data" in done.err
    assert "nothing in the data backs the plan from step 1 on (support 0.00)" in done.err
    assert "--min-support 0.5 abstains instead" in done.err
    assert "--behaviour" not in done.err  # of choices no policy is learned
    strict = twinfold(*words, "--strict")
    assert (strict.code, strict.out) == (2, "")
    assert "the first state 'theta_dot' is out of range: 40; the training data has" in strict.err
