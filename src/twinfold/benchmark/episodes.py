"""Episodes of several agents in a true task, and what each agent plans for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from twinfold import metrics
from twinfold.benchmark.paper import AGENT_LABELS
from twinfold.benchmark.predictions import rounded
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.planning.build import task_objective, task_planner
from twinfold.planning.config import PlanConfig
from twinfold.planning.mpc import run_agents
from twinfold.tasks import Task, agent_covariates
from twinfold.utils.cores import usable_cores

Record = dict[str, Any]


def play(
    task: Task,
    agents: Sequence[int],
    covariates: NDArray[np.float64],
    stacks: Sequence[Any],
    objectives: Sequence[Any],
    config: PlanConfig,
    episodes: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None,
) -> list[Record]:
    """Return episodes of every agent in the true task, one row of figures each."""
    outcomes = run_agents(
        task,
        [task.covariates(row) for row in covariates],
        stacks,
        task_planner(config, task),
        objectives,
        jax.random.split(jax.random.key(seed), (len(agents), episodes)),
        progress=None if progress is None else lambda n, of: progress("episodes", n, of),
    )
    return [
        {
            "agent": int(agent),
            "label": agent_label(task, agent),
            **return_figures(np.asarray(outcome.returns)),
            "mean_length": float(np.mean(outcome.lengths)),
        }
        for agent, outcome in zip(agents, outcomes, strict=True)
    ]


def return_figures(returns: NDArray[Any]) -> Record:
    """Return the figures of one agent's returns, and the returns themselves.

    Where one is not finite, the figures say so, with the mean of the others.

    Args:
        returns: of episodes, ``(E,)``.
    """
    figures = {**metrics.summarise(returns), "values": rounded(returns)}
    finite = np.asarray(returns)[np.isfinite(returns)]
    if len(finite) == len(returns):
        return figures
    mean = float(np.mean(finite)) if len(finite) else None
    return {**figures, "diverged": True, "last_finite": {"mean": mean, "episodes": len(finite)}}


def objectives_of(
    model: FittedModel | None,
    task: Task,
    agents: Sequence[int],
    stacks: Sequence[Any],
    config: PlanConfig,
    progress: Callable[[str, int, int], None] | None,
) -> list[Any]:
    """Return the objective of each agent, made side by side: a terminal value takes a while."""

    def told(done: int) -> None:
        if progress is not None and config.objective.terminal_value != "none":
            progress("what states are worth", done, len(agents))

    told(0)
    # The first one alone: it compiles what the others share.
    found = [
        task_objective(config, task, stack, model, int(agent))
        for agent, stack in zip(agents[:1], stacks[:1], strict=True)
    ]
    told(len(found))
    pool = ThreadPoolExecutor(usable_cores())
    try:
        jobs = [
            pool.submit(task_objective, config, task, stack, model, int(agent))
            for agent, stack in zip(agents[1:], stacks[1:], strict=True)
        ]
        for job in jobs:
            found.append(job.result())
            told(len(found))
    finally:  # after an interrupt there is nothing to wait for
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def agent_label(task: Task, agent: int) -> str:
    """Return what the paper calls an agent of a task: its physics; the id of another."""
    labels = AGENT_LABELS.get(task.name, ())
    return labels[agent] if 0 <= agent < len(labels) else str(agent)


def recorded_covariates(task: Task, source: Record, agents: Sequence[int]) -> NDArray[np.float64]:
    """Return the true physics ``(n, C)`` of agents.

    Raises:
        UsageError: an agent's physics are not known.
    """
    known = task.test_agents
    n_agents, drawn = source.get("n_agents"), source.get("seed")
    if source.get("task") == task.name and isinstance(n_agents, int) and isinstance(drawn, int):
        known = agent_covariates(task, n_agents, drawn)
    unknown = [agent for agent in agents if not 0 <= int(agent) < len(known)]
    if unknown:
        raise UsageError(
            f"the true physics of agent {unknown[0]} are not known; valid: 0 to {len(known) - 1}"
        )
    return known[[int(agent) for agent in agents]]
