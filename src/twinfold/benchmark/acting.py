"""Returns of methods that act by a policy of their own, in the form of planned ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twinfold import __version__
from twinfold.benchmark.episodes import Record, agent_label, return_figures
from twinfold.benchmark.policy_return import play_policy
from twinfold.benchmark.protocol import true_covariates
from twinfold.tasks import Task

if TYPE_CHECKING:
    from twinfold.benchmark.methods.method import Evaluation, Method


def evaluate_acting(
    method: Method, model: Any, task: Task, agents: Sequence[int], evaluation: Evaluation
) -> Record:
    """Return what the policies of agents earn in the true task (Table 2).

    Starts are those of planned episodes with the same seed.

    Args:
        method: gives the policy of an agent.
        model: its fit.
        task: the true task.
        agents: ids of agents.
        evaluation: episodes and seed.

    Raises:
        UsageError: an agent's true physics are not known, or the actions are not the task's.
    """
    covariates = true_covariates(model, task, agents, method)
    rows = []
    for own, agent in zip(covariates, agents, strict=True):
        policy = method.policy(model, int(agent))
        returns, lengths = play_policy(
            policy, task, own[None], evaluation.episodes, evaluation.seed, evaluation.progress
        )
        rows.append(
            {
                "agent": int(agent),
                "label": agent_label(task, int(agent)),
                **return_figures(returns[0]),
                "mean_length": float(np.mean(lengths[0])),
            }
        )
    note = method.return_note(model)
    return {
        "kind": "return",
        "twinfold": __version__,
        "task": task.name,
        "method": method.name,
        "seed": evaluation.seed,
        "episodes": evaluation.episodes,
        "agents": rows,
        **({"note": note} if note else {}),
    }
