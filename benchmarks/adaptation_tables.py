"""The tables of docs/adapt.md, from the records of ``adaptation.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def print_tables(found: Sequence[dict[str, Any]], counts: Sequence[int]) -> None:
    """Print the tables.

    Args:
        found: all records.
        counts: transitions that agents are known by in the first table.
    """
    print("| task, data | no data | 1 | 3 | 10 | 30 | all | trained |")
    print("|---|---|---|---|---|---|---|---|")
    for row in (r for r in found if r["what"] == "error"):
        cells = [f"{row['rmse'][str(c)]['median']:.3g}" for c in (*counts, "trained")]
        print(f"| {row['task']}, {row['data']} | {' | '.join(cells)} |")
    print("\n| task, data | agent | episodes | 10 transitions | whole trajectory |")
    print("|---|---|---|---|---|")
    plans = {
        (r["task"], r["data"], r["agent"], r["count"]): r for r in found if r["what"] == "plan"
    }
    for task, data, agent in sorted({key[:3] for key in plans}):
        cells = [
            f"{plans[task, data, agent, c]['mean']:.1f}" if (task, data, agent, c) in plans else "–"
            for c in (10, 10_000)
        ]
        episodes = plans.get((task, data, agent, 10), {}).get("episodes", "")
        print(f"| {task}, {data} | {agent} | {episodes} | {' | '.join(cells)} |")
    print("\n| task, data | horizon | agents | coverage | over random splits (5 to 95 %) |")
    print("|---|---|---|---|---|")
    for row in (r for r in found if r["what"] == "cover"):
        split = row["splits"]
        print(
            f"| {row['task']}, {row['data']} | {row['horizon']} | {row['agents']} | "
            f"{100 * row['coverage']:.1f} % | {100 * split['mean']:.1f} % "
            f"({100 * split['low']:.0f} to {100 * split['high']:.0f}) |"
        )
    print("\n| task, data | horizon | known by | coverage | by the band of those known better |")
    print("|---|---|---|---|---|")
    for row in (r for r in found if r["what"] == "few"):
        for count, (own, plain) in row["coverage"].items():
            print(
                f"| {row['task']}, {row['data']} | {row['horizon']} | {count} | "
                f"{100 * own:.1f} % | {100 * plain:.1f} % |"
            )
    print(
        "\n| task, data | horizon | calibration agents | agents | coverage |\n|---|---|---|---|---|"
    )
    for row in (r for r in found if r["what"] == "many"):
        print(
            f"| {row['task']}, {row['data']} | {row['horizon']} | {row['calibration_agents']} | "
            f"{row['agents']} | {100 * row['coverage']:.1f} % |"
        )
    print("\n| task, data | static columns | no data | 1 | 3 | 10 |\n|---|---|---|---|---|---|")
    for row in (r for r in found if r["what"] == "static"):
        for kind, name in (("none", "none"), ("columns", "one for each hidden quantity")):
            cells = [f"{row['rmse'][kind][str(c)]['median']:.3g}" for c in (0, 1, 3, 10)]
            print(f"| {row['task']}, {row['data']} | {name} | {' | '.join(cells)} |")
    print("\n| task, data | one observation | one solution | 100,000 agents of 20 |")
    print("|---|---|---|---|")
    for row in (r for r in found if r["what"] == "time"):
        print(
            f"| {row['task']}, {row['data']} | {row['observe_ms']:.2f} ms | "
            f"{row['solve_ms']:.2f} ms | {row['many_seconds']:.1f} s |"
        )
