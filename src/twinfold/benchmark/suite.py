"""A suite: an experiment over tasks, data sets, methods and agents, as a TOML file.

    name = "table2"
    kind = "return"                 # or "prediction"
    tasks = ["mountain_car", "cart_pole"]
    datasets = ["pure", "random"]
    methods = ["persim", "true-env-mpc"]

    [planners]                      # our planner alone where nothing is said
    true-env-mpc = ["twinfold", "paper"]

    training_agents = [25, 500]     # an axis of the suite; [data] agents where it is left out

    effort = "thorough"             # of every fit; "normal" where nothing is said
    [fit.cart_pole]                 # further settings of FitConfig, by task
    [plan.cart_pole]                # settings of PlanConfig, by task; change our planner only
    [baselines.cadm]                # settings of a method that differ from its defaults
    [baselines.cadm.half_cheetah]   # the same for one task

    [profiles.quick]
    repeats = 1
    episodes = 5
    episodes_by_task = { mountain_car = 2 }

What a method is stands in :mod:`twinfold.benchmark.methods`. Loading a suite needs no JAX.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from twinfold.benchmark.methods.method import Given, Method
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.paper import TableName
from twinfold.benchmark.suite_files import STUDY, find_suite
from twinfold.benchmark.suite_names import check_names
from twinfold.benchmark.suite_parts import (
    PLANNERS,
    TASKS,
    Cell,
    Count,
    DataSettings,
    Effort,
    Index,
    Profile,
    Row,
    Strict,
    Without,
)
from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import READING, problem_lines, read_toml
from twinfold.utils.text import cut

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
"""What names of files are made of: those of suites and of their profiles."""
Planners = Annotated[tuple[str, ...], Field(min_length=1)]


class Suite(Strict):
    """A checked suite; see the module's text for the file.

    Attributes:
        name: of the suite, the first part of the names of its records.
        kind: ``"prediction"`` (open-loop error, Table 1) or ``"return"`` (planning, Table 2).
        title: heading of its tables.
        paper: table of the paper that its figures stand beside; None for the one of its kind.
        tasks: in the order of the tables.
        datasets: the policies that the data comes from.
        methods: names from the registry, :mod:`twinfold.benchmark.methods`.
        planners: by method, from ``PLANNERS``: ours and the paper's (kind ``return``).
        agents: the test agents, 0 to 4.
        data: how data is collected.
        training_agents: numbers of agents per data set, an axis of the suite; empty where there is
            the one of ``data``.
        effort: of every fit.
        reserve: agents that the nets must not see; the paper trains on all of them.
        fit: by task, settings of ``FitConfig`` that differ from its defaults.
        plan: by task, settings of ``PlanConfig`` that differ from our planner's for that task.
        baselines: by method, settings that differ from its defaults; under the name of a task, for
            that one.
        fits_of: file name of a suite beside this one; its ``data``, ``training_agents``,
            ``effort``, ``reserve``, ``fit`` and ``baselines`` are taken, in its profiles too, so
            that the two share their fits. Methods that it does not have keep their ``baselines``.
        profiles: by name.
    """

    name: FileName
    kind: Literal["prediction", "return"]
    title: str = ""
    paper: TableName | None = None
    tasks: tuple[str, ...] = Field(min_length=1)
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = Field(min_length=1)
    planners: dict[str, Planners] = Field(default_factory=dict)
    agents: Annotated[tuple[Index, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    data: DataSettings = DataSettings()
    training_agents: tuple[Count, ...] = ()
    effort: Effort = "normal"
    reserve: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    fit: dict[str, dict[str, Any]] = Field(default_factory=dict)
    plan: dict[str, dict[str, Any]] = Field(default_factory=dict)
    baselines: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fits_of: Annotated[str, Field(pattern=r"^[^/\x00]+\.toml$")] | None = None
    profiles: dict[FileName, Profile] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_exist(self) -> Suite:
        check_names(self)
        return self

    def settings(self, method: str, task: str) -> BaseModel | None:
        """Return the settings of a method's fits on a task, without the seed of the repeat.

        Raises:
            UsageError: a setting is unknown or out of range.
        """
        return get_method(method).settings(self.given(method, task))

    def given(self, method: str, task: str) -> Given:
        """Return what the suite says of the fits of a method on a task.

        Raises:
            UsageError: what stands under the task's name is no table.
        """
        own = self.baselines.get(method, {})
        merged = {name: value for name, value in own.items() if name not in TASKS}
        of_task = own.get(task, {})
        if not isinstance(of_task, dict):
            raise UsageError(
                f"[baselines.{method}.{task}] is a table of settings, not {cut(repr(of_task))}"
            )
        merged |= of_task
        return Given(task, self.effort, self.reserve, self.fit.get(task, {}), merged)

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

    def resolved(self, name: str) -> Suite:
        """Return the suite with what a profile changes of it; the same if it changes nothing.

        Raises:
            UsageError: there is no such profile.
        """
        profile = self.profile(name)
        parts = {
            part: tuple(x for x in getattr(self, part) if x in asked)
            for part in ("tasks", "datasets", "methods", "agents")
            if (asked := getattr(profile, part)) is not None
        }
        changes: dict[str, Any] = dict(parts)
        if profile.training_agents is not None:
            sizes = profile.training_agents
            axis = sizes if self.training_agents else ()
            changes["training_agents"] = axis
            if not axis:
                changes["data"] = self.data.model_copy(update={"agents": sizes[0]})
        if profile.effort is not None:
            changes["effort"] = profile.effort
        for setting in ("fit", "plan"):
            if over := getattr(profile, setting):
                own = getattr(self, setting)
                changes[setting] = {task: {**own.get(task, {}), **over} for task in self.tasks}
        if profile.baselines:
            own = self.baselines
            changes["baselines"] = own | {
                method: {**own.get(method, {}), **over}
                for method, over in profile.baselines.items()
            }
        return self.model_copy(update=changes) if changes else self

    def rows(self) -> Iterator[Row]:
        """Return the rows of the suite's tables, task by task."""
        for task in self.tasks:
            for name in self.methods:
                method = get_method(name)
                for dataset in self.datasets if method.fits else (None,):
                    for size in (self.training_agents or (None,)) if method.fits else (None,):
                        for planner in self._planners(method):
                            yield Row(task, dataset, name, planner, size)

    def _planners(self, method: Method) -> tuple[str | None, ...]:
        """Return the planners of a method's rows; None where nothing is planned."""
        if self.kind != "return" or "act" in method.abilities:
            return (None,)
        return self.planners.get(method.name, PLANNERS[:1])

    def cells(self, profile: Profile) -> Iterator[Cell]:
        """Return all cells of a profile, in the order in which they are run."""
        for row in self.rows():
            for repeat in range(profile.repeats if get_method(row.method).fits else 1):
                for agent in self.agents:
                    cell = Cell(*row[:4], agent, repeat, row.n_agents)
                    if not any(left_out.holds(cell) for left_out in profile.without):
                        yield cell


def load_suite(name: str | Path) -> Suite:
    """Return a suite by its path, or by its name in ``./suites``.

    Raises:
        UsageError: there is none, or it names something that does not exist.
    """
    path = find_suite(name)
    values = read_toml(path, UsageError)
    if "script" in values:
        raise UsageError(
            f"{path} is no suite of the paper's tables; it is run by its own script: "
            f"python {cut(str(values['script']))} run"
        )
    if values.get("kind") == STUDY:
        raise UsageError(f"{path} holds studies and no table; name a suite of the paper's tables")
    suite = _validated(path, values)
    if suite.fits_of is not None:
        suite = _with_fits_of(path, suite)
    try:
        check_names(suite)  # those of the suite that it takes its fits from among them
        for name in suite.profiles:  # settings of fits are checked now, not after an hour
            _check_settings(suite.resolved(name))
    except UsageError as error:
        raise _told(path, str(error).splitlines()) from None
    return suite


def _with_fits_of(path: Path, suite: Suite) -> Suite:
    """Return a suite with the data and the fits of the one beside it.

    Raises:
        UsageError: that one cannot be used, or both have settings of fits.
    """
    shared = ("data", "training_agents", "effort", "reserve")
    beside = path.with_name(str(suite.fits_of))
    found = read_toml(beside, lambda line: UsageError(f"{path}: fits_of: {line}"))
    other = _validated(beside, found)
    if suite.fit or suite.model_fields_set & {*shared} or {*suite.baselines} & {*other.methods}:
        raise UsageError(
            f"{path}: [data], training_agents, effort, reserve, [fit] and the [baselines] of its "
            "methods come from fits_of; give them there"
        )

    def joined(own: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
        return own | {name: how for name, how in theirs.items() if name in suite.methods}

    profiles = {}
    for name, profile in suite.profiles.items():
        taken = profile.model_fields_set & {"training_agents", "effort", "fit"}
        if taken or {*profile.baselines} & {*other.methods}:
            raise UsageError(
                f"{path}: training_agents, effort, fit and the baselines of its methods, in "
                f"profile {name!r}, come from fits_of; give them there"
            )
        theirs = other.profiles.get(name, Profile())
        changes = {part: getattr(theirs, part) for part in ("training_agents", "effort", "fit")}
        changes["baselines"] = joined(profile.baselines, theirs.baselines)
        profiles[name] = profile.model_copy(update=changes)
    changes = {name: getattr(other, name) for name in shared}
    changes["fit"] = {task: fit for task, fit in other.fit.items() if task in suite.tasks}
    changes |= {"baselines": joined(suite.baselines, other.baselines), "profiles": profiles}
    return suite.model_copy(update=changes)


def _check_settings(suite: Suite) -> None:
    """Check the settings of fits and planners.

    Raises:
        UsageError: a setting is unknown or out of range.
    """
    for name in suite.methods:
        for task in suite.tasks:
            suite.settings(name, task)
    plans_are_valid(suite)


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


def _valid_settings(place: tuple[int | str, ...]) -> list[str]:
    if "without" in place:
        return list(Without.model_fields)
    if place[0] == "profiles" and len(place) > 1:
        return list(Profile.model_fields)
    return list(DataSettings.model_fields if len(place) > 1 else Suite.model_fields)
