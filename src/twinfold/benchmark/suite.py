"""A suite: an experiment over tasks, data sets, methods and agents, as a TOML file.

    name = "table2"
    kind = "return"                 # or "prediction"
    tasks = ["mountain_car", "cart_pole"]
    datasets = ["pure", "random"]
    methods = ["persim", "true-env-mpc"]

    [planners]                      # our planner alone where nothing is said
    true-env-mpc = ["twinfold", "paper"]

    effort = "thorough"             # of every fit; "normal" where nothing is said
    [fit.cart_pole]                 # further settings of FitConfig, by task
    [plan.cart_pole]                # settings of PlanConfig, by task; change our planner only
    [baselines.cadm]                # settings of a baseline that differ from its defaults

    [profiles.quick]
    repeats = 1
    episodes = 5
    episodes_by_task = { mountain_car = 2 }

Loading a suite needs no JAX.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinfold.baselines.cadm_settings import VARIANTS, CaDMSettings
from twinfold.benchmark.paper import AGENT_LABELS
from twinfold.config import FitConfig
from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import READING, problem_lines, read_toml
from twinfold.utils.seeds import LARGEST_SEED
from twinfold.utils.text import cut

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)]
Index = Annotated[int, Field(strict=True)]

FOLDER = Path("suites")
KINDS = ("prediction", "return")
DATASETS = ("pure", "random", "pure-eps-20", "pure-eps-40")
# By method: whether something is fitted, and so whether there is a data set to choose.
METHODS = {"persim": True, **dict.fromkeys(VARIANTS, True), "true-env-mpc": False}
PLANNERS = ("twinfold", "paper")
TASKS = tuple(AGENT_LABELS)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(_Strict):
    """Settings of the data that is collected.

    Attributes:
        agents: agents per data set, one trajectory each; 0 to 4 are the test agents.
        seed: of the first repeat; repeat k has seed + k, for data, fit and evaluation.
    """

    agents: Count = 500
    seed: Seed = 0


class Cell(NamedTuple):
    """One figure to be measured; ``dataset`` and ``planner`` are None where there is none."""

    task: str
    dataset: str | None
    method: str
    planner: str | None
    agent: int
    repeat: int

    def __str__(self) -> str:
        words = (self.task, self.dataset, self.method, self.planner and f"planner {self.planner}")
        named = ", ".join(word for word in words if word)
        return f"{named}, agent {self.agent}, repeat {self.repeat}"


class Row(NamedTuple):
    """Row of a table: cells that differ by agent and repeat only."""

    task: str
    dataset: str | None
    method: str
    planner: str | None


class Without(_Strict):
    """Cells that a profile leaves out: those that fit all that is given."""

    task: str | None = None
    dataset: str | None = None
    method: str | None = None
    planner: str | None = None
    agents: tuple[Index, ...] | None = None

    def holds(self, cell: Cell) -> bool:
        """Return whether a cell is left out."""
        given = {name: getattr(self, name) for name in Row._fields}
        return all(
            value is None or value == getattr(cell, name) for name, value in given.items()
        ) and (self.agents is None or cell.agent in self.agents)


class Profile(_Strict):
    """Part of a suite's measuring that is done.

    Attributes:
        repeats: data sets and fits per task and data set. A method that fits nothing has one.
        trajectories: true trajectories per agent (kind ``prediction``).
        steps: their length, predicted open loop.
        episodes: per agent and repeat (kind ``return``).
        episodes_by_task: the same for single tasks.
        without: cells that are left out, where they would take too long.
    """

    repeats: Annotated[Count, Field(le=1000)] = 1
    trajectories: Count = 200
    steps: Count = 50
    episodes: Count = 20
    episodes_by_task: dict[str, Count] = {}
    without: tuple[Without, ...] = ()


class Suite(_Strict):
    """A checked suite; see the module's text for the file.

    Attributes:
        name: of the suite, the first part of the names of its records.
        kind: ``"prediction"`` (open-loop error, Table 1) or ``"return"`` (planning, Table 2).
        title: heading of its tables.
        tasks: in the order of the tables.
        datasets: the policies that the data comes from.
        methods: names from ``METHODS``.
        planners: by method, from ``PLANNERS``: ours and the paper's (kind ``return``).
        agents: the test agents, 0 to 4.
        data: how data is collected.
        effort: of every fit.
        reserve: agents that the nets must not see; the paper trains on all of them.
        fit: by task, settings of ``FitConfig`` that differ from its defaults.
        plan: by task, settings of ``PlanConfig`` that differ from our planner's for that task.
        baselines: by method, settings of a baseline that differ from its defaults.
        fits_of: file name of a suite beside this one; its ``data``, ``effort``, ``reserve``,
            ``fit`` and ``baselines`` are taken, so that the two share their fits.
        profiles: by name.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
    kind: Literal["prediction", "return"]
    title: str = ""
    tasks: tuple[str, ...] = Field(min_length=1)
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = Field(min_length=1)
    planners: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    agents: Annotated[tuple[Index, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    data: DataSettings = DataSettings()
    effort: Literal["quick", "normal", "thorough"] = "normal"
    reserve: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    fit: dict[str, dict[str, Any]] = {}
    plan: dict[str, dict[str, Any]] = {}
    baselines: dict[str, dict[str, Any]] = {}
    fits_of: Annotated[str, Field(pattern=r"^[^/\x00]+\.toml$")] | None = None
    profiles: dict[str, Profile] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_exist(self) -> Suite:
        _known("task", self.tasks, TASKS)
        _known("dataset", self.datasets, DATASETS)
        _known("method", self.methods, METHODS)
        for setting in ("fit", "plan"):
            _known(f"task in [{setting}]", getattr(self, setting), self.tasks)
        _known("method in [planners]", self.planners, self.methods)
        named = [method for method in self.methods if method in VARIANTS]
        _known("method in [baselines]", self.baselines, named)
        for planners in self.planners.values():
            _known("planner", planners, PLANNERS)
        for profile in self.profiles.values():
            _known("task in episodes_by_task", profile.episodes_by_task, self.tasks)
            for left_out in profile.without:
                for name, valid in (
                    ("task", self.tasks),
                    ("dataset", self.datasets),
                    ("method", self.methods),
                    ("planner", PLANNERS),
                ):
                    if (value := getattr(left_out, name)) is not None:
                        _known(f"{name} in without", [value], valid)
                _known("agent in without", left_out.agents or (), self.agents)
        _known("agent", self.agents, range(len(AGENT_LABELS["cart_pole"])))
        if self.kind == "prediction" and (bad := [m for m in self.methods if not METHODS[m]]):
            raise UsageError(
                f"method {bad[0]!r} predicts nothing; kind 'prediction' takes "
                + one_of(name for name, fits in METHODS.items() if fits)
            )
        if not self.datasets and any(METHODS[method] for method in self.methods):
            raise UsageError(f"no datasets; {one_of(DATASETS)}")
        return self

    @cached_property
    def fits(self) -> Mapping[str, FitConfig]:
        """Return the settings of every task's fit, without the seed of the repeat."""
        found = {}
        for task in self.tasks:
            try:
                found[task] = FitConfig.parse({"effort": self.effort, **self.fit.get(task, {})})
            except UsageError as error:
                raise UsageError(f"[fit.{task}]: {error}") from None
        return found

    def cadm(self, method: str) -> CaDMSettings:
        """Return the settings of a variant of CaDM."""
        try:
            return CaDMSettings.parse(self.baselines.get(method, {}))
        except UsageError as error:
            raise UsageError(f"[baselines.{method}]: {error}") from None

    def profile(self, name: str) -> Profile:
        """Return the profile of that name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.profiles:
            raise UsageError(
                f"suite {self.name!r} has no profile {name!r}; {one_of(self.profiles)}"
            )
        return self.profiles[name]

    def rows(self) -> Iterator[Row]:
        """Return the rows of the suite's tables, task by task."""
        for task in self.tasks:
            for method in self.methods:
                planners = self.planners.get(method, PLANNERS[:1])
                for dataset in self.datasets if METHODS[method] else (None,):
                    for planner in planners if self.kind == "return" else (None,):
                        yield Row(task, dataset, method, planner)

    def cells(self, profile: Profile) -> Iterator[Cell]:
        """Return all cells of a profile, in the order in which they are run."""
        for row in self.rows():
            for repeat in range(profile.repeats if METHODS[row.method] else 1):
                for agent in self.agents:
                    cell = Cell(*row, agent, repeat)
                    if not any(left_out.holds(cell) for left_out in profile.without):
                        yield cell


def load_suite(name: str | Path) -> Suite:
    """Return a suite by its path, or by its name in ``./suites``.

    Raises:
        UsageError: there is none, or it names something that does not exist.
    """
    path = _find(name)
    values = read_toml(path, UsageError)
    if "script" in values:
        raise UsageError(
            f"{path} is no suite of the paper's tables; it is run by its own script: "
            f"python {cut(str(values['script']))} run"
        )
    suite = _validated(path, values)
    if suite.fits_of is not None:
        if suite.fit or suite.model_fields_set & {"data", "effort", "reserve", "baselines"}:
            raise UsageError(
                f"{path}: [data], effort, reserve, [fit] and [baselines] come from fits_of; "
                "give them there"
            )
        beside = path.with_name(suite.fits_of)
        found = read_toml(beside, lambda line: UsageError(f"{path}: fits_of: {line}"))
        other = _validated(beside, found)
        mine = {task: fit for task, fit in other.fit.items() if task in suite.tasks}
        others = {name: how for name, how in other.baselines.items() if name in suite.methods}
        taken = {name: getattr(other, name) for name in ("data", "effort", "reserve")}
        suite = suite.model_copy(update={**taken, "fit": mine, "baselines": others})
    try:
        # Settings of fits are checked now, not after an hour.
        suite.fits  # noqa: B018
        for method in suite.baselines:
            suite.cadm(method)
        plans_are_valid(suite)
    except UsageError as error:
        raise _told(path, str(error).splitlines()) from None
    return suite


def _validated(path: Path, values: dict[str, Any]) -> Suite:
    """Return the suite that a file holds; every problem names the file."""
    try:
        return Suite.model_validate(values)
    except ValidationError as error:
        lines = problem_lines(error.errors(), lambda place: one_of(_valid_settings(place)))
        raise _told(path, lines) from None
    except UsageError as error:
        raise _told(path, str(error).splitlines()) from None


def _told(path: Path, lines: Iterable[str]) -> UsageError:
    """Return what is wrong with a suite: each line names the file, and is of bounded length."""
    return UsageError("\n".join(f"{path}: {cut(line, READING.line)}" for line in lines))


def plans_are_valid(suite: Suite) -> None:
    """Check the settings of planners.

    Raises:
        UsageError: a setting is unknown or out of range.
    """
    from twinfold.planning.config import problems, setting_fields
    from twinfold.planning.presets import BY_TASK

    for task, changes in suite.plan.items():
        unknown = [name for name in changes if name not in setting_fields()]
        if unknown:
            raise UsageError(
                f"[plan.{task}]: unknown setting {unknown[0]!r}; {one_of(setting_fields())}"
            )
        try:
            BY_TASK[task].replace(**changes)
        except ValidationError as error:
            lines = (f"setting {name!r} {text}" for name, text in problems(error).items())
            raise UsageError("\n".join(f"[plan.{task}]: {line}" for line in lines)) from None


def _find(name: str | Path) -> Path:
    path = Path(name)
    if os.path.exists(path) and not os.path.isdir(path):
        return path
    inside = FOLDER / f"{name}.toml"
    if path.name == str(name) and os.path.exists(inside):
        return inside
    known = sorted(file.stem for file in FOLDER.glob("*.toml") if _is_suite(file))
    here = one_of(known) if known else f"there are none in {FOLDER}/, so give the path of a file"
    raise UsageError(f"no suite {str(name)!r}; {here}")


def _is_suite(file: Path) -> bool:
    """Return whether a file looks like a suite, and not like one that a script runs."""
    try:
        return "script" not in read_toml(file, UsageError)
    except UsageError:
        return False


def _known(what: str, names: Any, valid: Any) -> None:
    names = list(names)
    for name in names:
        if name not in valid:
            raise UsageError(f"unknown {what} {name!r}; {one_of(valid)}")
    if len(set(names)) < len(names):
        raise UsageError(f"a {what} is named twice: {', '.join(map(str, names))}")


def _valid_settings(place: tuple[int | str, ...]) -> list[str]:
    if "without" in place:
        return list(Without.model_fields)
    if place[0] == "profiles" and len(place) > 1:
        return list(Profile.model_fields)
    return list(DataSettings.model_fields if len(place) > 1 else Suite.model_fields)
