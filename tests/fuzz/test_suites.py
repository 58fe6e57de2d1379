"""Suites that cannot be are refused; all others say what would be run."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path
from typing import Any

SUITE = """
name = "tiny"
kind = "return"
title = "A tiny suite"
tasks = ["cart_pole", "mountain_car"]
datasets = ["random"]
methods = ["persim", "true-env-mpc"]
agents = [0, 3]
effort = "quick"
reserve = 2
training_agents = [5, 12]
baselines = { persim = { cart_pole = { members = 3 } } }
planners = { true-env-mpc = ["twinfold", "paper"] }
data = { agents = 12, seed = 1 }
fit = { cart_pole = { linear = "none", rank = 3, members = 2, state_net = [16], steps = 200 } }
plan = { cart_pole = { candidates = 8, horizon = 3 } }

[profiles.quick]
repeats = 2
episodes = 2
episodes_by_task = { cart_pole = 1 }
policy_episodes = 4
methods = ["persim", "true-env-mpc"]
training_agents = [5]
effort = "quick"
fit = { steps = 100 }
plan = { candidates = 4 }
baselines = { persim = { members = 1 } }
without = [{ task = "mountain_car", method = "true-env-mpc", planner = "paper", agents = [3] }]
"""


def toml(value: Any) -> str:
    """Return a value as TOML has it, on one line; null is no value of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def test_suites(fuzz: Any, mutations: Any, command: Any, tmp_path: Path) -> None:
    whole = tomllib.loads(SUITE)
    file = tmp_path / "suite.toml"

    def case(rng: random.Random) -> str:
        for old in tmp_path.iterdir():
            old.rmdir() if old.is_dir() and not old.is_symlink() else old.unlink()
        file.write_text(SUITE)
        kind = rng.random()
        if kind < 0.2:
            file.write_bytes(mutations.data(rng, SUITE.encode()))
        elif kind < 0.95:
            changed = mutations.tree(rng, whole)
            if isinstance(changed, dict):
                lines = [f"{json.dumps(name)} = {toml(part)}\n" for name, part in changed.items()]
                text = "".join(lines).replace(json.dumps(mutations.RAW), rng.choice(TEXTS))
                file.write_bytes(text.encode("utf-8", "surrogatepass"))
        else:
            mutations.place(rng, file)
        said = command("bench", "run", file, "--dry-run", "--json")
        cells = json.loads(said)["cells"]
        assert all(cell["status"] == "to run" for cell in cells)
        return "answers"

    fuzz("suites", case)


TEXTS = [
    "nan",
    "-inf",
    "1e999",
    "[" * 3000,
    "2026-11-27",
    "0x10",
    "{a = 1, a = 2}",
    "a.b",
    "07:00:00",
]
