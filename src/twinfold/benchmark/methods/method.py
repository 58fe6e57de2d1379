"""What the benchmark asks of a method: an abstract class that every method fills in. No JAX.

A method can *predict* (open-loop trajectories, Table 1), *plan* (it has dynamics that a planner
searches in, Table 2) or *act* (it has a policy, Table 2). Whatever it fits is one file or one
directory, so that a run that was stopped goes on and suites share fits.
"""

from __future__ import annotations

import abc
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel

from twinfold.benchmark.paper import ACTION_TYPES
from twinfold.errors import UsageError
from twinfold.utils.text import cut

if TYPE_CHECKING:
    from twinfold.benchmark.collect import Trajectories
    from twinfold.benchmark.predictions import Predictions
    from twinfold.data.panel import PanelDataset
    from twinfold.models.fitted_model import FittedModel
    from twinfold.planning.config import PlanConfig
    from twinfold.tasks import Task

Ability = Literal["predict", "plan", "act"]
Role = Literal["ours", "baseline", "control", "reference"]
Record = dict[str, Any]
Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True)
class Given:
    """What a suite says of the fits of one method on one task.

    Attributes:
        task: name of the task.
        effort: of every fit of a simulator.
        reserve: agents that the nets must not see.
        fit: settings of ``FitConfig`` for the task.
        own: settings that the suite gives to this method, ``[baselines.NAME]``.
    """

    task: str
    effort: str
    reserve: int
    fit: Mapping[str, Any]
    own: Mapping[str, Any]

    @property
    def action_type(self) -> Literal["discrete", "continuous"]:
        """Kind of the task's actions, without loading the task."""
        return ACTION_TYPES[self.task]


@dataclass(frozen=True, eq=False)
class FitRequest:
    """One fit that a method is asked for.

    Attributes:
        dataset: the panel; of a method with ``per_agent`` all agents as well.
        task: the true task, for its columns, reward and end of an episode; never for its physics.
        settings: what ``Method.settings`` returned.
        seed: of the repeat.
        agent: id of the agent that the fit is for; None unless ``per_agent``.
        reserve: agents that the nets must not see.
        source: where the data comes from, to be kept with the fit.
        out: where the fit must be when this is done, for ``Method.load``; it does not exist.
        other: returns the fit of another method (one of ``needs``) on the same data.
        log: receives one line per thing worth knowing.
        progress: receives (what, done, in all).
    """

    dataset: PanelDataset
    task: Task
    settings: Any
    seed: int
    agent: int | None
    reserve: int
    source: Mapping[str, Any]
    out: Path
    other: Callable[[str], Any]
    log: Callable[[str], None]
    progress: Callable[[str, int, int], None] | None


@dataclass(frozen=True)
class Evaluation:
    """How the return of a method is to be measured.

    Attributes:
        episodes: per agent.
        seed: of starts and planner.
        plan: settings of the planner; None for a method that acts by itself.
        progress: receives (what, done, in all).
    """

    episodes: int
    seed: int
    plan: PlanConfig | None = None
    progress: Callable[[str, int, int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Method(abc.ABC):
    """A method of the benchmark.

    Attributes:
        name: in suites and records; also in the paper's tables, where they have it.
        title: in tables.
        role: *ours*, a *baseline*, a *control* (it shows what a part of ours is worth) or a
            *reference* that knows the truth.
        abilities: what it can do; what can act is measured by its policy alone.
        about: what it is and what its budget is, in a sentence or two for the page.
        fits: whether something is fitted, and so whether there is a data set to choose.
        per_agent: whether there is a fit for every agent.
        keeps_to_data: whether its planner can be told to keep to the training data.
        suffix: of the file of a fit; empty if it is a directory.
        needs: names of methods whose fit on the same data is used by this one.
        modules: that must be installed, and ``extra`` the name of the extra that brings them.
    """

    name: str
    title: str
    role: Role
    abilities: frozenset[Ability]
    about: str = ""
    fits: bool = True
    per_agent: bool = False
    keeps_to_data: bool = False
    suffix: str = ""
    needs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    extra: str = ""

    def check_installed(self) -> None:
        """Refuse a method whose optional packages are missing.

        Raises:
            UsageError: it says which extra to install.
        """
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                raise UsageError(
                    f"method {self.name!r} needs {module}, which is not installed: "
                    f"pip install 'twinfold[{self.extra}]', or choose other methods (--method)"
                )

    # Settings: plain values in, plain values out.

    @abc.abstractmethod
    def settings(self, given: Given) -> BaseModel | None:
        """Return the settings of its fits; None if nothing is fitted.

        Raises:
            UsageError: a setting is unknown or out of range; the message names the suite's table.
        """

    @abc.abstractmethod
    def defaults(self, task: str) -> Record:
        """Return its defaults on a task: what a record that is older than a setting was made by."""

    def recorded(self, settings: Any, seed: int) -> Record:
        """Return all settings of a fit as plain values, its seed included."""
        return {**settings.model_dump(mode="json"), "seed": seed}

    def canonical(self, settings: Any, seed: int) -> str:
        """Return the text that tells fits on the same data apart."""
        return json.dumps(self.recorded(settings, seed))

    # Fits.

    @abc.abstractmethod
    def fit(self, request: FitRequest) -> Any:
        """Fit, write the fit to ``request.out`` and return it."""

    @abc.abstractmethod
    def load(self, path: Path) -> Any:
        """Return the fit that was written to a path.

        Raises:
            RunError: it is damaged, or of another version.
        """

    def owns(self, model: Any) -> bool:
        """Return whether a fit is of this method, by its type."""
        return False

    def info(self, model: Any) -> Record:
        """Return what is known of a fit, ``seconds`` and ``source`` among it, by name."""
        return dict(model.info)

    def fit_settings(self, model: Any) -> Record | None:
        """Return the settings that a fit was made with, plain values; None if it keeps none."""
        config = getattr(model, "config", None)
        return config.model_dump(mode="json") if isinstance(config, BaseModel) else None

    def check(self, model: Any, task: Task) -> None:
        """Refuse a fit that is not of a task; by default none is refused.

        Raises:
            UsageError: naming what differs.
        """
        return

    # What it can do.

    def history_steps(self, model: Any) -> int:
        """Return how many true steps it is given before the first that it predicts."""
        return 0

    def error_note(self, model: Any) -> str:
        """Return what to know about its errors beside those of others; "" if nothing."""
        return ""

    def return_note(self, model: Any) -> str:
        """Return what to know about its returns beside those of others; "" if nothing."""
        return ""

    def dynamics(self, model: Any, agent: int, draws: int = 0) -> Any:
        """Return the ``Dynamics`` of an agent, a stack of members.

        Args:
            model: a fit.
            agent: id of the agent.
            draws: of its parameters that a planner asks for; 0 for the members as they are.
        """
        raise NotImplementedError(f"{self.name} has no dynamics")

    def predict(self, model: Any, agents: Sequence[int], found: Trajectories) -> list[Predictions]:
        """Return what is predicted for true trajectories of agents, by agent.

        By default its ``dynamics`` are rolled out from the first state.

        Args:
            model: a fit.
            agents: ids.
            found: true trajectories of these agents, in their order, with ``history_steps`` more
                steps than are to be predicted.
        """
        from twinfold.benchmark.predictions import Predictions, rollout_stack

        return [
            Predictions(
                found.states[a],
                rollout_stack(self.dynamics(model, agent), found.states[a, :, 0], found.actions[a]),
                found.mask[a],
            )
            for a, agent in enumerate(agents)
        ]

    def planning_model(self, model: Any) -> FittedModel | None:
        """Return the run whose training data a planner may keep to; None if there is none."""
        return None

    def agent_of(self, agent: int) -> int:
        """Return what its fit calls an agent."""
        return int(agent)

    def policy(self, model: Any, agent: int) -> Any:
        """Return the policy of an agent: an object with ``act(states (B, D)) -> actions``."""
        return model

    def returns(
        self, model: Any, task: Task, agents: Sequence[int], evaluation: Evaluation
    ) -> Record:
        """Return the returns of agents in the true task, as a record with a row per agent."""
        from twinfold.benchmark import protocol

        if "act" in self.abilities:
            from twinfold.benchmark.acting import evaluate_acting

            return evaluate_acting(self, model, task, agents, evaluation)
        return protocol.evaluate_return(
            model,
            task,
            agents,
            episodes=evaluation.episodes,
            seed=evaluation.seed,
            plan=evaluation.plan,
            progress=evaluation.progress,
            method=self,
        )


def parsed(settings: Callable[[dict[str, Any]], Settings], values: Any, place: str) -> Settings:
    """Return checked settings; a problem names the table of the suite that they stand in.

    Args:
        settings: makes them from plain values, as ``FitConfig.parse`` does.
        values: of the suite.
        place: the table, such as ``fit.cart_pole``.

    Raises:
        UsageError: it is no table, or a setting is unknown or out of range.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"[{place}] is a table of settings, not {cut(repr(values))}")
    try:
        return settings(dict(values))
    except UsageError as error:
        lines = (f"[{place}]: {cut(line, 1000)}" for line in str(error).splitlines())
        raise UsageError("\n".join(lines)) from None
