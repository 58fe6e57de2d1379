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
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twinfold import __version__
from twinfold.baselines.cadm_settings import VARIANTS
from twinfold.benchmark.eta import Clock
from twinfold.benchmark.paper import AGENT_LABELS
from twinfold.benchmark.pending import (
    Part,
    Plan,
    data_seed,
    fit_config,
    fit_settings,
    plan_run,
    planner_config,
    settings_of,
)
from twinfold.benchmark.records import FORMAT, VERSION, Record, append_record, cell_of, compact
from twinfold.benchmark.suite import METHODS, Cell, Profile, Suite
from twinfold.errors import RunError, UsageError
from twinfold.utils.cores import usable_cores
from twinfold.utils.seeds import derived_seed

if TYPE_CHECKING:
    from twinfold.baselines.cadm_model import CaDM
    from twinfold.data.panel import PanelDataset
    from twinfold.models.fitted_model import FittedModel

Log = Callable[[str], None]
Progress = Callable[[str, int, int], None]
Model = TypeVar("Model")


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
    models: dict[tuple[Any, ...], FittedModel | CaDM] = field(default_factory=dict)

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

    def model(self, cell: Cell) -> FittedModel | CaDM:
        """Return the fit of a cell: the last one, one of the work directory, or a new one."""
        from twinfold.benchmark.collect import collect, provenance
        from twinfold.tasks import get_task

        key = (cell.task, cell.dataset, cell.repeat, cell.method)
        if key in self.models:
            return self.models[key]
        assert cell.dataset is not None
        task = get_task(cell.task)
        n_agents, seed = self.suite.data.agents, data_seed(self.suite, cell)
        self.log(f"{cell.task}, {cell.dataset}, repeat {cell.repeat}: collecting")
        # Collected anew every time, in seconds: a stored table would outlive a new policy.
        dataset = collect(task, cell.dataset, n_agents, seed)
        source = provenance(task, cell.dataset, n_agents, seed)
        found = self.cadm if cell.method in VARIANTS else self.simulator
        model = found(cell, dataset, source)
        self.models.clear()  # suites go fit by fit
        self.models[key] = model
        return model

    def simulator(self, cell: Cell, dataset: PanelDataset, source: dict[str, Any]) -> FittedModel:
        """Return the learned simulators of a cell, from the work directory or fitted anew."""
        from twinfold.training.fit import fit
        from twinfold.training.run_directory import load_run

        config = fit_config(self.suite, cell)
        out = self.place(cell, dataset, config.model_dump_json())
        if out.exists():
            return self.loaded(load_run, out)
        return fit(
            dataset,
            config,
            out=out,
            reserve=self.suite.reserve,
            source=source,
            log=lambda line: self.log(f"  {line}"),
            progress=self.progress,
        )

    def cadm(self, cell: Cell, dataset: PanelDataset, source: dict[str, Any]) -> CaDM:
        """Return the CaDM of a cell, from the work directory or fitted anew."""
        from twinfold.baselines import fit_cadm, load_cadm, save_cadm

        settings = fit_settings(self.suite, cell)
        out = self.place(cell, dataset, json.dumps(settings)).with_suffix(".safetensors")
        if out.exists():
            return self.loaded(load_cadm, out)
        model = fit_cadm(
            dataset,
            self.suite.cadm(cell.method),
            VARIANTS[cell.method],
            settings["seed"],
            source=source,
            progress=self.progress,
        )
        save_cadm(model, out)
        self.log(f"  {cell.method}: fitted in {model.info.seconds:.1f} s: {out}")
        return model

    def place(self, cell: Cell, dataset: PanelDataset, settings: str) -> Path:
        """Return where the fit of a cell is kept: under the digest of its data and settings."""
        digest = hashlib.sha256((dataset.fingerprint() + settings).encode()).hexdigest()[:12]
        method = "" if cell.method == "persim" else f"-{cell.method}"
        seed = data_seed(self.suite, cell)
        return self.work / f"{cell.task}-{cell.dataset}{method}-{seed}-{digest}"

    def loaded(self, load: Callable[[Path], Model], path: Path) -> Model:
        """Return a fit of the work directory; a damaged one is told how to be rid of."""
        self.log(f"  the fit is there: {path}")
        try:
            return load(path)
        except RunError as error:
            raise RunError(f"{error}\nor remove {path}: this command then fits anew") from None

    def record(
        self, cell: Cell, model: FittedModel | CaDM | None, progress: Progress | None
    ) -> Record:
        """Measure one cell."""
        import jax

        from twinfold.benchmark import protocol as evaluate
        from twinfold.tasks import get_task

        begun = time.perf_counter()
        settings = settings_of(self.suite, self.profile, cell)
        first = data_seed(self.suite, cell)
        # Depends on the cell alone, so a part of a suite gives the figures of the whole.
        seed = derived_seed(100 * first + cell.agent)
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


def _fitted(model: FittedModel | CaDM) -> dict[str, Any]:
    """Return what a fit was made from and what it chose: its single values, and its error."""
    single = {name: value for name, value in model.info if isinstance(value, str | int | float)}
    validation = getattr(model.info, "validation", None)
    if validation is None:  # a baseline holds nothing out
        return single
    return {
        **single,
        "held_out_error": validation.get("rmse"),
        "persistence_error": validation.get("persistence_rmse"),
    }
