"""Rooms with weather, patients at uneven times, springs without a speed: errors of what is ahead.

``rooms``: T' = T + k (outside - T) + b heat, k and b of each room's own, 120 rooms x 96 h, 24 h
ahead, the weather known. Beside it a linear model of each room's own (the truth there) and the last
value. ``visits``: a drug in two compartments and its effect, 150 patients x 25 visits, 0.25 to 2.5
h apart, noise 1 %, the last 10 visits ahead; as a rate that is held between visits or as a dose at
once. Beside it a linear model of each patient's own (change = h (c + A s + B a)), and the same
patients seen every 1.375 h. ``positions``: x'' = -k x - c x' + u, k and c of each spring's own, 150
springs x 60 rows, 0.2 apart, of which the position alone is measured, with a noise of 1 %; 25 rows
ahead from 6 rows of context, with ``history = "auto"``. Beside it a linear model of the position
and the force, the same for all springs. Records go to ``results/ordinary_tables.jsonl``; what is
there already is not run again.

    python benchmarks/ordinary_tables/inputs.py run
    python benchmarks/ordinary_tables/inputs.py table
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
RECORDS = ROOT / "results" / "ordinary_tables.jsonl"
CASES = ("rooms", "visits", "visits, even", "visits, doses", "visits, doses, even", "positions")
AHEAD = {"rooms": 24, "visits": 10, "positions": 25}
CONTEXT = {"rooms": 1, "visits": 1, "positions": 6}
SETTINGS: dict[str, dict[str, Any]] = {"rooms": {}, "visits": {}, "positions": {"history": "auto"}}
ROLES = {
    "rooms": {
        "agent": "id",
        "time": "t",
        "state": ["temp"],
        "action": ["heat"],
        "action_type": "continuous",
        "exogenous": ["outside"],
    },
    "visits": {
        "agent": "id",
        "time": "t",
        "state": ["central", "second", "effect"],
        "action": ["drug"],
        "action_type": "continuous",
    },
    "positions": {
        "agent": "id",
        "time": "t",
        "state": ["x"],
        "action": ["u"],
        "action_type": "continuous",
    },
}


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seeds", type=int, default=1, help="tables of each kind")
    parser.add_argument("--case", choices=CASES, help="all if left out")
    given = parser.parse_args()
    if given.what == "run":
        for seed in range(given.seeds):
            for case in CASES if given.case is None else (given.case,):
                run(case, seed)
    table()


def rooms(seed: int) -> pd.DataFrame:
    """Temperatures of 120 rooms over 96 hours."""
    rng, hour, frames = np.random.default_rng(seed), np.arange(97), []
    for room in range(120):
        k, b, shift = rng.uniform(0.03, 0.25), rng.uniform(0.4, 1.6), rng.normal()
        outside = 8 + 5 * np.sin(2 * np.pi * (hour - 9 + shift) / 24)
        outside += np.cumsum(rng.normal(0, 0.5, len(hour)))
        temp, heat = np.empty(len(hour)), np.empty(len(hour))
        temp[0] = rng.uniform(15, 23)
        for h in hour:
            heat[h] = np.clip(0.16 * (20 - temp[h]) + rng.uniform(0, 2), 0, 3)
            if h < hour[-1]:
                change = k * (outside[h] - temp[h]) + b * heat[h]
                temp[h + 1] = temp[h] + change + rng.normal(0, 0.02)
        columns = {"t": hour, "temp": temp, "outside": outside, "heat": heat}
        frames.append(pd.DataFrame({"id": room, **columns}))
    return pd.concat(frames, ignore_index=True)


def visits(seed: int, even: bool, doses: bool) -> pd.DataFrame:
    """Drug in two compartments and its effect, 150 patients x 25 visits."""
    from scipy.linalg import expm

    rng, frames = np.random.default_rng(seed), []
    for patient in range(150):
        out, there, back, effect = (
            rng.uniform(*span) for span in ((0.15, 0.5), (0.2, 0.6), (0.1, 0.4), (0.2, 1.0))
        )
        system = np.array([[-out - there, back, 0], [there, -back, 0], [effect, 0, -effect]])
        gain = np.array([1 / rng.uniform(0.7, 1.4), 0, 0])
        whole = np.zeros((4, 4))  # with the rate as a state that stays
        whole[:3, :3], whole[:3, 3] = system, gain
        length = np.full(24, 1.375) if even else rng.uniform(0.25, 2.5, 24)
        drug = np.where(rng.random(25) < 0.6, rng.uniform(0, 4, 25), 0.0)
        states = [rng.uniform(0, [4, 4, 3])]
        for k, h in enumerate(length):
            if doses:
                states.append(expm(system * h) @ (states[-1] + gain * drug[k]))
            else:
                states.append((expm(whole * h) @ np.append(states[-1], drug[k]))[:3])
        seen = np.array(states) * (1 + 0.01 * rng.normal(size=(25, 3)))
        columns = dict(zip(ROLES["visits"]["state"], seen.T, strict=True))
        times = np.append(0, np.cumsum(length))
        frames.append(pd.DataFrame({"id": patient, "t": times, **columns, "drug": drug}))
    return pd.concat(frames, ignore_index=True)


def positions(seed: int) -> pd.DataFrame:
    """Positions of 150 springs, 91 rows."""
    from scipy.linalg import expm

    rng, frames, length = np.random.default_rng(seed), [], 60 + CONTEXT["positions"] + 25
    for spring in range(150):
        whole = np.zeros((3, 3))  # with the force as a state that stays
        whole[0, 1] = whole[1, 2] = 1.0
        whole[1, :2] = -rng.uniform(0.5, 3.0), -rng.uniform(0.05, 0.6)
        step, force = expm(0.2 * whole)[:2], rng.normal(size=length)
        states: list[Any] = [rng.normal(size=2)]
        for u in force[:-1]:
            states.append(step @ [*states[-1], u])
        columns = {"t": np.arange(length), "x": np.array(states)[:, 0], "u": force}
        frames.append(pd.DataFrame({"id": spring, **columns}))
    df = pd.concat(frames, ignore_index=True)
    return df.assign(x=df["x"] + 0.01 * df["x"].std() * rng.normal(size=len(df)))


def table_of(case: str, seed: int) -> tuple[str, pd.DataFrame]:
    """Return the kind of a case, and its table."""
    kind = case.split(",", maxsplit=1)[0]
    if kind == "visits":
        return kind, visits(seed, "even" in case, "doses" in case)
    return kind, rooms(seed) if kind == "rooms" else positions(seed)


def run(case: str, seed: int) -> None:
    """Fit and ask, unless that is done."""
    if any(record["case"] == case and record["seed"] == seed for record in records()):
        return
    from twinfold import FitConfig, PanelDataset, __version__, answer, fit

    kind, df = table_of(case, seed)
    roles, ahead, context = ROLES[kind], AHEAD[kind], CONTEXT[kind]
    row = np.asarray(df.groupby("id").cumcount(ascending=False))
    past, coming = df.loc[row >= ahead + context - 1], df.loc[row < ahead + context]
    begun = time.perf_counter()
    panel = PanelDataset.from_frame(past, roles)
    config = FitConfig(**SETTINGS[kind])
    model = fit(panel, config, log=lambda line: print(f"{case}: {line}", flush=True))
    seconds = time.perf_counter() - begun
    states, left = list(roles["state"]), row[row < ahead + context]
    asked = coming.assign(query_id=coming["id"])
    asked.loc[left < ahead, states] = np.nan
    asked.loc[left == 0, roles["action"]] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = answer(model, asked)
    truth = np.asarray(coming.loc[left < ahead, states])
    first = np.asarray(coming.loc[left == ahead, states])
    asked = coming.loc[left <= ahead]
    inside = [
        (truth[:, d] >= found[f"{name}_lower"]) & (truth[:, d] <= found[f"{name}_upper"])
        for d, name in enumerate(states)
    ]
    record = {
        "case": case,
        "seed": seed,
        "twinfold": __version__,
        "rmse": rms(found[states].to_numpy() - truth),
        "own linear": rms(linear(past, asked, roles) - truth),
        "pooled linear": rms(linear(past.assign(id=0), asked, roles) - truth),
        "persistence": rms(np.repeat(first, ahead, axis=0) - truth),
        "inside": float(np.mean(inside)),
        "uneven": model.uneven,
        "history": model.history,
        "seconds": round(seconds, 1),
    }
    with RECORDS.open("a") as file:
        file.write(json.dumps(record) + "\n")


def linear(past: pd.DataFrame, coming: pd.DataFrame, roles: dict[str, Any]) -> np.ndarray:
    """Open-loop predictions of a linear change by unit of time, ``(K, D)``.

    Of each agent's own; of all agents together if they have one id in ``past``.
    """
    states, inputs = list(roles["state"]), [*roles["action"], *roles.get("exogenous", ())]
    out, fits = [], {}
    for name, own in past.groupby("id"):
        x, h = own[states].to_numpy(), np.diff(own["t"])[:, None]
        known = np.column_stack([np.ones(len(own)), x, own[inputs]])[:-1]
        inner = h[:, 0] > 0  # not from one agent to the next
        change = np.diff(x, axis=0)[inner]
        fits[name] = np.linalg.lstsq((h * known)[inner], change, rcond=None)[0]
    for name, after in coming.groupby("id"):
        weights = fits.get(name, fits[next(iter(fits))])
        state, told, length = (
            after[states].to_numpy()[0],
            np.asarray(after[inputs]),
            np.diff(after["t"]),
        )
        for k, step in enumerate(length):
            state = state + step * np.concatenate([[1.0], state, told[k]]) @ weights
            out.append(state)
    return np.array(out)


def rms(error: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(error))))


def records() -> list[dict[str, Any]]:
    """Those of this script."""
    if not RECORDS.is_file():
        return []
    found = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    return [record for record in found if record["case"] in CASES]


def table() -> None:
    """Print means over seeds."""
    print(
        "| table | RMSE | of each agent's own linear model | of one linear model for all | "
        "no change | in the 90 % band |"
    )
    print("|---|---|---|---|---|---|")
    for case in CASES:
        own = [record for record in records() if record["case"] == case]
        if own:
            keys = ("rmse", "own linear", "pooled linear", "persistence", "inside")
            values = [[record[key] for record in own if key in record] for key in keys]
            cells = " | ".join(f"{np.mean(found):.3g}" if found else "–" for found in values)
            print(f"| {case} | {cells} |")


if __name__ == "__main__":
    main()
