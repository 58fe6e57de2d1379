"""Suites from start to end through the command line, with fits of a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark import protocol as evaluate
from twinfold.benchmark.eta import Clock, duration
from twinfold.benchmark.records import VERSION
from twinfold.benchmark.suite_parts import Cell
from twinfold.planning.config import ObjectiveSettings, PlanConfig
from twinfold.planning.presets import PAPER
from twinfold.training.run_directory import load_run

POLES = ("--task", "cart_pole")
RECORDS = Path("results/tiny-quick.jsonl")


def lines(path: Path = RECORDS) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_writes_a_record_per_cell_and_does_nothing_twice(bench: Any) -> None:
    plan = bench("run", "tiny", *POLES, "--dry-run")
    assert plan.out.count("to run  ") == 2
    assert not RECORDS.exists()
    done = bench("run", "tiny", *POLES)
    assert done.code == 0, done.err
    assert done.out == f"{RECORDS}: 2 cells measured, 0 were there\n"
    assert "tiny, profile quick: 2 cells to run, 0 done" in done.err
    assert "cells left: about" in done.err
    first, second = lines()
    assert (first["agent"], second["agent"]) == (0, 3)
    assert first["settings"]["fit"]["steps"] == 200
    assert first["settings"]["data"] == {"agents": 12, "seed": 0}
    assert first["budget"] == {"repeats": 1, "trajectories": 3, "steps": 5}
    assert first["fitted"]["shrinkage"] == 0.1
    assert first["fitted"]["held_out_error"] > 0
    assert len(first["fitted"]["fingerprint"]) == 64
    assert first["seconds"]["fit"] > 0
    assert first["seeds"] == {"data_and_fit": 0, "evaluation": 0}
    assert second["seeds"]["evaluation"] == 3
    (run,) = Path("runs/bench").iterdir()
    model = load_run(run)
    assert model.info.fingerprint == first["fitted"]["fingerprint"]
    assert model.info.source == {
        "task": "cart_pole",
        "policy": "random",
        "n_agents": 12,
        "seed": 0,
    }

    again = bench("run", "tiny", *POLES, "--json")
    assert json.loads(again.out) == {"records": str(RECORDS), "measured": 0, "skipped": 2}
    assert lines() == [first, second]

    # The other suite uses the fit again, and a part of it has the figures of the whole.
    returns = Path("results/tiny-returns-quick.jsonl")
    asked = ("run", "tiny-returns", *POLES, "--method", "persim")
    done = bench(*asked, "--agent", 3)
    assert done.code == 0, done.err
    assert f"the fit is there: {run}" in done.err
    (alone,) = lines(returns)
    assert alone["settings"]["plan"]["candidates"] == 8
    assert alone["figures"]["n"] == 2
    done = bench(*asked, "--records", "whole.jsonl", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert lines(Path("whole.jsonl"))[1]["figures"] == alone["figures"]
    assert list(Path("runs/bench").iterdir()) == [run]

    # Other settings are refused by name, and replaced when that is asked for.
    path = Path("suites/tiny.toml")
    path.write_text(path.read_text().replace("trajectories = 3", "trajectories = 4", 1))
    done = bench("run", "tiny", *POLES)
    assert done.code == 2
    assert "holds 2 of these cells with other settings" in done.err
    assert "cart_pole, random, persim, agent 0, repeat 0: trajectories: 3, not 4" in done.err
    assert "--force" in done.err
    assert "--records" in done.err
    assert bench("run", "tiny", *POLES, "--dry-run").out.count("other settings  ") == 2
    assert lines() == [first, second]
    done = bench("run", "tiny", *POLES, "--agent", 3, "--force", "--quiet")
    assert done.code == 0, done.err
    kept, replaced = lines()
    assert kept == first
    assert replaced["budget"]["trajectories"] == 4


def test_repeats_have_data_and_fits_of_their_own(bench: Any) -> None:
    done = bench("run", "tiny", *POLES, "--profile", "paper", "--agent", 0)
    assert done.code == 0, done.err
    first, second = lines(Path("results/tiny-paper.jsonl"))
    assert [first["repeat"], second["repeat"]] == [0, 1]
    assert second["settings"]["data"]["seed"] == second["settings"]["fit"]["seed"] == 1
    assert second["seeds"] == {"data_and_fit": 1, "evaluation": 100}
    assert first["fitted"]["fingerprint"] != second["fitted"]["fingerprint"]
    page = bench("table", "tiny", "--profile", "paper").out
    assert "`cart_pole`: 2 of 4 cells run: 2 repeats" in page
    assert " ± " in page


def test_the_true_dynamics_are_planned_in_with_both_planners(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def stub(task: Any, agents: Any, *, episodes: int, seed: int, plan: Any, progress: Any) -> Any:
        calls.append((task.name, agents, episodes, seed, plan))
        return {"agents": [{"agent": agents[0], "mean": 7.0, "std": 0.0, "n": episodes}]}

    monkeypatch.setattr(evaluate, "evaluate_true", stub, raising=False)
    done = bench("run", "tiny-returns", *POLES, "--method", "true-env-mpc", "--agent", 3)
    assert done.code == 0, done.err
    assert not Path("runs").exists()
    assert [call[:4] for call in calls] == [("cart_pole", [3], 2, 3)] * 2
    ours, theirs = (call[4] for call in calls)
    assert isinstance(ours, PlanConfig)
    assert (ours.search.candidates, ours.objective) == (8, ObjectiveSettings())
    assert theirs == PAPER["cart_pole"]
    first, second = lines(Path("results/tiny-returns-quick.jsonl"))
    assert (first["dataset"], first["planner"], second["planner"]) == (None, "twinfold", "paper")
    assert first["fitted"] is None
    assert second["settings"]["plan"] == PAPER["cart_pole"].model_dump(mode="json")
    assert first["figures"] == {"mean": 7.0, "std": 0.0, "n": 2}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("run", "nothing"), "no suite 'nothing'; valid: tiny, tiny-returns"),
        (("run", "tiny", "--profile", "full"), "no profile 'full'; valid: quick, paper"),
        (("run", "tiny", "--task", "acrobot"), "no task 'acrobot'; valid: cart_pole, mountain_car"),
        (("run", "tiny", "--dataset", "pure"), "no dataset 'pure'; valid: random"),
        (("run", "tiny", "--method", "cql"), "no method 'cql'; valid: persim"),
        (("run", "tiny", "--agent", "1"), "no agent 1; valid: 0, 3"),
    ],
)
def test_names_that_do_not_exist(bench: Any, words: tuple[str, ...], named: str) -> None:
    done = bench(*words)
    assert done.code == 2
    assert named in done.err
    assert not Path("results").exists()


def test_records_of_another_version_are_refused(bench: Any) -> None:
    RECORDS.parent.mkdir()
    text = json.dumps({"format": "twinfold-bench", "version": VERSION + 1, "twinfold": "9.0"})
    RECORDS.write_text(text + "\n")
    for command in ("run", "table"):
        done = bench(command, "tiny")
        assert done.code == 1
        assert f"line 1 has version {VERSION + 1} of the record format" in done.err
        assert "the twinfold 9.0 that wrote it" in done.err
    assert RECORDS.read_text() == text + "\n"


def test_a_baseline_is_fitted_once_and_measured_with_its_history(bench: Any) -> None:
    small = "hidden = [16]\nencoder = [8]\nsteps = 5\n"
    more = f"[baselines.cadm]\n{small}[baselines.cadm-pets]\n{small}members = 2\nparticles = 3\n"
    changes = {'methods = ["persim"]': 'methods = ["cadm", "cadm-pets"]', "[data]": f"{more}[data]"}
    path = Path("suites/tiny.toml")
    text = path.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    done = bench("run", "tiny", *POLES)
    assert done.code == 0, done.err
    records = lines()
    assert [(r["method"], r["agent"]) for r in records] == [
        ("cadm", 0), ("cadm", 3), ("cadm-pets", 0), ("cadm-pets", 3)
    ]  # fmt: skip
    for record in records:
        fit = record["settings"]["fit"]
        assert (fit["hidden"], fit["history"], fit["seed"]) == ([16], 10, 0)
        assert "the first 10 true steps of every test trajectory are its history" in record["note"]
        assert record["figures"]["rmse_mean"] > 0
        assert record["seconds"]["fit"] > 0
    assert records[0]["fitted"]["fingerprint"] == records[2]["fitted"]["fingerprint"]
    fits = sorted(file.name for file in Path("runs/bench").iterdir())
    assert len(fits) == 2
    assert fits[0].startswith("cart_pole-random-cadm-0-")
    page = bench("table", "tiny").out
    assert "| random | Vanilla CaDM | " in page
    assert "by fits with other settings" not in page

    # The other suite plans with the same fit; a damaged one says what to remove.
    other = Path("suites/tiny-returns.toml")
    other.write_text(other.read_text().replace('"persim"', '"cadm"'))
    asked = ("run", "tiny-returns", *POLES, "--method", "cadm", "--agent", 0)
    done = bench(*asked)
    assert done.code == 0, done.err
    assert "the fit is there" in done.err
    (planned,) = lines(Path("results/tiny-returns-quick.jsonl"))
    assert planned["settings"]["fit"] == records[0]["settings"]["fit"]
    assert planned["figures"]["n"] == 2
    assert "begins every episode without a history" in planned["note"]
    (Path("runs/bench") / fits[0]).write_bytes(b"")
    done = bench(*asked, "--records", "new.jsonl")
    assert done.code == 1
    assert f"or remove runs/bench/{fits[0]}: this command then fits anew" in done.err


def test_a_damaged_fit_says_what_to_remove(bench: Any) -> None:
    assert bench("run", "tiny", *POLES, "--agent", 0, "--quiet").code == 0
    (run,) = Path("runs/bench").iterdir()
    (run / "model.safetensors").write_bytes(b"")
    done = bench("run", "tiny", *POLES)
    assert done.code == 1
    assert f"or remove {run}: this command then fits anew" in done.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on(bench: Any, how: signal.Signals) -> None:
    # The second cell takes long enough to be caught in it.
    path = Path("suites/tiny.toml")
    path.write_text(path.read_text().replace("agents = [0, 3]", "agents = [0, 1, 2, 3, 4]"))
    entry = (
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from twinfold.benchmark import protocol\n"
        "from twinfold.cli import main\n"
        "whole, count = protocol.evaluate_prediction, []\n"
        "def slow(*words, **options):\n"
        "    count.append(1)\n"
        "    if len(count) == 3: print('third', file=sys.stderr, flush=True); time.sleep(60)\n"
        "    return whole(*words, **options)\n"
        "protocol.evaluate_prediction = slow\n"
        "sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", entry, "bench", "run", "tiny", *POLES],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert process.stderr is not None
    try:
        said = ""
        while "third" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        time.sleep(0.2)
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    if how == signal.SIGINT:
        assert err.splitlines()[-1] == (
            f"interrupted: the same command goes on; what is measured is in {RECORDS}"
        )
        assert "Traceback" not in err
    kept = lines()
    assert [record["agent"] for record in kept] == [0, 1]
    with RECORDS.open("a") as file:
        file.write('{"format": "twinfold-bench", "ver')  # as a crash of the machine may leave it

    done = bench("run", "tiny", *POLES)
    assert done.code == 0, done.err
    assert done.out == f"{RECORDS}: 3 cells measured, 2 were there\n"
    assert "the fit is there" in done.err
    assert lines()[:2] == kept
    assert [record["agent"] for record in lines()] == [0, 1, 2, 3, 4]


def test_agents_with_fewer_episodes_than_cores_are_measured_side_by_side(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from twinfold.benchmark import runner as run

    both = threading.Barrier(2, timeout=60)

    def stub(task: Any, agents: Any, *, episodes: int, **options: Any) -> Any:
        both.wait()
        return {"agents": [{"agent": agents[0], "mean": 7.0, "std": 0.0, "n": episodes}]}

    monkeypatch.setattr(evaluate, "evaluate_true", stub, raising=False)
    monkeypatch.setattr(run, "usable_cores", lambda: 4)  # two episodes each
    done = bench("run", "tiny-returns", *POLES, "--method", "true-env-mpc")
    assert done.code == 0, done.err
    assert len(lines(Path("results/tiny-returns-quick.jsonl"))) == 4


def test_the_time_left_is_told_from_cells_of_the_same_kind() -> None:
    now = [0.0]
    cells = [Cell("cart_pole", "pure", "persim", None, agent, 0) for agent in (0, 1)]
    cells += [cell._replace(dataset="random") for cell in cells]
    cells.append(Cell("half_cheetah", "pure", "persim", None, 0, 0))
    clock = Clock(cells, now=lambda: now[0])
    now[0] = 100.0  # a fit of 90 s and a cell of 10 s
    assert clock.tick(cells[0], 10.0) == (
        "1 min 40 s gone, 4 cells left: about 2 min 0 s and 1 of a kind not timed yet"
    )
    now[0] = 110.0
    assert "3 cells left: about 1 min 50 s and 1 of" in clock.tick(cells[1], 10.0)
    now[0] = 210.0
    clock.tick(cells[2], 10.0)
    now[0] = 220.0
    assert "1 cells left: about 0 s and 1 of a kind" in clock.tick(cells[3], 10.0)
    now[0] = 4000.0
    assert clock.tick(cells[4], 10.0) == "all done after 1 h 6 min"
    assert duration(59.4) == "59 s"
