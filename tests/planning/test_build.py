from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

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
    assert (planner.candidates, planner.horizon) == (config.candidates, config.horizon)
    stack = stack_of_one(TaskDynamics(task, task.covariates(task.test_agents[0])))
    if config.needs_data:
        with pytest.raises(UsageError, match="training data of a run"):
            task_objective(config, task, stack)
    assert not config.without_data().needs_data
    objective = task_objective(config.without_data(), task, stack)
    assert isinstance(objective.terminal_value, GridValue) == (config.terminal_value == "grid")


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


@pytest.mark.parametrize(
    "caution", [{"disagreement": 1.0}, {"behaviour": 0.1}, {"out_of_range": "penalise"}]
)
def test_where_the_data_lies_is_asked_of_a_run_only(caution: dict) -> None:
    config = PlanConfig(risk=0.5, cvar=0.5, **caution)
    assert config.needs_data
    true = config.without_data()
    assert not true.needs_data
    assert true == PlanConfig()


def test_changes_override_and_none_does_not() -> None:
    config = plan_config("cart_pole", "discrete", horizon=7, candidates=None, risk=0.5)
    before = plan_config("cart_pole", "discrete")
    assert config == before.replace(horizon=7, risk=0.5)
    assert config.candidates == before.candidates
    assert plan_config("something else", "continuous").planner == "icem"
    assert PlanConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "wrong", [{"horizon": 0}, {"discount": 1.5}, {"planner": "magic"}, {"colour": 1}]
)
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        plan_config("cart_pole", "discrete", **wrong)


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


def test_settings_load_without_jax() -> None:
    code = "import sys; from twinfold.planning import plan_config; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
