"""The agents' factors in closed form, given what was trained on all data."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.data.panel import PanelDataset
from twinfold.models.factor_model import FactorModel
from twinfold.models.posterior import Posterior
from twinfold.training.ensemble import TrainingContext
from twinfold.training.train_on_all import Trained
from twinfold.utils.device import on_device


def posterior_of(
    dataset: PanelDataset, problem: TrainingContext, trained: Trained, noise: Any
) -> Posterior:
    """Return what the data says of the agents' factors, given the nets.

    Args:
        dataset: the panel.
        problem: its transitions and the settings.
        trained: nets and linear model.
        noise: ``(D,)``, of held-out predictions of one step, in standard deviations of the target.
    """
    static = None if dataset.static is None else dataset.static[: dataset.n_agents]
    return trained_posterior(
        trained.members,
        trained.normalizer,
        problem.data,
        noise,
        dataset.n_agents,
        static,
        trained.linear,
        progress=problem.progress,
    )


def solved(members: FactorModel, posterior: Posterior) -> FactorModel:
    """Return the members with the factors that are the most likely ones."""
    factors = on_device(posterior.solve()[0])
    return eqx.tree_at(lambda m: m.agents, members, factors)
