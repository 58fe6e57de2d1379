"""Springs with missing values: errors beside those with all values there.

    m x'' = -k x - c x' + u, k and c of each agent's own, 150 agents x 60 rows, 0.2 apart

position and velocity measured with noise (0, 1 % or 2 % of their standard deviation), a share of
each column missing at random. What is asked: 20 steps ahead from where the data ends, the state
there known, against the true states. Records go to ``results/ordinary_tables_holes.jsonl``; what is
there already is not run again.

    python benchmarks/ordinary_tables/holes.py run
    python benchmarks/ordinary_tables/holes.py table
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent.parent
RECORDS = ROOT / "results" / "ordinary_tables_holes.jsonl"
AGENTS, ROWS, AHEAD, STEP = 150, 60, 20, 0.2
ROLES: dict[str, Any] = {
    "agent": "id",
    "time": "t",
    "state": ["x", "v"],
    "action": ["u"],
    "action_type": "continuous",
}


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seeds", type=int, default=1, help="tables of each kind")
    given = parser.parse_args()
    if given.what == "run":
        for seed in range(given.seeds):
            for noise in (0.0, 0.01, 0.02):
                for missing in (0.0, 0.35):
                    run(noise, missing, seed)
    table()


def springs(noise: float, missing: float, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The table, the true states ``(N, T, 2)`` and all forces ``(N, T)``."""
    from scipy.linalg import expm

    rng, length = np.random.default_rng(seed), ROWS + AHEAD
    state, force = np.zeros((AGENTS, length, 2)), rng.normal(size=(AGENTS, length))
    for n in range(AGENTS):
        system = np.zeros((3, 3))  # with the force as a state that stays
        system[0, 1] = system[1, 2] = 1.0
        system[1, :2] = -rng.uniform(0.5, 3.0), -rng.uniform(0.05, 0.6)
        step = expm(STEP * system)[:2]
        state[n, 0] = rng.normal(size=2)
        for t in range(length - 1):
            state[n, t + 1] = step @ [*state[n, t], force[n, t]]
    seen = state + noise * state.std(axis=(0, 1)) * rng.normal(size=state.shape)
    seen = np.where(rng.random(state.shape) < missing, np.nan, seen)[:, :ROWS]
    df = pd.DataFrame(
        {
            "id": np.repeat(np.arange(AGENTS), ROWS),
            "t": np.tile(np.arange(ROWS), AGENTS),
            "x": seen[..., 0].ravel(),
            "v": seen[..., 1].ravel(),
            "u": force[:, :ROWS].ravel(),
        }
    )
    return df, state, force


def run(noise: float, missing: float, seed: int) -> None:
    """Fit and ask, unless that is done."""
    case = {"noise": noise, "missing": missing, "seed": seed}
    if any(case.items() <= record.items() for record in records()):
        return
    from twinfold import PanelDataset, Simulator, __version__, fit

    df, state, force = springs(noise, missing, seed)
    begun = time.perf_counter()
    model = fit(
        PanelDataset.from_frame(df, ROLES), log=lambda line: print(f"{case}: {line}", flush=True)
    )
    seconds = time.perf_counter() - begun
    first, error, inside = ROWS - 1, [], []
    for n in range(AGENTS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Simulator(model, n).rollout(
                state[n, first], force[n, first : first + AHEAD, None]
            )
        truth = state[n, first + 1 : first + 1 + AHEAD]
        error.append(np.sqrt(np.mean(np.square(found.centre - truth))) / state.std())
        inside.append(np.mean((truth >= found.lower) & (truth <= found.upper)))
    record = {
        **case,
        "twinfold": __version__,
        "rmse": float(np.mean(error)),
        "median": float(np.median(error)),
        "inside": float(np.mean(inside)),
        "rank": model.info.rank,
        "held out": model.info.validation["rmse"],
        "seconds": round(seconds, 1),
    }
    with RECORDS.open("a") as file:
        file.write(json.dumps(record) + "\n")


def records() -> list[dict[str, Any]]:
    """Those of this script."""
    if not RECORDS.is_file():
        return []
    return [json.loads(line) for line in RECORDS.read_text().splitlines()]


def table() -> None:
    """Print means over seeds."""
    print("| noise | all values there | 35 % missing | times | of the median agent | held out |")
    print("|---|---|---|---|---|---|")
    for noise in sorted({record["noise"] for record in records()}):
        parts = [
            [r for r in records() if r["noise"] == noise and r["missing"] == missing]
            for missing in (0.0, 0.35)
        ]
        if not all(parts):
            continue
        whole, holes = (
            {key: np.mean([r[key] for r in part]) for key in ("rmse", "median", "held out")}
            for part in parts
        )
        ratios = [holes[key] / whole[key] for key in ("rmse", "median", "held out")]
        cells = [f"{100 * noise:g} %", f"{whole['rmse']:.2g}", f"{holes['rmse']:.2g}"]
        print(f"| {' | '.join(cells + [f'{ratio:.2f}' for ratio in ratios])} |")


if __name__ == "__main__":
    main()
