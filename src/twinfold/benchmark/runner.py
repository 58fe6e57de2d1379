"""Running a suite: what is done is skipped, what is missing is measured and recorded.

    for every task, data set, method, planner and repeat:
        collect the data and fit, unless the work directory holds that fit
        for every agent: measure and append a record

A fit depends on the data and on the settings of the fit alone, so suites share fits.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold import __version__
from twinfold.benchmark.eta import Clock
from twinfold.benchmark.paper import AGENT_LABELS
from twinfold.benchmark.pending import Part, Plan, fit_config, plan_run, planner_config, settings_of
from twinfold.benchmark.records import FORMAT, VERSION, Record, append_record, cell_of, compact
from twinfold.benchmark.suite import METHODS, Cell, Profile, Suite
from twinfold.errors import RunError, UsageError
from twinfold.utils.cores import usable_cores

if TYPE_CHECKING:
    from twinfold.models.fitted_model import FittedModel

Log = Callable[[str], None]
Progress = Callable[[str, int, int], None]


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
        What was to be done when it started.

    Raises:
        UsageError: a name does not exist, or a record has other settings and ``force`` is off.
        RunError: the records or a fit in the work directory are damaged or of another version.
    """
    profile = suite.profile(profile_name)
    plan = plan_run(suite, profile_name, records, part)
    if plan.changed and not force:
        raise UsageError(_changed_message(plan.changed, records))
    missing = {*plan.todo, *plan.changed}
    todo = [cell for cell in (part or Part()).of(suite, profile) if cell in missing]
    if suite.kind == "return":
        from twinfold.planning.build import check_plan
        from twinfold.tasks import get_task

        for cell in todo:  # a mistake in a planner's settings is told before the fits
            check_plan(planner_config(suite, cell), get_task(cell.task))
    log(f"{suite.name}, profile {profile_name}: {len(todo)} cells to run, {len(plan.done)} done")
    clock = Clock(todo)
    session = _Session(suite, profile, profile_name, work, log, progress)
    for cells in _groups(todo):
        for record in session.measure(cells):
            append_record(records, record)
            left = clock.tick(cell_of(record), record["seconds"]["evaluation"])
            log(f"{_shown(record)}; {left}")
    if plan.changed:
        compact(records, suite.cells(profile))
    return plan


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
    for _, group in itertools.groupby(cells, key=lambda cell: cell._replace(agent=0)):
        yield list(group)


@dataclass(frozen=True)
class _Session:
    """One run: its settings, and the model that was used last."""

    suite: Suite
    profile: Profile
    profile_name: str
    work: Path
    log: Log
    progress: Progress | None
    models: dict[tuple[Any, ...], FittedModel] = field(default_factory=dict)

    def measure(self, cells: list[Cell]) -> Iterator[Record]:
        """Yield the records of cells of one group, each as soon as it is known."""
        model = self.model(cells[0]) if METHODS[cells[0].method] else None
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

    def model(self, cell: Cell) -> FittedModel:
        """Return the fit of a cell: the last one, one of the work directory, or a new one."""
        from twinfold.benchmark.collect import collect, provenance
        from twinfold.tasks import get_task
        from twinfold.training.fit import fit
        from twinfold.training.run_directory import load_run

        key = (cell.task, cell.dataset, cell.repeat)
        if key in self.models:
            return self.models[key]
        assert cell.dataset is not None
        task, config = get_task(cell.task), fit_config(self.suite, cell)
        n_agents, seed = self.suite.data.agents, self.suite.data.seed + cell.repeat
        self.log(f"{cell.task}, {cell.dataset}, repeat {cell.repeat}: collecting")
        # Collected anew every time, in seconds: a stored table would outlive a new policy.
        dataset = collect(task, cell.dataset, n_agents, seed)
        identity = dataset.fingerprint() + config.model_dump_json()
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        out = self.work / f"{cell.task}-{cell.dataset}-{seed}-{digest}"
        if out.exists():
            self.log(f"  the fit is there: {out}")
            try:
                model = load_run(out)
            except RunError as error:
                raise RunError(f"{error}\nor remove {out}: this command then fits anew") from None
        else:
            source = provenance(task, cell.dataset, n_agents, seed)
            model = fit(
                dataset,
                config,
                out=out,
                reserve=self.suite.reserve,
                source=source,
                log=lambda line: self.log(f"  {line}"),
                progress=self.progress,
            )
        self.models.clear()  # suites go fit by fit
        self.models[key] = model
        return model

    def record(self, cell: Cell, model: FittedModel | None, progress: Progress | None) -> Record:
        """Measure one cell."""
        import jax

        from twinfold.benchmark import protocol as evaluate
        from twinfold.tasks import get_task

        begun = time.perf_counter()
        settings = settings_of(self.suite, self.profile, cell)
        first = self.suite.data.seed + cell.repeat
        # Depends on the cell alone, so a part of a suite gives the figures of the whole.
        seed = 100 * first + cell.agent
        task, agents = get_task(cell.task), [cell.agent]
        if self.suite.kind == "prediction":
            assert model is not None
            budget = {name: settings[name] for name in ("trajectories", "steps")}
            found = evaluate.evaluate_prediction(model, task, agents, seed=seed, **budget)
        else:
            budget = {"episodes": settings["episodes"]}
            options: dict[str, Any] = {
                **budget,
                "seed": seed,
                "plan": planner_config(self.suite, cell),
                "progress": progress,
            }
            if model is None:
                found = evaluate.evaluate_true(task, agents, **options)
            else:
                found = evaluate.evaluate_return(model, task, agents, **options)
        (row,) = found["agents"]
        figures = {name: value for name, value in row.items() if name not in ("agent", "label")}
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
            "budget": {"repeats": self.profile.repeats, **budget},
            "settings": settings,
            "fitted": None if model is None else _fitted(model),
            "seeds": {"data_and_fit": None if model is None else first, "evaluation": seed},
            "seconds": {
                "fit": None if model is None else model.info.seconds,
                "evaluation": round(time.perf_counter() - begun, 2),
            },
            "device": jax.devices()[0].device_kind,
            "cores": usable_cores(),
            "figures": figures,
            "note": found.get("note"),
        }


def _shown(record: Record) -> str:
    name, word = ("rmse_mean", "error") if record["kind"] == "prediction" else ("mean", "return")
    figure, seconds = record["figures"][name], record["seconds"]["evaluation"]
    return f"{cell_of(record)}: {word} {figure:.4g} in {seconds:.1f} s"


def _fitted(model: FittedModel) -> dict[str, Any]:
    """Return what a fit was made from and what it chose: its single values, and its error."""
    single = {name: value for name, value in model.info if isinstance(value, str | int | float)}
    validation = model.info.validation
    return {
        **single,
        "held_out_error": validation.get("rmse"),
        "persistence_error": validation.get("persistence_rmse"),
    }
