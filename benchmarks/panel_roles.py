"""Public panels read as they are, beside the same panels forced into states and actions alone.

The comparison of ``panels.py`` makes actions of whatever stands beside the states: times, prices,
the calendar. Here the same tables go through the roles that are meant for it (own times, exogenous
columns, missing values, memory), and the same values at the same times are predicted. The ends of
known agents and of new ones are cut off as there; the errors in the old roles, and those of the
simple models, are the records of ``panels.py``, or made here where it does not have the panel.

Remifentanil is also asked what a clinic would: new patients known by 11 minutes, 28 minutes ahead,
beside a population model of two compartments (``panel_infusion``); and what half of the infusion
would have done, beside Minto's model. Records go to ``results/panel_roles.jsonl``; what is there
already is not run again. The page is written by ``panels.py table``.

    python benchmarks/panel_roles.py
    python benchmarks/panel_roles.py --panel Remifentanil --seed 0
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_course import Units, window_errors
from panel_data import Window, cut_frame, end_window
from panel_roles_data import READ, AsItIs

if TYPE_CHECKING:
    import pandas as pd

    import twinfold

Floats = NDArray[np.float64]
Record = dict[str, Any]

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "panel_roles.jsonl"
OLD_RECORDS = ROOT / "results" / "panels.jsonl"
SEEDS = (0, 1, 2)
KNOWN_MINUTES, AHEAD_MINUTES, NEW_PATIENTS = 11.0, 28.0, 13
LINEAR = ("pooled ARX", "mixed ARX")


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--panel", action="append", choices=list(READ))
    parser.add_argument("--seed", action="append", type=int, help="0, 1 and 2 if left out")
    parser.add_argument("--model", action="append", help="clinic, own roles, controls, twinfold")
    parser.add_argument("--records", type=Path, default=RECORDS)
    given = parser.parse_args()
    for name in given.panel or READ:
        for seed in given.seed or SEEDS:
            run(READ[name], seed, given.records, given.model)


def run(read: AsItIs, seed: int, records: Path, only: Sequence[str] | None = None) -> None:
    """Run what has no record yet: in the old roles, in their own, and the clinic's question."""
    from panels import measure_controls, measure_twinfold

    frame = read.panel.frame()
    cut = cut_frame(frame, read.panel, seed)
    old = {"controls": measure_controls, "twinfold": measure_twinfold}
    work: dict[str, Callable[[], Record]] = {}
    if read.panel.name == "Remifentanil":
        work["clinic"] = lambda: measure_clinic(read, frame, seed)
    work["own roles"] = lambda: measure_own_roles(read, *cut, seed)
    for model, measure in old.items():
        work[model] = lambda measure=measure: measure(read.panel, *cut, seed, {})
    for model, measure in work.items():
        identity: Record = {"panel": read.panel.name, "seed": seed, "model": model}
        if model == "twinfold":
            identity["settings"] = {}
        there = [*lines(records), *lines(OLD_RECORDS)]
        done = any(identity.items() <= record.items() for record in there)
        if done or (only and model not in only):
            continue
        with records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(identity | measure()) + "\n")
        print(f"{read.panel.name} seed {seed}: {model}", flush=True)


def lines(records: Path) -> list[Record]:
    """Return the records of a file."""
    if not records.exists():
        return []
    return [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True, eq=False)
class Stretch:
    """What is to be predicted of an agent, by the table as it is.

    Attributes:
        agent: the agent's id.
        rows: all rows of the agent, by time.
        start: time of the last row that is known.
        times: times to be predicted ``(H,)``.
    """

    agent: Any
    rows: Any
    start: float
    times: Floats


def stretches(read: AsItIs, table: Any, windows: Sequence[Window]) -> list[Stretch]:
    """Return the stretches of the table as it is that windows of the old roles stand for."""
    panel = read.panel
    clock = None
    if read.own_time:
        loaded: Any = panel.load()
        clock = loaded.set_index([panel.agent, panel.time])[read.own_time]
    found = []
    rows = dict(iter(table.sort_values(read.time).groupby(read.agent)))
    for window in windows:
        times = window.future[panel.time].to_numpy(float)
        if clock is not None:
            times = clock.loc[window.agent].loc[times].to_numpy(float)
        found.append(Stretch(window.agent, rows[window.agent], times[0], times[1:]))
    return found


def learn(read: AsItIs, train: Any, seed: int) -> twinfold.FittedModel:
    """Return the model of a table as it is."""
    import twinfold

    config = twinfold.FitConfig.parse({"seed": seed, **read.settings})
    return twinfold.fit(twinfold.PanelDataset.from_frame(train, read.roles), config)


def adapted(
    model: twinfold.FittedModel, read: AsItIs, new: Sequence[Stretch]
) -> twinfold.FittedModel:
    """Return the model that also knows new agents by what comes before their stretches."""
    import pandas as pd

    import twinfold

    told = pd.concat([s.rows[s.rows[read.time] <= s.start] for s in new])
    step = "variable" if model.uneven else None
    panel = twinfold.PanelDataset.from_frame(told, read.roles, time_step=step)
    return twinfold.adapt(model, panel, warn=lambda line: None)


def predict(
    model: twinfold.FittedModel,
    read: AsItIs,
    asked: Sequence[Stretch],
    change: Callable[[Any], Any] = lambda rows: rows,
) -> list[Any]:
    """Return the answers at the times of each stretch, a table for each.

    Args:
        model: it knows all agents.
        read: what the columns are.
        asked: what is to be predicted.
        change: of the rows from the start on, before they are asked.
    """
    import pandas as pd

    import twinfold

    state, tables = read.roles["state"], []
    for number, stretch in enumerate(asked):
        rows, time = stretch.rows, stretch.rows[read.time]
        before = rows[(time <= stretch.start) & rows[state].notna().all(axis=1)]
        ahead = rows[(time > stretch.start) & (time <= stretch.times[-1])]
        ahead = ahead.assign(**dict.fromkeys(state, np.nan))
        whole = pd.concat([before.tail(model.history), ahead])
        place = np.asarray(whole[read.time] >= stretch.start)
        whole = pd.concat([whole[~place], change(whole[place])])
        tables.append(whole.assign(query_id=number))
    found = twinfold.answer(model, pd.concat(tables, ignore_index=True), warn=lambda line: None)
    groups = dict(iter(found.groupby("query_id")))
    return [groups[n].set_index(read.time).loc[s.times] for n, s in enumerate(asked)]


def measure_own_roles(
    read: AsItIs, train: pd.DataFrame, known: list[Window], new: list[Window], seed: int
) -> Record:
    """Return errors and bands of the ends of known and of new agents, and what was chosen."""
    import panel_twinfold as twin

    import twinfold

    table: Any = read.load()
    begun = time.perf_counter()
    ends = {
        kind: stretches(read, table, windows) for kind, windows in (("known", known), ("new", new))
    }
    hidden = table[read.agent].isin([s.agent for s in ends["new"]])
    starts = table[read.agent].map({s.agent: s.start for s in ends["known"]})
    later = table[read.time] > starts.fillna(np.inf)
    model = learn(read, table[~hidden & ~later], seed)
    record: Record = {
        "twinfold": twinfold.__version__,
        "seconds": round(time.perf_counter() - begun, 2),
        "rows": int((~hidden & ~later).sum()),
        "history": model.history,
        "uneven": bool(model.uneven),
        "chosen": twin.chosen_record(model),
    }
    sd = Units.of(train, read.panel).state_sd
    wider = adapted(model, read, ends["new"])
    for kind, windows, knows in (("known", known, model), ("new", new, wider)):
        tables = predict(knows, read, ends[kind])
        states, lower, upper = (
            [t[[name + end for name in read.roles["state"]]].to_numpy(float) for t in tables]
            for end in ("", "_lower", "_upper")
        )
        errors = window_errors(windows, states, sd)
        record[kind] = {
            "error": _short(errors.mean()),
            "agents": [_short(value, 3) for value in errors],
            "band": twin.band_record(twin.Predicted(states, lower, upper), windows, sd),
        }
    return record


def halved(model: twinfold.FittedModel, read: AsItIs, train: pd.DataFrame, table: Any) -> Record:
    """Return what half the infusion would do by the model, and by Minto's, to log concentration.

    Asked of the patients of ``train``, a table in the old roles, whom the model knows.
    """
    from panel_effects import halved_infusion

    def half(rows: Any) -> Any:
        return rows.assign(Rate=rows["Rate"] / 2)

    question = halved_infusion(read.panel, train)
    assert question.domain is not None
    asked = stretches(read, table, question.base)
    before, after = predict(model, read, asked), predict(model, read, asked, half)
    state = read.roles["state"][0]
    effects = [b[state].iloc[-1] - a[state].iloc[-1] for a, b in zip(before, after, strict=True)]
    return {
        "effects": [_short(value, 3) for value in effects],
        "domain": [_short(value, 3) for value in question.domain],
        "basis": [answers["basis"].iloc[-1] for answers in after],
    }


def measure_clinic(read: AsItIs, frame: Any, seed: int) -> Record:
    """Return errors of new patients known by 11 minutes, 28 minutes ahead, all values together."""
    import panel_twinfold as twin
    from panel_controls import fit_controls
    from panel_infusion import Patient, fit_population

    panel = read.panel
    table: Any = read.load()
    ids = np.unique(np.asarray(table[read.agent]))
    new = list(np.random.default_rng(seed).permutation(ids)[:NEW_PATIENTS])
    windows = clinic_windows(read, frame, new)
    asked = stretches(read, table, windows)
    model = learn(read, table[~table[read.agent].isin(new)], seed)
    own = predict(adapted(model, read, asked), read, asked)
    states = {"own roles": [t[panel.state[0]].to_numpy(float)[:, None] for t in own]}

    train = frame[~frame[panel.agent].isin(new)]
    old, _ = twin.learn(train, panel, seed, {})
    old = twin.adapted(old, panel, windows)
    states["old roles"] = twin.predict(old, panel, windows, train).states
    for name, control in fit_controls(train, panel, ("persistence", *LINEAR)).items():
        states[name] = control(windows)

    patients = {
        name: Patient.of(rows.assign(conc=rows["log_conc"]))
        for name, rows in table.sort_values(read.time).groupby(read.agent)
    }
    population = fit_population([p for name, p in patients.items() if name not in new])
    states["two compartments"] = [
        population.predict(patients[s.agent].until(s.start), s.times)[:, None] for s in asked
    ]
    sd = float(np.std(table["log_conc"].dropna(), ddof=1))
    truth = np.concatenate([window.truth for window in windows])
    errors = {
        name: _short(np.sqrt(np.mean((np.concatenate(found) - truth) ** 2)) / sd)
        for name, found in states.items()
    }
    return {
        "errors": errors,
        "values": len(truth),
        "history": model.history,
        "chosen": twin.chosen_record(model),
        "halved": halved(model, read, train, table),
    }


def clinic_windows(read: AsItIs, frame: Any, new: list[Any]) -> list[Window]:
    """Return the windows of new patients: what is sampled from 11 to 39 minutes."""
    panel = read.panel
    loaded: Any = read.panel.load()
    clock = loaded.set_index([panel.agent, panel.time])[read.own_time]
    found = []
    for name, rows in frame[frame[panel.agent].isin(new)].groupby(panel.agent):
        minutes = clock.loc[name].loc[rows[panel.time]].to_numpy(float)
        until = minutes <= KNOWN_MINUTES + AHEAD_MINUTES
        steps = int((minutes[until] > KNOWN_MINUTES).sum())
        found.append(end_window(name, rows[until], panel, steps, known=False))
    return found


def _short(value: Any, digits: int = 4) -> float:
    return float(f"{float(value):.{digits}g}")


if __name__ == "__main__":
    main()
