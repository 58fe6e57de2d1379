"""``twinfold adapt`` and ``twinfold forget``: runs that gain and lose agents, and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import FittedModel, load_run
from twinfold.adaptation.adapt import adapt
from twinfold.benchmark.collect import collect, provenance
from twinfold.data.io import save_panel
from twinfold.tasks.registry import get_task
from twinfold.training.run_writer import save_run
from twinfold.uncertainty.conformal import calibrate
from twinfold.uncertainty.intervals import promised_steps


@pytest.fixture(scope="session")
def newcomers() -> Any:
    """Three cart-poles that no run of 60 has seen, as a panel."""
    panel = collect(get_task("cart_pole"), "random", 63, 7)
    return panel.select_agents(panel.agent_ids[60:])


@pytest.fixture
def table(newcomers: Any, tmp_path: Path) -> Path:
    """The same as a table without a manifest."""
    path = tmp_path / "new.csv"
    newcomers.to_frame().to_csv(path, index=False)
    return path


def test_adapt_adds_agents_that_can_be_asked_about(
    twinfold: Any,
    cart_run: Path,
    small_cart_pole: FittedModel,
    newcomers: Any,
    table: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run2"
    before = sorted((p.name, p.read_bytes()) for p in cart_run.iterdir())
    done = twinfold("adapt", cart_run, table, "--out", out, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"{out}: 63 simulators, 3 of them new, from {newcomers.n_transitions} transitions\n"
    )
    assert sorted((p.name, p.read_bytes()) for p in cart_run.iterdir()) == before
    model = load_run(out)
    expected = adapt(small_cart_pole, newcomers, warn=lambda line: None)
    assert model.agent_ids == expected.agent_ids == tuple(range(63))
    # Numbers of the table went through text: all but the last bit.
    np.testing.assert_allclose(model.members.agents, expected.members.agents, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
        np.asarray(model.members.agents)[:, :60], small_cart_pole.members.agents
    )
    asked = twinfold("simulate", out, "--agent", 61, "--state", "0,0,0,0", "--actions", "1x3")
    assert asked.code == 0, asked.err


def test_adapt_as_a_record(
    twinfold: Any, cart_run: Path, newcomers: Any, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run2"
    done = twinfold("adapt", cart_run, table, "--out", out, "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    record = json.loads(done.out)
    assert record.pop("created")
    assert record == {
        "run": str(out),
        "fingerprint": newcomers.fingerprint(),
        "agents": 3,
        "new_agents": 3,
        "transitions": newcomers.n_transitions,
    }
    again = twinfold("adapt", out, table, "--out", tmp_path / "run3")
    assert (again.code, again.out) == (2, "")
    assert "has had this data already" in again.err
    assert not (tmp_path / "run3").exists()


def test_columns_may_have_other_names_for_agent_and_time(
    twinfold: Any, cart_run: Path, table: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(table).rename(columns={"agent_id": "who", "t": "when"})
    frame["who"] = "cart " + frame["who"].astype(str)
    frame.to_csv(table, index=False)
    flags = ["--agent", "who", "--time", "when", "--state", "x,x_dot,theta,theta_dot"]
    flags += ["--action", "action", "--action-type", "discrete"]
    done = twinfold("adapt", cart_run, table, *flags, "--out", tmp_path / "r", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert load_run(tmp_path / "r").agent_ids[60:] == ("cart 60", "cart 61", "cart 62")


def test_more_data_of_known_agents_and_a_manifest(
    twinfold: Any, cart_run: Path, cart_table: Path, tmp_path: Path
) -> None:
    """The table of 12 has another fingerprint than the 60 of the run: that alone is checked."""
    done = twinfold("adapt", cart_run, cart_table, "--out", tmp_path / "r", "--quiet", "--json")
    record = json.loads(done.out)
    assert (record["agents"], record["new_agents"]) == (12, 0)
    model, old = load_run(tmp_path / "r"), load_run(cart_run)
    assert model.agent_ids == old.agent_ids
    assert model.posterior is not None
    assert old.posterior is not None
    more = model.posterior.evidence.count - old.posterior.evidence.count
    assert np.all(more[:12] > 0)
    assert not more[12:].any()


def test_doubts_are_told_unless_quiet(
    twinfold: Any, cart_run: Path, table: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(table)
    frame["theta"] += 100.0
    frame.to_csv(table, index=False)
    done = twinfold("adapt", cart_run, table, "--out", tmp_path / "r")
    assert done.code == 0
    assert "of 3 agents lie outside the range of the data (the worst, agent 6" in done.err
    assert re.search(r"'theta' is (99\.9|100)", done.err)
    assert "does not fit any agent" in done.err
    quiet = twinfold("adapt", cart_run, table, "--out", tmp_path / "q", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    strict = twinfold("adapt", cart_run, table, "--out", tmp_path / "s", "--strict")
    assert (strict.code, strict.out) == (3, "")
    assert "outside the range of the data" in strict.err
    assert not (tmp_path / "s").exists()


def test_a_time_step_a_little_off_will_do(
    twinfold: Any, cart_run: Path, table: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(table)
    frame.assign(t=frame["t"] * 1.03).to_csv(table, index=False)
    done = twinfold("adapt", cart_run, table, "--out", tmp_path / "r")
    assert done.code == 0
    assert "time between two rows" not in done.err
    frame.assign(t=frame["t"] * 1.3).to_csv(table, index=False)
    done = twinfold("adapt", cart_run, table, "--out", tmp_path / "q")
    assert done.code == 0
    assert "warning: the time between two rows is 1.3, in the model's data 1: taken" in done.err


def test_a_table_that_does_not_fit_is_refused(
    twinfold: Any, cart_run: Path, tank_run: Path, table: Path, tmp_path: Path
) -> None:
    frame, out = pd.read_csv(table), tmp_path / "r"
    frame.rename(columns={"theta": "teta"}).to_csv(table, index=False)
    done = twinfold("adapt", cart_run, table, "--out", out)
    assert (done.code, done.out) == (3, "")
    assert "'theta'" in done.err
    assert "'teta'" in done.err
    flags = ["--agent", "agent_id", "--time", "t", "--action", "action"]
    flags += ["--action-type", "discrete", "--state", "x,x_dot,teta,theta_dot"]
    done = twinfold("adapt", cart_run, table, *flags, "--out", out)
    assert (done.code, done.out) == (2, "")
    assert "the model's state columns are 'x', 'x_dot', 'theta', 'theta_dot', those" in done.err
    frame.assign(action=frame["action"] + 1).to_csv(table, index=False)
    done = twinfold("adapt", cart_run, table, "--out", out)
    assert (done.code, done.out) == (3, "")
    assert "action 2 never occurs in the model's data; its levels: 0, 1" in done.err
    frame.to_csv(table, index=False)
    done = twinfold("adapt", tank_run, table, "--out", out)
    assert (done.code, done.out) == (3, "")
    assert "tank no." in done.err
    assert not out.exists()


@pytest.mark.parametrize("command", ["adapt", "forget"])
def test_an_existing_run_is_refused_before_anything_is_read(
    twinfold: Any, tmp_path: Path, command: str
) -> None:
    kept = tmp_path / "run" / "precious.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    words = {"adapt": [tmp_path / "none.csv"], "forget": ["--agent", "x"]}[command]
    done = twinfold(command, tmp_path / "none", *words, "--out", kept.parent)
    assert (done.code, done.out) == (2, "")
    assert f"{kept.parent} exists" in done.err
    assert kept.read_text() == "mine"
    missing = twinfold(command, tmp_path / "none", *words, "--out", tmp_path / "r")
    assert (missing.code, missing.out) == (1, "")
    assert "no run directory" in missing.err


# Forgetting


def test_forget_gives_back_the_run_before(
    twinfold: Any, cart_run: Path, table: Path, tmp_path: Path
) -> None:
    assert twinfold("adapt", cart_run, table, "--out", tmp_path / "a", "--quiet").code == 0
    words = ["--agent", "60,62", "--agent", "61"]
    done = twinfold("forget", tmp_path / "a", *words, "--out", tmp_path / "b")
    assert (done.code, done.err) == (0, "")  # the nets have never seen them
    assert done.out == f"{tmp_path / 'b'}: 60 simulators\n"
    one, other = (path / "model.safetensors" for path in (cart_run, tmp_path / "b"))
    assert one.read_bytes() == other.read_bytes()


def test_the_nets_keep_what_they_learned_and_it_is_said(
    twinfold: Any, tank_run: Path, tmp_path: Path
) -> None:
    words = ["--agent", "T-003/é,T-005/é"]
    done = twinfold("forget", tank_run, *words, "--out", tmp_path / "r")
    assert done.code == 0
    assert done.err == (
        "warning: the nets were trained on the data of agent 'T-003/é' and 1 more; what they "
        "learned from it stays until a new fit\n"
    )
    left = load_run(tmp_path / "r")
    assert left.agent_ids == tuple(f"T-00{n}/é" for n in (0, 1, 2, 4, 6, 7))
    quiet = twinfold("forget", tank_run, *words, "--out", tmp_path / "q", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    again = twinfold("forget", tmp_path / "r", "--agent", "T-003/é", "--out", tmp_path / "s")
    assert again.code == 2
    assert "unknown agent 'T-003/é'" in again.err


def test_what_becomes_of_the_band_is_said(
    twinfold: Any, small_cart_pole: FittedModel, tmp_path: Path
) -> None:
    panel = collect(get_task("cart_pole"), "random", 72, 7)
    reserved = panel.select_agents(panel.agent_ids[60:])
    model = calibrate(small_cart_pole, reserved)
    assert model.calibration is not None
    n_scores = len(model.calibration.scores)
    assert 9 <= n_scores <= 12
    save_run(model, tmp_path / "run")
    scored = [str(model.agent_ids[n]) for n in model.calibration.agent]
    before = promised_steps(model)
    assert before > 0
    for gone in (1, n_scores - 8, n_scores):
        out = tmp_path / f"r{gone}"
        done = twinfold(
            "forget", tmp_path / "run", "--agent", ",".join(scored[:gone]), "--out", out
        )
        assert done.code == 0
        told = f"warning: the band was calibrated on {n_scores} agents, {n_scores - gone} are left"
        after = promised_steps(load_run(out))
        now = f"{after} steps" if after else "nothing"
        lost = f": 90 % were promised for {before} steps, now {now}"
        assert done.err == told + (lost if after < before else "") + "\n"
        assert (after == 0) == (n_scores - gone < 9)


@pytest.mark.parametrize(
    ("agents", "words"),
    [
        ("T-003", "unknown agent 'T-003'. Did you mean 'T-003/é'?"),
        (",", "unknown agent ''"),
        (",".join(f"T-00{n}/é" for n in range(8)), "no agent would be left"),
    ],
)
def test_what_cannot_be_forgotten(
    twinfold: Any, tank_run: Path, tmp_path: Path, agents: str, words: str
) -> None:
    done = twinfold("forget", tank_run, "--agent", agents, "--out", tmp_path / "r", "--quiet")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert not (tmp_path / "r").exists()


# Reserved agents


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("some", "--reserve: 'some' is not auto or a whole number from 0"),
        ("2.5", "--reserve: '2.5' is not auto or a whole number from 0"),
        ("12", "--reserve 12: the table has 12 agents, and at least one must be left"),
        ("-1", "--reserve: '-1' is not auto or a whole number from 0"),
    ],
)
def test_agents_that_cannot_be_reserved(
    twinfold: Any, tmp_path: Path, cart_table: Path, tiny: Path, number: str, words: str
) -> None:
    out = tmp_path / "run"
    done = twinfold("fit", cart_table, "--out", out, "--config", tiny, f"--reserve={number}")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert not out.exists()


def test_reserved_agents_get_simulators_and_are_not_counted_twice(
    twinfold: Any, tmp_path: Path, cart_table: Path, tiny: Path
) -> None:
    out = tmp_path / "run"
    flags = ["--config", tiny, "--quiet", "--steps", 200, "--reserve", 4]
    done = twinfold("fit", cart_table, "--out", out, *flags)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{out}: 12 simulators")
    model = load_run(out)
    assert sorted(map(int, model.agent_ids)) == list(range(12))
    assert model.info.agents == 8
    assert model.info.reserved_agents == 4
    assert model.calibration is not None
    assert len(model.calibration.scores) == 4
    twice = twinfold("adapt", out, cart_table, "--out", tmp_path / "r")
    assert (twice.code, twice.out) == (2, "")
    assert "has had this data already" in twice.err


def test_sixty_agents_reserve_twenty_by_themselves(
    twinfold: Any, tmp_path: Path, tiny: Path
) -> None:
    table = tmp_path / "carts.csv"
    task = get_task("cart_pole")
    save_panel(collect(task, "random", 60, 0), table, provenance(task, "random", 60, 0))
    done = twinfold(
        "fit", table, "--out", tmp_path / "run", "--config", tiny, "--steps", 200, "--json"
    )
    assert done.code == 0, done.err
    assert "the band is calibrated on 20 agents that the nets have not seen" in done.err
    record = json.loads(done.out)
    assert (record["agents"], record["reserved_agents"]) == (40, 20)
    assert len(load_run(tmp_path / "run").agent_ids) == 60


def test_static_columns_from_the_fit_to_a_new_agent(twinfold: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stiff, rows = rng.uniform(0.2, 1.0, 30), []
    state = rng.normal(size=30)
    for t in range(10):
        action = rng.integers(0, 2, 30)
        for n in range(30):
            rows.append((f"u{n}", t, state[n], action[n] if t < 9 else None, stiff[n]))
        state = state - stiff * state + 0.5 * action
    frame = pd.DataFrame(rows, columns=["unit", "t", "x", "a", "tag"])
    frame.to_csv(tmp_path / "cohort.csv", index=False)
    flags = ("--agent", "unit", "--time", "t", "--state", "x", "--action", "a")
    done = twinfold(
        "fit", tmp_path / "cohort.csv", *flags, "--action-type", "discrete", "--static", "tag",
        "--members", 2, "--steps", 3000, "--rank", 2, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert re.search(r"static columns \('tag'\) explain \d+ % of how agents differ", done.err)
    new: Any = frame[frame["unit"].isin(["u0", "u1"])].copy()
    new["unit"] = "new " + new["unit"]
    new.loc[new["unit"] == "new u0", "tag"] = 0.25
    new = new[(new["unit"] == "new u1") | (new["t"] == 0)]
    new.to_csv(tmp_path / "new.csv", index=False)
    done = twinfold("adapt", tmp_path / "run", tmp_path / "new.csv", "--out", tmp_path / "run2")
    assert done.code == 0, done.err
    assert "new u0" not in done.err.replace("left out: 'new u0'", "")  # nothing doubtful about it
    asked = twinfold(
        "simulate", tmp_path / "run2", "--agent", "new u0", "--state", "1", "--actions", "0",
        "--json",
    )  # fmt: skip
    (after,) = json.loads(asked.out)["prediction"]["x"][-1:]
    assert after == pytest.approx(0.75, abs=0.15)  # of the average agent 0.4
    del new["tag"]
    new.to_csv(tmp_path / "bare.csv", index=False)
    done = twinfold("adapt", tmp_path / "run", tmp_path / "bare.csv", "--out", tmp_path / "run3")
    assert done.code == 0
    assert "(the model's: 'tag'): agents without them begin as average ones" in done.err
