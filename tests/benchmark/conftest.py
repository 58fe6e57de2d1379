"""Small suites, records made by hand, and the command line in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from twinfold.benchmark.pending import settings_of
from twinfold.benchmark.records import FORMAT, VERSION
from twinfold.benchmark.suite import Suite, load_suite
from twinfold.benchmark.suite_parts import Cell
from twinfold.cli import main

TINY = """
name = "tiny"
kind = "prediction"
title = "A tiny suite"
tasks = ["cart_pole", "mountain_car"]
datasets = ["random"]
methods = ["persim"]
agents = [0, 3]

[data]
agents = 12

[fit.cart_pole]
effort = "quick"
linear = "none"
rank = 3
members = 2
state_net = [16]
steps = 200
schedules = [1.0]
shrinkages = [0.1]
validation_members = 1

[profiles.quick]
trajectories = 3
steps = 5

[profiles.paper]
repeats = 2
trajectories = 3
steps = 5
"""

TINY_RETURNS = """
name = "tiny-returns"
kind = "return"
tasks = ["cart_pole", "mountain_car"]
datasets = ["random"]
methods = ["persim", "true-env-mpc"]
agents = [0, 3]
fits_of = "tiny.toml"

[planners]
true-env-mpc = ["twinfold", "paper"]

[plan.cart_pole]
candidates = 8
horizon = 3

[profiles.quick]
episodes = 2

[profiles.paper]
repeats = 2
episodes = 2
without = [{ task = "mountain_car", method = "true-env-mpc", planner = "paper", agents = [3] }]
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def bench(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """Run ``twinfold bench`` in this process, in a directory with two suites."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "tiny.toml").write_text(TINY)
    (tmp_path / "suites" / "tiny-returns.toml").write_text(TINY_RETURNS)

    def run(*words: Any) -> Done:
        capsys.readouterr()
        code = main(["bench", *(str(word) for word in words)])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the two suites."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "tiny-returns.toml").write_text(TINY_RETURNS)
    return tmp_path


@pytest.fixture
def tiny(folder: Path) -> Suite:
    return load_suite(folder / "tiny.toml")


@pytest.fixture
def tiny_returns(folder: Path) -> Suite:
    return load_suite(folder / "tiny-returns.toml")


@pytest.fixture
def hand_made() -> Callable[..., dict[str, Any]]:
    """Makes a record as a run writes it, with given figures."""
    return make_record


def make_record(suite: Suite, profile: str, cell: Cell, **figures: float | None) -> dict[str, Any]:
    chosen = suite.profile(profile)
    settings = json.loads(json.dumps(settings_of(suite, chosen, cell)))
    names = ("trajectories", "steps", "episodes")
    budget = {name: settings[name] for name in names if name in settings}
    return {
        "format": FORMAT,
        "version": VERSION,
        "twinfold": "0.1.0",
        "date": "2026-11-22T12:00:00+00:00",
        "suite": suite.name,
        "profile": profile,
        "kind": suite.kind,
        **cell._asdict(),
        "budget": {"repeats": chosen.repeats, **budget},
        "settings": settings,
        "seconds": {"fit": 30.0 if settings["fit"] else None, "evaluation": 2.0},
        "device": "cpu",
        "cores": 2,
        "figures": figures,
    }
