"""How far a suite is: cells done, diverged, failed and left, and about how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinfold.benchmark.estimates import diverged
from twinfold.benchmark.eta import cell_kind, duration, fit_of
from twinfold.benchmark.pending import Part, plan_run
from twinfold.benchmark.records import Record, read_records
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell


@dataclass(frozen=True)
class Progressed:
    """How far a group of cells is.

    Attributes:
        cells: in all.
        done: that have a record with the settings of today, diverged ones included.
        diverged: of these, whose figure is not finite.
        failed: that could not be measured when it was last tried; they are among ``left``.
        changed: that have a record with other settings; they are not measured unless forced.
        left: to measure.
        seconds: that these take by the records of cells of their kind.
        untimed: of ``left``, of a kind that was never measured.
    """

    cells: int = 0
    done: int = 0
    diverged: int = 0
    failed: int = 0
    changed: int = 0
    left: int = 0
    seconds: float = 0.0
    untimed: int = 0

    def time_left(self) -> str:
        """Return the time left in words."""
        if not self.left:
            return "none"
        if self.untimed == self.left:
            return "not known"
        text = f"about {duration(self.seconds)}"
        return text + (f" and {self.untimed} cells of a kind not timed" if self.untimed else "")


@dataclass(frozen=True)
class Status:
    """How far a suite is.

    Attributes:
        suite: its name.
        profile: how much is to be measured.
        records: file of its records.
        groups: by task and method.
        reasons: why cells failed, in the words of the last try.
        odd: cells that diverged.
    """

    suite: str
    profile: str
    records: Path
    groups: dict[tuple[str, str], Progressed]
    reasons: dict[Cell, str] = field(default_factory=dict)
    odd: tuple[Cell, ...] = ()

    @property
    def total(self) -> Progressed:
        """All groups together."""
        names = Progressed.__dataclass_fields__
        return Progressed(
            **{name: sum(getattr(group, name) for group in self.groups.values()) for name in names}
        )

    def record(self) -> Record:
        """Return it as plain values, for JSON."""
        return {
            "suite": self.suite,
            "profile": self.profile,
            "records": str(self.records),
            **vars(self.total),
            "groups": [
                {"task": task, "method": method, **vars(group)}
                for (task, method), group in self.groups.items()
            ],
            "failures": [{**cell._asdict(), "reason": why} for cell, why in self.reasons.items()],
            "diverged_cells": [cell._asdict() for cell in self.odd],
        }


def status_of(suite: Suite, profile_name: str, records: Path, part: Part | None = None) -> Status:
    """Return how far a suite is.

    Args:
        suite: what is to be measured.
        profile_name: how much of it.
        records: file of its records; all is left if it does not exist.
        part: the part that is asked for.

    Raises:
        UsageError: the profile or a name of the part does not exist.
        RunError: the records are damaged or of another version.
    """
    plan = plan_run(suite, profile_name, records, part)
    known = read_records(records)
    odd = tuple(cell for cell in plan.done if diverged(known[cell]))
    times = _Times(known)
    fitted = {fit_of(cell) for cell in (*plan.done, *plan.changed)}
    by_state: dict[str, Iterable[Cell]] = {
        "done": plan.done,
        "diverged": odd,
        "failed": plan.failed,
        "changed": plan.changed,
        "left": plan.todo,
    }
    counts: dict[tuple[str, str], dict[str, Any]] = {}
    cells = (part or Part()).of(suite.resolved(profile_name), suite.profile(profile_name))
    for cell in cells:
        group = counts.setdefault((cell.task, cell.method), dict.fromkeys(by_state, 0))
        group["cells"] = group.get("cells", 0) + 1
    for state, states in by_state.items():
        for cell in states:
            counts[cell.task, cell.method][state] += 1
    for cell in plan.todo:
        group = counts[cell.task, cell.method]
        seconds = times.of(cell, new_fit=fit_of(cell) not in fitted)
        fitted.add(fit_of(cell))
        key, amount = ("untimed", 1) if seconds is None else ("seconds", seconds)
        group[key] = group.get(key, 0) + amount
    groups = {name: Progressed(**group) for name, group in counts.items()}
    return Status(suite.name, profile_name, records, groups, plan.failed, odd)


class _Times:
    """Seconds that cells and fits took, by kind."""

    def __init__(self, records: Mapping[Cell, Record]) -> None:
        measured = {c: r for c, r in records.items() if r.get("error") is None}
        self._cells = _means(measured, lambda record: record["seconds"]["evaluation"])
        self._fits = _means(measured, lambda record: record["seconds"]["fit"])

    def of(self, cell: Cell, new_fit: bool) -> float | None:
        """Return the seconds of a cell; None if none of its kind was measured."""
        kind = cell_kind(cell)
        if kind not in self._cells:
            return None
        return self._cells[kind] + (self._fits.get(kind, 0.0) if new_fit else 0.0)


def _means(
    records: Mapping[Cell, Record], seconds: Callable[[Record], float | None]
) -> dict[Any, float]:
    found: dict[Any, list[float]] = {}
    for cell, record in records.items():
        if (value := seconds(record)) is not None:
            found.setdefault(cell_kind(cell), []).append(value)
    return {kind: sum(values) / len(values) for kind, values in found.items()}


def lines_of(status: Status) -> list[str]:
    """Return a status as text: a line per task and method, then all, then what went wrong."""
    head = ("task", "method", "cells", "done", "diverged", "failed", "changed", "left", "time left")
    groups = [(task, method, group) for (task, method), group in status.groups.items()]
    groups.append(("all", "", status.total))
    rows: list[tuple[str, ...]] = [head]
    for task, method, group in groups:
        numbers = (group.cells, group.done, group.diverged, group.failed, group.changed, group.left)
        rows.append((task, method, *map(str, numbers), group.time_left()))
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = [f"{status.suite}, profile {status.profile}: {status.records}"]
    for row in rows:
        cells = (
            text.ljust(width) if k in (0, 1, 8) else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    lines += [f"failed: {cell}: {why}" for cell, why in status.reasons.items()]
    lines += [f"diverged: {cell}" for cell in status.odd]
    if status.total.changed:
        lines.append("changed: recorded with other settings; --force measures them again")
    return lines
