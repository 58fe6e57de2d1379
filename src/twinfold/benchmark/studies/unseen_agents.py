"""Agents that no net has seen (F.5): what is needed to predict them.

    nothing              the prior mean: the average agent
    covariates, learned  factors by a map learned from the trained agents' covariates: the paper's
    covariates, prior    the same as static columns, by the prior that a fit makes of them
    k transitions        the first k of the agent's recorded trajectory, in closed form
    all transitions      the whole recorded trajectory, in closed form
    trained              nets that were trained on the agent, with all others

Errors are those of the paper's protocol: 50 steps open loop on actions of the test policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import metrics
from twinfold.adaptation.adapt import panel_transitions, with_transitions
from twinfold.benchmark.collect import provenance, simulate_policy
from twinfold.benchmark.studies.covariate_map import fit_covariate_map
from twinfold.benchmark.studies.study_data import described_panel, without_static
from twinfold.benchmark.studies.study_fits import fit_summary, fitted
from twinfold.benchmark.studies.study_settings import UnseenSettings
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import rollout_factors
from twinfold.tasks import Task
from twinfold.tasks.task import agent_covariates
from twinfold.utils.seeds import LARGEST_SEED

Floats = NDArray[np.float64]
Record = dict[str, Any]
Log = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class UnseenFits:
    """What the study compares.

    Attributes:
        without: fitted to all agents but the unseen ones, covariates as static columns.
        whole: fitted to all agents, without static columns.
        unseen: data of the unseen agents, with static columns.
        covariates: of all agents, by id, ``(N, C)``.
    """

    without: FittedModel
    whole: FittedModel
    unseen: PanelDataset
    covariates: Floats


def unseen_fits(
    task: Task, policy: str, settings: UnseenSettings, folder: Path, log: Log
) -> UnseenFits:
    """Return the fits of the study, from the folder or made anew.

    Args:
        task: the task.
        policy: of the data.
        settings: of the study.
        folder: of fits.
        log: receives one line per thing worth knowing.
    """
    panel = described_panel(task, policy, settings.agents, settings.seed)
    n_tests = len(task.test_agents)
    rng = np.random.default_rng((settings.seed, 61))
    others = n_tests + rng.permutation(settings.agents - n_tests)
    unseen = {*range(n_tests), *others[: settings.unseen - n_tests].tolist()}
    trained = [name for name in panel.agent_ids if name not in unseen]
    source = provenance(task, policy, settings.agents, settings.seed)
    label = f"{task.name}-{policy}"
    whole = fitted(without_static(panel), settings.config, source, folder, label, log)
    without = fitted(
        panel.select_agents(trained), settings.config, source, folder, f"{label}-unseen", log
    )
    kept = panel.select_agents([name for name in panel.agent_ids if name in unseen])
    covariates = agent_covariates(task, settings.agents, settings.seed)
    return UnseenFits(without, whole, kept, covariates)


def run_unseen(fits: UnseenFits, task: Task, settings: UnseenSettings) -> Record:
    """Return the errors of unseen agents by what is known of them.

    Args:
        fits: from ``unseen_fits``.
        task: the true task.
        settings: of the study.
    """
    ids = fits.unseen.agent_ids
    described = fits.without
    # Without static columns the prior is that of agents of whom nothing is known.
    plain = replace(described, posterior=described.posterior._replace(static=None, values=None))
    known = panel_transitions(plain, fits.unseen)
    covariates = fits.covariates[[int(name) for name in ids]]

    ways: dict[str, tuple[FittedModel, Floats]] = {}

    def solved(name: str, count: int | None, model: FittedModel, static: Floats | None) -> None:
        adapted = with_transitions(model, ids, first_transitions(known, count), static=static)
        index = adapted.agent_indices(ids)
        ways[name] = adapted, np.asarray(adapted.members.agents, np.float64)[:, index]

    solved("nothing", 0, plain, None)
    learned = _learned_map(plain, fits.covariates, settings)
    ways["covariates, learned"] = plain, learned.factors(covariates)
    solved("covariates, prior", 0, described, covariates)
    for count in settings.known:
        solved(f"{count} transitions", count, plain, None)
    for count in settings.known:
        solved(f"covariates, prior, {count} transitions", count, described, covariates)
    solved("all transitions", None, plain, None)
    index = fits.whole.agent_indices(ids)
    ways["trained"] = fits.whole, np.asarray(fits.whole.members.agents, np.float64)[:, index]

    errors = _errors(ways, task, covariates, settings)
    static = described.posterior.static
    return {
        "unseen_agents": list(ids),
        "transitions_of_each": np.bincount(known.agent, minlength=len(ids)).tolist(),
        "ways": {name: _summary(values) for name, values in errors.items()},
        "learned_map": {
            "length": learned.length,
            "ridge": learned.ridge,
            "left_out": learned.left_out,
        },
        "static_explained": None if static is None else float(static.explained),
        "fits": {"without": fit_summary(fits.without), "whole": fit_summary(fits.whole)},
    }


def first_transitions(data: Transitions, count: int | None) -> Transitions:
    """Return the first transitions of each agent.

    Args:
        data: of all agents, ordered by agent.
        count: how many of each; None for all.
    """
    if count is None:
        return data
    place = np.arange(len(data)) - np.searchsorted(data.agent, data.agent)
    return data.select(place < count)


def _learned_map(model: FittedModel, covariates: Floats, settings: UnseenSettings) -> Any:
    """Return the map from covariates to factors, learned from the agents that were trained on."""
    posterior = model.posterior
    metric = posterior.evidence.gram.sum(axis=1) / max(int(posterior.evidence.count.sum()), 1)
    rows = [int(name) for name in model.agent_ids]
    return fit_covariate_map(
        posterior.solve()[0], metric, covariates[rows], settings.ridges, settings.lengths
    )


def _errors(
    ways: dict[str, tuple[FittedModel, Floats]],
    task: Task,
    covariates: Floats,
    settings: UnseenSettings,
) -> dict[str, Floats]:
    """Return the error of every agent, ``(U,)``, for each way to know its factors."""
    paths, steps = settings.trajectories, settings.steps
    seed = (10_000 + settings.seed) % (LARGEST_SEED + 1)
    found = simulate_policy(task, covariates, "test", paths, steps, seed=seed)
    n_agents, n_state = len(covariates), found.states.shape[-1]
    start = found.states[:, :, 0].reshape(-1, n_state).astype(np.float64)
    actions = found.actions.reshape(n_agents * paths, steps, *found.actions.shape[3:])
    who = np.repeat(np.arange(n_agents), paths)
    errors = {}
    for name, (model, factors) in ways.items():
        rolled = rollout_factors(model, factors[:, :, None], who, start, actions)
        middle = metrics.trimmed_mean(rolled[:, :, 0]).reshape(n_agents, paths, steps, n_state)
        error = metrics.rmse(middle, found.states[:, :, 1:], found.mask)
        errors[name] = error.mean(axis=1)
    return errors


def _summary(errors: Floats) -> Record:
    """Return median and mean over agents with the median's interval, and each agent's error."""
    low, high = metrics.bootstrap_interval(errors, np.median)
    return {
        "median": float(np.median(errors)),
        "low": low,
        "high": high,
        "mean": float(errors.mean()),
        "agents": [float(f"{value:.5g}") for value in errors],
    }
