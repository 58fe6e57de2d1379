"""Time and memory of checking a large CSV: 1,000,000 rows of 10,000 agents.

    python benchmarks/read_table.py [--agents 10000] [--rows 100]

Writes the table to a temporary folder, runs `twinfold data validate`, `data describe` and `data
import` on it in processes of their own, and prints seconds and the most memory each held.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROLES = [
    *("--agent", "unit", "--time", "time", "--state", "level,pressure,speed"),
    *("--action", "valve", "--action-type", "continuous", "--reward", "reward"),
]


def write(path: Path, agents: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    n = agents * rows
    state = rng.normal(size=(n, 3)).round(4)
    valve = rng.random(n).round(3)
    last = np.arange(n) % rows == rows - 1
    frame = pd.DataFrame(
        {
            "unit": np.repeat([f"U{i:05d}" for i in range(agents)], rows),
            "time": np.tile(pd.date_range("2025-01-01", periods=rows, freq="h"), agents),
            "level": state[:, 0],
            "pressure": state[:, 1],
            "speed": state[:, 2],
            "valve": np.where(last, np.nan, valve),
            "reward": np.where(last, np.nan, state[:, 0] * valve).round(4),
        }
    )
    frame.to_csv(path, index=False)


def measure(*words: str) -> tuple[float, float]:
    """Return seconds and gigabytes of a command."""
    begun = time.perf_counter()
    pid = subprocess.Popen([sys.executable, "-m", "twinfold", *words], stdout=subprocess.DEVNULL)
    code = pid.wait()
    seconds = time.perf_counter() - begun
    if code:
        raise SystemExit(f"twinfold {' '.join(words)} ended with {code}")
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        write(path, asked.agents, asked.rows)
        print(f"{asked.agents * asked.rows} rows, {path.stat().st_size / 2**20:.0f} MiB")
        for words in (["validate"], ["describe"], ["import", "--replace"]):
            known = ROLES if words[0] != "import" else []
            seconds, most = measure("data", words[0], str(path), *words[1:], *known)
            print(f"data {words[0]:10s} {seconds:6.1f} s   at most {most:.2f} GiB so far")


if __name__ == "__main__":
    main()
