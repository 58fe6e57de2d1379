"""Words, mixed actions and rewards of one's own from the command line, from table to plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROLES = ["--agent", "id", "--time", "t", "--state", "level"]
MIXED = [*ROLES, "--action", "mode,amount", "--action-type", "discrete,continuous"]
QUICK = ["--candidates", 20, "--horizon", 3, "--rounds", 3]
FAST = 'linear = "pooled"\nrank = 0\nbehaviour_steps = 200\n'


def tanks(n_agents: int = 8, n_rows: int = 15) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    mode = rng.integers(0, 3, (n_agents, n_rows))
    amount = rng.uniform(1, 2, (n_agents, n_rows)).round(3)
    change = np.choose(mode, [-amount, amount, 0 * amount])
    return pd.DataFrame(
        {
            "id": np.repeat([f"T{n}" for n in range(n_agents)], n_rows),
            "t": np.tile(np.arange(n_rows), n_agents),
            "level": (50 + np.cumsum(change, axis=1) - change).ravel(),
            "mode": np.array(["drain", "fill x2", "hold"])[mode.ravel()],
            "amount": amount.ravel(),
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("goals")


@pytest.fixture
def run(place: Path, twinfold: Any) -> Path:
    """A run of mixed actions whose roles have a reward; fitted once."""
    path = place / "run"
    if not path.exists():
        tanks().to_csv(place / "tanks.csv", index=False)
        (place / "fast.toml").write_text(FAST)
        words = ["--reward", "-(next.level - 52)^2", "--config", place / "fast.toml", "--quiet"]
        done = twinfold("fit", place / "tanks.csv", "--out", path, *MIXED, *words)
        assert done.code == 0, done.err
    return path


def test_a_question_in_words(run: Path, twinfold: Any) -> None:
    words = ["simulate", run, "--agent", "T3", "--state", "50", "--actions"]
    done = twinfold(*words, "fill x2,1.5x2;hold,1", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["prediction"]["level"] == pytest.approx([51.5, 53, 53], abs=0.2)
    assert "fill x2, 1.5" in twinfold(*words, "fill x2,1.5").out
    done = twinfold(*words, "fil,1")
    assert done.code == 2
    assert "unknown action 'fil' in step 0; the levels of 'mode': drain, fill x2, hold" in done.err
    assert "--steps is for a fit without action columns" in twinfold(*words[:-1], "--steps", 3).err


def test_a_table_of_questions_in_words(run: Path, twinfold: Any, place: Path) -> None:
    asked = pd.DataFrame(
        {
            "query_id": ["q", "q", "p"],
            "id": ["T1", "T1", "T2"],
            "t": [0, 1, 0],
            "level": [50.0, None, 51.0],
            "mode": ["drain", "hold", " hold"],
            "amount": [2.0, 1.0, 1.5],
        }
    )
    asked.to_csv(place / "asked.csv", index=False)
    words = ["simulate", run, "--queries", place / "asked.csv", "--out", place / "answers.csv"]
    assert twinfold(*words).code == 0
    found = pd.read_csv(place / "answers.csv")
    np.testing.assert_allclose(found["level"], [48, 48, 51], atol=0.2)
    asked.assign(mode=["drian", "hold", None]).to_csv(place / "asked.csv", index=False)
    done = twinfold(*words)
    assert done.code == 3
    assert "unknown action 'drian' in column 'mode'; the levels: drain, fill x2, hold" in done.err


def test_a_plan_by_the_reward_of_the_fit_or_another(run: Path, twinfold: Any) -> None:
    words = ["plan", run, "--agent", "T3", "--state", "50", *QUICK]
    found = json.loads(twinfold(*words, "--json").out)
    assert found["task"] == "-(next.level - 52)^2"
    assert found["prediction"]["level"][-1] == pytest.approx(52, abs=0.6)
    found = json.loads(
        twinfold(*words, "--json", "--reward", "-next.level", "--forbid", "mode == 'drain'").out
    )
    assert {mode for mode, _ in found["actions"]} == {"hold"}
    shown = twinfold(*words[:4], *QUICK).out  # from where the data ended
    assert "agent T3, from state" in shown


def test_draws_and_what_a_band_is_made_of(run: Path, twinfold: Any, place: Path) -> None:
    words = ["simulate", run, "--agent", "T3", "--state", "50", "--actions", "fill x2,1x2"]
    found = json.loads(twinfold(*words, "--draws", 5, "--json").out)["draws"]
    assert found["draw"] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert found["step"] == [1, 2] * 5
    assert found["level"][:2] == pytest.approx([51, 52], abs=1)
    done = twinfold(*words, "--parts", "--json")
    parts = json.loads(done.out)["prediction"]
    assert min(parts["level_noise"]) > 0
    assert len(parts["level_ignorance"]) == 2
    assert "level: noise" in twinfold(*words, "--parts").out
    assert "--draws writes a table: give --out, or --json" in twinfold(*words, "--draws", 5).err
    frame = pd.DataFrame({"query_id": "q", "id": "T1", "t": [0, 1], "level": [50.0, None]})
    frame.assign(mode="hold", amount=1.0).to_csv(place / "some.csv", index=False)
    words = ["simulate", run, "--queries", place / "some.csv", "--out", place / "drawn.csv"]
    assert twinfold(*words, "--draws", 3).code == 0
    drawn = pd.read_csv(place / "drawn.csv")
    assert list(drawn.columns) == ["query_id", "id", "t", "draw", "level"]
    assert drawn["t"].tolist() == [1, 2] * 3
    assert twinfold(*words, "--parts").code == 0
    assert {"level_noise", "level_ignorance"} < set(pd.read_csv(place / "drawn.csv").columns)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--reward", "levl"], "--reward, character 1: there is no column 'levl'. Did you mean"),
        (["--reward", "open('x')"], "--reward, character 1: there is no function 'open'"),
        (["--terminated", "amount > 1"], "--terminated, character 1: 'amount' is an action"),
        (["--forbid", "level > 1"], "--forbid, character 1: 'level' is a state"),
        (["--task", "cart_pole", "--reward", "level"], "--task and --reward both say"),
    ],
)
def test_refusals(run: Path, twinfold: Any, words: list[str], expected: str) -> None:
    done = twinfold("plan", run, "--agent", "T3", "--state", "50", *QUICK, *words)
    assert (done.code, done.out) == (2, "")
    assert expected in done.err


def test_what_a_policy_is_worth(run: Path, twinfold: Any) -> None:
    words = ["value", run, "--reward", "level > 0", "--policy", "random", "--agent", "T1"]
    done = twinfold(*words, "--max-steps", 4, "--starts", 3, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)["values"][0]
    assert (found["value"], found["horizon"], found["task"]) == (4, 4, "level > 0")


def test_a_fit_on_which_nobody_acts(twinfold: Any, place: Path, run: Path) -> None:
    path = place / "passive"
    done = twinfold(
        "fit", place / "tanks.csv", "--out", path, *ROLES, "--config", place / "fast.toml"
    )
    assert done.code == 0, done.err
    assert "no action column: the run predicts what happens" in done.err
    assert "--steps 3" in done.err
    done = twinfold("simulate", path, "--agent", "T3", "--from-last", "--steps", 3, "--json")
    assert len(json.loads(done.out)["prediction"]["level"]) == 3
    for command in (["plan", "--agent", "T3"], ["value", "--policy", "random"]):
        done = twinfold(command[0], path, *command[1:])
        assert done.code == 2
        assert "the run has no action column: it predicts" in done.err
    assert (
        "give --steps, and no --actions"
        in twinfold("simulate", path, "--agent", "T3", "--from-last", "--actions", "1").err
    )


def test_a_reward_that_cannot_be_read_stops_the_fit(twinfold: Any, place: Path, run: Path) -> None:
    words = ["fit", place / "tanks.csv", "--out", place / "none", *MIXED, "--reward"]
    done = twinfold(*words, "-(lvl - 1)^2")
    assert done.code == 3
    assert "the reward of the roles, character 3: there is no column 'lvl'" in done.err
    assert not (place / "none").exists()
    assert "no column 'rew' (reward)" in twinfold(*words, "rew").err
    done = twinfold("fit", place / "tanks.csv", "--out", place / "none", *MIXED[:-1], "disc")
    assert "'disc' is not one of discrete, continuous" in done.err
