"""Manifests that were damaged or changed are refused, or the table is read with what they say."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd

from twinfold.data.io import load_panel, manifest_path, save_panel
from twinfold.data.panel import PanelDataset

ROLES = {
    "agent": "unit",
    "time": "t",
    "state": ["s0", "s1"],
    "action": ["a"],
    "action_type": "discrete",
    "reward": "r",
    "angle": ["s1"],
}


def table() -> pd.DataFrame:
    """Three agents with five rows each."""
    rows = [
        {"unit": f"u{n}", "t": t, "s0": n + 0.1 * t, "s1": t * t / 9, "a": (n + t) % 2, "r": 1.0}
        for n in range(3)
        for t in range(5)
    ]
    return pd.DataFrame(rows)


def test_manifests(fuzz: Any, mutations: Any, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    dataset = PanelDataset.from_frame(table(), ROLES)
    save_panel(dataset, path, {"task": "none", "seed": 0})
    whole, expected = manifest_path(path).read_bytes(), dataset.fingerprint()

    def case(rng: random.Random) -> str:
        file = manifest_path(path)
        for old in file.parent.glob("*manifest*"):
            old.rmdir() if old.is_dir() and not old.is_symlink() else old.unlink()
        file.write_bytes(whole)
        kind = rng.random()
        if kind < 0.3:
            file.write_bytes(mutations.data(rng, whole))
        elif kind < 0.9:
            file.write_bytes(mutations.dumped(rng, mutations.tree(rng, json.loads(whole))))
        else:
            mutations.place(rng, file)
        found = load_panel(path)
        return "same answers" if found.fingerprint() == expected else "other answers"

    fuzz("manifests", case)
