"""Judging a run against the true task, by the protocol of the PerSim paper (Tables 1 and 2).

The true dynamics are used here and nowhere else: nothing is chosen by these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.benchmark.collect import simulate_policy
from twinfold.benchmark.episodes import agent_label, objectives_of, play, recorded_covariates
from twinfold.benchmark.methods.method import Method
from twinfold.benchmark.methods.registry import method_of
from twinfold.benchmark.methods.true_env_mpc import TRUE_ENV_MPC
from twinfold.benchmark.paper import paper_figures
from twinfold.benchmark.predictions import Predictions, error_figures
from twinfold.errors import UsageError
from twinfold.planning.build import task_objective
from twinfold.planning.config import PlanConfig
from twinfold.planning.presets import plan_config
from twinfold.tasks import Task
from twinfold.utils.seeds import derived_seed

Record = dict[str, Any]

PROTOCOL_NOTE = (
    "The test policy is trained as the paper's was and earns about as much on the default agent, "
    "but it is not the paper's network."
)


def evaluate_prediction(
    model: Any,
    task: Task,
    agents: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    trajectories: int = 200,
    steps: int = 50,
    seed: int = 0,
    method: Method | None = None,
) -> Record:
    """Return the open-loop prediction error on actions of the test policy (Table 1).

    Per trajectory, the RMSE in raw units over all steps before the episode ends and all
    coordinates, and the variance-weighted R2; the record holds the mean of the one with its 95 %
    bootstrap interval, its standard deviation and interquartile mean, and the median of the other.

    Args:
        model: a run, or what another method has fitted on data of the task.
        task: the true task.
        agents: ids of agents.
        trajectories: P per agent.
        steps: L, open loop.
        seed: of the starts and the policy.
        method: that the model is of; told by its type when None.

    Raises:
        UsageError: the run does not fit the task, or an agent is unknown.
    """
    method = method or method_of(model)
    predictions = predict(
        model, task, agents, trajectories=trajectories, steps=steps, seed=seed, method=method
    )
    rows = [
        {"agent": int(agent), "label": agent_label(task, agent), **error_figures(found)}
        for agent, found in zip(agents, predictions, strict=True)
    ]
    means = np.array([row["rmse_mean"] for row in rows])
    return {
        "kind": "prediction",
        **_head(model, task, seed, method),
        "policy": "test",
        "trajectories": trajectories,
        "steps": steps,
        "agents": rows,
        "median_over_agents": float(np.median(means)),
        "paper": _paper("table1", task, model, method),
        "history_steps": method.history_steps(model),
        "note": " ".join(filter(None, (PROTOCOL_NOTE, method.error_note(model)))),
    }


def predict(
    model: Any,
    task: Task,
    agents: Sequence[int],
    *,
    trajectories: int = 200,
    steps: int = 50,
    seed: int = 0,
    method: Method | None = None,
) -> list[Predictions]:
    """Return true trajectories under the test policy and what each member predicts for them."""
    method = method or method_of(model)
    covariates = true_covariates(model, task, agents, method)
    # Not the seed of the data: the test starts and actions are new.
    fresh = derived_seed(10_000 + seed)
    length = method.history_steps(model) + steps
    found = simulate_policy(task, covariates, "test", trajectories, length, seed=fresh)
    return method.predict(model, agents, found)


def evaluate_return(
    model: Any,
    task: Task,
    agents: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    episodes: int = 20,
    seed: int = 0,
    plan: PlanConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    method: Method | None = None,
) -> Record:
    """Return of model-predictive control in the true task (Table 2).

    A baseline that knows an agent by its recent steps begins an episode without any, and settings
    that refer to training data are switched off for it.

    Args:
        model: a run, or what another method has fitted on data of the task.
        task: the true task.
        agents: ids of agents.
        episodes: per agent.
        seed: of starts and planner.
        plan: settings of the planner; the task's defaults when None.
        progress: receives (what, jobs done, jobs in all).
        method: that the model is of; told by its type when None.

    Raises:
        UsageError: the run does not fit the task, or an agent is unknown.
    """
    method = method or method_of(model)
    covariates = true_covariates(model, task, agents, method)
    config = plan or plan_config(task.name, task.action_type)
    if not method.keeps_to_data:
        config = config.without_data()
    stacks = [method.dynamics(model, int(agent), config.objective.draws) for agent in agents]
    own = [method.agent_of(agent) for agent in agents]
    run = method.planning_model(model)
    objectives = objectives_of(run, task, own, stacks, config, progress)
    rows = play(task, agents, covariates, stacks, objectives, config, episodes, seed, progress)
    note = method.return_note(model)
    return {
        "kind": "return",
        **_head(model, task, seed, method),
        "episodes": episodes,
        "plan": config.model_dump(mode="json"),
        "agents": rows,
        "paper": _paper("table2", task, model, method),
        **({"note": note} if note else {}),
    }


def evaluate_true(
    task: Task,
    agents: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    episodes: int = 20,
    seed: int = 0,
    plan: PlanConfig | None = None,
    max_steps: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Record:
    """Return of planning with the true dynamics: what a planner earns without model error.

    Starts and keys are those of :func:`evaluate_return` with the same seed. The true dynamics are
    one model without training data: settings that refer to either are switched off.

    Args:
        task: the true task.
        agents: ids of test agents.
        episodes: per agent.
        seed: of starts and planner.
        plan: settings of the planner; the task's defaults when None. The paper's are in
            :data:`twinfold.planning.presets.PAPER`.
        max_steps: longest episode, if shorter than the task's.
        progress: receives (what, jobs done, jobs in all).

    Raises:
        UsageError: an agent is not one of the test agents, or planner and actions do not fit.
    """
    from twinfold.models.true_dynamics import TaskDynamics
    from twinfold.planning.objective import stack_of_one

    known = len(task.test_agents)
    unknown = [agent for agent in agents if not 0 <= int(agent) < known]
    if unknown:
        raise UsageError(f"agent {unknown[0]} is no test agent; valid: 0 to {known - 1}")
    config = (plan or plan_config(task.name, task.action_type)).without_data()
    paper = _figures("table2", task, None, TRUE_ENV_MPC.name)
    if max_steps is not None and max_steps < task.max_steps:
        task, paper = replace(task, max_steps=max_steps), {}  # of episodes of another length
    covariates = task.test_agents[[int(agent) for agent in agents]]
    stacks = [stack_of_one(TaskDynamics(task, task.covariates(row))) for row in covariates]
    objectives = [task_objective(config, task, stack) for stack in stacks]
    rows = play(task, agents, covariates, stacks, objectives, config, episodes, seed, progress)
    return {
        "kind": "return",
        "twinfold": __version__,
        "task": task.name,
        "dataset": None,
        "method": TRUE_ENV_MPC.name,
        "seed": seed,
        "episodes": episodes,
        "max_steps": task.max_steps,
        "plan": config.model_dump(mode="json"),
        "agents": rows,
        "paper": paper,
    }


def true_covariates(
    model: Any, task: Task, agents: Sequence[int], method: Method | None = None
) -> NDArray[np.float64]:
    """Return the true hidden physics ``(n, C)`` of agents, for comparison only.

    The paper's test agents (0 to 4) are the same in every data set; those of other agents follow
    from the number of agents and the seed with which the data was collected.

    Raises:
        UsageError: the run does not fit the task, or an agent's physics are not known.
    """
    method = method or method_of(model)
    method.check(model, task)
    return recorded_covariates(task, method.info(model).get("source", {}), agents)


def _head(model: Any, task: Task, seed: int, method: Method) -> Record:
    info = method.info(model)
    source = info.get("source", {})
    return {
        "twinfold": __version__,
        "task": task.name,
        "dataset": source.get("policy"),
        "data_seed": source.get("seed"),
        "fingerprint": info.get("fingerprint"),
        "fit": method.fit_settings(model),
        "fit_steps": info.get("steps"),
        "seed": seed,
    }


def _paper(table: Any, task: Task, model: Any, method: Method) -> Record:
    """Return the paper's figures for a method on the same kind of data, by agent; {} if none."""
    policy = method.info(model).get("source", {}).get("policy")
    return _figures(table, task, policy, method.name)


def _figures(table: Any, task: Task, dataset: str | None, method: str) -> Record:
    try:
        figures = paper_figures(table, task.name, dataset, method)
    except UsageError:
        return {}
    return {str(agent): row for agent, row in figures.items()}
