"""Markdown tables of a suite: ours beside the paper's, made from records. No JAX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from twinfold.benchmark.comparison import Entry, budget_lines, summarise
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.records import Record
from twinfold.benchmark.row_names import TITLES, method_name
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell, Row
from twinfold.benchmark.training_sizes import (
    by_data,
    fewest_sentences,
    size_caption,
    size_curves,
    size_table,
)
from twinfold.report.tables import NOTHING, number

NOT_RUN = "not run"

_Show = Callable[[Entry], str]

_EVERY_TABLE: tuple[str, ...] = (
    "The paper prints three of the five test agents of every task; the others are measured here "
    "and have no figure to stand beside.",
    "The paper's figures come from its own data and its own trained policies; here both were made "
    "anew from its description.",
    "The paper's Table 3 (policies with simulated trajectories) mixes units in its header and is "
    "on the data set random alone.",
)
# Oddities of the paper's tables, by kind and task; None is every task.
_ODDITIES: dict[str, dict[str | None, tuple[str, ...]]] = {
    "prediction": {
        "half_cheetah": (
            "The paper's PerSim figures for HalfCheetah are identical for the data sets pure and "
            "random, so one of the two rows cannot be right.",
        ),
    },
    "return": {
        None: (
            "In the paper, MOReL's figures for MountainCar and CartPole on the eps data sets are "
            "nearly CQL's.",
        ),
        "half_cheetah": (
            "The paper's returns with the true dynamics of HalfCheetah (42,893 and 66,675 for two "
            "agents) are far beyond what running earns: such plans must exploit the physics "
            "engine.",
        ),
    },
}
_GRAVITY = (
    "MountainCar: the paper prints gravities of 0.01 to 0.035; the code that made its tables uses "
    "0.0001 to 0.0035, and so do these."
)


def markdown(suite: Suite, profile_name: str, records: Mapping[Cell, Record], folder: Path) -> str:
    """Return the page of a suite: tables by task, what was run, and what to know of the paper's.

    Args:
        suite: what was to be run.
        profile_name: how much of it.
        records: what was run, by cell.
        folder: where the best possible returns are kept.
    """
    profile = suite.profile(profile_name)
    entries = summarise(suite, profile, records, folder)
    lines = [f"# {suite.title or suite.name}", "", _reading(suite, entries), ""]
    for task in suite.tasks:
        mine = [entry for entry in entries if entry.row.task == task]
        lines += [f"## {TITLES[task]}", ""]
        for name, curves in by_data(size_curves(mine)).items():
            lines += [f"{name}, {size_caption(suite.kind)}:", ""]
            lines += [size_table(curves).markdown(), ""]
        lines += [*_task_table(mine, _figure), ""]
        if suite.kind == "prediction":
            lines += ["Median R²:", "", *_task_table(mine, _r2), ""]
        if counted := counted_sentence(mine):
            lines += [counted, ""]
        lines += [line for said in fewest_sentences(mine) for line in (said, "")]
    lines += ["## What was run", ""]
    lines += [f"Suite `{suite.name}`, profile `{profile_name}`.", ""]
    lines += [f"- `{task}`: {text}" for task, text in budget_lines(suite, profile, records)]
    lines += ["", "## About the paper's figures", ""]
    said = dict.fromkeys(record["note"] for record in records.values() if record.get("note"))
    lines += [f"- {note}" for note in [*notes(suite), *said]]
    return "\n".join(lines) + "\n"


def _reading(suite: Suite, entries: Sequence[Entry]) -> str:
    repeated = any(entry.repeats > 1 for entry in entries)
    if suite.kind == "prediction":
        what = "RMSE in raw units over the steps and coordinates of an open-loop prediction"
        spread = "its 95 % bootstrap interval in brackets"
    else:
        what = "Return per episode in the true task"
        spread = "± the standard deviation over episodes"
    if repeated:
        spread = "± the standard deviation over repeats (data sets and fits)"
    return (
        f"{what}: ours, {spread}, / the paper's. **Bold**: at least as good as the paper's. "
        f"{NOTHING}: the paper has no figure."
    )


def _task_table(entries: Sequence[Entry], show: _Show) -> Iterator[str]:
    agents = list(dict.fromkeys((entry.agent, entry.label) for entry in entries))
    yield "| data | method | " + " | ".join(f"{a} ({label})" for a, label in agents) + " |"
    yield "|---" * (2 + len(agents)) + "|"
    for row, cells in by_row(entries).items():
        if show is _r2 and all(entry.r2 is None for entry in cells):
            shown = [NOT_RUN] * len(cells)
        else:
            shown = [show(entry) for entry in cells]
        yield f"| {row.dataset or NOTHING} | {method_name(row)} | " + " | ".join(shown) + " |"
    best = [entry.best_possible for entry in entries[: len(agents)]]
    if show is _figure and any(value is not None for value in best):
        yield f"| {NOTHING} | best possible | " + " | ".join(map(number, best)) + " |"


def by_row(entries: Sequence[Entry]) -> dict[Row, list[Entry]]:
    """Return entries by the row that they are in, in their order."""
    rows: dict[Row, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.row, []).append(entry)
    return rows


def _figure(entry: Entry) -> str:
    theirs = number(entry.paper)
    if entry.paper_spread is not None:
        theirs += f" ± {number(entry.paper_spread)}"
    if entry.ours is None:
        return f"{entry.status} / {theirs}"
    ours = _bold(number(entry.ours), entry.beats(entry.paper))
    if not math.isfinite(entry.ours):
        ours = " ".join(["diverged", *(f"({text})" for text in entry.before)])
    elif entry.spread is not None:
        ours += f" ± {number(entry.spread)}"
    elif entry.low is not None:
        ours += f" [{number(entry.low)}, {number(entry.high)}]"
    if entry.repeats < entry.wanted:
        ours += f" ({entry.repeats} of {entry.wanted} repeats)"
    return f"{ours} / {theirs}"


def _r2(entry: Entry) -> str:
    if entry.r2 is None:
        return f"{NOT_RUN} / {_hundredths(entry.paper_r2)}"
    better = None if entry.paper_r2 is None else round(entry.r2, 2) >= entry.paper_r2
    return f"{_bold(_hundredths(entry.r2), better)} / {_hundredths(entry.paper_r2)}"


def _hundredths(value: float | None) -> str:
    """Return R2 as the paper prints it; below -10 the digits say nothing."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:.2f}" if value > -10.0 else f"{value:.0f}"


def _bold(text: str, bold: bool | None) -> str:
    return f"**{text}**" if bold else text


def counted_sentence(entries: Sequence[Entry]) -> str:
    """Return how many cells stand against the paper and our other runs; "" if none was run."""
    learned = [entry for entry in entries if get_method(entry.row.method).role == "ours"]
    compared = [better for e in learned if (better := e.beats(e.paper)) is not None]
    if not compared:
        return ""
    text = f"At least as good as the paper's PerSim in {sum(compared)} of {len(compared)} cells"
    offline = [better for e in learned if (better := e.beats(e.best_offline)) is not None]
    if offline:
        text += (
            f", and as the best of its offline methods in {sum(offline)} of {len(offline)} cells"
        )
    beside = [met for e in learned if (met := _among_the_best(e, entries)) is not None]
    if beside:
        text += (
            ". Of everything that was run here on the same data, PerSim is the best, or its "
            f"interval meets the best's, in {sum(beside)} of {len(beside)} cells"
        )
    return text + "."


def _among_the_best(ours: Entry, entries: Sequence[Entry]) -> bool | None:
    """Return whether no other method on the same data is clearly better.

    None if none was run, or if ours has no interval: a single episode says nothing of the kind.
    """
    data = ours.row.task, ours.row.dataset, ours.row.n_agents, ours.agent
    others = [
        entry
        for entry in entries
        if get_method(entry.row.method).role in ("baseline", "control")
        and (entry.row.task, entry.row.dataset, entry.row.n_agents, entry.agent) == data
        and entry.ours is not None
        and math.isfinite(entry.ours)
    ]
    if ours.ours is None or not others or not math.isfinite(ours.interval.low):
        return None
    better = (other for other in others if other.beats(ours.ours) and other.ours != ours.ours)
    return not any(other.interval.apart(ours.interval) for other in better)


def notes(suite: Suite) -> list[str]:
    """Return what to know about the paper's figures beside those of a suite."""
    found = [*_EVERY_TABLE]
    if "mountain_car" in suite.tasks:
        found.append(_GRAVITY)
    for task, lines in _ODDITIES[suite.kind].items():
        if task is None or task in suite.tasks:
            found += lines
    return found


def short(
    suite: Suite,
    profile_name: str,
    records: Mapping[Cell, Record],
    folder: Path,
    methods: Sequence[str] = (),
) -> str:
    """Return a row per task, data set and method: the agent where ours is worst by the paper's.

    A baseline and a control have rows for what was run only.

    Args:
        suite: what was to be run.
        profile_name: how much of it.
        records: what was run, by cell.
        folder: where the best possible returns are kept.
        methods: those that have rows; all if empty.
    """
    errors = suite.kind == "prediction"
    lines = [
        f"| task | data | method | worst agent | {'RMSE' if errors else 'return'} | paper "
        "| times as good |" + ("" if errors else " best possible |"),
        "|---" * (7 if errors else 8) + "|",
    ]
    entries = summarise(suite, suite.profile(profile_name), records, folder)
    for row, cells in by_row(entries).items():
        if methods and row.method not in methods:
            continue
        start = f"| {row.task} | {row.dataset or NOTHING} | {method_name(row)} | "
        run = [entry for entry in cells if entry.ours is not None and entry.paper is not None]
        if not run and get_method(row.method).role in ("baseline", "control"):
            continue
        if not run:
            lines.append(start + " | ".join([NOT_RUN] + [NOTHING] * (3 if errors else 4)) + " |")
            continue
        worst = min(run, key=_goodness)
        shown = [
            f"{worst.agent} ({worst.label})",
            _bold(number(worst.ours), worst.beats(worst.paper)),
            number(worst.paper),
            number(worst.factor, 2),
        ]
        if not errors:
            shown.append(number(worst.best_possible))
        lines.append(start + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _goodness(entry: Entry) -> float:
    """Return the order of entries from the worst beside the paper; not finite is worst of all."""
    assert entry.ours is not None
    if math.isnan(entry.ours):
        return -math.inf
    if entry.factor is not None:
        return entry.factor
    return math.inf if entry.beats(entry.paper) else -1.0


def as_csv(entries: Sequence[Entry]) -> str:
    """Return the entries as a table, one line each."""
    buffer = io.StringIO()
    rows = [entry.record() for entry in entries]
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
