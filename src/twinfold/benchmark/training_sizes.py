"""Figures over the number of training agents, of suites that have that axis (F.6). No JAX.

A point of a curve is over the test agents of a row of the suite's table: the geometric mean of
their errors, or the mean of their returns. Its interval is a bootstrap over fits and trajectories
or episodes, agents being strata; of a single fit it says nothing of how fits differ.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twinfold.benchmark.comparison import Entry, budget_lines, summarise
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.records import Record
from twinfold.benchmark.row_names import TITLES, method_name
from twinfold.benchmark.statistics import Estimate, Floats, interval
from twinfold.benchmark.studies.study_told import Drawing, Told, markdown
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell, Row
from twinfold.report.tables import NOTHING, Table, number

SAME = "the same"

UNKNOWN = Estimate(math.nan, math.nan, math.nan)
"""Where a curve has no point."""

READING = """\
Errors and returns where there is data of N agents, the test agents among them, by
{suites}. A figure is the geometric mean of
the test agents' errors, or the mean of their returns, with its 95 % bootstrap interval over
trajectories or episodes; of a single fit it does not say how fits differ. An agent alone has the
same trajectory whatever the others are. A method has a figure where all test agents were measured
and none diverged; each agent's own is in
{tables}.
"""


@dataclass(frozen=True)
class SizeCurve:
    """A method's figures over the number of training agents.

    Attributes:
        row: of the suite's table, without the number of agents.
        points: by number of agents, where every test agent was measured and is finite.
        missing: by number of agents, why there is no point.
        constant: whether the fit of an agent is the same whatever the others are, so that it is
            measured once.
    """

    row: Row
    points: Mapping[int, Estimate]
    missing: Mapping[int, str]
    constant: bool

    @property
    def title(self) -> str:
        """The name of the method."""
        return method_name(self.row)


def size_curves(entries: Sequence[Entry]) -> list[SizeCurve]:
    """Return a curve for each row of a table that is there for several numbers of agents.

    Args:
        entries: of a suite.
    """
    rows: dict[Row, dict[int, list[Entry]]] = {}
    for entry in entries:
        if (size := entry.row.n_agents) is not None:
            rows.setdefault(entry.row._replace(n_agents=None), {}).setdefault(size, []).append(
                entry
            )
    return [_curve(row, sizes) for row, sizes in rows.items()]


def _curve(row: Row, sizes: Mapping[int, Sequence[Entry]]) -> SizeCurve:
    missing = {size: why for size, mine in sizes.items() if (why := _missing(mine))}
    points = {size: _over_agents(mine) for size, mine in sizes.items() if size not in missing}
    return SizeCurve(row, points, missing, get_method(row.method).per_agent)


def _missing(entries: Sequence[Entry]) -> str:
    """Return why there is no figure over all agents; "" if there is one."""
    for status in ("diverged", "failed", "not run"):
        count = sum(entry.status == status for entry in entries)
        if count:
            return status if count == len(entries) else f"{status} for {count} of {len(entries)}"
    return ""


def _over_agents(entries: Sequence[Entry]) -> Estimate:
    """Return the figure over agents that were all measured; its ends are NaN if unknown."""
    errors = entries[0].lower_is_better
    samples = [entry.values for entry in entries if entry.values is not None]
    if len(samples) < len(entries):
        return Estimate(
            _middle(np.array([entry.ours for entry in entries]), errors), *[math.nan] * 2
        )
    # ``interval`` gives the statistic the agents' values one after the other.
    sizes = [len(sample) * max(map(np.size, sample)) for sample in samples]
    bounds = [*itertools.accumulate(sizes)][:-1]

    def statistic(values: Floats, axis: int = -1) -> Floats:
        means = [part.mean(axis=axis) for part in np.split(values, bounds, axis=axis)]
        return _middle(np.stack(means, axis=-1), errors)

    return interval(samples, statistic)


def _middle(values: Floats, errors: bool) -> Any:
    """Return the geometric mean of errors, the mean of returns, over the last axis."""
    if not errors:
        return values.mean(axis=-1)
    with np.errstate(divide="ignore"):  # without any error at all the mean is zero
        return np.exp(np.log(values).mean(axis=-1))


def size_table(curves: Sequence[SizeCurve], caption: str = "") -> Table:
    """Return a line per method and a column per number of training agents.

    Args:
        curves: of one task and data set.
        caption: of the table.
    """
    sizes = sorted({size for curve in curves for size in (*curve.points, *curve.missing)})
    rows = tuple((curve.title, *(_shown(curve, size, sizes) for size in sizes)) for curve in curves)
    return Table(("method", *(f"N = {size}" for size in sizes)), rows, caption)


def _shown(curve: SizeCurve, size: int, sizes: Sequence[int]) -> str:
    if (point := curve.points.get(size)) is not None:
        text = number(point.value)
        known = math.isfinite(point.low) and math.isfinite(point.high)
        return text + (f" [{number(point.low)}, {number(point.high)}]" if known else "")
    if size in curve.missing:
        return curve.missing[size]
    return SAME if curve.constant and curve.points else NOTHING


def fewest_sentences(entries: Sequence[Entry]) -> list[str]:
    """Return how ours stands against all other methods where training agents are fewest.

    There is a sentence for each task and data set where ours and another method were run there.

    Args:
        entries: of a suite.
    """
    sizes = [entry.row.n_agents for entry in entries if entry.row.n_agents is not None]
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.row.n_agents is not None and entry.row.n_agents == min(sizes):
            groups.setdefault(_data(entry.row), []).append(entry)
    told = ((name, _fewest(group)) for name, group in groups.items())
    return [f"{name}: with {min(sizes)} training agents {said}" for name, said in told if said]


def _fewest(entries: Sequence[Entry]) -> str:
    """Return how ours stands against all other methods on the same data; "" if one is missing."""
    run = [entry for entry in entries if entry.ours is not None]
    ours = [entry for entry in run if get_method(entry.row.method).role == "ours"]
    others = [e for e in run if get_method(e.row.method).role in ("baseline", "control")]
    if not ours or not others:
        return ""
    better = [(mine, _better(mine, others)) for mine in ours]
    methods = len({entry.row.method for entry in others})
    text = (
        f"{get_method(ours[0].row.method).title} is at least as good as each of {methods} other "
        f"methods for {sum(not found for _, found in better)} of {len(ours)} test agents"
    )
    told = [
        f"{mine.label}: {number(mine.ours)}, "
        + " and ".join(_beside(mine, other) for other in found)
        for mine, found in better
        if found
    ]
    return text + (f"; not for {'; '.join(told)}." if told else ".")


def _beside(mine: Entry, other: Entry) -> str:
    """Return the figure of a method that is better, and whether that may be chance."""
    meet = "" if mine.interval.apart(other.interval) else " (the intervals meet)"
    return f"{get_method(other.row.method).title} {number(other.ours)}{meet}"


def _better(mine: Entry, others: Sequence[Entry]) -> list[Entry]:
    """Return the entries of other methods for the same agent that are strictly better."""
    assert mine.ours is not None
    found = []
    for other in others:
        if other.agent != mine.agent or other.ours is None or not math.isfinite(other.ours):
            continue
        if not math.isfinite(mine.ours) or not mine.beats(other.ours):
            found.append(other)
    return found


def size_caption(kind: str) -> str:
    """Return what a point of a curve is, by the kind of the suite.

    Args:
        kind: ``"prediction"`` or ``"return"``.
    """
    figure = {"prediction": "geometric mean of the errors", "return": "mean of the returns"}[kind]
    return f"{figure} of the test agents by the number of training agents N"


def by_data(curves: Sequence[SizeCurve]) -> dict[str, list[SizeCurve]]:
    """Return curves by what they have in common, task and data set, in words."""
    groups: dict[str, list[SizeCurve]] = {}
    for curve in curves:
        groups.setdefault(_data(curve.row), []).append(curve)
    return groups


def _data(row: Row) -> str:
    return ", ".join(filter(None, (TITLES[row.task], row.dataset)))


def sizes_markdown(
    title: str,
    suites: Sequence[tuple[Suite, str, Mapping[Cell, Record]]],
    folder: Path,
    figures: str,
) -> str:
    """Return a section in Markdown: what ours is worth where agents are fewest, tables, pictures.

    Args:
        title: of the section.
        suites: with the number of training agents as an axis; with profile and records of each. One
            without records is left out.
        folder: where the best possible returns are kept.
        figures: folder of the pictures, as links have it; each is called as its suite.
    """
    parts: list[Table | Drawing] = []
    said, spent = [], []
    suites = [each for each in suites if each[2]]
    for suite, profile_name, records in suites:
        profile = suite.profile(profile_name)
        entries = summarise(suite, profile, records, folder)
        for name, curves in by_data(size_curves(entries)).items():
            parts.append(size_table(curves, f"{name}, {size_caption(suite.kind)}"))
        parts.append(Drawing(suite.name, suite.title or suite.name))
        word = "Error" if suite.kind == "prediction" else "Return"
        said += [f"- {word}, {sentence}" for sentence in fewest_sentences(entries)]
        budgets = budget_lines(suite, profile, records)
        spent += [f"- `{suite.name}`, `{task}`: {budget}." for task, budget in budgets]
    reading = READING.format(
        suites=" and ".join(f"`suites/{suite.name}.toml`" for suite, *_ in suites),
        tables=" and ".join(f"`results/{suite.name}-{name}.md`" for suite, name, _ in suites),
    )
    text, note = "\n".join([reading, *said]), "\n".join(["What was run:", "", *spent])
    return markdown(Told(title, text, tuple(parts), note), figures)
