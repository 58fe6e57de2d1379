"""Whether a verdict can be had of nothing: white noise, and actions in random order.

White noise: states and actions that nothing connects, fitted with defaults, and validated on fresh
noise of the same agents, or on the agents reserved from the fit. Any verdict of use is wrong.
Shuffled: damped springs, whose pushes were put into random order within each agent before the fit
and in the fresh data. Predictions may be of use, plans are not. Records go to
``results/noise.jsonl``; what is there already is not run again.

    python benchmarks/noise.py run
    python benchmarks/noise.py table
"""

from __future__ import annotations

import argparse
import collections
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "noise.jsonl"
ROLES = {
    "agent": "id",
    "time": "t",
    "state": ["x", "v"],
    "action": ["u"],
    "action_type": "continuous",
}
SIZES = [(n, rows) for n in (1, 2, 4, 12, 24, 40) for rows in (3, 8, 25)]
SHUFFLED = (60, 25)  # agents and rows


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seeds", type=int, default=2, help="tables of each size")
    given = parser.parse_args()
    if given.what == "table":
        table()
        return
    for seed in range(given.seeds):
        for agents, rows in SIZES:
            for reserved in (0, agents // 3)[: 2 if agents >= 12 else 1]:
                run("white noise", agents, rows, reserved, seed)
        run("shuffled", *SHUFFLED, 20, seed)
        run("springs", *SHUFFLED, 20, seed)


def run(what: str, agents: int, rows: int, reserved: int, seed: int) -> None:
    """Fit and validate one table, unless that is done."""
    import twinfold
    from twinfold.errors import TwinfoldError
    from twinfold.uncertainty.conformal import reserve
    from twinfold.validation.validate import validate

    identity = {
        "what": what,
        "agents": agents,
        "rows": rows,
        "reserved": reserved,
        "seed": seed,
    }
    if any(identity.items() <= record.items() for record in records()):
        return
    begun = time.perf_counter()
    make = noise if what == "white noise" else springs
    options = {} if what == "white noise" else {"shuffled": what == "shuffled"}
    whole = twinfold.PanelDataset.from_frame(make(agents, rows, seed, 0, **options), ROLES)
    fresh = twinfold.PanelDataset.from_frame(make(agents, rows, seed, 1, **options), ROLES)
    used, kept = reserve(whole, reserved, seed) if reserved else (whole, None)
    model = twinfold.fit(used, twinfold.FitConfig(seed=seed), reserve=0 if kept is None else kept)
    verdicts: dict[str, Any] = {}
    for name, panel, seen in (("fresh", fresh, False), ("reserved", whole, True)):
        if seen and not reserved:
            continue
        try:
            verdicts[name] = validate(
                model, panel, seen=seen, seed=seed, warn=lambda line: None
            ).verdict
        except TwinfoldError as error:
            verdicts[name] = "refused: " + str(error).splitlines()[0]
    record = identity | {
        "chosen": model.info.linear or f"nets of rank {model.info.rank}",
        "verdicts": verdicts,
        "seconds": round(time.perf_counter() - begun, 1),
    }
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)


def noise(agents: int, rows: int, seed: int, draw: int) -> pd.DataFrame:
    """Numbers that nothing connects; agents have levels of their own, the same in every draw."""
    import pandas as pd

    level = np.random.default_rng((seed, agents, rows)).normal(size=(agents, 1, 2))
    rng = np.random.default_rng((seed, agents, rows, draw))
    state = level + rng.normal(size=(agents, rows, 2))
    action = rng.normal(size=(agents, rows))
    action[:, -1] = np.nan
    return frame(pd, state, action)


def springs(agents: int, rows: int, seed: int, draw: int, *, shuffled: bool) -> pd.DataFrame:
    """Springs with stiffnesses of their own, under random pushes."""
    import pandas as pd

    stiffness = 0.1 + 0.4 * np.random.default_rng((seed, 5)).random(agents)
    rng = np.random.default_rng((seed, 6, draw))
    action = rng.normal(size=(agents, rows))
    state = np.zeros((agents, rows, 2))
    state[:, 0] = rng.normal(size=(agents, 2))
    for t in range(rows - 1):
        x, v = state[:, t].T
        v = 0.9 * v - stiffness * x + 0.5 * action[:, t] + 0.02 * rng.normal(size=agents)
        state[:, t + 1] = np.stack([x + v, v], axis=1)
    if shuffled:
        action = rng.permuted(action[:, :-1], axis=1)
        action = np.concatenate([action, np.zeros((agents, 1))], axis=1)
    action[:, -1] = np.nan
    return frame(pd, state, action)


def frame(pd: Any, state: np.ndarray, action: np.ndarray) -> pd.DataFrame:
    """A table of ``(N, T, 2)`` states and ``(N, T)`` actions."""
    agents, rows = action.shape
    return pd.DataFrame(
        {
            "id": np.repeat([f"unit {n}" for n in range(agents)], rows),
            "t": np.tile(np.arange(rows), agents),
            "x": state[..., 0].ravel(),
            "v": state[..., 1].ravel(),
            "u": action.ravel(),
        }
    )


def records() -> list[dict[str, Any]]:
    """All so far."""
    if not RECORDS.exists():
        return []
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]


def table() -> None:
    """Print how often each verdict was given."""
    counts: dict[tuple[str, str], collections.Counter[str]] = {}
    for record in records():
        for name, verdict in record["verdicts"].items():
            said = "refused" if verdict.startswith("refused") else verdict
            counts.setdefault((record["what"], name), collections.Counter())[said] += 1
    every = ["not usable", "cannot tell", "usable for prediction"]
    every += ["usable for planning within support", "refused"]
    print("| data | examined | " + " | ".join(every) + " |")
    print("|---|---|" + "---|" * len(every))
    for (what, name), found in counts.items():
        print(f"| {what} | {name} | " + " | ".join(str(found[said]) for said in every) + " |")


if __name__ == "__main__":
    main()
