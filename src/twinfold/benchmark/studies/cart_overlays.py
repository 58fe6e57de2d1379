"""True and predicted carts of CartPole some steps ahead (Figure 2 of the paper).

All models predict the same stretch of the same true trajectory, from the same state and under the
same actions of the test policy. CaDM reads the steps before as its history; PerSim needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import metrics
from twinfold.baselines.cadm_model import CaDM
from twinfold.benchmark.collect import simulate_policy
from twinfold.benchmark.episodes import agent_label
from twinfold.benchmark.studies.study_fits import fit_summary
from twinfold.benchmark.studies.study_settings import CartSettings
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import rollout_members
from twinfold.tasks import Task
from twinfold.tasks.task import agent_covariates
from twinfold.utils.seeds import LARGEST_SEED

Floats = NDArray[np.float64]
Record = dict[str, Any]


def run_carts(
    models: Mapping[str, FittedModel | CaDM], task: Task, agent: int, settings: CartSettings
) -> Record:
    """Return true and predicted states of one agent at the horizons, and each model's error.

    The trajectory that is shown is the one in the middle by its error, averaged over models.

    Args:
        models: by name of the method.
        task: CartPole.
        agent: id of the agent.
        settings: of the study.

    Raises:
        UsageError: no trajectory lasts as long as the longest horizon.
    """
    before = max((m.config.history for m in models.values() if isinstance(m, CaDM)), default=0)
    covariates = agent_covariates(task, settings.agents, settings.seed)[agent]
    seed = (10_000 + settings.seed) % (LARGEST_SEED + 1)
    length = before + settings.steps
    found = simulate_policy(
        task, covariates[None], "test", settings.trajectories, length, seed=seed
    )
    lasting = np.flatnonzero(found.mask[0, :, length - 1])
    if not len(lasting):
        raise UsageError(
            f"no test trajectory of agent {agent} lasts for {length} steps; show another agent"
        )
    states = found.states[0, lasting].astype(np.float64)
    actions = found.actions[0, lasting]
    paths = {
        name: metrics.trimmed_mean(_predicted(model, agent, states, actions, before))
        for name, model in models.items()
    }
    true = states[:, before + 1 :]
    errors = {name: metrics.rmse(path, true) for name, path in paths.items()}
    shown = _in_the_middle(np.mean(list(errors.values()), axis=0))
    at = np.array(settings.horizons) - 1
    return {
        "agent": agent,
        "label": agent_label(task, agent),
        "covariates": dict(zip(task.covariate_names, covariates.tolist(), strict=True)),
        "history": before,
        "horizons": list(settings.horizons),
        "states": list(task.state_names),
        "lasting": len(lasting),
        "true": true[shown, at].tolist(),
        "predicted": {name: path[shown, at].tolist() for name, path in paths.items()},
        "rmse": {name: float(error.mean()) for name, error in errors.items()},
        "rmse_shown": {name: float(error[shown]) for name, error in errors.items()},
        "fits": {name: fit_summary(model) for name, model in models.items()},
    }


def _predicted(
    model: FittedModel | CaDM, agent: int, states: Floats, actions: NDArray[Any], before: int
) -> Floats:
    """Return what every member or particle predicts, ``(M, P, H, D)``, after ``before`` steps."""
    start, plan = states[:, before], actions[:, before:]
    if isinstance(model, CaDM):
        first = before - model.config.history
        known = model.histories(states[:, first : before + 1], actions[:, first:before])
        return model.rollout(start, plan, known)
    index = np.repeat(model.agent_indices([agent]), len(start))
    return rollout_members(model.members, model.normalizer, index, start, plan)


def _in_the_middle(values: Floats) -> int:
    """Return the place of the lower median of values ``(P,)``."""
    return int(np.argsort(values, kind="stable")[(len(values) - 1) // 2])
