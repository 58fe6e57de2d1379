"""Writing run directories: in one piece, resumed, and never into a foreign directory."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.errors import RunError, UsageError, WriteError
from twinfold.models.fitted_model import FittedModel
from twinfold.training import run_writer
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import RunWriter, save_run
from twinfold.training.train_step import TrainState

Build = Callable[..., FittedModel]
FILES = ["agents.json", "config.toml", "metrics.jsonl", "model.safetensors", "run.json"]


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_what_exists_is_not_overwritten(random_model: Build, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "run"
    if kind == "directory":
        out.mkdir()
    elif kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="run exists; choose another directory or remove it"):
        save_run(random_model(), out)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert kind != "file" or out.read_text() == "mine"


def test_a_run_that_appears_meanwhile_is_not_overwritten(
    random_model: Build, tmp_path: Path
) -> None:
    model = random_model()
    writer = RunWriter(tmp_path / "run", model.config, "data")
    writer.save_state("m", 500, np.zeros(1), TrainState(*[np.ones((1, 2))] * 2))  # type: ignore[arg-type]
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="exists"):
        writer.finish(model)
    writer.close()
    (tmp_path / "run").rmdir()
    writer = RunWriter(tmp_path / "run", model.config, "data")
    assert writer.resumed  # nothing of the work is lost
    assert list(writer.partial.glob("state-*"))
    writer.finish(model)
    assert load_run(tmp_path / "run").info == model.info


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(random_model: Build, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot write"):
        save_run(random_model(), tmp_path / "run")


def test_a_parent_that_is_a_file(random_model: Build, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write"):
        save_run(random_model(), tmp_path / "file" / "run")


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    first = RunWriter(tmp_path / "run", FitConfig(), "data")
    with pytest.raises(RunError, match="another command is writing to"):
        RunWriter(tmp_path / "run", FitConfig(), "data")
    other = RunWriter(tmp_path / "other", FitConfig(), "data")  # elsewhere is free
    other.close()
    first.close()
    RunWriter(tmp_path / "run", FitConfig(), "data").close()


@pytest.mark.parametrize(("config", "data"), [({"seed": 1}, "data"), ({}, "other data")])
def test_a_partial_run_of_something_else_is_refused(
    tmp_path: Path, config: dict[str, Any], data: str
) -> None:
    RunWriter(tmp_path / "run", FitConfig(), "data").close()
    with pytest.raises(RunError, match=r"other data or with other settings.*remove") as caught:
        RunWriter(tmp_path / "run", FitConfig.parse(config), data)
    assert "run.partial" in str(caught.value)
    # And the refusal itself, kept alive by its traceback, does not keep the rightful owner out.
    writer = RunWriter(tmp_path / "run", FitConfig(), "data")
    assert writer.resumed
    writer.close()


def test_saving_over_an_interrupted_fit_is_refused(random_model: Build, tmp_path: Path) -> None:
    model = random_model()
    RunWriter(tmp_path / "run", model.config, model.info.fingerprint).close()
    with pytest.raises(RunError, match="interrupted fit") as caught:
        save_run(model, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    RunWriter(tmp_path / "run", model.config, model.info.fingerprint).close()
    del caught


def test_nothing_is_at_out_before_the_end(
    random_model: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = random_model(), []
    real = os.rename

    def look(source: Any, target: Any) -> None:
        seen.append((tmp_path / "run").exists())
        inside = sorted(path.name for path in Path(source).iterdir())
        assert inside == FILES  # complete before it gets its name
        real(source, target)

    monkeypatch.setattr(run_writer.os, "rename", look)
    save_run(model, tmp_path / "run")
    assert seen == [False]
    assert load_run(tmp_path / "run").info == model.info


def test_metrics_are_one_record_a_line(random_model: Build, tmp_path: Path) -> None:
    model = random_model()
    writer = RunWriter(tmp_path / "run", model.config, "data")
    state = TrainState(*[np.ones((2, 3), np.float32)] * 2)  # type: ignore[arg-type]
    writer.save_state("a+b", 500, np.array([0.5, 0.25]), state)
    kept = writer.load_state("a+b", state)
    assert kept is not None
    assert kept[0] == 500
    np.testing.assert_array_equal(kept[1], [0.5, 0.25])
    assert writer.load_state("a", state) is None
    writer.finish(model)
    first, *lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(first)["begun"] == "fit"
    assert [json.loads(line) for line in lines] == [
        {"job": "a+b", "step": 500, "loss": [0.5, 0.25]},
        {"validation": {"rmse": 0.1}},
    ]


STATE = TrainState(*[np.ones((2, 3), np.float32)] * 2)  # type: ignore[arg-type]


def fit(model: FittedModel, folder: Path) -> None:
    """Write as a fit does: two groups with a state each, unless they have been kept."""
    writer = RunWriter(folder / "run", model.config, "data")
    try:
        for name in ("a", "b"):
            if writer.load_state(name, STATE) is None:
                writer.save_state(name, 500, np.array([0.5, 0.25]), STATE)
        writer.finish(model)
    finally:
        writer.close()


@pytest.mark.parametrize("full", [False, True], ids=["killed", "disk full"])
def test_a_fit_that_dies_anywhere_goes_on(
    random_model: Build, tmp_path: Path, killing: Any, full: bool
) -> None:
    model = random_model(members=1)
    whole, places = tmp_path / "whole", tmp_path / "places"
    fit(model, whole)
    expected = killing.listing(whole)
    places.mkdir()

    def until(place: Path) -> None:
        with contextlib.suppress(WriteError):
            fit(model, place)

    points = 0
    for points, place in killing.everywhere(places, until, full=full):
        if not (place / "run").exists():
            fit(model, place)
        assert killing.listing(place) == expected, points
    assert points > 30


def test_an_interrupted_saving_is_made_anew(
    random_model: Build, tmp_path: Path, killing: Any
) -> None:
    one, other = random_model(members=1), random_model(members=1, n_agents=2)
    with killing.disk(tmp_path, 20):
        save_run(one, tmp_path / "run")
    assert (tmp_path / "run.partial" / "metrics.jsonl").is_file()
    save_run(other, tmp_path / "run")
    save_run(other, tmp_path / "same")
    found = killing.listing(tmp_path)
    assert {name: found[f"run/{name}"] for name in FILES} == {
        name: found[f"same/{name}"] for name in FILES
    }
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.parametrize("name", ["lock", "metrics.jsonl", "run.json", "state-0123456789abcdef"])
@pytest.mark.parametrize("kind", ["file", "link", "pipe", "directory"])
def test_a_directory_of_something_else_is_left_alone(
    random_model: Build, tmp_path: Path, killing: Any, name: str, kind: str
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "run.partial" / name
    victim.write_text("mine")
    path.parent.mkdir()
    if kind == "file":
        path.write_text("mine\n")
    elif kind == "link":
        path.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = [*tmp_path.rglob("*")]
    told = rf"run\.partial holds '{name}', which no interrupted run of twinfold left there"
    for write in (
        lambda out: save_run(random_model(), out),
        lambda out: RunWriter(out, FitConfig()),
    ):
        with pytest.raises(RunError, match=told):
            write(tmp_path / "run")
    assert [*tmp_path.rglob("*")] == before
    assert victim.read_text() == "mine"
    assert kind != "file" or path.read_text() == "mine\n"


def test_a_link_in_place_of_the_partial_run_is_refused(random_model: Build, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "run.partial").symlink_to("theirs")
    with pytest.raises(RunError, match=r"run\.partial is a link; remove it"):
        save_run(random_model(), tmp_path / "run")
    assert not [*(tmp_path / "theirs").iterdir()]
    (tmp_path / "run.partial").unlink()
    (tmp_path / "run.partial").write_text("mine")
    with pytest.raises(UsageError, match=r"cannot write .*run\.partial: File exists"):
        save_run(random_model(), tmp_path / "run")


def test_a_name_that_no_directory_can_have_is_refused(random_model: Build, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*: embedded null"):
        save_run(random_model(), tmp_path / "run\0")
    assert not [*tmp_path.iterdir()]


def test_of_two_that_save_at_once_one_wins(random_model: Build, tmp_path: Path) -> None:
    models = [random_model(members=1, n_agents=n) for n in (1, 2, 3)]

    def save(model: FittedModel) -> bool:
        with contextlib.suppress(RunError, UsageError):  # being written to, or there
            save_run(model, tmp_path / "run")
            return True
        return False

    with ThreadPoolExecutor(len(models)) as pool:
        won = list(pool.map(save, models))
    assert sum(won) == 1
    assert load_run(tmp_path / "run").agent_ids == models[won.index(True)].agent_ids
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
