"""Settings of a plan, and their defaults by task. Importing this module does not load JAX.

Everything that a task needs beyond the generic settings stands in the table below and is written
into records; the planners themselves know nothing about tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.models.dynamics import Dynamics
    from twinfold.planning.objective import Objective
    from twinfold.planning.planner import Planner
    from twinfold.tasks.task import Task


class PlanConfig(BaseModel):
    """How to plan.

    Attributes:
        planner: ``"sticky"`` or ``"shooting"`` for discrete actions, ``"cem"`` for continuous ones.
        candidates: action sequences per control step (per round for ``"cem"``).
        horizon: their length in steps.
        rounds: rounds of ``"cem"``; the other planners have one.
        terminal_value: what the end of a plan is worth: ``"none"``, or ``"grid"`` for a value
            learned from the model by value iteration (states of up to 3 coordinates).
        discount: per step.
        risk: standard deviations over the members that are taken off the mean return.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    planner: Literal["sticky", "shooting", "cem"] = "sticky"
    candidates: int = Field(default=500, ge=4, le=1_000_000)
    horizon: int = Field(default=25, ge=1, le=10_000)
    rounds: int = Field(default=4, ge=1, le=100)
    terminal_value: Literal["none", "grid"] = "none"
    discount: float = Field(default=1.0, gt=0.0, le=1.0)
    risk: float = Field(default=0.0, ge=0.0)

    def replace(self, **changes: Any) -> PlanConfig:
        """A copy with the changes that are not None, validated."""
        given = {name: value for name, value in changes.items() if value is not None}
        return PlanConfig(**{**self.model_dump(), **given})


GENERIC = {
    "discrete": PlanConfig(planner="sticky", candidates=500, horizon=25),
    "continuous": PlanConfig(planner="cem", candidates=200, horizon=25, rounds=4),
}

BY_TASK = {
    # Balancing is decided within 0.3 s. A short plan leaves little room for model error to grow,
    # and random continuations that survive it are a fair measure of how safe an action is.
    "cart_pole": PlanConfig(planner="sticky", candidates=200, horizon=15),
    # The goal is up to 120 steps away: the terminal value sees it, the plan refines the way there.
    "mountain_car": PlanConfig(planner="sticky", candidates=100, horizon=15, terminal_value="grid"),
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
    from twinfold.planning.cem import CEM
    from twinfold.planning.shooting import RandomShooting, StickyShooting

    if config.planner == "cem":
        if n_actions is not None or low is None or high is None:
            raise UsageError(
                "planner 'cem' needs continuous actions with bounds; "
                "for discrete actions use 'sticky' or 'shooting'"
            )
        return CEM(low, high, config.candidates, config.horizon, config.rounds)
    if n_actions is None:
        raise UsageError(
            f"planner {config.planner!r} needs discrete actions; for continuous ones use 'cem'"
        )
    if config.candidates <= n_actions:
        raise UsageError(
            f"{config.candidates} candidates are too few for {n_actions} actions; "
            f"use {n_actions + 1} or more"
        )
    kind = StickyShooting if config.planner == "sticky" else RandomShooting
    return kind(n_actions, config.candidates, config.horizon)


def task_planner(config: PlanConfig, task: Task) -> Planner:
    """The planner that the settings name, for the actions of a task."""
    return make_planner(
        config, n_actions=task.n_actions, low=task.action_low, high=task.action_high
    )


def task_objective(config: PlanConfig, task: Task, stack: Dynamics) -> Objective:
    """The objective of a task for one agent; a ``"grid"`` terminal value is learned here.

    Args:
        config: the settings.
        task: gives reward, termination, the range of the states and the longest episode.
        stack: the agent's ensemble, with a leading member axis on its array leaves.

    Raises:
        UsageError: if a grid is asked for and the state has more than 3 coordinates, or the
            action is continuous.
    """
    import numpy as np

    from twinfold.planning.objective import Objective
    from twinfold.planning.value import solve_grid_value

    fields = {"discount": config.discount, "risk": config.risk}
    if config.terminal_value == "none":
        return Objective.of_task(task, **fields)
    if task.n_actions is None:
        raise UsageError(
            f"terminal value 'grid' needs discrete actions, and those of {task.name!r} are "
            "continuous; use 'none'"
        )
    value = solve_grid_value(
        stack,
        Objective.of_task(task, **fields),
        task.state_low,
        task.state_high,
        np.arange(task.n_actions),
        max_steps=task.max_steps,
    )
    return Objective.of_task(task, terminal_value=value, **fields)
