"""All studies end to end on a handful of agents: measured once, drawn, and told on the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.baselines import load_cadm
from twinfold.benchmark.collect import simulate_policy
from twinfold.benchmark.studies import (
    draw_study,
    load_studies,
    read_studies,
    run_on_fit,
    run_study,
    studies_page,
    study_records_path,
)
from twinfold.cli import main
from twinfold.errors import UsageError
from twinfold.tasks import get_task
from twinfold.tasks.task import agent_covariates
from twinfold.training import save_run
from twinfold.training.run_directory import load_run

TINY = """
name = "tiny"
kind = "study"
title = "Tiny"

[unseen]
title = "Unseen"
runs = [["cart_pole", "random"]]
agents = 12
unseen = 6
known = [1]
trajectories = 2
steps = 4
FIT

[map]
title = "Maps"
runs = [["cart_pole", "random"]]
agents = 12
probes = 5
folds = 2
FIT

[bands]
title = "Bands"
runs = [["cart_pole", "random"]]
agents = 12
shown = [1]
trajectories = 3
steps = 4
FIT

[carts]
title = "Carts"
runs = [["cart_pole", "random"]]
agents = 12
shown = [1]
trajectories = 3
steps = 4
horizons = [1, 4]
CADM
FIT

[profiles.quick]
"""
FIT = (
    'fit = { effort = "quick", linear = "none", rank = 2, members = 2, state_net = [8], '
    "steps = 60, schedules = [1.0], shrinkages = [0.1] }"
)
CADM = (
    "cadm = { hidden = [8], encoder = [8], context = 2, history = 2, future = 2, steps = 20, "
    "members = 2, particles = 2, batch = 16 }"
)


class Done(NamedTuple):
    folder: Path
    settings: dict[str, Any]
    records: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """All studies of the tiny suite."""
    folder = tmp_path_factory.mktemp("studies")
    suite = folder / "tiny.toml"
    suite.write_text(TINY.replace("FIT", FIT).replace("CADM", CADM))
    settings = load_studies(suite)
    for name, own in settings.items():
        run_study(name, own, study_records_path(folder, name, "quick"), folder / "fits")
    records = {name: read_studies(study_records_path(folder, name, "quick")) for name in settings}
    return Done(folder, settings, records)


def test_a_study_that_is_done_is_not_run_again(done: Done) -> None:
    for name, own in done.settings.items():
        said: list[str] = []
        path = study_records_path(done.folder, name, "quick")
        before = path.read_bytes()
        again = run_study(name, own, path, done.folder / "no fits", said.append)
        assert path.read_bytes() == before
        assert again == done.records[name]
        assert all(line.endswith(": done") for line in said)


def test_studies_share_the_fit_of_a_population(done: Done) -> None:
    fits = sorted(path.name.rpartition("-")[0] for path in (done.folder / "fits").iterdir())
    assert fits == [
        "cart_pole-random",
        "cart_pole-random-pe-ts",
        "cart_pole-random-unseen",
        "cart_pole-random-vanilla",
    ]


def test_unseen_agents_are_measured_by_what_is_known_of_them(done: Done) -> None:
    (record,) = done.records["unseen"]
    assert record["unseen_agents"][:5] == [0, 1, 2, 3, 4]
    assert record["fits"]["without"]["agents"] == 6
    assert record["fits"]["whole"]["agents"] == 12
    errors = {name: found["agents"] for name, found in record["ways"].items()}
    assert all(len(values) == 6 for values in errors.values())
    # One transition says something, and all say more; nothing known is the same for all ways.
    assert errors["nothing"] != errors["1 transitions"] != errors["all transitions"]
    assert errors["covariates, learned"] != errors["nothing"]
    for found in record["ways"].values():
        assert found["low"] <= found["median"] <= found["high"]


def test_carts_of_all_models_start_from_one_state(done: Done) -> None:
    (record,) = done.records["carts"]
    assert record["history"] == 2
    assert list(record["predicted"]) == ["persim", "cadm", "cadm-pets"]
    true = np.array(record["true"])
    assert true.shape == (2, 4)
    for path in record["predicted"].values():
        # One step of 0.02 s moves no cart by more than a few centimetres, wherever it comes from.
        assert abs(path[0][0] - true[0, 0]) < 0.1
    assert record["fits"]["cadm"]["steps"] == 20


def test_every_study_is_drawn_and_told(done: Done) -> None:
    out = done.folder / "figures"
    drawn = [
        path
        for name, own in done.settings.items()
        for path in draw_study(name, own, done.records[name], out)
    ]
    assert sorted(path.name for path in drawn) == [
        "study-bands-cart_pole.png",
        "study-carts.png",
        "study-map-cart_pole.png",
        "study-unseen.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    page = studies_page(done.settings, done.records)
    for title in ("Unseen", "Maps", "Bands", "Carts"):
        assert f"## {title}\n" in page
    assert all(f"(figures/{path.name})" in page for path in drawn)
    median = done.records["unseen"][0]["ways"]["nothing"]["median"]
    assert f"| nothing: the average agent | {median:.3g} (" in page
    assert "20 training steps per member (18,000 by default)" in page


def test_records_are_plain_and_say_what_they_were_made_with(done: Done) -> None:
    for name, rows in done.records.items():
        for record in rows:
            assert record["study"] == name
            assert json.loads(json.dumps(record, allow_nan=False)) == record
            assert record["settings"]["agents"] == 12
            assert record["settings"]["fit"]["steps"] == 60
            assert record["seconds"] > 0


def test_commands_tell_what_is_recorded_and_measure_nothing_again(
    done: Done, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def bench(*words: Any, code: int = 0) -> str:
        assert main(["bench", *map(str, words)]) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    suite, folder = done.folder / "tiny.toml", done.folder
    said = bench("run", suite, "--records", folder, "--work", tmp_path / "none", "--quiet")
    assert said.count(" 0 measured, ") == len(done.settings)
    assert not (tmp_path / "none").exists()
    said = bench("run", suite, "--records", folder, "--study", "carts,map", "--dry-run")
    assert "done            carts: cart_pole, random, 1" in said
    assert said.endswith("2 done, 0 to run\n")
    said = bench("run", suite, "--records", tmp_path, "--study", "map", "--dry-run", "--json")
    assert json.loads(said)["jobs"] == [
        {"study": "map", "task": "cart_pole", "dataset": "random", "status": "to run"}
    ]
    (status,) = json.loads(bench("status", suite, "--records", folder, "--json"))["suites"]
    assert (status["cells"], status["done"], status["left"]) == (4, 4, 0)
    assert "## Carts\n" in bench("table", suite, "--records", folder, "--out", tmp_path / "t")
    assert (tmp_path / "t").read_text("utf-8").count("## ") == len(done.settings)
    drawn = bench("figure", suite, "--records", folder, "--out", tmp_path / "figures").split()
    assert len(drawn) == 4
    page = tmp_path / "page.html"
    bench("page", suite, "--results", folder, "--out", page)
    text = page.read_text("utf-8")
    assert text.count('<img src="data:image/png;base64,') == len(drawn)
    assert all(f"<h2>{own.title}</h2>" in text for own in done.settings.values())
    assert "that the suites ask for" not in text  # there are no tables to count cells of


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--study", "none"), "has no study 'none'; valid: unseen, map"),
        (("run", "--task", "mountain_car"), "has no study with all of what was asked for"),
        (("run", "--method", "cadm"), "--method is of suites of tables"),
        (("run", "--training-agents", "25"), "--training-agents is of suites of tables"),
        (("table", "--short"), "--short, --method, --csv and --plot are of tables"),
        (("figure", "--out", "one.png"), "has several figures; give a folder"),
        (("page", "--results", "nowhere", "--out", "page.html"), "no records of"),
        (("table", "--profile", "paper"), "has no profile 'paper'; valid: quick"),
    ],
)
def test_what_studies_do_not_have_is_told(
    done: Done,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", words[0], str(done.folder / "tiny.toml"), *words[1:]]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_there_can_be_studied_in_place_of_a_fit(done: Done, tmp_path: Path) -> None:
    (run,) = (done.folder / "fits").glob("cart_pole-random-????????????")
    records = tmp_path / "bands.jsonl"
    found = run_on_fit("bands", done.settings["bands"], run, records)
    assert read_studies(records) == [found]
    (same,) = done.records["bands"]
    assert (found["task"], found["dataset"], found["agents"]) == (
        same["task"],
        same["dataset"],
        same["agents"],
    )
    assert found["settings"]["fit"]["rank"] == 2  # the run's own, all of them
    with pytest.raises(UsageError, match="'unseen' is of no single fit; valid: map, bands"):
        run_on_fit("unseen", done.settings["unseen"], run, records)
    elsewhere = tmp_path / "elsewhere"  # a run of a user's own table
    model = load_run(run)
    save_run(
        dataclasses.replace(model, info=model.info.model_copy(update={"source": {}})), elsewhere
    )
    with pytest.raises(UsageError, match=r"elsewhere was not fitted on data of a task, .*valid: c"):
        run_on_fit("bands", done.settings["bands"], elsewhere, records)


def test_drawn_carts_are_those_of_stepping_each_model_by_hand(done: Done) -> None:
    (record,) = done.records["carts"]
    fits, task = done.folder / "fits", get_task("cart_pole")
    (run,), (file,) = (
        fits.glob(name)
        for name in ("cart_pole-random-????????????", "cart_pole-random-vanilla-*.safetensors")
    )
    covariates = agent_covariates(task, 12, 0)[[1]]
    found = simulate_policy(task, covariates, "test", 3, 2 + 4, seed=10_000)
    states, actions = jnp.asarray(found.states[0]), jnp.asarray(found.actions[0])
    (shown,) = np.flatnonzero((states[:, 3] == np.float32(record["true"][0])).all(axis=1))

    # CaDM's history is the two steps before.
    cadm = load_cadm(file)
    history, stack = jax.tree.map(jnp.asarray, cadm.blank_history()), cadm.dynamics()
    for t in range(2):
        history = stack.observed(history, states[shown, t], actions[shown, t], states[shown, t + 1])
    stacks = {"persim": load_run(run).dynamics(1), "cadm": stack.with_history(history)}
    for name, members in stacks.items():
        ends = []
        for m in range(jax.tree.leaves(members)[0].shape[0]):
            member = jax.tree.map(lambda leaf, m=m: leaf[m], members)
            carry, path = member.init(states[shown, 2]), []
            for action in actions[shown, 2:]:
                carry, state = member.step(carry, member.encode(action))
                path.append(np.asarray(state))
            ends.append(path)
        mean = np.mean(ends, axis=0)  # of fewer than three, none is cut off
        np.testing.assert_allclose(record["predicted"][name], mean[[0, 3]], rtol=1e-3, atol=1e-4)
        true = states[shown, 3:]
        rmse = np.sqrt(np.mean((mean - true) ** 2))
        assert record["rmse_shown"][name] == pytest.approx(float(rmse), rel=1e-2)
