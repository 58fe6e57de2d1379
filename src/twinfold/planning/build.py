"""Planner and objective made from settings, for a task and a run.

Importing this module does not load JAX. Everything that a task needs beyond the generic settings
stands in :mod:`twinfold.planning.presets`; the planners themselves know nothing about tasks.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from twinfold.errors import UsageError
from twinfold.planning.config import (
    CEMSettings,
    ICEMSettings,
    MPPISettings,
    PlanConfig,
    ShootingSettings,
    StickySettings,
)

if TYPE_CHECKING:
    from twinfold.data.ids import AgentId
    from twinfold.models.dynamics import Dynamics
    from twinfold.models.fitted_model import FittedModel
    from twinfold.planning.objective import Objective
    from twinfold.planning.planner import Planner
    from twinfold.tasks.task import Task


def make_planner(
    config: PlanConfig, *, n_actions: int | None = None, low: Any = None, high: Any = None
) -> Planner:
    """Return the planner that the settings name.

    Args:
        config: the settings.
        n_actions: number of levels of a discrete action, else None.
        low: lower bounds ``(A,)`` of a continuous action, else None.
        high: upper bounds ``(A,)``.

    Raises:
        UsageError: if planner and action type do not fit together, or the candidates are too few.
    """
    how = config.search
    if isinstance(how, StickySettings | ShootingSettings):
        return _discrete_planner(how, n_actions)
    if n_actions is not None or low is None or high is None:
        raise UsageError(
            f"planner {how.planner!r} needs continuous actions with bounds; "
            "for discrete actions use 'sticky' or 'shooting'"
        )
    from twinfold.planning.cem import CEM
    from twinfold.planning.icem import ICEM
    from twinfold.planning.mppi import MPPI

    match how:
        case CEMSettings():
            return CEM(low, high, how)
        case ICEMSettings():
            return ICEM(low, high, how)
        case MPPISettings():
            return MPPI(low, high, how)


def _discrete_planner(how: StickySettings | ShootingSettings, n_actions: int | None) -> Planner:
    from twinfold.planning.shooting import RandomShooting, StickyShooting

    if n_actions is None:
        raise UsageError(
            f"planner {how.planner!r} needs discrete actions; for continuous ones use "
            "'icem' or 'mppi' or 'cem'"
        )
    if how.candidates <= n_actions:
        raise UsageError(
            f"{how.candidates} candidates are too few for {n_actions} actions; "
            f"use {n_actions + 1} or more"
        )
    if isinstance(how, StickySettings):
        return StickyShooting(n_actions, how)
    return RandomShooting(n_actions, how)


def task_planner(config: PlanConfig, task: Task) -> Planner:
    """Return the planner that the settings name, for the actions of a task."""
    return make_planner(
        config, n_actions=task.n_actions, low=task.action_low, high=task.action_high
    )


def check_plan(config: PlanConfig, task: Task) -> None:
    """Refuse settings that a task has no use for, before anything is learned.

    Raises:
        UsageError: progress without a measure of it, or a terminal value for other actions.
    """
    goal, planner = config.objective, config.search.planner
    if goal.progress and task.progress is None:
        raise UsageError(f"task {task.name!r} has no measure of progress; use progress 0")
    if goal.terminal_value == "grid" and task.n_actions is None:
        raise UsageError(
            f"terminal value 'grid' needs discrete actions, and those of {task.name!r} are "
            "continuous; use 'plans' or 'none'"
        )
    if goal.terminal_value == "plans" and planner in ("sticky", "shooting"):
        raise UsageError(
            f"terminal value 'plans' needs continuous actions, and planner {planner!r} is "
            "for discrete ones; use 'none' or, for up to 3 states, 'grid'"
        )


def task_objective(
    config: PlanConfig,
    task: Task,
    stack: Dynamics,
    model: FittedModel | None = None,
    agent: AgentId | None = None,
) -> Objective:
    """Return the objective of a task for one agent; its terminal value is learned here.

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
    from twinfold.planning.objective import Objective

    check_plan(config, task)
    goal = config.objective
    names = ("discount", "risk", "disagreement", "out_of_range", "range_cost", "proposal_noise")
    fields: dict[str, Any] = {name: getattr(goal, name) for name in names}
    fields["n_proposals"] = goal.proposals
    if goal.progress:
        fields |= {"progress": task.progress, "progress_weight": goal.progress}
    if goal.needs_data:
        fields |= _data_fields(config, model, agent)
    objective = Objective.of_task(task, **fields)
    if goal.terminal_value == "none":
        return objective
    learn = _grid_value if goal.terminal_value == "grid" else _plan_value
    return dataclasses.replace(
        objective, terminal_value=learn(objective, config, task, stack, model)
    )


def _data_fields(
    config: PlanConfig, model: FittedModel | None, agent: AgentId | None
) -> dict[str, Any]:
    """Return the fields of an objective that refer to the training data."""
    from twinfold.planning.data_range import DataBox

    goal = config.objective
    if model is None:
        raise UsageError(
            "disagreement, out_of_range and behaviour are measured against the "
            "training data of a run, and there is none here; use 0, 'ignore' and 0"
        )
    fields: dict[str, Any] = {"box": DataBox.of_model(model, goal.range_margin)}
    if goal.behaviour:
        if agent is None:
            raise ValueError("behaviour needs the agent whose policy it is")
        fields["behaviour"] = model.agent_behaviour(agent)
        # A run without a policy (discrete actions, or none was learned) has no price either.
        if fields["behaviour"] is not None:
            fields["behaviour_cost"] = goal.behaviour
    return fields


def _grid_value(
    objective: Objective, config: PlanConfig, task: Task, stack: Dynamics, _: FittedModel | None
) -> Any:
    import numpy as np

    from twinfold.planning.grid_value import solve_grid_value
    from twinfold.planning.objective import Objective

    assert task.n_actions is not None, "checked above"
    return solve_grid_value(
        stack,
        Objective.of_task(task, discount=objective.discount),  # without caution
        task.state_low,
        task.state_high,
        np.arange(task.n_actions),
        max_steps=task.max_steps,
    )


def _plan_value(
    objective: Objective, config: PlanConfig, task: Task, stack: Dynamics, model: FittedModel | None
) -> Any:
    import jax

    from twinfold.planning.fitted_value import PlanValueSettings, learn_plan_value

    if model is None:
        raise UsageError(
            "terminal value 'plans' is learned from states of a run, and there is none here; "
            "use 'none'"
        )
    how = PlanValueSettings()
    search = config.replace(candidates=how.candidates, rounds=how.rounds)
    return learn_plan_value(
        stack,
        objective,
        task_planner(search, task),
        model.normalizer,
        model.sample.state,
        jax.random.key(0),
        how,
    )
