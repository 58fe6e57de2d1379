"""Cells that a run would measure: those of a suite with their settings, beside the records."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.records import differences, read_records
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Cell, Profile
from twinfold.errors import UsageError, one_of
from twinfold.planning.config import PLANNERS, PlanConfig, recorded_settings, setting_fields
from twinfold.planning.presets import PAPER, plan_config
from twinfold.utils.seeds import derived_seed


@dataclass(frozen=True)
class Part:
    """The part of a suite that is asked for; None stands for everything.

    Attributes:
        tasks: names of tasks.
        datasets: names of data sets; a method without one is then left out.
        methods: names of methods.
        agents: ids of agents.
        training_agents: numbers of training agents; a row that is not on that axis is left out.
    """

    tasks: Collection[str] | None = None
    datasets: Collection[str] | None = None
    methods: Collection[str] | None = None
    agents: Collection[int] | None = None
    training_agents: Collection[int] | None = None

    def of(self, suite: Suite, profile: Profile) -> list[Cell]:
        """Return the cells of the part, in the order in which they are run.

        Raises:
            UsageError: a name is not in the suite, or nothing is left.
        """
        cells = list(suite.cells(profile))
        for what, field, asked, valid in (
            ("task", "task", self.tasks, suite.tasks),
            ("dataset", "dataset", self.datasets, suite.datasets),
            ("method", "method", self.methods, suite.methods),
            ("agent", "agent", self.agents, suite.agents),
            ("number of training agents", "n_agents", self.training_agents, suite.training_agents),
        ):
            for name in asked or ():
                if name not in valid:
                    raise UsageError(
                        f"suite {suite.name!r} has no {what} {name!r}; {one_of(valid or ('none',))}"
                    )
            if asked is not None:
                cells = [cell for cell in cells if getattr(cell, field) in asked]
        if not cells:
            raise UsageError(f"suite {suite.name!r} has no cell with all of what was asked for")
        return cells


@dataclass(frozen=True)
class Plan:
    """Cells that a run would measure, and those that it would leave.

    Attributes:
        todo: cells to measure, in order; those that failed are among them.
        done: cells that have a record with the same settings.
        changed: recorded cells whose settings differ, with the differences.
        failed: cells that could not be measured when it was last tried, with the reason.
    """

    todo: list[Cell]
    done: list[Cell]
    changed: dict[Cell, list[str]]
    failed: dict[Cell, str]


def plan_run(suite: Suite, profile_name: str, records: Path, part: Part | None = None) -> Plan:
    """Compare the cells of a suite with the records.

    Raises:
        UsageError: the profile or a name of the part does not exist.
        RunError: the records are damaged or of another version.
    """
    suite, profile = suite.resolved(profile_name), suite.profile(profile_name)
    known = read_records(records)
    plan = Plan([], [], {}, {})
    for cell in (part or Part()).of(suite, profile):
        record = known.get(cell)
        if record is None or record.get("error") is not None:
            plan.todo.append(cell)
            if record is not None:
                plan.failed[cell] = record["error"]
            continue
        wanted = settings_of(suite, profile, cell)
        default = functools.partial(_default, cell)
        if differing := differences(_settings(record), wanted, default):
            plan.changed[cell] = differing
        else:
            plan.done.append(cell)
    return plan


def settings_of(suite: Suite, profile: Profile, cell: Cell) -> dict[str, Any]:
    """Return all that a figure depends on, resolved; a record with other settings is another's."""
    found: dict[str, Any] = {"data": None, "fit": None, "plan": None}
    method = get_method(cell.method)
    if method.fits:
        found["data"] = {"agents": training_agents(suite, cell), "seed": fit_seed(suite, cell)}
        found["fit"] = fit_settings(suite, cell)
    if suite.kind == "prediction":
        return {**found, "trajectories": profile.trajectories, "steps": profile.steps}
    if "act" not in method.abilities:
        found["plan"] = planner_config(suite, cell).model_dump(mode="json")
    return {**found, "episodes": episodes_of(profile, cell)}


def training_agents(suite: Suite, cell: Cell) -> int:
    """Return the number of agents in the data of a cell."""
    return suite.data.agents if cell.n_agents is None else cell.n_agents


def fit_seed(suite: Suite, cell: Cell) -> int:
    """Return the seed of a cell's data and fit; every repeat has one of its own."""
    return derived_seed(suite.data.seed + cell.repeat)


def episodes_of(profile: Profile, cell: Cell) -> int:
    """Return the episodes of a cell: a policy's cost little, so there may be more of them."""
    if profile.policy_episodes is not None and "act" in get_method(cell.method).abilities:
        return profile.policy_episodes
    return profile.episodes_by_task.get(cell.task, profile.episodes)


def fit_settings(suite: Suite, cell: Cell) -> dict[str, Any]:
    """Return all settings of a cell's fit as plain values, its seed included.

    Those of methods whose fits it builds on are in it, by name.
    """
    method, seed = get_method(cell.method), fit_seed(suite, cell)
    own = method.recorded(suite.settings(cell.method, cell.task), seed)
    below = {name: fit_settings(suite, cell._replace(method=name)) for name in method.needs}
    return {**own, **below}


def default_fit(cell: Cell) -> dict[str, Any]:
    """Return the defaults of the settings of a cell's fit: what a younger one was before."""
    method = get_method(cell.method)
    below = {name: default_fit(cell._replace(method=name)) for name in method.needs}
    return {**method.defaults(cell.task), **below}


def planner_config(suite: Suite, cell: Cell) -> PlanConfig:
    """Return the settings of a cell's planner: the paper's, or ours with the suite's changes."""
    if cell.planner == "paper":
        return PAPER[cell.task]
    from twinfold.tasks import get_task

    changes = suite.plan.get(cell.task, {})
    config = plan_config(cell.task, get_task(cell.task).action_type, **changes)
    # The true dynamics and the baselines know of no training data to stay near to.
    return config if get_method(cell.method).keeps_to_data else config.without_data()


def _settings(record: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a record, those of its planner as they are given today."""
    settings = record["settings"]
    plan = settings["plan"]
    if plan is None or plan.get("planner") not in PLANNERS:  # of one that is no more
        return settings
    return {**settings, "plan": recorded_settings(plan)}


def _default(cell: Cell, name: str) -> Any:
    """Return the default of a cell's setting by its dotted name; None if it has none."""
    part, _, setting = name.partition(".")
    if part == "plan":
        known = setting_fields()
        return known[setting].default if setting in known else None
    if part != "fit":
        return None
    value: Any = default_fit(cell)
    for word in setting.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    return value
