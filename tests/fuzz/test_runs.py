"""Run directories that were damaged or changed are refused, or answer as before."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinfold.data.io import save_panel
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import predict_paths
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run
from twinfold.uncertainty.conformal import calibrate

FILES = ("run.json", "agents.json", "model.safetensors", "config.toml")


def answer(model: FittedModel) -> Any:
    """Return predictions for two agents, and what is known of one."""
    agents = np.array([0, len(model.agent_ids) - 1])
    shape = (2, 3) if model.discrete else (2, 3, len(model.roles.action))
    actions = np.zeros(shape, np.int32 if model.discrete else np.float64)
    states = np.tile(model.normalizer.state_mean, (2, 1))
    with np.errstate(all="ignore"):
        model.dynamics(model.agent_ids[0], draws=2)
        return predict_paths(model, agents, states, actions)


def ask(rng: random.Random, command: Any, model: FittedModel, run: Path) -> None:
    """Write a run again, and ask it as its users do."""
    again = run.with_name("again")
    shutil.rmtree(again, ignore_errors=True)
    save_run(model, again)
    load_run(again)
    draw = rng.random()
    if draw < 0.2:
        command("adapt", run, run.with_name("more.csv"), "--out", run.with_name(f"new-{draw}"))
    elif draw < 0.5:
        state = ",".join(f"{number:g}" for number in model.normalizer.state_mean)
        size = 1 if model.discrete else len(model.roles.action)
        action = "0" if model.action_levels is None else str(model.action_levels[0])
        actions = ";".join([",".join([action] * size)] * 2)
        agent = f"--agent={model.agent_ids[0]}"
        words = [agent, f"--state={state}", f"--actions={actions}", "--json"]
        command("simulate", run, *words)


@pytest.fixture(scope="module")
def panel(random_model: Callable[..., FittedModel], courses: Any) -> PanelDataset:
    """Two agents that the first run does not know."""
    first = random_model(posterior=True)
    return courses.panel(
        first, [8, 5], np.random.default_rng(0).normal(size=(2, 3)), ids=["a", "b"]
    )


@pytest.fixture(scope="module")
def runs(
    random_model: Callable[..., FittedModel],
    panel: PanelDataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[Path, Any]]:
    """Two runs, and what they answer."""
    folder = tmp_path_factory.mktemp("runs")
    first = random_model(posterior=True)
    models = calibrate(first, panel), random_model(discrete=False, features="joint", angles=(1,))
    for n, model in enumerate(models):
        save_run(model, folder / str(n))
    return [(folder / str(n), answer(model)) for n, model in enumerate(models)]


def test_runs(
    fuzz: Any,
    mutations: Any,
    seal: Any,
    command: Any,
    runs: list[tuple[Path, Any]],
    panel: PanelDataset,
    tmp_path: Path,
) -> None:
    save_panel(panel, tmp_path / "more.csv")

    def case(rng: random.Random) -> str:
        source, expected = rng.choice(runs)
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(source, run)
        sealed = CHANGES[rng.choice([*CHANGES])](rng, mutations, seal, run)
        model = load_run(run)
        found = answer(model)
        if sealed:  # another run, written as runs are: any answer will do
            ask(rng, command, model, run)
            return "other answers"
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
        return "same answers"

    fuzz("runs", case)


def _bytes(rng: random.Random, mutations: Any, seal: Any, run: Path) -> bool:
    path = run / rng.choice([*FILES, "metrics.jsonl"])
    path.write_bytes(mutations.data(rng, path.read_bytes()))
    return False


def _place(rng: random.Random, mutations: Any, seal: Any, run: Path) -> bool:
    mutations.place(rng, run / rng.choice(FILES))
    return False


def _edit(rng: random.Random, mutations: Any, seal: Any, run: Path) -> bool:
    path = run / rng.choice(["run.json", "agents.json"])
    changed = mutations.tree(rng, json.loads(path.read_text()))
    path.write_bytes(mutations.dumped(rng, changed))
    return False


def _sealed_record(rng: random.Random, mutations: Any, seal: Any, run: Path) -> bool:
    record = json.loads((run / "run.json").read_text())
    part = rng.choice(["roles", "config", "info", "time_step", "files", ""])
    if part:
        record[part] = mutations.tree(rng, record[part])
    else:
        record = mutations.tree(rng, record)
    try:
        seal(run, record)
    except (ValueError, KeyError, AttributeError, TypeError, OSError):  # no checksum is of that
        (run / "run.json").write_bytes(mutations.dumped(rng, record))
    return True


def _sealed_ids(rng: random.Random, mutations: Any, seal: Any, run: Path) -> bool:
    path = run / "agents.json"
    path.write_bytes(mutations.dumped(rng, mutations.tree(rng, json.loads(path.read_text()))))
    seal(run)
    return True


def _sealed_arrays(rng: random.Random, mutations: Any, seal: Any, run: Path) -> bool:
    path = run / "model.safetensors"
    path.write_bytes(mutations.arrays(rng, path.read_bytes()))
    seal(run)
    return True


def _sealed_bytes(rng: random.Random, mutations: Any, seal: Any, run: Path) -> bool:
    path = run / rng.choice(FILES[1:])
    path.write_bytes(mutations.data(rng, path.read_bytes()))
    seal(run)
    return True


CHANGES: dict[str, Callable[[random.Random, Any, Any, Path], bool]] = {
    "bytes": _bytes,
    "place": _place,
    "edit": _edit,
    "sealed record": _sealed_record,
    "sealed ids": _sealed_ids,
    "sealed arrays": _sealed_arrays,
    "sealed bytes": _sealed_bytes,
}
