"""Running a suite: what is done is skipped, what is missing is measured and recorded.

    for every task, data set, method, planner and repeat:
        collect the data and fit, unless the work directory holds that fit
        for every agent: measure and append a record

A fit depends on the data and on the settings of the fit alone, so suites share fits. What cannot be
measured, such as a method that finds nothing to learn from, is recorded with the reason, and the
run goes on; it is tried again the next time.
"""

from __future__ import annotations

import datetime
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from twinfold import __version__
from twinfold.benchmark.eta import Clock
from twinfold.benchmark.fits import Fits, Log, Progress
from twinfold.benchmark.methods.method import Evaluation
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.paper import AGENT_LABELS
from twinfold.benchmark.pending import Part, Plan, fit_seed, plan_run, planner_config, settings_of
from twinfold.benchmark.records import FORMAT, VERSION, Record, append_record, cell_of, compact
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell, Profile
from twinfold.errors import InvalidDataError, UsageError
from twinfold.utils.cores import usable_cores
from twinfold.utils.seeds import derived_seed
from twinfold.utils.text import cut

BREAKDOWN = UsageError, InvalidDataError, ArithmeticError, np.linalg.LinAlgError
"""Errors after which a cell is recorded as failed and the run goes on."""


def run_suite(
    suite: Suite,
    profile_name: str,
    records: Path,
    work: Path,
    *,
    part: Part | None = None,
    force: bool = False,
    log: Log = lambda line: None,
    progress: Progress | None = None,
) -> Plan:
    """Measure the cells of a suite that have no record yet.

    Args:
        suite: what to run.
        profile_name: how much of it.
        records: JSONL file that records are appended to.
        work: directory of the fits; they are used again by every suite with the same settings.
        part: the part of the suite to run.
        force: measure cells again whose record has other settings.
        log: receives one line per thing worth knowing.
        progress: receives (what, done, in all) of the stage that runs.

    Returns:
        What was to be done when it started, and of that what could not be measured.

    Raises:
        UsageError: a name does not exist, or a record has other settings and ``force`` is off.
        RunError: the records or a fit in the work directory are damaged or of another version.
    """
    suite, profile = suite.resolved(profile_name), suite.profile(profile_name)
    plan = plan_run(suite, profile_name, records, part)
    if plan.changed and not force:
        raise UsageError(_changed_message(plan.changed, records))
    missing = {*plan.todo, *plan.changed}
    todo = [cell for cell in (part or Part()).of(suite, profile) if cell in missing]
    check_before(suite, todo)
    log(f"{suite.name}, profile {profile_name}: {len(todo)} cells to run, {len(plan.done)} done")
    clock = Clock(todo)
    session = _Session(suite, profile, profile_name, Fits(suite, work, log, progress), progress)
    failed: dict[Cell, str] = {}
    for cells in _groups(todo):
        for record in session.measure(cells):
            append_record(records, record)
            cell = cell_of(record)
            if record["error"] is not None:
                failed[cell] = record["error"]
            left = clock.tick(cell, record["seconds"]["evaluation"])
            log(f"{_shown(record)}; {left}")
    if plan.changed or plan.failed:
        compact(records, suite.cells(profile))
    return replace(plan, failed=failed)


def check_before(suite: Suite, todo: Iterable[Cell]) -> None:
    """Tell mistakes in a planner's settings and missing packages before anything is fitted.

    Raises:
        UsageError: there is one; the message names the setting, or what to install.
    """
    for name in dict.fromkeys(cell.method for cell in todo):
        get_method(name).check_installed()
    if suite.kind != "return":
        return
    from twinfold.planning.build import check_plan
    from twinfold.tasks import get_task

    for task, planner, method in dict.fromkeys((c.task, c.planner, c.method) for c in todo):
        if planner is not None:
            cell = Cell(task, None, method, planner, 0, 0)
            check_plan(planner_config(suite, cell), get_task(task))


def _changed_message(changed: Mapping[Cell, list[str]], records: Path) -> str:
    cell, lines = next(iter(changed.items()))
    shown = "; ".join(lines[:6]) + ("; ..." if len(lines) > 6 else "")
    return (
        f"{records} holds {len(changed)} of these cells with other settings. The first is {cell}: "
        f"{shown}.\nGive --force to measure them again and replace their records, or --records "
        "with another file to keep them"
    )


def _groups(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Return the cells that share a fit and a planner: they differ by agent only."""

    def shared(cell: Cell) -> Cell:
        return cell if get_method(cell.method).per_agent else cell._replace(agent=0)

    for _, group in itertools.groupby(cells, key=shared):
        yield list(group)


@dataclass(frozen=True)
class _Session:
    """One run: its settings and its fits."""

    suite: Suite
    profile: Profile
    profile_name: str
    fits: Fits
    progress: Progress | None

    def measure(self, cells: list[Cell]) -> Iterator[Record]:
        """Yield the records of cells of one group, each as soon as it is known."""
        model = None
        if get_method(cells[0].method).fits:
            try:
                model = self.fits.model(cells[0])
            except BREAKDOWN as error:
                yield from (self.failure(cell, error) for cell in cells)
                return
        side_by_side = self._side_by_side(cells[0])
        if side_by_side == 1:
            for cell in cells:
                yield self.record(cell, model, self.progress)
            return
        pool = ThreadPoolExecutor(max_workers=side_by_side)
        try:
            futures = [pool.submit(self.record, cell, model, None) for cell in cells]
            for future in as_completed(futures):
                yield future.result()
        finally:  # after an interrupt there is nothing to wait for
            pool.shutdown(wait=False, cancel_futures=True)

    def _side_by_side(self, cell: Cell) -> int:
        """Return the agents measured at once: those with fewer episodes than there are cores."""
        import jax

        if self.suite.kind == "prediction" or jax.default_backend() != "cpu":
            return 1
        episodes = settings_of(self.suite, self.profile, cell)["episodes"]
        return max(1, usable_cores() // episodes)

    def record(self, cell: Cell, model: Any, progress: Progress | None) -> Record:
        """Measure one cell."""
        begun = time.perf_counter()
        try:
            found, budget = self.figures(cell, model, progress)
        except BREAKDOWN as error:
            return self.failure(cell, error)
        (row,) = found["agents"]
        figures = {name: value for name, value in row.items() if name not in ("agent", "label")}
        info = {} if model is None else get_method(cell.method).info(model)
        return {
            **self.head(cell),
            "budget": {"repeats": self.profile.repeats, **budget},
            "fitted": None if model is None else _single_values(info),
            "seconds": {
                "fit": info.get("seconds"),
                "evaluation": round(time.perf_counter() - begun, 2),
            },
            "figures": figures,
            "note": found.get("note"),
            "error": None,
        }

    def figures(self, cell: Cell, model: Any, progress: Progress | None) -> tuple[Record, Record]:
        """Return what was measured of a cell, and the budget of that."""
        from twinfold.benchmark import protocol
        from twinfold.tasks import get_task

        method, task = get_method(cell.method), get_task(cell.task)
        settings, seed = settings_of(self.suite, self.profile, cell), self.seed(cell)
        if self.suite.kind == "prediction":
            budget = {name: settings[name] for name in ("trajectories", "steps")}
            return protocol.evaluate_prediction(
                model, task, [cell.agent], seed=seed, method=method, **budget
            ), budget
        budget = {"episodes": settings["episodes"]}
        plan = None if cell.planner is None else planner_config(self.suite, cell)
        evaluation = Evaluation(budget["episodes"], seed, plan, progress)
        return method.returns(model, task, [cell.agent], evaluation), budget

    def seed(self, cell: Cell) -> int:
        """Return the seed of a cell's evaluation.

        It depends on the cell alone, so a part of a suite gives the figures of the whole.
        """
        return derived_seed(100 * fit_seed(self.suite, cell) + cell.agent)

    def head(self, cell: Cell) -> Record:
        """Return what a record says before anything is measured."""
        import jax

        fits = get_method(cell.method).fits
        return {
            "format": FORMAT,
            "version": VERSION,
            "twinfold": __version__,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "suite": self.suite.name,
            "profile": self.profile_name,
            "kind": self.suite.kind,
            **cell._asdict(),
            "label": AGENT_LABELS[cell.task][cell.agent],
            "settings": settings_of(self.suite, self.profile, cell),
            "seeds": {
                "data_and_fit": fit_seed(self.suite, cell) if fits else None,
                "evaluation": self.seed(cell),
            },
            "device": jax.devices()[0].device_kind,
            "cores": usable_cores(),
        }

    def failure(self, cell: Cell, error: Exception) -> Record:
        """Return the record of a cell that could not be measured."""
        settings = settings_of(self.suite, self.profile, cell)
        budget = {n: settings[n] for n in ("trajectories", "steps", "episodes") if n in settings}
        empty = {"rmse_mean": None} if self.suite.kind == "prediction" else {"mean": None, "n": 0}
        return {
            **self.head(cell),
            "budget": {"repeats": self.profile.repeats, **budget},
            "fitted": None,
            "seconds": {"fit": None, "evaluation": 0.0},
            "figures": empty,
            "note": None,
            "error": cut(str(error) or type(error).__name__, 500),
        }


def _shown(record: Record) -> str:
    if record["error"] is not None:
        return f"{cell_of(record)}: failed: {record['error']}"
    name, word = ("rmse_mean", "error") if record["kind"] == "prediction" else ("mean", "return")
    figure, seconds = record["figures"][name], record["seconds"]["evaluation"]
    return f"{cell_of(record)}: {word} {figure:.4g} in {seconds:.1f} s"


def _single_values(info: Mapping[str, Any]) -> Record:
    """Return what a fit was made from and what it chose, its single values alone."""
    return {name: v for name, v in info.items() if isinstance(v, str | int | float)}
