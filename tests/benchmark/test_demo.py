"""The demo, small: every file it promises, into new and old directories."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from twinfold import FitConfig, UsageError, load_run
from twinfold.benchmark import demo
from twinfold.cli import main

FILES = {
    "cohort.manifest.json",
    "cohort.parquet",
    "demo.json",
    "index.html",
    "prediction.json",
    "return.json",
    "run",
    "what_if.csv",
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    config = functools.partial(
        FitConfig,
        effort="quick",
        linear="none",
        steps=500,
        members=2,
        rank=3,
        state_net=(16,),
        validation_members=1,
        schedules=(1.0,),
        shrinkages=(0.001,),
    )
    monkeypatch.setattr(demo, "FitConfig", config)
    monkeypatch.setattr(demo, "DEMO", demo.DemoSettings(agents=30, tested=6, episodes=2))


@pytest.mark.usefixtures("small")
def test_the_demo_from_nothing_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a demo"
    assert main(["demo", "--out", str(out)]) == 0
    said = capsys.readouterr()
    page = out / "index.html"
    assert said.out == f"page: {page}\n"
    for part in ("1. collecting", "2. checking", "3. fitting", "4. pred", "5. plan", "6. asking"):
        assert part in said.err
    assert {path.name for path in out.iterdir()} == FILES
    html = page.read_text()
    for part in ("30 cart-poles", "The map of agents", "Predicted against true", "Returns"):
        assert part in html
    assert "<script src=" not in html  # opens without a network
    assert len(json.loads((out / "prediction.json").read_text())["agents"]) == 6
    returns = json.loads((out / "return.json").read_text())
    assert [row["n"] for row in returns["agents"]] == [2] * 5
    assert returns["paper"]
    assert len(pd.read_csv(out / "what_if.csv")) == 20
    model = load_run(out / "run")
    assert model.config.seed == 0
    assert "covariates" not in model.info.source

    (out / "run.partial").mkdir()  # as an interrupted demo leaves it
    (out / "run.partial" / "identity.json").write_text("{}")
    assert main(["demo", "--out", str(out), "--seed", "1", "--quiet"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"page: {page}\n", "")
    assert {path.name for path in out.iterdir()} == FILES
    assert load_run(out / "run").config.seed == 1
    assert json.loads((out / "demo.json").read_text())["seed"] == 1


def test_a_directory_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "cohort.parquet"
    kept.write_text("years of work")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{tmp_path} holds files that are not of a demo" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["cohort.parquet"]
    assert kept.read_text() == "years of work"


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    lines: list[Any] = []
    with pytest.raises(UsageError, match="cannot write"):
        demo.run_demo(tmp_path / "demo", 0, lines.append)
    assert not lines
