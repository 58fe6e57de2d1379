"""Settings of a plan, and their defaults by task. Importing this module does not load JAX.

Everything that a task needs beyond the generic settings stands in the table below and is written
into records; the planners themselves know nothing about tasks.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from twinfold.errors import UsageError
from twinfold.planning.config import CONTINUOUS, PlanConfig

if TYPE_CHECKING:
    from twinfold.data.ids import AgentId
    from twinfold.models.dynamics import Dynamics
    from twinfold.models.fitted_model import FittedModel
    from twinfold.planning.objective import Objective
    from twinfold.planning.planner import Planner
    from twinfold.tasks.task import Task
# A search for the terminal value "plans", of which there are many.
_VALUE_CANDIDATES, _VALUE_ROUNDS = 32, 3


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

    from twinfold.planning.data_range import DataBox
    from twinfold.planning.grid_value import solve_grid_value
    from twinfold.planning.objective import Objective
    from twinfold.planning.support_penalty import SupportMap

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

    from twinfold.planning.fitted_value import learn_plan_value

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
        model.sample.state,
        jax.random.key(0),
    )
    return dataclasses.replace(objective, terminal_value=value)
