"""Records of a suite beside the paper's figures, one entry per table cell. No JAX."""

from __future__ import annotations

import csv
import math
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from twinfold.benchmark.estimates import estimate, last_finite, mean_of, values_of
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.paper import AGENT_LABELS, TableName, paper_figures, paper_methods
from twinfold.benchmark.pending import default_fit, fit_settings
from twinfold.benchmark.records import Record, cell_of, differences
from twinfold.benchmark.statistics import Estimate, Sample
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell, Profile, Row
from twinfold.errors import UsageError
from twinfold.utils.reading import READING, read_regular
from twinfold.utils.text import cut

PAPER_AGENTS = 500  # training agents of its tables
OPTIMUM = "mountain_car_optimum.csv"  # beside the records
_LONGEST = {"cart_pole": 200.0}  # a point per step


@dataclass(frozen=True)
class Entry:
    """One cell of a table: what was measured, over all repeats, and the paper's figure.

    Attributes:
        row: task, data set, method and planner.
        agent: id of the agent.
        label: its physics, as the paper names it.
        repeats: repeats that were run; 0 if the cell was not run.
        wanted: repeats of the profile.
        ours: mean over repeats of the RMSE or the return; NaN if one was not finite; None if not
            run.
        spread: standard deviation over repeats; over episodes if there is one repeat; else None.
        low: lower end of the 95 % interval of the mean, or None where nothing is known of it.
        high: its upper end.
        before: of repeats that diverged, what they were like before, in words.
        failed: why a repeat could not be measured, or None.
        values: by fit, of every episode or trajectory; None where a record does not hold them.
        r2: mean over repeats of the median R2 (errors only).
        paper: the paper's figure, or None where it prints none.
        paper_spread: its standard deviation (returns only).
        paper_r2: the paper's median R2 (errors only).
        best_offline: best return of an offline method of the paper, or None.
        best_possible: best possible return, where it is known.
        lower_is_better: whether this is an error.
    """

    row: Row
    agent: int
    label: str
    repeats: int
    wanted: int
    ours: float | None
    spread: float | None
    low: float | None
    high: float | None
    before: tuple[str, ...]
    failed: str | None
    values: Sample | None
    r2: float | None
    paper: float | None
    paper_spread: float | None
    paper_r2: float | None
    best_offline: float | None
    best_possible: float | None
    lower_is_better: bool

    def beats(self, figure: float | None) -> bool | None:
        """Return whether ours is at least as good; None if either is missing."""
        if self.ours is None or figure is None:
            return None
        return self.ours <= figure if self.lower_is_better else self.ours >= figure

    @property
    def factor(self) -> float | None:
        """Ratio by which ours is better than the paper: 2 for half the error, cost or return twice.

        None where either is missing, or where the two returns differ in sign.
        """
        if self.ours is None or self.paper is None or not self.ours * self.paper > 0.0:
            return None
        costs = self.lower_is_better or self.paper < 0.0
        return self.paper / self.ours if costs else self.ours / self.paper

    @property
    def interval(self) -> Estimate:
        """The figure with its interval; what is not known is NaN."""
        ends = (math.nan if end is None else end for end in (self.ours, self.low, self.high))
        return Estimate(*ends)

    @property
    def status(self) -> str:
        """``run``, ``diverged``, ``failed`` or ``not run``."""
        if self.ours is not None:
            return "run" if math.isfinite(self.ours) else "diverged"
        return "not run" if self.failed is None else "failed"

    def record(self) -> Record:
        """Return the entry as plain values, for JSON and CSV."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "row"}
        for name in ("lower_is_better", "values"):
            fields.pop(name)
        fields["before"] = "; ".join(self.before)
        at_least_as_good = self.beats(self.paper)
        return {
            **self.row._asdict(),
            "status": self.status,
            **fields,
            "factor": self.factor,
            "at_least_as_good": at_least_as_good,
        }


def summarise(
    suite: Suite, profile: Profile, records: Mapping[Cell, Record], folder: Path
) -> list[Entry]:
    """Return the entries of all rows and agents of a suite, in its order.

    A row of which the profile leaves out every cell has none.

    Args:
        suite: gives the rows and agents.
        profile: gives the repeats.
        records: by cell.
        folder: where the best possible returns are kept; those that are not there are left out.

    Raises:
        UsageError: a record is of another kind than the suite.
    """
    for cell, record in records.items():
        if record["kind"] != suite.kind:
            raise UsageError(
                f"the record of {cell} is of kind {record['kind']!r}, and suite {suite.name!r} is "
                f"of kind {suite.kind!r}; give the records of this suite (--records)"
            )
    wanted: dict[tuple[Row, int], list[Cell]] = {}
    cells = list(suite.cells(profile))
    asked = {cell.row for cell in cells}
    for row in (row for row in suite.rows() if row in asked):
        for agent in suite.agents:
            wanted[row, agent] = []
    for cell in cells:
        wanted[cell.row, cell.agent].append(cell)
    table = suite.paper or ("table1" if suite.kind == "prediction" else "table2")
    best = best_possible(folder) if suite.kind == "return" else {}
    return [
        _entry(suite.kind, table, row, agent, cells, records, best)
        for (row, agent), cells in wanted.items()
    ]


def measured(cells: Iterable[Cell], records: Mapping[Cell, Record]) -> list[Record]:
    """Return the records of cells, without those of cells that could not be measured."""
    found = (records[cell] for cell in cells if cell in records)
    return [record for record in found if record.get("error") is None]


def _entry(
    kind: str,
    paper_table: TableName,
    row: Row,
    agent: int,
    cells: list[Cell],
    known: Mapping[Cell, Record],
    best: Mapping[tuple[str, int], float],
) -> Entry:
    errors = kind == "prediction"
    records = measured(cells, known)
    figures = [record["figures"] for record in records]
    values = [mean_of(record) for record in records]
    r2 = [_number(row.get("r2_median")) for row in figures] if errors else []
    theirs = _paper(paper_table, row, row.method).get(agent, {})
    spread = statistics.stdev(values) if len(values) > 1 else None
    if not errors and len(figures) == 1 and figures[0].get("n", 1) > 1:
        spread = _number(figures[0].get("std"))
    found = estimate(records)
    offline = [
        found_there[agent]["return_mean"]
        for method in paper_methods(paper_table)  # with a data set all of them learn offline
        if not errors and row.dataset
        if agent in (found_there := _paper(paper_table, row, method))
    ]
    return Entry(
        row=row,
        agent=agent,
        label=AGENT_LABELS[row.task][agent],
        repeats=len(records),
        wanted=len(cells),
        ours=found.value if found else None,
        spread=spread,
        low=finite(found.low) if found else None,
        high=finite(found.high) if found else None,
        before=tuple(last_finite(records)),
        failed=next((r["error"] for c in cells if (r := known.get(c)) and r.get("error")), None),
        values=values_of(records),
        r2=statistics.fmean(r2) if r2 else None,
        paper=theirs.get("rmse_mean" if errors else "return_mean"),
        paper_spread=theirs.get("return_std"),
        paper_r2=theirs.get("r2_median"),
        best_offline=max(offline, default=None),
        best_possible=best.get((row.task, agent)),
        lower_is_better=errors,
    )


def finite(value: float) -> float | None:
    """Return a value, or None if it is not finite."""
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    """Return a figure of a record, where what is not finite is null."""
    return math.nan if value is None else float(value)


def _paper(table: TableName, row: Row, method: str) -> dict[int, dict[str, float]]:
    """Return the paper's figures for a method on the data of a row; of 500 agents, as it has."""
    if row.n_agents not in (None, PAPER_AGENTS):
        return {}
    try:
        return paper_figures(table, row.task, row.dataset, method)
    except UsageError:  # the paper does not have that row
        return {}


def best_possible(folder: Path) -> dict[tuple[str, int], float]:
    """Return the best possible mean return by task and agent, where it is known."""
    best = {
        (task, agent): value
        for task, value in _LONGEST.items()
        for agent in range(len(AGENT_LABELS[task]))
    }
    path = folder / OPTIMUM
    if os.path.lexists(path):
        best |= {("mountain_car", agent): value for agent, value in _optimum(path)}
    return best


def _optimum(path: Path) -> Iterator[tuple[int, float]]:
    """Yield agents and their best possible mean returns from a table.

    Raises:
        UsageError: it cannot be read; the message names the line.
    """
    labels = AGENT_LABELS["mountain_car"]
    data = read_regular(path, READING.settings, UsageError)
    rows = csv.DictReader(data.decode("utf-8-sig", "replace").splitlines())
    try:
        for row in rows:
            value = float(row["optimal_return_mean"])
            if not math.isfinite(value):
                raise ValueError(f"{value} is not finite")
            yield labels.index(row["gravity"]), value
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{path}, line {rows.line_num}, is no best possible return ({cut(str(error))}); "
            "restore or remove the file"
        ) from None


def budget_lines(
    suite: Suite, profile: Profile, records: Mapping[Cell, Record]
) -> list[tuple[str, str]]:
    """Return what was really run, by task, from the records."""
    lines = []
    for task in suite.tasks:
        cells = [cell for cell in suite.cells(profile) if cell.task == task]
        own = measured(cells, records)
        others = [record for record in own if _fitted_otherwise(suite, record)]
        text = f"{len(own)} of {len(cells)} cells run{_budget(own)}"
        if others:
            sets = ", ".join(f"`{name}`" for name in dict.fromkeys(r["dataset"] for r in others))
            text += (
                f"; of these {len(others)} ({sets}) by fits with other settings than the suite's"
            )
        lines.append((task, text))
    return lines


def _fitted_otherwise(suite: Suite, record: Record) -> bool:
    """Return whether a record's fit had other settings than the suite has by now, seeds aside."""
    if record["settings"]["fit"] is None:
        return False
    cell = cell_of(record)
    default, wanted = default_fit(cell), fit_settings(suite, cell)
    return bool(
        differences(record["settings"]["fit"] | {"seed": wanted["seed"]}, wanted, default.get)
    )


def _budget(own: list[Record]) -> str:
    if not own:
        return ""
    repeats = _count(1 + max(record["repeat"] for record in own), "repeat")
    text = f": {repeats}, {_each(_amount(record['budget']) for record in own)}"
    fits: dict[str, list[float]] = {}
    for record in own:
        if record["seconds"]["fit"] is not None:
            fits.setdefault(record["method"], []).append(record["seconds"]["fit"])
    times = [
        ("" if get_method(name).role == "ours" else f"of {name} ")
        + _seconds(min(spent), max(spent))
        for name, spent in fits.items()
    ]
    if times:
        text += f"; a fit took {', '.join(times)}"
    spent = sum(record["seconds"]["evaluation"] for record in own)
    devices = _each(f"{_count(record['cores'], 'core')}, {record['device']}" for record in own)
    dates = sorted({record["date"][:10] for record in own})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = _each(record["twinfold"] for record in own)
    return text + f"; evaluation {spent:.0f} s in all ({devices}); {when}, twinfold {versions}"


def _amount(budget: Mapping[str, int]) -> str:
    if "episodes" in budget:
        return f"{_count(budget['episodes'], 'episode')} per agent and repeat"
    trajectories = _count(budget["trajectories"], "trajectory", "trajectories")
    return f"{trajectories} of {_count(budget['steps'], 'step')} per agent and repeat"


def _count(number: int, one: str, many: str = "") -> str:
    return f"1 {one}" if number == 1 else f"{number} {many or one + 's'}"


def _each(words: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(words))


def _seconds(low: float, high: float) -> str:
    return f"{low:.0f} s" if round(low) == round(high) else f"{low:.0f} to {high:.0f} s"


def as_record(
    suite: Suite, profile_name: str, records: Mapping[Cell, Record], folder: Path
) -> Record:
    """Return everything that the tables of a suite show, as one record."""
    profile = suite.profile(profile_name)
    entries = summarise(suite, profile, records, folder)
    return {
        "suite": suite.name,
        "profile": profile_name,
        "kind": suite.kind,
        "entries": [entry.record() for entry in entries],
        "budget": dict(budget_lines(suite, profile, records)),
    }
