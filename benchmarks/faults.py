"""Whether a validation catches faults in fresh data, and how often it cries wolf.

What is injected, into which runs and how often stands in ``suites/faults.toml``. A fault is caught
if a check that the same data passes without the fault fails, or if a check fails at all; a false
alarm is a check that fails on data without a fault. Records go to ``results/faults.jsonl``; what is
there already is not run again.

    python benchmarks/faults.py run
    python benchmarks/faults.py table
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import tomllib
from pathlib import Path
from typing import Any

import adaptation_data
import numpy as np

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "faults.jsonl"
SUITE = tomllib.loads((ROOT / "suites" / "faults.toml").read_text(encoding="utf-8"))


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--task", help="one of the suite's")
    given = parser.parse_args()
    if given.what == "table":
        table()
        return
    for task, data in SUITE["runs"]:
        if given.task in (None, task):
            run(task, data)


def run(task: str, data: str) -> None:
    """All seeds of one run."""
    from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
    from twinfold.validation.validate import check_panel

    model = adaptation_data.fitted(task, data)
    trained = [
        name for name, seen in zip(model.agent_ids, model.posterior.trained, strict=True) if seen
    ]
    jobs = [("none", seed) for seed in range(SUITE["clean_seeds"])]
    jobs += [(fault, seed) for fault in SUITE["faults"] for seed in range(SUITE["fault_seeds"])]
    for fault, seed in jobs:
        if done(task=task, data=data, fault=fault, seed=seed):
            continue
        # Other agents for every seed: what one odd agent does must not decide forty of them.
        chosen = np.random.default_rng((seed, 37)).permutation(len(trained))[: SUITE["agents"]]
        names = [trained[n] for n in sorted(chosen)]
        panel = fresh(task, data, names, 1000 + seed, switch=fault == "mode_switch")
        panel = inject(model, panel, fault, np.random.default_rng((seed, 31)))
        found = evaluate_holdout(model, panel, seed=seed)
        failed = [
            check.name
            for check in check_panel(model, panel, found, seen=False)
            if check.status == "fail"
        ]
        write(task=task, data=data, fault=fault, seed=seed, failed=failed)


def fresh(task: str, data: str, names: list[Any], seed: int, *, switch: bool) -> Any:
    """New trajectories of known agents; with ``switch`` of two agents each, half of either."""
    return adaptation_data.again(task, data, names, seed, switch)


def inject(model: Any, panel: Any, fault: str, rng: np.random.Generator) -> Any:
    """The panel with a fault."""
    ids = list(panel.agent_ids)
    if fault == "wrong_agent":
        return dataclasses.replace(panel, agent_ids=(*ids[1:], ids[0]))
    if fault == "labels_swapped":
        a, b = rng.permutation(len(ids))[:2]
        ids[a], ids[b] = ids[b], ids[a]
        return dataclasses.replace(panel, agent_ids=tuple(ids))
    last = np.r_[panel.segment[1:] != panel.segment[:-1], True]
    if fault == "shuffled_actions":
        action = panel.action.copy()
        for segment in range(panel.n_segments):
            rows = np.flatnonzero((panel.segment == segment) & ~last)
            action[rows] = action[rng.permutation(rows)]
        return dataclasses.replace(panel, action=action)
    if fault == "drifted_sensor":
        state = panel.state.copy()
        scale = model.normalizer.state_scale[0]
        for segment in range(panel.n_segments):
            rows = np.flatnonzero(panel.segment == segment)
            state[rows, 0] += scale * np.linspace(0, 1, len(rows))
        return dataclasses.replace(panel, state=state)
    if fault == "noise_x5":
        # Errors of a step take the noise of both of its states.
        noise = np.median(model.posterior.prior.noise, axis=0) * model.normalizer.target_scale
        extra = noise * np.sqrt((5**2 - 1) / 2)
        return dataclasses.replace(
            panel, state=panel.state + extra * rng.normal(size=panel.state.shape)
        )
    return panel


def records() -> list[dict[str, Any]]:
    """All records so far."""
    if not RECORDS.exists():
        return []
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]


@functools.cache
def _already() -> list[dict[str, Any]]:
    return records()


def done(**identity: Any) -> bool:
    """Whether there is a record of this kind."""
    return any(identity.items() <= record.items() for record in _already())


def write(**record: Any) -> None:
    """Append a record and print it."""
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)


def table() -> None:
    """Print the table of docs/trust.md."""
    found = records()
    runs = [tuple(pair) for pair in SUITE["runs"]]
    print(f"| data | {' | '.join(f'{task}, {data}' for task, data in runs)} |")
    print(f"|---|{'---|' * len(runs)}")
    for fault in ("none", *SUITE["faults"]):
        cells = []
        for task, data in runs:
            rows = [
                row
                for row in found
                if (row["task"], row["data"], row["fault"]) == (task, data, fault)
            ]
            hits = [row for row in rows if row["failed"]]
            names = [name for row in hits for name in row["failed"]]
            by = f" ({max(sorted(set(names)), key=names.count)})" if names else ""
            cells.append(f"{len(hits)} of {len(rows)}{by}" if rows else "–")
        label = "no fault: false alarms" if fault == "none" else fault.replace("_", " ")
        print(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
