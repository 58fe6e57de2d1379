"""One offline page with what was measured of several suites, from their records. No JAX.

Nothing on it is typed: figures, intervals, budgets and reasons come from records, what a method is
from the registry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twinfold import __version__
from twinfold.benchmark.comparison import Entry, budget_lines, finite, summarise
from twinfold.benchmark.estimates import diverged, last_finite
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.page_tables import data_tables, improvement_table, reference_table
from twinfold.benchmark.records import Record
from twinfold.benchmark.row_names import TITLES, method_name
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell
from twinfold.benchmark.tables import counted_sentence, notes
from twinfold.benchmark.training_sizes import (
    SizeCurve,
    by_data,
    fewest_sentences,
    size_caption,
    size_curves,
    size_table,
)
from twinfold.report.html import Fact, Section, write_page
from twinfold.report.tables import Table

if TYPE_CHECKING:
    import plotly.graph_objects as go

Found = Sequence[tuple[Suite, Mapping[Cell, Record]]]

_READING = (
    "Each figure is the mean over fits (repeats) with its 95 % interval: a bootstrap over fits and "
    "episodes where the records hold every value, Student's interval of the mean where they do "
    "not. With a single fit the interval says nothing of how fits differ. Marked is the best "
    "figure of a data set and agent, and only where its interval overlaps that of no other method."
)

_STUDIES = "Figures and experiments of the paper beside its tables, measured on our own data."

_PAPER = "The paper's figure stands below ours. It was measured on the paper's own data."


def write_results(
    path: Path, profile: str, found: Found, folder: Path, studies: Sequence[Section] = ()
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: where.
        profile: how much of the suites was measured.
        found: suites, resolved for the profile, with their records by cell.
        folder: where the best possible returns are kept.
        studies: sections of studies, shown after the tables.

    Raises:
        UsageError: a record is of another kind than its suite, or the page cannot be written.
    """
    entries = [summarise(suite, suite.profile(profile), known, folder) for suite, known in found]
    sections = []
    for (suite, known), mine in zip(found, entries, strict=True):
        budgets = dict(budget_lines(suite, suite.profile(profile), known))
        for task in suite.tasks:
            own = [entry for entry in mine if entry.row.task == task]
            sections.append(_task_section(suite, task, own, budgets[task]))
    sections += [*studies, *([_methods(found), _oddities(found)] if found else [])]
    if (troubles := _troubles(found)) is not None:
        sections.append(troubles)
    everything = [entry for mine in entries for entry in mine]
    run = [entry for entry in everything if entry.status != "not run"]
    facts = [
        Fact("figures", str(len(run)), f"of {len(everything)} that the suites ask for"),
        Fact("methods", str(len({entry.row.method for entry in run})), "each on the same data"),
        *_counts([suite for suite, _ in found], entries),
    ]
    summary = [_READING, _PAPER] if found else [_STUDIES]
    names = ", ".join([*(suite.name for suite, _ in found), *(["studies"] if studies else [])])
    write_page(
        path,
        "Every method, side by side",
        summary,
        sections,
        facts if found else (),
        f"twinfold {__version__} · suites {names} · profile {profile}",
    )


def _counts(suites: Sequence[Suite], entries: Sequence[Sequence[Entry]]) -> list[Fact]:
    """Return in how many cells ours is at least as good as the paper's, by suite."""
    facts = []
    for suite, mine in zip(suites, entries, strict=True):
        ours = [entry for entry in mine if get_method(entry.row.method).role == "ours"]
        compared = [good for entry in ours if (good := entry.beats(entry.paper)) is not None]
        if compared:
            word = "errors" if mine[0].lower_is_better else "returns"
            facts.append(
                Fact(
                    f"{word} as good as the paper's PerSim",
                    f"{sum(compared)} of {len(compared)}",
                    f"{suite.name}: means, whatever their intervals",
                )
            )
    return facts


def _task_section(suite: Suite, task: str, entries: Sequence[Entry], budget: str) -> Section:
    what = "Error of open-loop predictions, RMSE in raw units: smaller is better."
    if suite.kind == "return":
        what = "Return per episode in the true task: larger is better."
    text = [what]
    if said := counted_sentence(entries):
        text.append(said)
    text += fewest_sentences(entries)
    parts: list[go.Figure | Table] = [
        size_table(curves, f"{name}, {size_caption(suite.kind)}")
        for name, curves in by_data(size_curves(entries)).items()
    ]
    parts += data_tables(entries)
    for table in (reference_table(entries), improvement_table(entries)):
        if table is not None:
            parts.append(table)
    parts += _figures(suite, entries)
    title = f"{suite.title or suite.name}: {TITLES[task]}"
    return Section(title, text, parts, f"What was run: {budget}.")


def _figures(suite: Suite, entries: Sequence[Entry]) -> list[go.Figure]:
    from twinfold.report.comparison_figures import Dot, comparison_figure

    errors = suite.kind == "prediction"
    axis = "RMSE in raw units" if errors else "return per episode"
    run = [entry for entry in entries if entry.ours is not None and math.isfinite(entry.ours)]
    if not run:
        return []
    if groups := by_data(size_curves(entries)):
        return [_size_figure(curves, axis, errors) for curves in groups.values()]
    dots: dict[str, list[Dot]] = {}
    paper = []
    for entry in run:
        line = " · ".join(filter(None, (entry.row.dataset, f"{entry.agent} ({entry.label})")))
        assert entry.ours is not None
        dots.setdefault(method_name(entry.row), []).append(
            Dot(line, entry.ours, entry.low, entry.high)
        )
        if get_method(entry.row.method).role == "ours" and entry.paper is not None:
            paper.append(Dot(line, entry.paper))
    return [comparison_figure(dots, paper, axis, log=errors)]


def _size_figure(curves: Sequence[SizeCurve], axis: str, errors: bool) -> go.Figure:
    """Return figures over the number of training agents, of one task and data set."""
    from twinfold.report.comparison_figures import Dot, size_figure

    points = {
        curve.title: {
            size: Dot(str(size), point.value, finite(point.low), finite(point.high))
            for size, point in curve.points.items()
        }
        for curve in curves
    }
    mean = "geometric mean" if errors else "mean"
    constant = [curve.title for curve in curves if curve.constant]
    return size_figure(points, f"{axis}, {mean} over agents", log=errors, constant=constant)


def _methods(found: Found) -> Section:
    names = dict.fromkeys(name for suite, _ in found for name in suite.methods)
    rows = []
    for name in names:
        method = get_method(name)
        own = [r for _, known in found for cell, r in known.items() if cell.method == name]
        fits = [r["seconds"]["fit"] for r in own if r["seconds"]["fit"] is not None]
        spent = f"{min(fits):.0f} to {max(fits):.0f} s" if fits else "none" if own else "not run"
        rows.append((method.title, name, method.role, method.about, spent))
    table = Table(
        ("method", "in suites", "role", "what it is", "a fit took"), tuple(rows), prose=(3,)
    )
    return Section("The methods", parts=[table])


def _oddities(found: Found) -> Section:
    said = dict.fromkeys(line for suite, _ in found for line in notes(suite))
    said |= dict.fromkeys(r["note"] for _, known in found for r in known.values() if r.get("note"))
    return Section("What to know beside the figures", list(said))


def _troubles(found: Found) -> Section | None:
    """Return the cells that diverged or could not be measured; None if there are none."""
    rows = []
    for suite, known in found:
        for cell, record in known.items():
            if record.get("error"):
                rows.append((str(cell), suite.name, "not measured", record["error"]))
            elif diverged(record):
                rows.append((str(cell), suite.name, "diverged", "; ".join(last_finite([record]))))
    if not rows:
        return None
    table = Table(("cell", "suite", "what", "detail"), tuple(rows), prose=(0, 3))
    return Section("What went wrong", "None of these is left out of the tables.", [table])
