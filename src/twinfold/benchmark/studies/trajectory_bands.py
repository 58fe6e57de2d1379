"""Predicted trajectories with bands beside the true ones (Figure 2 for the other tasks).

The prediction of the ensemble and its band are what ``twinfold simulate`` gives: held-out errors,
disagreement of the members, and what is not known of the agent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import metrics
from twinfold.benchmark.collect import simulate_policy
from twinfold.benchmark.episodes import agent_label
from twinfold.benchmark.protocol import true_covariates
from twinfold.benchmark.studies.study_fits import fit_summary
from twinfold.benchmark.studies.study_settings import BandSettings
from twinfold.errors import UsageError, one_of
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import predict_paths
from twinfold.tasks import Task
from twinfold.uncertainty.intervals import band_factor, prediction_band
from twinfold.utils.seeds import LARGEST_SEED

Floats = NDArray[np.float64]
Record = dict[str, Any]


def run_bands(model: FittedModel, task: Task, settings: BandSettings) -> Record:
    """Return one trajectory of each shown agent with its band, and how often bands hold.

    Of the test policy's trajectories, the one in the middle by its error is shown.

    Args:
        model: a fitted model of the task.
        task: the true task.
        settings: of the study.

    Raises:
        UsageError: a column is none of the task's, or an agent's physics are not known.
    """
    columns = settings.columns.get(task.name, task.state_names)
    for name in columns:
        if name not in task.state_names:
            raise UsageError(f"{task.name} has no state {name!r}; {one_of(task.state_names)}")
    covariates = true_covariates(model, task, settings.shown)
    seed = (10_000 + settings.seed) % (LARGEST_SEED + 1)
    paths, steps = settings.trajectories, settings.steps
    found = simulate_policy(task, covariates, "test", paths, steps, seed=seed)
    rows = [
        _agent(model, task, agent, found.states[a], found.actions[a], found.mask[a], columns)
        for a, agent in enumerate(settings.shown)
    ]
    return {
        "columns": list(columns),
        "coverage": model.config.band,
        "agents": rows,
        "fit_of": fit_summary(model),
    }


def _agent(
    model: FittedModel,
    task: Task,
    agent: int,
    states: NDArray[np.float32],
    actions: NDArray[Any],
    mask: NDArray[np.bool_],
    columns: tuple[str, ...],
) -> Record:
    """Return the trajectory of an agent that is shown, and the share that its bands hold."""
    true, start = states[:, 1:].astype(np.float64), states[:, 0].astype(np.float64)
    steps = actions.shape[1]
    index = np.repeat(model.agent_indices([agent]), len(start))
    members, unknown = predict_paths(model, index, start, actions)
    factor, _ = band_factor(model, steps)
    middle, low, high, _ = prediction_band(model, members, np.arange(1, steps + 1), unknown, factor)
    error = metrics.rmse(middle, true, mask)
    inside = ((true >= low) & (true <= high)).all(axis=-1) | ~mask
    whole = mask.all(axis=1)
    among = np.flatnonzero(whole) if whole.any() else np.arange(len(error))
    shown = among[np.argsort(error[among], kind="stable")[(len(among) - 1) // 2]]
    kept = [task.state_names.index(name) for name in columns]
    last = int(mask[shown].sum())

    def rounded(values: Floats) -> list[list[float]]:
        return [[float(f"{value:.5g}") for value in row] for row in values[:, kept]]

    return {
        "agent": agent,
        "label": agent_label(task, agent),
        "true": rounded(states[shown, : last + 1].astype(np.float64)),
        "predicted": rounded(middle[shown, :last]),
        "low": rounded(low[shown, :last]),
        "high": rounded(high[shown, :last]),
        "rmse": float(error.mean()),
        "rmse_shown": float(error[shown]),
        "inside": float(inside.all(axis=1).mean()),
        "steps_inside": float(inside[mask].mean()),
    }
