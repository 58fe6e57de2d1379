from __future__ import annotations

import numpy as np
import pytest

from twinfold.errors import UsageError
from twinfold.models.true_dynamics import TaskDynamics
from twinfold.planning import (
    CEM,
    ICEM,
    GridValue,
    PlanConfig,
    RandomShooting,
    StickyShooting,
    make_planner,
    plan_config,
    stack_of_one,
    task_objective,
    task_planner,
)
from twinfold.tasks import TASK_NAMES, get_task


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_task_has_settings_that_work(name: str) -> None:
    task = get_task(name)
    config = plan_config(name, task.action_type)
    assert config != plan_config(None, task.action_type)
    planner = task_planner(config, task)
    assert isinstance(planner, StickyShooting if task.n_actions else ICEM)
    assert planner.settings == config.search
    stack = stack_of_one(TaskDynamics(task, task.covariates(task.test_agents[0])))
    if config.objective.needs_data:
        with pytest.raises(UsageError, match="training data of a run"):
            task_objective(config, task, stack)
    assert not config.without_data().objective.needs_data
    objective = task_objective(config.without_data(), task, stack)
    assert isinstance(objective.terminal_value, GridValue) == (
        config.objective.terminal_value == "grid"
    )


def test_progress_needs_a_measure_of_it() -> None:
    for name in TASK_NAMES:
        task = get_task(name)
        config = plan_config(name, task.action_type, progress=2.0).without_data()
        config = config.replace(terminal_value="none")
        stack = stack_of_one(TaskDynamics(task, task.covariates(task.test_agents[0])))
        if name == "mountain_car":
            objective = task_objective(config, task, stack)
            assert objective.progress is task.progress
            assert objective.progress_weight == 2.0
            assert task.progress is not None
            assert float(task.progress(np.array([0.25, 9.0]))) == 0.25
        else:
            with pytest.raises(UsageError, match="has no measure of progress"):
                task_objective(config, task, stack)


def test_planner_and_action_type_must_fit() -> None:
    cem, sticky = PlanConfig(planner="cem"), PlanConfig(planner="sticky")
    assert isinstance(make_planner(cem, low=[-1.0], high=[1.0]), CEM)
    shooting = make_planner(PlanConfig(planner="shooting"), n_actions=2)
    assert isinstance(shooting, RandomShooting)
    with pytest.raises(UsageError, match="continuous actions"):
        make_planner(cem, n_actions=3)
    with pytest.raises(UsageError, match="use 'icem' or 'mppi' or 'cem'"):
        make_planner(sticky, low=[-1.0], high=[1.0])
    with pytest.raises(UsageError, match="too few for 600 actions"):
        make_planner(sticky, n_actions=600)
