"""Records that were damaged or changed are refused, or shown in tables; none is lost."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.pending import settings_of
from twinfold.benchmark.suite import load_suite

SUITE = """
name = "tiny"
kind = "KIND"
tasks = ["mountain_car"]
datasets = ["random"]
methods = ["persim"]
agents = [0, 3]

[profiles.quick]
trajectories = 3
steps = 5
episodes = 3
"""
FIGURES = {
    "prediction": {
        "rmse_mean": 0.5,
        "rmse_low": 0.4,
        "rmse_high": 0.6,
        "r2_median": 0.9,
        "n": 3,
        "values": [0.4, 0.5, 0.6],
    },
    "return": {
        "mean": None,
        "std": 2.5,
        "n": 3,
        "mean_length": 99.0,
        "values": [-99.5, None],
        "diverged": True,
        "last_finite": {"mean": -99.5, "episodes": 1},
    },
}


@pytest.mark.parametrize("kind", [*FIGURES])
def test_records(fuzz: Any, mutations: Any, command: Any, tmp_path: Path, kind: str) -> None:
    file, records = tmp_path / "tiny.toml", tmp_path / "tiny-quick.jsonl"
    file.write_text(SUITE.replace("KIND", kind))
    suite = load_suite(file)
    profile = suite.profile("quick")
    lines = [
        {
            "format": "twinfold-bench",
            "version": 1,
            "twinfold": "0.1.0",
            "date": "2026-11-22T12:00:00+00:00",
            "kind": kind,
            **cell._asdict(),
            "budget": {"repeats": 1, "trajectories": 3, "steps": 5, "episodes": 3},
            "settings": json.loads(json.dumps(settings_of(suite, profile, cell))),
            "seconds": {"fit": 30.0, "evaluation": 2.0},
            "device": "cpu",
            "cores": 2,
            "figures": FIGURES[kind],
            "error": None,
        }
        for cell in suite.cells(profile)
    ]
    if kind == "return":
        for line in lines:
            del line["budget"]["trajectories"], line["budget"]["steps"]
    table = ("bench", "table", file, "--records", records, "--json")
    records.write_text("".join(json.dumps(line) + "\n" for line in lines))
    expected = command(*table)

    def case(rng: random.Random) -> str:
        for old in tmp_path.glob("tiny-quick*"):
            old.rmdir() if old.is_dir() and not old.is_symlink() else old.unlink()
        whole = "".join(json.dumps(line) + "\n" for line in lines).encode()
        records.write_bytes(whole)
        draw = rng.random()
        if draw < 0.2:
            records.write_bytes(mutations.data(rng, whole))
        elif draw < 0.9:
            number = rng.randrange(len(lines))
            changed = mutations.tree(rng, lines[number])
            options = {"ensure_ascii": rng.random() < 0.5}
            text = [json.dumps(line).encode() for line in lines]
            text[number] = mutations.dumped(rng, changed, **options)
            records.write_bytes(b"\n".join(text) + b"\n")
        else:
            mutations.place(rng, records)
        before = records.read_bytes() if records.is_file() and draw < 0.9 else None
        try:
            found = [command(*table)]
            if rng.random() < 0.3:
                command("bench", "run", file, "--records", records, "--dry-run")
                command(*table[:-1], "--short")
                command("bench", "status", file, "--records", records)
                page = tmp_path / "page.html"
                command("bench", "page", file, "--results", tmp_path, "--out", page)
        finally:
            assert before is None or records.read_bytes() == before
        return "same answers" if found == [expected] else "other answers"

    fuzz("records", case)
