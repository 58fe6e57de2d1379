"""``twinfold validate``: verdicts, gates, reports, and what cannot be validated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from twinfold.benchmark.collect import collect, provenance
from twinfold.cli import main
from twinfold.data.io import load_panel, save_panel, write_table
from twinfold.tasks.registry import get_task
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

SETTINGS = """
effort = "quick"
linear = "none"
features = "separable"
rank = 4
members = 2
state_net = [64]
steps = 3000
schedules = [1.0]
shrinkages = [0.1]
validation_members = 1
"""


class Place(NamedTuple):
    """A run, the table it was made from, and fresh data of other agents."""

    run: Path
    table: Path
    fresh: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """60 cart-poles, 20 of them reserved; 30 others."""
    folder = tmp_path_factory.mktemp("validated")
    task = get_task("cart_pole")
    every = collect(task, "random", 90, 0)
    names = list(every.agent_ids)
    table, fresh = folder / "carts.parquet", folder / "fresh.csv"
    save_panel(every.select_agents(names[:60]), table, provenance(task, "random", 60, 0))
    write_table(every.select_agents(names[60:]).to_frame(), fresh)  # no manifest
    settings = folder / "settings.toml"
    settings.write_text(SETTINGS)
    run = folder / "run"
    words = ["fit", table, "--out", run, "--reserve", 20, "--config", settings, "--quiet"]
    assert main([str(word) for word in words]) == 0
    return Place(run, table, fresh)


def with_info(run: Path, out: Path, **source: Any) -> Path:
    """The run with another origin."""
    model = load_run(run)
    save_run(replace(model, info=model.info.changed(source=source)), out)
    return out


def shuffled(place: Place, path: Path) -> Path:
    """Fresh data whose actions are in random order."""
    table = pd.read_csv(place.fresh)
    rng = np.random.default_rng(0)
    for _, rows in table.groupby("agent_id"):
        index = rows.index[:-1]
        table.loc[index, "action"] = rng.permutation(table.loc[index, "action"])
    table.to_csv(path, index=False)
    return path


# Verdicts


def test_without_data_the_table_of_the_fit_is_examined(twinfold: Any, place: Place) -> None:
    done = twinfold("validate", place.run)
    assert (done.code, done.err) == (0, "")
    first, *_ = done.out.splitlines()
    assert first.startswith("usable for planning within support: 20 agents that the nets have not")
    record = json.loads(twinfold("validate", place.run, "--json").out)
    assert record["verdict"] == "usable for planning within support"
    assert record["data"] == str(place.table.resolve())
    for check in record["checks"]:
        assert check["name"] in done.out
        if check["status"] != "pass":
            assert f"{check['status']} {check['name']}: {check['advice']}" in done.out
    words = {"pass": "passed", "warn": "warnings", "fail": "failed", "unknown": "could not be made"}
    for status, word in words.items():
        count = sum(check["status"] == status for check in record["checks"])
        assert f"{count} {word}" in first


def test_fresh_data_needs_no_manifest(twinfold: Any, place: Place, tmp_path: Path) -> None:
    done = twinfold("validate", place.run, place.fresh, "--quiet", "--gate", "planning")
    assert (done.code, done.err) == (0, "")
    (line,) = done.out.splitlines()
    assert line.startswith("usable for planning within support: 30 agents of fresh data; ")
    table = pd.read_csv(place.fresh).rename(columns={"agent_id": "cart", "t": "step"})
    table.to_csv(tmp_path / "renamed.csv", index=False)
    flags = ["--agent", "cart", "--time", "step", "--state", "x,x_dot,theta,theta_dot"]
    flags += ["--action", "action", "--action-type", "discrete"]
    again = twinfold("validate", place.run, tmp_path / "renamed.csv", "--quiet", *flags)
    assert again.out == done.out


def test_columns_that_nothing_is_learned_from_may_be_missing(
    twinfold: Any, place: Place, tmp_path: Path
) -> None:
    table = pd.read_csv(place.fresh).drop(columns=["reward", "terminated"])
    table.to_csv(tmp_path / "less.csv", index=False)
    done = twinfold("validate", place.run, tmp_path / "less.csv", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.out == twinfold("validate", place.run, place.fresh, "--quiet").out


def test_the_table_of_the_fit_is_known_when_it_is_given(
    twinfold: Any, place: Place, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.csv"
    write_table(load_panel(place.table).to_frame(), copy)
    record = json.loads(twinfold("validate", place.run, copy, "--json").out)
    assert record["fresh"] is False
    assert record["agents"] == 20


# Gates


@pytest.mark.parametrize("gate", ["prediction", "planning"])
def test_a_gate_lets_a_usable_run_through(twinfold: Any, place: Place, gate: str) -> None:
    done = twinfold("validate", place.run, "--gate", gate, "--quiet")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("gate", ["prediction", "planning"])
def test_a_gate_says_what_failed(twinfold: Any, place: Place, tmp_path: Path, gate: str) -> None:
    faulty = shuffled(place, tmp_path / "faulty.csv")
    done = twinfold("validate", place.run, faulty, "--quiet", "--gate", gate)
    assert done.code == 1
    assert done.out.startswith("not usable: ")
    assert done.err.startswith(f"gate {gate}: the verdict is 'not usable', not 'usable for")
    assert "reference shift: residual scale" in done.err
    assert len(done.err.splitlines()) == 1
    assert twinfold("validate", place.run, faulty, "--quiet").code == 0  # no gate, no judgement


def test_a_verdict_between_the_gates(
    twinfold: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twinfold.validation import validate as module
    from twinfold.validation.check import Check

    good = Check("against persistence", "pass", "f", "e", "Better.", needed="prediction")
    bad = Check("against other actions", "fail", "f", "e", "Do not plan.", planning=True)
    monkeypatch.setattr(module, "check_panel", lambda *_: [good, bad])
    monkeypatch.setattr(module, "check_evidence", lambda *_: [])
    assert twinfold("validate", place.run, "--gate", "prediction").code == 0
    done = twinfold("validate", place.run, "--gate", "planning")
    assert done.code == 1
    assert "usable for prediction" in done.out.splitlines()[0]
    assert "fail against other actions: Do not plan." in done.out
    assert "failed: against other actions" in done.err


def test_what_cannot_be_told_passes_no_gate(twinfold: Any, place: Place, tmp_path: Path) -> None:
    table = pd.read_csv(place.fresh)
    few = list(dict.fromkeys(table["agent_id"]))[:4]
    table[table["agent_id"].isin(few)].to_csv(tmp_path / "few.csv", index=False)
    for gate in ("prediction", "planning"):
        done = twinfold("validate", place.run, tmp_path / "few.csv", "--gate", gate)
        assert done.code == 1
        assert done.out.startswith("cannot tell: 4 agents of fresh data; ")
        assert "fewer than 7 never do" in done.out
        assert done.err.startswith(f"gate {gate}: the verdict is 'cannot tell', not 'usable for")
        assert "not shown: " in done.err
        assert "against persistence" in done.err
        assert len(done.err.splitlines()) == 1
    assert twinfold("validate", place.run, tmp_path / "few.csv", "--quiet").code == 0


def test_the_command_itself(place: Place, tmp_path: Path) -> None:
    faulty = shuffled(place, tmp_path / "faulty.csv")
    script = Path(sys.executable).with_name("twinfold")
    words = [script, "validate", place.run, faulty, "--gate", "prediction", "--out", tmp_path / "r"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not usable" in done.stdout
    assert done.stderr.startswith("gate prediction: ")
    assert (tmp_path / "r" / "validation.html").is_file()  # a report most of all when it fails


# Reports


def test_the_report_is_the_record_and_a_page_of_it(
    twinfold: Any, place: Place, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "report"
    done = twinfold("validate", place.run, place.fresh, "--out", out)
    assert done.code == 0
    assert done.out.splitlines()[-1] == f"page: {out / 'validation.html'}"
    assert sorted(path.name for path in out.iterdir()) == ["validation.html", "validation.json"]
    record = json.loads((out / "validation.json").read_text(encoding="utf-8"))
    printed = json.loads(twinfold("validate", place.run, place.fresh, "--json").out)
    assert {**record, "created": None} == {**printed, "created": None}
    page = (out / "validation.html").read_text(encoding="utf-8")
    assert "<title>Validation: usable for planning within support</title>" in page
    twinfold("validate", place.run, "--out", out, "--quiet")  # another one takes its place
    assert json.loads((out / "validation.json").read_text(encoding="utf-8"))["fresh"] is False


# What cannot be validated


def test_a_table_that_moved_or_changed(twinfold: Any, place: Place, tmp_path: Path) -> None:
    moved = with_info(place.run, tmp_path / "moved", table=str(tmp_path / "gone.parquet"))
    done = twinfold("validate", moved)
    assert (done.code, done.out) == (2, "")
    assert "gone.parquet, is not there any more" in done.err
    assert "twinfold validate RUN DATA" in done.err
    assert twinfold("validate", moved, place.table, "--quiet").code == 0
    changed = with_info(place.run, tmp_path / "changed", table=str(place.fresh))
    done = twinfold("validate", changed)
    assert (done.code, done.out) == (2, "")
    assert "not the table that the run was made from any more" in done.err
    unknown = with_info(place.run, tmp_path / "unknown")
    done = twinfold("validate", unknown)
    assert (done.code, done.out) == (2, "")
    assert "does not say which table" in done.err


def test_no_reserved_agents(twinfold: Any, place: Place, tmp_path: Path) -> None:
    model = load_run(place.run)
    trained = [
        name for name, seen in zip(model.agent_ids, model.posterior.trained, strict=True) if seen
    ]
    part = tmp_path / "part.parquet"
    save_panel(load_panel(place.table).select_agents(trained), part)
    done = twinfold("validate", place.run, part)
    assert (done.code, done.out) == (2, "")
    assert "fit with --reserve" in done.err


def test_wrong_columns(twinfold: Any, place: Place, tmp_path: Path) -> None:
    table = pd.read_csv(place.fresh).rename(columns={"x_dot": "speed"})
    table.to_csv(tmp_path / "wrong.csv", index=False)
    done = twinfold("validate", place.run, tmp_path / "wrong.csv")
    assert (done.code, done.out) == (3, "")
    assert "'x_dot'" in done.err
    flags = ["--agent", "agent_id", "--time", "t", "--state", "x,speed,theta,theta_dot"]
    flags += ["--action", "action", "--action-type", "discrete"]
    done = twinfold("validate", place.run, tmp_path / "wrong.csv", *flags)
    assert (done.code, done.out) == (2, "")
    assert "'x_dot'" in done.err
    done = twinfold("validate", place.run, place.fresh, "--agent", "agent_id")
    assert (done.code, done.out) == (2, "")
    assert "--time, --state missing" in done.err


def test_agents_of_one_transition(twinfold: Any, place: Place, tmp_path: Path) -> None:
    table = pd.read_csv(place.fresh)
    short = table[table["t"] < 2].copy()
    short.loc[short["t"] == 1, "action"] = np.nan
    short = short.drop(columns=["reward", "terminated", "truncated"])
    short.to_csv(tmp_path / "short.csv", index=False)
    done = twinfold("validate", place.run, tmp_path / "short.csv")
    assert (done.code, done.out) == (2, "")
    assert "a new one needs three rows in a row" in done.err


def test_paths_that_make_no_sense(twinfold: Any, place: Place, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = twinfold("validate", place.run, "--out", file)
    assert (done.code, done.out) == (2, "")
    assert "is a file; give a folder" in done.err
    done = twinfold("validate", tmp_path / "no run")
    assert (done.code, done.out) == (1, "")
    done = twinfold("validate", place.run, tmp_path / "no table.csv")
    assert (done.code, done.out) == (2, "")
    done = twinfold("validate", place.run, "--gate", "everything")
    assert done.code == 2
    assert "planning" in done.err


def test_a_run_of_which_an_agent_was_forgotten(twinfold: Any, place: Place, tmp_path: Path) -> None:
    left = tmp_path / "left"
    assert twinfold("forget", place.run, "--agent", "3", "--out", left, "--quiet").code == 0
    done = twinfold("validate", left, "--quiet")
    assert (done.code, done.err) == (0, "")
    shutil.rmtree(left)


def test_coverage_by_a_column_of_the_table(twinfold: Any, place: Place, tmp_path: Path) -> None:
    table = pd.read_csv(place.fresh)
    table["site"] = np.where(table["agent_id"] % 2 == 0, "north", "south")
    table.to_csv(tmp_path / "sites.csv", index=False)
    words = ["validate", place.run, tmp_path / "sites.csv", "--json"]
    record = json.loads(twinfold(*words, "--group", "site").out)
    (check,) = (c for c in record["checks"] if c["name"] == "band by group")
    assert [row["group"] for row in check["values"]["groups"]] == ["north", "south"]
    done = twinfold(*words, "--group", "stie")
    assert done.code == 2
    assert "no column 'stie'" in done.err
    assert "'site'" in done.err
    table.loc[table.index[0], "site"] = "south"
    table.to_csv(tmp_path / "sites.csv", index=False)
    done = twinfold(*words, "--group", "site")
    assert done.code == 2
    assert "in two groups" in done.err


def test_the_ranges_are_those_of_the_whole_table(place: Place) -> None:
    model, whole = load_run(place.run), load_panel(place.table).data_ranges()
    np.testing.assert_allclose(model.known_ranges.state_low, whole.state_low)
    np.testing.assert_allclose(model.known_ranges.state_high, whole.state_high)
    wider = model.known_ranges.state_high - model.known_ranges.state_low
    wider -= model.ranges.state_high - model.ranges.state_low
    assert (wider >= 0).all()  # the reserved agents are in the former alone
    assert (wider > 0).any()


def test_a_time_step_a_little_off_is_validated(twinfold: Any, place: Place, tmp_path: Path) -> None:
    frame = pd.read_csv(place.fresh)
    path = tmp_path / "fresh.csv"
    usual = twinfold("validate", place.run, place.fresh)
    for factor, told in ((1.03, False), (1.3, True)):
        frame.assign(t=frame["t"] * factor).to_csv(path, index=False)
        done = twinfold("validate", place.run, path)
        assert done.code == 0
        assert ("the time between two rows is 1.3, in the model's data 1:" in done.err) == told
        assert done.out == usual.out
    frame.assign(t=frame["t"] * 2).to_csv(path, index=False)
    done = twinfold("validate", place.run, path)
    assert (done.code, done.out) == (2, "")
    assert "the time between two rows is 2, in the model's data 1; resample" in done.err
