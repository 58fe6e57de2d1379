"""Time that a run has taken and may still take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.suite_parts import Cell

Kind = tuple[Any, ...]


class Clock:
    """Estimates the time left from the cells that are done.

    Cells of one task, method and planner take about equally long, and so does what comes before
    the first cell of a fit.
    """

    def __init__(self, todo: Iterable[Cell], now: Callable[[], float] = time.monotonic) -> None:
        """Start to count.

        Args:
            todo: all cells that will be measured.
            now: seconds from any beginning.
        """
        cells = list(todo)
        self._now = now
        self._begun = self._last = now()
        self._cells = Counter(map(cell_kind, cells))
        self._fits = {fit_of(cell) for cell in cells}
        self._measuring: dict[Kind, list[float]] = {}
        self._preparing: dict[Kind, list[float]] = {}

    def tick(self, cell: Cell, seconds: float) -> str:
        """Count a cell as done and say how long the rest may take.

        Args:
            cell: the cell.
            seconds: its measuring alone, without the fit that came before.
        """
        now, kind = self._now(), cell_kind(cell)
        gone, self._last = now - self._last, now
        self._cells[kind] -= 1
        self._measuring.setdefault(kind, []).append(min(gone, seconds))
        if fit_of(cell) in self._fits:
            self._fits.remove(fit_of(cell))
            self._preparing.setdefault(kind, []).append(max(0.0, gone - seconds))
        so_far = duration(now - self._begun)
        if not self._cells.total():
            return f"all done after {so_far}"
        timed = {kind: n for kind, n in self._cells.items() if kind in self._measuring}
        left = sum(n * _mean(self._measuring[kind]) for kind, n in timed.items())
        left += sum(_mean(self._preparing[kind]) for fit in self._fits if (kind := fit[0]) in timed)
        new = self._cells.total() - sum(timed.values())
        text = f"{so_far} gone, {self._cells.total()} cells left: about {duration(left)}"
        return text + (f" and {new} of a kind not timed yet" if new else "")


def cell_kind(cell: Cell) -> Kind:
    """Return what cells that take about equally long have in common."""
    return cell.task, cell.method, cell.planner, cell.n_agents


def fit_of(cell: Cell) -> tuple[Kind, Any]:
    """Return what cells that share a fit have in common."""
    agent = cell.agent if get_method(cell.method).per_agent else None
    return cell_kind(cell), (cell.dataset, cell.repeat, agent)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def duration(seconds: float) -> str:
    """Return a time in words: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
