"""The command line in this process and in processes of its own; runs that the tests share."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from twinfold.benchmark.collect import collect, provenance
from twinfold.cli import main
from twinfold.data.io import save_panel
from twinfold.models.fitted_model import FittedModel
from twinfold.tasks.registry import get_task
from twinfold.training.run_writer import save_run


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Twinfold = Callable[..., Done]

# A shell without job control lets its background processes ignore Ctrl-C; these shall not. The
# command says that it has begun from within: what comes before is the start of Python.
ENTRY = """
import signal, sys
from twinfold import cli

signal.signal(signal.SIGINT, signal.default_int_handler)
make_app = cli.make_app


def begun(*words):
    print("begun", file=sys.stderr, flush=True)
    return make_app(*words)


cli.make_app = begun
cli.main()
"""


@pytest.fixture
def twinfold(capsys: pytest.CaptureFixture[str]) -> Twinfold:
    """Run a command in this process."""

    def run(*words: Any) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def start() -> Any:
    """Start a command as a process; it says "begun" on standard error when Ctrl-C has a meaning."""
    running: list[subprocess.Popen[str]] = []

    def run(*words: Any, cwd: Path | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, "COLUMNS": "120"},
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def cart_run(small_cart_pole: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 cart-poles that knows where its data is from."""
    source = {"task": "cart_pole", "policy": "random", "n_agents": 60, "seed": 0}
    model = dataclasses.replace(small_cart_pole, info=small_cart_pole.info.changed(source=source))
    path = tmp_path_factory.mktemp("runs") / "carts"
    save_run(model, path)
    return path


@pytest.fixture(scope="session")
def tank_run(small_continuous: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with text ids, odd column names, two continuous actions and dates."""
    path = tmp_path_factory.mktemp("runs") / "tanks"
    save_run(small_continuous, path)
    return path


@pytest.fixture(scope="session")
def cart_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 cart-poles as Parquet with a manifest."""
    path = tmp_path_factory.mktemp("tables") / "carts.parquet"
    task = get_task("cart_pole")
    save_panel(collect(task, "random", 12, 0), path, provenance(task, "random", 12, 0))
    return path


TINY = """
effort = "quick"
linear = "none"
rank = 3
members = 2
state_net = [16]
action_net = [8]
steps = 500
schedules = [1.0]
shrinkages = [0.001]
validation_members = 1
behaviour_steps = 200
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A configuration that trains in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path
