"""Commands killed at any operation on a file: repeated, they end as if nothing had been."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.cli import main
from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_writer import save_run

TIMES = ("created", "seconds", "sha256")  # and the checksum that follows from them


@pytest.fixture(scope="module")
def model(random_model: Callable[..., FittedModel]) -> FittedModel:
    return random_model(posterior=True, members=1)


@pytest.fixture(scope="module")
def run(model: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    save_run(model, path)
    return path


@pytest.fixture(scope="module")
def newcomers(model: FittedModel, courses: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two agents that the run does not know."""
    factors = np.random.default_rng(0).normal(size=(2, 3))
    panel = courses.panel(model, [8, 5], factors, ids=["a", "b"], seed=7)
    path = tmp_path_factory.mktemp("tables") / "new.csv"
    panel.to_frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def questions(model: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "questions.csv"
    columns = {"query_id": ["q", "q"], "unit": "u0", "t": [0, 1], "a0": 0}
    state = {name: [0.0, None] for name in model.roles.state}
    pd.DataFrame(columns | state).to_csv(path, index=False)
    return path


@pytest.fixture
def twinfold(
    run: Path,
    newcomers: Path,
    questions: Path,
    cart_table: Path,
    tiny: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """Run a command by its name in a folder of its own; return its code and its errors."""
    words = {
        "fit": ["fit", cart_table, "--config", tiny, "--quiet", "--out"],
        "adapt": ["adapt", run, newcomers, "--quiet", "--out"],
        "forget": ["forget", run, "--agent", "u1", "--quiet", "--out"],
        "simulate": ["simulate", run, "--queries", questions, "--quiet", "--out"],
        "collect": ["data", "collect", "--task", "cart_pole", "--agents", 3, "--out"],
    }

    def call(name: str, place: Path) -> tuple[int, str]:
        capsys.readouterr()
        out = place / ("run2" if name in ("fit", "adapt", "forget") else "table.csv")
        code = main([str(word) for word in [*words[name], out]])
        return code, capsys.readouterr().err

    return call


def written(folder: Path, killing: Any) -> dict[str, Any]:
    """Return what is below a folder, but for times."""
    found = killing.listing(folder)
    for name in [name for name in found if name.endswith("run.json")]:
        record = json.loads(found[name])
        found[name] = without_times(record)
    # Members are trained side by side, and end in any order.
    return {k: sorted(v.splitlines()) if k.endswith(".jsonl") else v for k, v in found.items()}


def without_times(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: without_times(value) for name, value in tree.items() if name not in TIMES}
    return [without_times(value) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize(
    ("name", "every"), [("adapt", 1), ("forget", 1), ("simulate", 1), ("collect", 1), ("fit", 20)]
)
def test_a_killed_command_can_be_repeated(
    name: str, every: int, twinfold: Any, killing: Any, tmp_path: Path
) -> None:
    whole, places = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    places.mkdir()
    assert twinfold(name, whole)[0] == 0
    expected = written(whole, killing)
    point = 0
    for point, place in killing.everywhere(
        places, lambda place: twinfold(name, place), every=every
    ):
        assert twinfold(name, place) == (0, "")
        assert written(place, killing) == expected, point
    assert point > 5


@pytest.mark.parametrize("name", ["forget", "simulate", "collect"])
def test_a_full_disk_is_said_in_a_line(
    name: str, twinfold: Any, killing: Any, tmp_path: Path
) -> None:
    said: list[tuple[int, str]] = []
    points = killing.everywhere(
        tmp_path, lambda place: said.append(twinfold(name, place)), full=True
    )
    for _, place in points:
        code, line = said[-1]
        if (code, line) != (0, ""):  # only tidying up was left to do
            assert code == 1
            assert line.startswith(f"error: cannot write {place}")
            assert line.endswith(": No space left on device\n")
            assert line.count("\n") == 1
            assert killing.listing(place) == {}
