"""The parts of a suite: its axes, its cells and rows, and its profiles. No JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from twinfold.benchmark.methods.method import Ability
from twinfold.benchmark.paper import AGENT_LABELS
from twinfold.utils.seeds import LARGEST_SEED

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)]
Index = Annotated[int, Field(strict=True)]

Effort = Literal["quick", "normal", "thorough"]

FOLDER = Path("suites")
KINDS = ("prediction", "return")
DATASETS = ("pure", "random", "pure-eps-20", "pure-eps-40")
# What a method must be able to do, one of these, by the kind of the suite.
ABILITIES: dict[str, tuple[Ability, ...]] = {"prediction": ("predict",), "return": ("plan", "act")}
PLANNERS = ("twinfold", "paper")
TASKS = tuple(AGENT_LABELS)


class Strict(BaseModel):
    """Settings of which every name is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(Strict):
    """Settings of the data that is collected.

    Attributes:
        agents: agents per data set, one trajectory each; 0 to 4 are the test agents.
        seed: of the first repeat; repeat k has seed + k, for data, fit and evaluation.
    """

    agents: Count = 500
    seed: Seed = 0


class Row(NamedTuple):
    """Row of a table: cells that differ by agent and repeat only.

    Attributes:
        task: name of the task.
        dataset: policy that the data comes from; None if there is no data.
        method: name of the method.
        planner: name of the planner; None if there is none.
        n_agents: training agents, where the suite has several numbers of them; else None.
    """

    task: str
    dataset: str | None
    method: str
    planner: str | None
    n_agents: int | None = None


class Cell(NamedTuple):
    """One figure to be measured: that of an agent and a repeat in a row."""

    task: str
    dataset: str | None
    method: str
    planner: str | None
    agent: int
    repeat: int
    n_agents: int | None = None

    @property
    def row(self) -> Row:
        """Row that it is of."""
        return Row(self.task, self.dataset, self.method, self.planner, self.n_agents)

    def __str__(self) -> str:
        words = (
            self.task,
            self.dataset,
            self.method,
            self.planner and f"planner {self.planner}",
            self.n_agents and f"{self.n_agents} training agents",
        )
        named = ", ".join(word for word in words if word)
        return f"{named}, agent {self.agent}, repeat {self.repeat}"


class Without(Strict):
    """Cells that a profile leaves out: those that fit all that is given."""

    task: str | None = None
    dataset: str | None = None
    method: str | None = None
    planner: str | None = None
    n_agents: Count | None = None
    agents: tuple[Index, ...] | None = None

    def holds(self, cell: Cell) -> bool:
        """Return whether a cell is left out."""
        given = {name: getattr(self, name) for name in Row._fields}
        return all(
            value is None or value == getattr(cell, name) for name, value in given.items()
        ) and (self.agents is None or cell.agent in self.agents)


class Profile(Strict):
    """Part of a suite's measuring that is done.

    Attributes:
        repeats: data sets and fits per task and data set. A method that fits nothing has one.
        trajectories: true trajectories per agent (kind ``prediction``).
        steps: their length, predicted open loop.
        episodes: per agent and repeat (kind ``return``).
        episodes_by_task: the same for single tasks.
        policy_episodes: the same for methods that act by a policy of their own, which costs little;
            None for as many as of planned ones.
        without: cells that are left out, where they would take too long.
        tasks: that are measured; None for all of the suite. Likewise ``datasets``, ``methods`` and
            ``agents``.
        training_agents: that take the place of the suite's; None for those.
        effort: that takes the place of the suite's; None for that one.
        fit: settings of every task's fit, over the suite's.
        plan: settings of our planner for every task, over the suite's.
        baselines: by method, settings over the suite's.
    """

    repeats: Annotated[Count, Field(le=1000)] = 1
    trajectories: Count = 200
    steps: Count = 50
    episodes: Count = 20
    episodes_by_task: dict[str, Count] = {}
    policy_episodes: Count | None = None
    without: tuple[Without, ...] = ()
    tasks: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    agents: tuple[Index, ...] | None = None
    training_agents: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    effort: Effort | None = None
    fit: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    baselines: dict[str, dict[str, Any]] = {}
