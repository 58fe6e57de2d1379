"""Fits of a run: the last one, one of the work directory, or a new one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.benchmark.methods.method import FitRequest, Method
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.pending import fit_seed, training_agents
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell
from twinfold.errors import RunError

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset

Log = Callable[[str], None]
Progress = Callable[[str, int, int], None]
Data = tuple["PanelDataset", dict[str, Any]]


@dataclass(frozen=True)
class Fits:
    """The fits of a suite.

    Attributes:
        suite: gives data and settings.
        work: directory of the fits, by the digest of data and settings.
        log: receives one line per thing worth knowing.
        progress: receives (what, done, in all).
        models: the one that was asked for last.
        below: the one that the last ones were built on.
        data: the data set that was collected last, with where it comes from.
    """

    suite: Suite
    work: Path
    log: Log
    progress: Progress | None
    models: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    below: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    data: dict[tuple[Any, ...], Data] = field(default_factory=dict)

    def model(self, cell: Cell) -> Any:
        """Return the fit of a cell.

        Raises:
            RunError: the work directory holds a damaged one.
        """
        method = get_method(cell.method)
        key = self._key(cell, method)
        if key in self.models:
            return self.models[key]
        found = self._made(cell, method)
        self.models.clear()  # suites go fit by fit
        self.models[key] = found
        return found

    def _key(self, cell: Cell, method: Method) -> tuple[Any, ...]:
        agent = cell.agent if method.per_agent else None
        return cell.task, cell.dataset, cell.repeat, cell.n_agents, cell.method, agent

    def _made(self, cell: Cell, method: Method) -> Any:
        from twinfold.tasks import get_task

        dataset, source = self.collected(cell)
        out = self.place(cell, method, dataset)
        if out.exists():
            return self._loaded(method, out)
        request = FitRequest(
            dataset=dataset,
            task=get_task(cell.task),
            settings=self.suite.settings(cell.method, cell.task),
            seed=fit_seed(self.suite, cell),
            agent=cell.agent if method.per_agent else None,
            reserve=0 if method.per_agent else self.suite.reserve,
            source=source,
            out=out,
            other=lambda name: self._other(cell, method, name),
            log=lambda line: self.log(f"  {line}"),
            progress=self.progress,
        )
        return method.fit(request)

    def _other(self, cell: Cell, method: Method, name: str) -> Any:
        """Return the fit of a method that another one builds on; it is kept for the next agent."""
        assert name in method.needs, f"{method.name} does not need {name}"
        below = cell._replace(method=name)
        other = get_method(name)
        key = self._key(below, other)
        if key not in self.below:
            self.below.clear()
            self.below[key] = self._made(below, other)
        return self.below[key]

    def collected(self, cell: Cell) -> Data:
        """Return the data of a cell and where it comes from."""
        from twinfold.benchmark.collect import collect, provenance
        from twinfold.tasks import get_task

        assert cell.dataset is not None
        n_agents, seed = training_agents(self.suite, cell), fit_seed(self.suite, cell)
        key = cell.task, cell.dataset, n_agents, seed
        if key not in self.data:
            task = get_task(cell.task)
            self.log(f"{cell.task}, {cell.dataset}, repeat {cell.repeat}: collecting")
            # Collected anew by every run, in seconds: a stored table would outlive a new policy.
            dataset = collect(task, cell.dataset, n_agents, seed)
            self.data.clear()
            self.data[key] = dataset, provenance(task, cell.dataset, n_agents, seed)
        return self.data[key]

    def place(self, cell: Cell, method: Method, dataset: PanelDataset) -> Path:
        """Return where the fit of a cell is kept: under the digest of its data and settings."""
        seed = fit_seed(self.suite, cell)
        settings = method.canonical(self.suite.settings(cell.method, cell.task), seed)
        for name in method.needs:
            below = self.suite.settings(name, cell.task)
            settings += get_method(name).canonical(below, seed)
        digest = hashlib.sha256((dataset.fingerprint() + settings).encode()).hexdigest()[:12]
        words = [cell.task, cell.dataset or ""]
        words += [] if method.role == "ours" else [cell.method]
        words += [f"agent{cell.agent}"] if method.per_agent else []
        return self.work / ("-".join([*words, str(seed), digest]) + method.suffix)

    def _loaded(self, method: Method, path: Path) -> Any:
        """Return a fit of the work directory; a damaged one is told how to be rid of."""
        self.log(f"  the fit is there: {path}")
        try:
            return method.load(path)
        except RunError as error:
            raise RunError(f"{error}\nor remove {path}: this command then fits anew") from None
