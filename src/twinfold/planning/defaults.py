"""Settings of a plan, and their defaults by task. Importing this module does not load JAX.

Everything that a task needs beyond the generic settings stands in the table below and is written
into records; the planners themselves know nothing about tasks.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.data.ids import AgentId
    from twinfold.models.dynamics import Dynamics
    from twinfold.models.ensemble import FittedModel
    from twinfold.planning.objective import Objective
    from twinfold.planning.planner import Planner
    from twinfold.tasks.task import Task

CONTINUOUS = ("icem", "mppi", "cem")
# A search for the terminal value "plans", of which there are many.
_VALUE_CANDIDATES, _VALUE_ROUNDS = 32, 3


class PlanConfig(BaseModel):
    """How to plan. Every setting is a plain value: a flag, a line of TOML, a field of a record.

    Attributes:
        planner: ``"sticky"`` or ``"shooting"`` for discrete actions; ``"icem"``, ``"mppi"`` or
            ``"cem"`` for continuous ones.
        candidates: action sequences per control step (continuous: in the first round).
        horizon: their length in steps.
        rounds: rounds per control step; the planners for discrete actions have one.
        terminal_value: what the end of a plan is worth: ``"none"``, or ``"grid"`` for a value
            learned from the model by value iteration (states of up to 3 coordinates), or
            ``"plans"`` for one learned by planning from many states (continuous actions; takes
            about half a minute per agent).
        discount: per step.
        progress: worth of the most progress that a plan makes, by the task's measure of it (the
            position in MountainCar; others have none).
        risk: standard deviations over the members that are taken off the return.
        cvar: share of the members, the worst ones, over which the return is averaged.
        disagreement: price of a step on which the members' predictions of the next state differ by
            one standard deviation of the training data, averaged over coordinates.
        out_of_range: what becomes of predictions beyond the training data: ``"ignore"``,
            ``"truncate"`` (nothing is earned from there on) or ``"penalise"``.
        range_margin: how much wider than the training data the range is, on either side, as a
            share of its width.
        range_cost: price of a step that ends one standard deviation beyond the range.
        behaviour: price of an action that departs from what the data's policy would have done by
            one standard deviation of that policy's noise; scaled down if the policy explains
            little of the data. Also lets plans begin at that policy.
        support_cost: price of a step with nothing behind it: far from all data, or where members
            contradict each other (:mod:`twinfold.planning.support`). A search over the data at
            every step: planning takes three to ten times longer.
        draws: draws of the agent's factors from their posterior for each member. With 0 the members
            differ in their nets alone; with more, what is not known of an agent with little data
            of its own counts in ``risk``, ``disagreement`` and ``support_cost`` as well. Costs as
            many times more.
        spread: standard deviation of the noise around a plan, as a share of the range of the
            action (``"icem"`` and ``"cem"``: in the first round).
        noise_beta: colour of that noise: its power falls with frequency ** -noise_beta; 0 is white.
        elite: share of the candidates that are elites (``"icem"``, ``"cem"``).
        keep: share of the elites that are tried again in the next round (``"icem"``).
        decay: size of a round over that of the one before (``"icem"``).
        momentum: share of the old mean and spread in the new ones (``"icem"``, ``"cem"``).
        warm_start: whether ``"cem"`` begins at the plan of the last control step; ``"icem"`` and
            ``"mppi"`` always do.
        execute: ``"mean"`` or ``"best"`` plan of ``"cem"``; ``"icem"`` takes the best, ``"mppi"``
            the mean.
        temperature: of ``"mppi"``; the smaller, the more the best candidates count.
        temperature_unit: ``"spread"`` (standard deviation of the scores) or ``"reward"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    planner: Literal["sticky", "shooting", "cem", "icem", "mppi"] = "sticky"
    candidates: int = Field(default=500, ge=4, le=1_000_000)
    horizon: int = Field(default=25, ge=1, le=10_000)
    rounds: int = Field(default=4, ge=1, le=100)
    terminal_value: Literal["none", "grid", "plans"] = "none"
    discount: float = Field(default=1.0, gt=0.0, le=1.0)
    progress: float = Field(default=0.0, ge=0.0)
    risk: float = Field(default=0.0, ge=0.0)
    cvar: float = Field(default=1.0, gt=0.0, le=1.0)
    disagreement: float = Field(default=0.0, ge=0.0)
    out_of_range: Literal["ignore", "truncate", "penalise"] = "ignore"
    range_margin: float = Field(default=0.1, ge=0.0)
    range_cost: float = Field(default=1.0, ge=0.0)
    behaviour: float = Field(default=0.0, ge=0.0)
    support_cost: float = Field(default=0.0, ge=0.0)
    draws: int = Field(default=0, ge=0, le=1000)
    spread: float = Field(default=0.25, gt=0.0)
    noise_beta: float = Field(default=2.0, ge=0.0, le=10.0)
    elite: float = Field(default=0.1, gt=0.0, le=0.5)
    keep: float = Field(default=0.3, ge=0.0, le=1.0)
    decay: float = Field(default=0.8, gt=0.0, le=1.0)
    momentum: float = Field(default=0.1, ge=0.0, lt=1.0)
    warm_start: bool = True
    execute: Literal["best", "mean"] = "best"
    temperature: float = Field(default=0.3, gt=0.0)
    temperature_unit: Literal["spread", "reward"] = "spread"

    def replace(self, **changes: Any) -> PlanConfig:
        """A copy with the changes that are not None, validated."""
        given = {name: value for name, value in changes.items() if value is not None}
        return PlanConfig(**{**self.model_dump(), **given})

    def without_data(self) -> PlanConfig:
        """The same for one model that was not learned: nothing to disagree, no data, no policy."""
        value = "none" if self.terminal_value == "plans" else self.terminal_value
        return self.replace(
            risk=0.0,
            cvar=1.0,
            disagreement=0.0,
            out_of_range="ignore",
            behaviour=0.0,
            support_cost=0.0,
            draws=0,
            terminal_value=value,
        )

    @property
    def needs_data(self) -> bool:
        """Whether plans are judged by where the training data lies."""
        priced = self.disagreement, self.behaviour, self.support_cost
        return any(price > 0 for price in priced) or self.out_of_range != "ignore"


GENERIC = {
    "discrete": PlanConfig(planner="sticky", candidates=500, horizon=25),
    "continuous": PlanConfig(planner="icem", candidates=100, horizon=25, rounds=4),
}

BY_TASK = {
    # Balancing is decided within 0.3 s. A short plan leaves little room for model error to grow,
    # and random continuations that survive it are a fair measure of how safe an action is.
    "cart_pole": PlanConfig(planner="sticky", candidates=200, horizon=15),
    # The goal is up to 120 steps away: the terminal value sees it, the plan refines the way there.
    "mountain_car": PlanConfig(planner="sticky", candidates=100, horizon=15, terminal_value="grid"),
    # Plans of contact dynamics exploit errors of the model: where the members disagree costs.
    "half_cheetah": PlanConfig(
        planner="icem",
        candidates=80,
        horizon=20,
        rounds=4,
        noise_beta=1.0,
        disagreement=1.0,
        behaviour=2.0,
        # The best second from standing is a somersault onto the back. Runners fall where one member
        # of the ensemble sees it coming and the others do not: their spread counts.
        terminal_value="plans",
        risk=1.0,
    ),
}

# How the PerSim paper plans, with its own simulators and with the true dynamics.
_PAPER_SHOOTING = PlanConfig(planner="shooting", candidates=1000, horizon=50, rounds=1)
PAPER = {
    "cart_pole": _PAPER_SHOOTING,
    # The paper does not say what its score adds to a reward that is -1 wherever a plan ends. With
    # the highest position this planner earns what the paper's did; without, next to nothing.
    "mountain_car": _PAPER_SHOOTING.replace(progress=1.0),
    "half_cheetah": PlanConfig(
        planner="cem",
        candidates=200,
        horizon=30,
        rounds=5,
        elite=0.1,
        noise_beta=0.0,
        warm_start=False,
        execute="mean",
    ),
}


def plan_config(task: str | None, action_type: str, **changes: Any) -> PlanConfig:
    """The settings for a task (None or unknown: generic ones), with the changes that are not None.

    Args:
        task: name of the task.
        action_type: ``"discrete"`` or ``"continuous"``.
        changes: fields of :class:`PlanConfig`.
    """
    return BY_TASK.get(task or "", GENERIC[action_type]).replace(**changes)


def make_planner(
    config: PlanConfig, *, n_actions: int | None = None, low: Any = None, high: Any = None
) -> Planner:
    """The planner that the settings name.

    Args:
        config: the settings.
        n_actions: number of levels of a discrete action, else None.
        low: lower bounds ``(A,)`` of a continuous action, else None.
        high: upper bounds ``(A,)``.

    Raises:
        UsageError: if planner and action type do not fit together, or the candidates are too few.
    """
    if config.planner in CONTINUOUS:
        if n_actions is not None or low is None or high is None:
            raise UsageError(
                f"planner {config.planner!r} needs continuous actions with bounds; "
                "for discrete actions use 'sticky' or 'shooting'"
            )
        return _continuous_planner(config, low, high)
    from twinfold.planning.shooting import RandomShooting, StickyShooting

    if n_actions is None:
        raise UsageError(
            f"planner {config.planner!r} needs discrete actions; for continuous ones use "
            + " or ".join(map(repr, CONTINUOUS))
        )
    if config.candidates <= n_actions:
        raise UsageError(
            f"{config.candidates} candidates are too few for {n_actions} actions; "
            f"use {n_actions + 1} or more"
        )
    kind = StickyShooting if config.planner == "sticky" else RandomShooting
    return kind(n_actions, config.candidates, config.horizon)


def _continuous_planner(config: PlanConfig, low: Any, high: Any) -> Planner:
    from twinfold.planning.cem import CEM
    from twinfold.planning.icem import ICEM
    from twinfold.planning.mppi import MPPI

    kind: Any = {"cem": CEM, "icem": ICEM, "mppi": MPPI}[config.planner]
    own = {field.name for field in dataclasses.fields(kind)} - {"low", "high"}
    return kind(low, high, **{name: getattr(config, name) for name in own})


def task_planner(config: PlanConfig, task: Task) -> Planner:
    """The planner that the settings name, for the actions of a task."""
    return make_planner(
        config, n_actions=task.n_actions, low=task.action_low, high=task.action_high
    )


def check_plan(config: PlanConfig, task: Task) -> None:
    """Refuse settings that a task has no use for, before anything is learned.

    Raises:
        UsageError: progress without a measure of it, or a terminal value for other actions.
    """
    if config.progress and task.progress is None:
        raise UsageError(f"task {task.name!r} has no measure of progress; use progress 0")
    if config.terminal_value == "grid" and task.n_actions is None:
        raise UsageError(
            f"terminal value 'grid' needs discrete actions, and those of {task.name!r} are "
            "continuous; use 'plans' or 'none'"
        )
    if config.terminal_value == "plans" and config.planner not in CONTINUOUS:
        raise UsageError(
            f"terminal value 'plans' needs continuous actions, and planner {config.planner!r} is "
            "for discrete ones; use 'none' or, for up to 3 states, 'grid'"
        )


def task_objective(
    config: PlanConfig,
    task: Task,
    stack: Dynamics,
    model: FittedModel | None = None,
    agent: AgentId | None = None,
) -> Objective:
    """The objective of a task for one agent; a ``"grid"`` terminal value is learned here.

    Args:
        config: the settings.
        task: gives reward, termination, the range of the states and the longest episode.
        stack: the agent's ensemble, with a leading member axis on its array leaves.
        model: the run that the ensemble is of; its training data is where predictions are trusted.
        agent: the user's id of that agent; needed to keep to the data's policy.

    Raises:
        UsageError: if a grid is asked for and the state has more than 3 coordinates, or the
            action is continuous; or if settings refer to training data and there is no model.
        ValueError: if plans are to keep to the data's policy and it is not said for which agent.
    """
    import numpy as np

    from twinfold.planning.box import DataBox
    from twinfold.planning.objective import Objective
    from twinfold.planning.support import SupportMap
    from twinfold.planning.value import solve_grid_value

    check_plan(config, task)
    names = ("discount", "risk", "cvar", "disagreement", "out_of_range", "range_cost")
    fields: dict[str, Any] = {name: getattr(config, name) for name in names}
    if config.progress:
        fields |= {"progress": task.progress, "progress_weight": config.progress}
    if config.needs_data:
        if model is None:
            raise UsageError(
                "disagreement, out_of_range, behaviour and support_cost are measured against the "
                "training data of a run, and there is none here; use 0, 'ignore', 0 and 0"
            )
        fields["box"] = DataBox.of_model(model, config.range_margin)
        if config.support_cost:
            fields |= {"support_cost": config.support_cost, "support": SupportMap.of_model(model)}
        if config.behaviour:
            if agent is None:
                raise ValueError("behaviour needs the agent whose policy it is")
            fields["behaviour"] = model.agent_behaviour(agent)
            # A run without a policy (discrete actions, or none was learned) has no price either.
            if fields["behaviour"] is not None:
                fields["behaviour_cost"] = config.behaviour
    if config.terminal_value == "none":
        return Objective.of_task(task, **fields)
    if config.terminal_value == "plans":
        return _with_plan_value(Objective.of_task(task, **fields), config, task, stack, model)
    assert task.n_actions is not None, "checked above"
    value = solve_grid_value(
        stack,
        Objective.of_task(task, discount=config.discount),
        task.state_low,
        task.state_high,
        np.arange(task.n_actions),
        max_steps=task.max_steps,
    )
    return Objective.of_task(task, terminal_value=value, **fields)


def _with_plan_value(
    objective: Objective, config: PlanConfig, task: Task, stack: Dynamics, model: FittedModel | None
) -> Objective:
    import jax

    from twinfold.planning.plan_value import learn_plan_value

    if model is None:
        raise UsageError(
            "terminal value 'plans' is learned from states of a run, and there is none here; "
            "use 'none'"
        )
    search = config.replace(candidates=_VALUE_CANDIDATES, rounds=_VALUE_ROUNDS)
    value = learn_plan_value(
        stack,
        objective,
        task_planner(search, task),
        model.normalizer,
        model.sample,
        jax.random.key(0),
    )
    return dataclasses.replace(objective, terminal_value=value)
