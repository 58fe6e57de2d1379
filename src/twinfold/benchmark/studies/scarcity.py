"""Few agents to learn from (F.6): errors and returns by the number of training agents.

The population shrinks to its first N agents, the test agents among them. *persim* is the model of
this package; *pooled* are the same nets fitted as if all trajectories were of one agent, without
linear models, whose levels and slopes would be that one's; *cadm* is the vanilla context-aware
model. Errors and returns are those of the paper's Tables 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from twinfold.baselines.cadm_model import CaDM
from twinfold.baselines.cadm_settings import CaDMSettings
from twinfold.benchmark.collect import collect, provenance
from twinfold.benchmark.protocol import evaluate_prediction, evaluate_return
from twinfold.benchmark.studies.study_data import as_one_agent, first_agents
from twinfold.benchmark.studies.study_fits import fit_summary, fitted, fitted_cadm
from twinfold.benchmark.studies.study_settings import ScarcitySettings
from twinfold.models.fitted_model import FittedModel
from twinfold.tasks import Task

Record = dict[str, Any]
Log = Callable[[str], None]


def scarcity_fit(
    task: Task,
    policy: str,
    method: str,
    count: int,
    settings: ScarcitySettings,
    folder: Path,
    log: Log,
) -> FittedModel | CaDM:
    """Return a method's model of the first agents of a population.

    Args:
        task: the task.
        policy: of the data.
        method: persim, pooled or cadm.
        count: N, agents to learn from.
        settings: of the study.
        folder: of fits.
        log: receives one line per thing worth knowing.
    """
    panel = first_agents(collect(task, policy, settings.agents, settings.seed), count)
    source = provenance(task, policy, settings.agents, settings.seed)
    label = f"{task.name}-{policy}"
    if count < settings.agents:
        label += f"-{count}-agents"
    if method == "cadm":
        cadm = CaDMSettings.parse(settings.cadm)
        seed = settings.seed
        return fitted_cadm(panel, cadm, "vanilla", seed, source, folder, label, log)
    if method == "persim":
        return fitted(panel, settings.config, source, folder, label, log)
    nets = settings.config.model_copy(update={"linear": "none"})
    one = fitted(as_one_agent(panel), nets, source, folder, f"{label}-pooled", log)
    return alike(one, range(len(task.test_agents)))


def alike(model: FittedModel, ids: Sequence[int]) -> FittedModel:
    """Return a model of one agent as that of several that are all like it.

    It predicts; nothing else of it is of these agents.

    Args:
        model: of one agent.
        ids: of the agents.
    """
    factors = jnp.repeat(model.members.agents, len(ids), axis=1)
    members = eqx.tree_at(lambda m: m.agents, model.members, factors)
    same = np.zeros(len(ids), np.int64)
    return replace(
        model,
        members=members,
        agent_ids=tuple(ids),
        posterior=model.posterior.take(same),
        sums=model.sums.take(same),
    )


def run_scarcity(
    model: FittedModel | CaDM, task: Task, settings: ScarcitySettings, *, plans: bool = False
) -> Record:
    """Return the errors of the test agents and, if the method plans, their returns.

    Args:
        model: from ``scarcity_fit``.
        task: the true task.
        settings: of the study.
        plans: whether returns are measured as well.
    """
    agents = range(len(task.test_agents))
    found = evaluate_prediction(
        model,
        task,
        agents,
        trajectories=settings.trajectories,
        steps=settings.steps,
        seed=settings.seed,
    )
    names = ("agent", "label", "rmse_mean", "rmse_low", "rmse_high", "r2_median")
    record: Record = {
        "agents": [{name: row[name] for name in names} for row in found["agents"]],
        "median_over_agents": found["median_over_agents"],
        "mean_over_agents": float(np.mean([row["rmse_mean"] for row in found["agents"]])),
        "history_steps": found["history_steps"],
        "fit_of": fit_summary(model),
        "returns": None,
    }
    if plans:
        planned = evaluate_return(
            model, task, agents, episodes=settings.episodes, seed=settings.seed
        )
        names = ("agent", "label", "mean", "std", "n")
        record["returns"] = [{name: row[name] for name in names} for row in planned["agents"]]
    return record
