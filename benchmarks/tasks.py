"""The built-in tasks from data to return, several seeds: records, and the README's table from them.

    python benchmarks/tasks.py              # measure (minutes)
    python benchmarks/tasks.py --table      # only print the table of the committed records

Data, fit and evaluation use the default settings. One record per task and seed is written to
``results/tasks.jsonl``; the prediction error is over agents 0 to 59, the return over agents 0 to 4.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "results" / "tasks.jsonl"
OPTIMUM = ROOT / "results" / "mountain_car_optimum.csv"
TASKS = ("cart_pole", "mountain_car")
BEST_CART_POLE = 200.0  # the longest episode, one point per step


def measure(task_name: str, seed: int) -> dict[str, Any]:
    """Collect, fit and evaluate both ways."""
    from twinfold.config import FitConfig
    from twinfold.data.collect import collect, provenance
    from twinfold.evaluate import evaluate_prediction, evaluate_return
    from twinfold.fit import fit
    from twinfold.tasks import get_task

    task = get_task(task_name)
    dataset = collect(task, "random", 500, seed)
    source = provenance(task, "random", 500, seed)
    source.pop("covariates")
    with tempfile.TemporaryDirectory() as folder:
        model = fit(dataset, FitConfig(seed=seed), out=Path(folder) / "run", source=source)
    return {
        "task": task_name,
        "seed": seed,
        "cores": len(os.sched_getaffinity(0)),
        "fit": model.info,
        "prediction": evaluate_prediction(model, task, range(60), seed=seed),
        "return": evaluate_return(model, task, range(5), episodes=20, seed=seed),
    }


def optimum(task: str) -> list[float]:
    """Best possible mean return of agents 0 to 4."""
    if task == "cart_pole":
        return [BEST_CART_POLE] * 5
    with OPTIMUM.open(encoding="utf-8") as file:
        return [float(row["optimal_return_mean"]) for row in csv.DictReader(file)]


def table(records: list[dict[str, Any]]) -> str:
    """Markdown: the worst of the seeds for every test agent, beside the paper's PerSim."""
    lines = [
        "| task | agent | 50-step RMSE, worst of the seeds | paper | return, worst of the seeds "
        "| paper | best possible |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        own = [record for record in records if record["task"] == task]
        for agent, best in enumerate(optimum(task)):
            rmse = max(r["prediction"]["agents"][agent]["rmse_mean"] for r in own)
            earned = min(r["return"]["agents"][agent]["mean"] for r in own)
            paper_rmse = own[0]["prediction"]["paper"].get(str(agent), {}).get("rmse_mean")
            paper_return = own[0]["return"]["paper"].get(str(agent), {}).get("return_mean")
            label = own[0]["prediction"]["agents"][agent]["label"]
            lines.append(
                f"| {task} | {agent} ({label}) | {rmse:.2g} | {_or_dash(paper_rmse)} | "
                f"{earned:.1f} | {_or_dash(paper_return)} | {best:g} |"
            )
    for task in TASKS:
        own = [record for record in records if record["task"] == task]
        median = max(r["prediction"]["median_over_agents"] for r in own)
        seeds = ", ".join(str(record["seed"]) for record in own)
        seconds = sorted(record["fit"]["seconds"] for record in own)
        lines += [
            "",
            f"{task}, random data, 500 agents, seeds {seeds}: median RMSE over 60 agents at most "
            f"{median:.2g}; fits of {own[0]['prediction']['fit']['members']} members took "
            f"{seconds[0]:.0f} to {seconds[-1]:.0f} s on {own[0]['cores']} cores.",
        ]
    return "\n".join(lines) + "\n"


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def main() -> None:
    """Measure and write the records, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,11,12", help="separated by commas")
    parser.add_argument("--table", action="store_true", help="only print the table")
    chosen = parser.parse_args()
    if not chosen.table:
        from twinfold.files import atomic_write_text

        records = []
        for seed in map(int, chosen.seeds.split(",")):
            for task in TASKS:
                records.append(measure(task, seed))
                print(f"{task}, seed {seed}: fitted in {records[-1]['fit']['seconds']} s")
        atomic_write_text(RECORDS, "".join(json.dumps(record) + "\n" for record in records))
    print(table([json.loads(line) for line in RECORDS.read_text("utf-8").splitlines()]))


if __name__ == "__main__":
    main()
