"""Judging a run against the true task, by the protocol of the PerSim paper (Tables 1 and 2).

The true dynamics are used here and nowhere else: nothing is chosen by these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import __version__, metrics
from twinfold.baselines.cadm_model import CaDM
from twinfold.benchmark.collect import Trajectories, simulate_policy
from twinfold.benchmark.episodes import agent_label, objectives_of, play
from twinfold.benchmark.paper import paper_figures
from twinfold.errors import UsageError
from twinfold.metrics import trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import rollout_members
from twinfold.planning.build import task_objective
from twinfold.planning.config import PlanConfig
from twinfold.planning.plan import check_fits
from twinfold.planning.presets import plan_config
from twinfold.tasks import Task, agent_covariates
from twinfold.utils.seeds import derived_seed

Record = dict[str, Any]

Fitted = FittedModel | CaDM

PROTOCOL_NOTE = (
    "The test policy is trained as the paper's was and earns about as much on the default agent, "
    "but it is not the paper's network."
)
HISTORY_NOTE = (
    "CaDM knows an agent by its recent steps: the first {steps} true steps of every test "
    "trajectory are its history, and its error is that of the steps that follow. A trajectory that "
    "ends before counts nowhere."
)
EMPTY_NOTE = (
    "CaDM begins every episode without a history, and every true step goes into it. A terminal "
    "value is computed before, for an agent of which nothing is known."
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """True and predicted trajectories of one agent under the test policy.

    P trajectories of L steps; D state coordinates. What came before, if anything, is left out.

    Attributes:
        true: ``(P, L + 1, D)``, the start included.
        members: ``(M, P, L, D)``.
        mask: ``(P, L)``, True for steps that the episode took.
    """

    true: NDArray[Any]
    members: NDArray[Any]
    mask: NDArray[np.bool_]


def evaluate_prediction(
    model: Fitted,
    task: Task,
    agents: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    trajectories: int = 200,
    steps: int = 50,
    seed: int = 0,
) -> Record:
    """Return the open-loop prediction error on actions of the test policy (Table 1).

    Per trajectory, the RMSE in raw units over all steps before the episode ends and all
    coordinates, and the variance-weighted R2; the record holds the mean of the one with its 95 %
    bootstrap interval, its standard deviation and interquartile mean, and the median of the other.

    Args:
        model: a run, or a baseline, fitted on data of the task.
        task: the true task.
        agents: ids of agents.
        trajectories: P per agent.
        steps: L, open loop.
        seed: of the starts and the policy.

    Raises:
        UsageError: the run does not fit the task, or an agent is unknown.
    """
    predictions = predict(model, task, agents, trajectories=trajectories, steps=steps, seed=seed)
    rows = []
    for agent, found in zip(agents, predictions, strict=True):
        error = metrics.rmse(trimmed_mean(found.members), found.true[:, 1:], found.mask)
        fit = metrics.r2(trimmed_mean(found.members), found.true[:, 1:], found.mask)
        summary = metrics.summarise(error)
        low, high = metrics.bootstrap_interval(error, np.mean)
        rows.append(
            {
                "agent": int(agent),
                "label": agent_label(task, agent),
                "rmse_mean": summary["mean"],
                "rmse_std": summary["std"],
                "rmse_iqm": summary["iqm"],
                "rmse_low": low,
                "rmse_high": high,
                "r2_median": float(np.median(fit)),
                "n": summary["n"],
            }
        )
    means = np.array([row["rmse_mean"] for row in rows])
    return {
        "kind": "prediction",
        **_head(model, task, seed),
        "policy": "test",
        "trajectories": trajectories,
        "steps": steps,
        "agents": rows,
        "median_over_agents": float(np.median(means)),
        "paper": _paper("table1", task, model),
        "history_steps": _history_steps(model),
        "note": _note(model),
    }


def predict(
    model: Fitted,
    task: Task,
    agents: Sequence[int],
    *,
    trajectories: int = 200,
    steps: int = 50,
    seed: int = 0,
) -> list[Predictions]:
    """Return true trajectories under the test policy and what each member predicts for them."""
    covariates = true_covariates(model, task, agents)
    # Not the seed of the data: the test starts and actions are new.
    fresh = derived_seed(10_000 + seed)
    length = _history_steps(model) + steps
    found = simulate_policy(task, covariates, "test", trajectories, length, seed=fresh)
    if isinstance(model, CaDM):
        return [_after_history(model, agent, found, a) for a, agent in enumerate(agents)]
    index = model.agent_indices(int(agent) for agent in agents)
    n_agents, n_paths, length, n_state = found.states[:, :, 1:].shape
    flat = n_agents * n_paths
    paths = rollout_members(
        model.members,
        model.normalizer,
        np.repeat(index, n_paths),
        found.states[:, :, 0].reshape(flat, n_state).astype(np.float64),
        found.actions.reshape(flat, length, *found.actions.shape[3:]),
    )
    paths = paths.reshape(-1, n_agents, n_paths, length, n_state)
    return [
        Predictions(found.states[a], paths[:, a], found.mask[a, :, :length])
        for a in range(n_agents)
    ]


def _history_steps(model: Fitted) -> int:
    """Return how many true steps a model is given before the first that it predicts."""
    return model.config.history if isinstance(model, CaDM) else 0


def _note(model: Fitted) -> str:
    history = _history_steps(model)
    return PROTOCOL_NOTE + (f" {HISTORY_NOTE.format(steps=history)}" if history else "")


def _after_history(model: CaDM, agent: int, found: Trajectories, place: int) -> Predictions:
    """Return what a model predicts that reads the first steps of each trajectory of an agent.

    Raises:
        UsageError: every trajectory ends before.
    """
    begun = model.config.history
    lasting = found.mask[place, :, begun]
    if not lasting.any():
        raise UsageError(
            f"every test trajectory of agent {agent} ends within the {begun} steps that the model "
            "is given as history; measure more trajectories"
        )
    states, actions = found.states[place, lasting], found.actions[place, lasting]
    known = model.histories(states[:, : begun + 1].astype(np.float64), actions[:, :begun])
    paths = model.rollout(states[:, begun], actions[:, begun:], known)
    return Predictions(states[:, begun:], paths, found.mask[place, lasting, begun:])


def evaluate_return(
    model: Fitted,
    task: Task,
    agents: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    episodes: int = 20,
    seed: int = 0,
    plan: PlanConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Record:
    """Return of model-predictive control in the true task (Table 2).

    A baseline that knows an agent by its recent steps begins an episode without any, and settings
    that refer to training data are switched off for it.

    Args:
        model: a run, or a baseline, fitted on data of the task.
        task: the true task.
        agents: ids of agents.
        episodes: per agent.
        seed: of starts and planner.
        plan: settings of the planner; the task's defaults when None.
        progress: receives (what, jobs done, jobs in all).

    Raises:
        UsageError: the run does not fit the task, or an agent is unknown.
    """
    covariates = true_covariates(model, task, agents)
    config = plan or plan_config(task.name, task.action_type)
    if isinstance(model, CaDM):
        config, run = config.without_data(), None
        stacks: list[Any] = [model.dynamics()] * len(agents)
    else:
        run = model
        stacks = [model.dynamics(int(agent), config.objective.draws) for agent in agents]
    objectives = objectives_of(run, task, agents, stacks, config, progress)
    rows = play(task, agents, covariates, stacks, objectives, config, episodes, seed, progress)
    return {
        "kind": "return",
        **_head(model, task, seed),
        "episodes": episodes,
        "plan": config.model_dump(mode="json"),
        "agents": rows,
        "paper": _paper("table2", task, model),
        **({"note": EMPTY_NOTE} if isinstance(model, CaDM) else {}),
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
    paper = _figures("table2", task, None, "true-env-mpc")
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
        "method": "true-env-mpc",
        "seed": seed,
        "episodes": episodes,
        "max_steps": task.max_steps,
        "plan": config.model_dump(mode="json"),
        "agents": rows,
        "paper": paper,
    }


def true_covariates(model: Fitted, task: Task, agents: Sequence[int]) -> NDArray[np.float64]:
    """Return the true hidden physics ``(n, C)`` of agents, for comparison only.

    The paper's test agents (0 to 4) are the same in every data set; those of other agents follow
    from the number of agents and the seed with which the data was collected.

    Raises:
        UsageError: the run does not fit the task, or an agent's physics are not known.
    """
    check_fits(model, task)
    source = model.info.source
    n_agents, drawn = source.get("n_agents"), source.get("seed")
    known = task.test_agents
    if source.get("task") == task.name and isinstance(n_agents, int) and isinstance(drawn, int):
        known = agent_covariates(task, n_agents, drawn)
    unknown = [agent for agent in agents if not 0 <= int(agent) < len(known)]
    if unknown:
        raise UsageError(
            f"the true physics of agent {unknown[0]} are not known; valid: 0 to {len(known) - 1}"
        )
    return known[[int(agent) for agent in agents]]


def _head(model: Fitted, task: Task, seed: int) -> Record:
    source = model.info.source
    return {
        "twinfold": __version__,
        "task": task.name,
        "dataset": source.get("policy"),
        "data_seed": source.get("seed"),
        "fingerprint": model.info.fingerprint,
        "fit": model.config.model_dump(mode="json"),
        "fit_steps": model.info.steps,
        "seed": seed,
    }


def _paper(table: Any, task: Task, model: Fitted) -> Record:
    """Return the paper's figures for a method on the same kind of data, by agent; {} if none."""
    method = model.method if isinstance(model, CaDM) else "persim"
    return _figures(table, task, model.info.source.get("policy"), method)


def _figures(table: Any, task: Task, dataset: str | None, method: str) -> Record:
    try:
        figures = paper_figures(table, task.name, dataset, method)
    except UsageError:
        return {}
    return {str(agent): row for agent, row in figures.items()}
