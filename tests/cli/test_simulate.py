"""``twinfold simulate``: one question, tables of them, and questions that make no sense."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import FittedModel, Simulator
from twinfold.cli.simulate import _steps
from twinfold.utils.text import banded

CARTS = ["--agent", "7", "--state", "-0.01,0.02,0.03,-0.04"]
STATES = ["x", "x_dot", "theta", "theta_dot"]


def cart_queries(path: Path, **changes: Any) -> Path:
    """Two questions, of 3 and 2 actions; ``changes`` are columns, or (row, column) cells."""
    nan = np.nan
    table = pd.DataFrame(
        {
            "query_id": ["q1"] * 3 + ["q2"] * 2,
            "agent_id": [7] * 3 + [11] * 2,
            "t": [4, 5, 6, 0, 1],
            "x": [-0.01, nan, nan, 0.0, nan],
            "x_dot": [0.02, nan, nan, 0.0, nan],
            "theta": [0.03, nan, nan, 0.0, nan],
            "theta_dot": [-0.04, nan, nan, 0.0, nan],
            "action": [0, 0, 1, 1, 0],
        }
    )
    for name, (row, value) in changes.items():
        table[name] = table[name].astype(object)
        table.loc[row, name] = value
    write = table.to_csv if path.suffix == ".csv" else table.to_parquet
    write(path, index=False)
    return path


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        ('"off, now"x2,on', ["discrete"], ["off, now"] * 2 + ["on"]),
        ('on;"dose x2"', ["discrete"], ["on", "dose x2"]),
        ('"a;b", 1.5x2;on,0', ["discrete", "continuous"], [["a;b", 1.5]] * 2 + [["on", 0.0]]),
        ('1,"a;b";0,on', ["continuous", "discrete"], [[1.0, "a;b"], [0.0, "on"]]),
        ('5" pipe,on', ["discrete"], ['5" pipe', "on"]),
        ("fill,2.5x3;hold,0", ["discrete", "continuous"], [["fill", 2.5]] * 3 + [["hold", 0.0]]),
    ],
)
def test_words_with_commas_are_in_quotes(text: str, kinds: Any, expected: list[Any]) -> None:
    assert _steps(text, kinds, words=True).tolist() == expected


def test_one_question(twinfold: Any, cart_run: Path, small_cart_pole: FittedModel) -> None:
    expected = Simulator(small_cart_pole, 7).rollout([-0.01, 0.02, 0.03, -0.04], [0, 0, 1])
    done = twinfold("simulate", cart_run, *CARTS, "--actions", "0x2,1", "--json")
    assert (done.code, done.err) == (0, "")
    record = json.loads(done.out)
    assert record["agent"] == 7
    assert record["coverage"] == 0.9
    assert record["prediction"]["step"] == [1, 2, 3]
    for d, name in enumerate(STATES):
        np.testing.assert_allclose(record["prediction"][name], expected.centre[:, d], rtol=1e-6)
        np.testing.assert_allclose(
            record["prediction"][f"{name}_upper"], expected.upper[:, d], rtol=1e-6
        )
    table = twinfold("simulate", cart_run, *CARTS, "--actions", "0,0,1")
    assert table.code == 0
    bands = zip(
        expected.centre.ravel(), expected.lower.ravel(), expected.upper.ravel(), strict=True
    )
    for value, lower, upper in bands:
        assert banded(value, lower, upper) in table.out
    assert "90 % band" in table.out


def test_going_on_from_where_the_data_ended(
    twinfold: Any, cart_run: Path, small_cart_pole: FittedModel
) -> None:
    expected = Simulator(small_cart_pole, 7).rollout(None, [0, 1])
    done = twinfold(
        "simulate", cart_run, "--agent", "7", "--from-last", "--actions", "0,1", "--json"
    )
    assert done.code == 0
    found = json.loads(done.out)["prediction"]
    np.testing.assert_allclose(found["x"], expected.centre[:, 0], rtol=1e-6)
    both = twinfold("simulate", cart_run, *CARTS, "--from-last", "--actions", "0")
    assert (both.code, both.err) == (
        2,
        "error: --from-last stands in place of --state; give one of them\n",
    )
    rows = twinfold(
        "simulate", cart_run, "--agent", "7", "--state", "0,0,0,0;0,0,0,0", "--actions", "0"
    )
    assert rows.code == 2
    assert "the model reads the present row alone; fit with a history" in rows.err


def test_the_same_question_as_a_table(twinfold: Any, cart_run: Path, tmp_path: Path) -> None:
    answers = {}
    for suffix in (".csv", ".parquet"):
        queries, out = cart_queries(tmp_path / f"q{suffix}"), tmp_path / f"p{suffix}"
        done = twinfold("simulate", cart_run, "--queries", queries, "--out", out)
        assert (done.code, done.err) == (0, "")
        assert done.out == f"{out}: 2 queries, 5 predicted rows\n"
        answers[suffix] = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    pd.testing.assert_frame_equal(answers[".csv"], answers[".parquet"], check_dtype=False)
    first = answers[".parquet"].iloc[:3]
    assert first["t"].tolist() == [5, 6, 7]
    single = json.loads(twinfold("simulate", cart_run, *CARTS, "--actions", "0,0,1", "--json").out)
    for name in STATES:
        np.testing.assert_allclose(first[name], single["prediction"][name], rtol=1e-4)


def test_odd_names_and_several_actions(
    twinfold: Any, tank_run: Path, small_continuous: FittedModel, tmp_path: Path
) -> None:
    agent = str(small_continuous.agent_ids[2])
    words = ["--agent", agent, "--state", "0.5,22", "--actions", "0.5,1;0.2,-1x2"]
    done = twinfold("simulate", tank_run, *words, "--out", tmp_path / "p.csv")
    assert (done.code, done.err) == (0, "")
    for part in ("Temp (°C)", "0.5, 1", "0.2, -1", str(tmp_path / "p.csv")):
        assert part in done.out
    answer = pd.read_csv(tmp_path / "p.csv")
    assert answer["tank no."].tolist() == [agent] * 3
    expected = Simulator(small_continuous, agent).rollout([0.5, 22], [[0.5, 1], [0.2, -1]] * 1)
    np.testing.assert_allclose(answer["Temp (°C)"][:2], expected.centre[:, 1], rtol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_a_picture(twinfold: Any, cart_run: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"course{suffix}"
    done = twinfold("simulate", cart_run, *CARTS, "--actions", "0,1", "--plot", path)
    assert done.code == 0
    assert done.out.endswith(f"{path}\n")
    head = path.read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if suffix == ".png" else b"<!doctype html" in head.lower()


def test_a_start_never_seen_is_doubted_in_one_line(twinfold: Any, cart_run: Path) -> None:
    words = ["--agent", "7", "--state", "0,0,9,0", "--actions", "1"]
    done = twinfold("simulate", cart_run, *words)
    assert done.code == 0
    assert done.err.startswith(
        "warning: agent 7: 1 first state lies outside the range of the data ('theta' is 9, the"
    )
    assert len(done.err.splitlines()) == 1
    assert twinfold("simulate", cart_run, *words, "--quiet").err == ""
    strict = twinfold("simulate", cart_run, *words, "--strict")
    assert (strict.code, strict.out) == (2, "")
    assert "the first state 'theta' is out of range: 9; the training data has" in strict.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "give --agent with --state (or --from-last) and --actions, or --queries with --out"),
        (["--agent", "7"], "needs --state and --actions"),
        (["--queries", "q.csv"], "--queries needs --out"),
        (["--queries", "q.csv", "--agent", "7", "--out", "p.csv"], "go without --queries"),
        (["--queries", "q.csv", "--out", "p.csv", "--plot", "p.png"], "--plot draws a single"),
        (["--queries", "none.csv", "--out", "p.csv"], "none.csv: No such file"),
        (["--agent", "70", "--state", "0,0,0,0", "--actions", "1"], "unknown agent '70'"),
        (["--agent", "7", "--state", "0,0,0", "--actions", "1"],
         "--state needs 4 numbers separated by commas (x, x_dot, theta, theta_dot), not 3"),
        (["--agent", "7", "--state", "0,0,zero,0", "--actions", "1"], "--state takes numbers"),
        (["--agent", "7", "--state", "nan,nan,nan,nan", "--actions", "1"], "nan"),
        ([*CARTS, "--actions", "1,2"], "unknown action 2"),
        ([*CARTS, "--actions", "1x"], "should be an action, or an action x times"),
        ([*CARTS, "--actions", "1x0"], "1 to 1000000 steps"),
        ([*CARTS, "--actions", "1x9999999999"], "1 to 1000000 steps"),
        ([*CARTS, "--actions", "1,0;1"], "every step needs 1 value"),
        ([*CARTS, "--actions", "1", "--plot", "p.gif"], "valid: .png, .pdf, .svg, .html"),
        ([*CARTS, "--actions", "1", "--out", "p.xlsx"], "valid: .csv"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be(
    twinfold: Any,
    cart_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = twinfold("simulate", cart_run, *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert expected in done.err
    assert not list(tmp_path.iterdir())


def test_an_action_out_of_range(twinfold: Any, tank_run: Path) -> None:
    words = ["--agent", "T-001/é", "--state", "0.5,22", "--actions", "0.5,1;0.5,40"]
    done = twinfold("simulate", tank_run, *words)
    assert done.code == 0
    assert "unsupported (0.00)" in done.out
    assert "warning: agent 'T-001/é': 1 action lies outside the range of the data" in done.err
    assert "(step 1: 'heat;kW' is 40, the data has" in done.err
    done = twinfold("simulate", tank_run, *words, "--strict")
    assert (done.code, done.out) == (2, "")
    assert "'heat;kW' of step 1 is out of range: 40" in done.err


def test_a_table_with_an_action_out_of_range(twinfold: Any, tank_run: Path, tmp_path: Path) -> None:
    questions, out = tmp_path / "q.csv", tmp_path / "p.csv"
    pd.DataFrame(
        {
            "query_id": ["low", "low", "high"],
            "tank no.": "T-001/é",
            "when": ["2026-04-01T10:00+02:00", "2026-04-01T11:00+02:00", "2026-04-01T10:00+02:00"],
            "level": [0.5, None, 0.5],
            "Temp (°C)": [22.0, None, 22.0],
            "in flow": [0.5, 0.5, 0.5],
            "heat;kW": [1.0, 1.0, 40.0],
        }
    ).to_csv(questions, index=False)
    words = ["simulate", tank_run, "--queries", questions, "--out", out]
    done = twinfold(*words)
    assert done.code == 0
    assert "1 action of 1 query lies outside the range of the data (query 'hi" in done.err
    answers = pd.read_csv(out)
    assert list(answers.columns[-2:]) == ["support", "basis"]
    assert answers.notna().to_numpy().all()
    assert answers["basis"].iloc[2] == "unsupported"
    before = out.read_bytes()
    done = twinfold(*words, "--strict")
    assert (done.code, done.out) == (3, "")
    assert "query 'high', row 2 (line 4): the action 'heat;kW' is out of range: 40" in done.err
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"agent_id": ([3, 4], 700)}, "query 'q2', row 3 (line 5): unknown agent 700"),
        ({"action": (1, 5)}, "query 'q1', row 1 (line 3): unknown action 5"),
        ({"action": (1, None)}, "query 'q1', row 1 (line 3): no action"),
        ({"t": (2, 9)}, "query 'q1', row 2 (line 4): a time gap"),
        ({"x": (0, "left")}, "query 'q1', row 0 (line 2): column 'x' (state): 'left'"),
    ],
)
def test_a_question_that_makes_no_sense_is_named(
    twinfold: Any, cart_run: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    queries, out = cart_queries(tmp_path / "q.csv", **changes), tmp_path / "p.csv"
    done = twinfold("simulate", cart_run, "--queries", queries, "--out", out)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"error: {expected}")
    assert len(done.err.splitlines()) == 1
    assert not out.exists()


def test_a_table_of_something_else(twinfold: Any, cart_run: Path, tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("query,agent_id\n1,2\n")
    done = twinfold("simulate", cart_run, "--queries", tmp_path / "q.csv", "--out", "p.csv")
    assert done.code == 3
    assert "no column 'query_id'" in done.err
    assert "a table of questions has the columns" in done.err


def test_the_questions_are_not_overwritten(twinfold: Any, cart_run: Path, tmp_path: Path) -> None:
    queries = cart_queries(tmp_path / "q.csv")
    kept = queries.read_bytes()
    done = twinfold("simulate", cart_run, "--queries", queries, "--out", queries)
    assert done.code == 2
    assert "is the table of questions itself" in done.err
    assert queries.read_bytes() == kept


def test_a_table_answered_as_a_record(twinfold: Any, cart_run: Path, tmp_path: Path) -> None:
    words = ["--queries", cart_queries(tmp_path / "q.csv"), "--out", tmp_path / "p.csv"]
    done = twinfold("simulate", cart_run, *words, "--json")
    assert json.loads(done.out) == {"out": str(tmp_path / "p.csv"), "queries": 2, "rows": 5}
    assert twinfold("simulate", cart_run, *words, "--quiet").out == ""


@pytest.fixture
def damaged(cart_run: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be damaged."""
    return Path(shutil.copytree(cart_run, tmp_path / "run"))


def ask(twinfold: Any, run: Path) -> str:
    done = twinfold("simulate", run, *CARTS, "--actions", "0")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    return done.err


def test_a_damaged_run(twinfold: Any, damaged: Path) -> None:
    blob = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(blob[:-100])
    assert "model.safetensors is damaged" in ask(twinfold, damaged)
    (damaged / "model.safetensors").unlink()
    assert "cannot read" in ask(twinfold, damaged)
    (damaged / "model.safetensors").write_bytes(blob)
    (damaged / "run.json").write_text("{")
    assert "cannot read" in ask(twinfold, damaged)
    (damaged / "run.json").write_text("{}")
    assert "not written by twinfold" in ask(twinfold, damaged)
    (damaged / "run.json").unlink()
    assert "is not a run directory" in ask(twinfold, damaged)
    shutil.rmtree(damaged)
    assert f"no run directory {damaged}; `twinfold fit" in ask(twinfold, damaged)


def test_a_run_whose_parts_do_not_fit_each_other(twinfold: Any, damaged: Path) -> None:
    (damaged / "agents.json").write_text("[0, 1, 2]")
    assert "damaged" in ask(twinfold, damaged)
