"""Springs with missing values: errors beside those with all values there.

    m x'' = -k x - c x' + u            linear
    m x'' = -k x - q x^3 - c x' + u    cubic

k, c and q of each agent's own, 150 agents x 60 rows, 0.2 apart, position and velocity measured with
noise (0, 1 % or 2 % of their standard deviation), a share of each column missing at random. What
is asked: 20 steps ahead from where the data ends, the state there known, against the true states.
Records go to ``results/ordinary_tables_holes.jsonl``; what is there already is not run again.

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
KINDS = ("linear", "cubic")
PARTS = 20  # of a step, by Runge and Kutta's method
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
    parser.add_argument("--kind", action="append", choices=KINDS, help="all if left out")
    given = parser.parse_args()
    if given.what == "run":
        for seed in range(given.seeds):
            for kind in given.kind or KINDS:
                for noise in (0.0, 0.01, 0.02):
                    for missing in (0.0, 0.35):
                        run(kind, noise, missing, seed)
    table()


def springs(
    kind: str, noise: float, missing: float, seed: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The table, the true states ``(N, T, 2)`` and all forces ``(N, T)``."""
    rng, length = np.random.default_rng(seed), ROWS + AHEAD
    state, force = np.zeros((AGENTS, length, 2)), rng.normal(size=(AGENTS, length))
    k, c, q = (rng.uniform(*ends, AGENTS) for ends in ((0.5, 3.0), (0.05, 0.6), (0.3, 1.5)))
    q = q if kind == "cubic" else 0.0 * q
    state[:, 0] = rng.normal(size=(AGENTS, 2))

    def moving(now: np.ndarray, u: np.ndarray) -> np.ndarray:
        x, v = now.T
        return np.stack([v, -k * x - q * x**3 - c * v + u], axis=1)

    part = STEP / PARTS
    for t in range(length - 1):
        now, u = state[:, t], force[:, t]
        for _ in range(PARTS):
            first = moving(now, u)
            second = moving(now + part / 2 * first, u)
            third = moving(now + part / 2 * second, u)
            last = moving(now + part * third, u)
            now = now + part / 6 * (first + 2 * second + 2 * third + last)
        state[:, t + 1] = now
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


def run(kind: str, noise: float, missing: float, seed: int) -> None:
    """Fit and ask, unless that is done."""
    case = {"kind": kind, "noise": noise, "missing": missing, "seed": seed}
    if any(case.items() <= record.items() for record in records()):
        return
    from twinfold import PanelDataset, Simulator, __version__, fit

    df, state, force = springs(kind, noise, missing, seed)
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
    heads = ["springs", "noise", "all values there", "35 % missing"]
    print(f"| {' | '.join([*heads, 'times', 'of the median agent', 'held out'])} |")
    print("|---|---|---|---|---|---|---|")
    for kind, noise in sorted({(record["kind"], record["noise"]) for record in records()}):
        cases = [{"kind": kind, "noise": noise, "missing": missing} for missing in (0.0, 0.35)]
        parts = [[r for r in records() if case.items() <= r.items()] for case in cases]
        if not all(parts):
            continue
        whole, holes = (
            {key: np.mean([r[key] for r in part]) for key in ("rmse", "median", "held out")}
            for part in parts
        )
        ratios = [holes[key] / whole[key] for key in ("rmse", "median", "held out")]
        cells = [kind, f"{100 * noise:g} %", f"{whole['rmse']:.2g}", f"{holes['rmse']:.2g}"]
        print(f"| {' | '.join(cells + [f'{ratio:.2f}' for ratio in ratios])} |")


if __name__ == "__main__":
    main()
