"""What stands for missing values in the data of agents that a model is adapted to."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import numpy as np

from twinfold.adaptation.known_columns import known_rows
from twinfold.data.ids import match_ids
from twinfold.data.panel import PanelDataset
from twinfold.models.filling import filled_by
from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear_sums import LinearData
from twinfold.models.net_filling import filtered_by_nets
from twinfold.models.posterior import Posterior, gather
from twinfold.utils.device import on_device

_ROUNDS = 3  # of solving for the agents' factors and of filling in, until little changes


def fill_missing(model: FittedModel, panel: PanelDataset) -> PanelDataset:
    """Return the panel with what the model says in place of missing values.

    By linear models of the agents' own, and where nets filled in the data of the fit, by these.

    Args:
        model: a fitted model.
        panel: its actions as the model counts its levels.
    """
    if panel.missing is None:
        return panel
    place = match_ids(model.agent_ids, list(panel.agent_ids))
    own = LinearData.none(model.normalizer, panel.n_agents, model.n_levels).like(model.sums)
    own = own.put(np.flatnonzero(place >= 0), model.sums.take(place[place >= 0]))
    others = model.sums.take(np.setdiff1d(np.arange(len(model.agent_ids)), place))
    noise = np.median(model.posterior.prior.noise, axis=0)
    sums, known = own.join(others), known_rows(model, panel)
    filled = filled_by(panel, model.normalizer, noise, sums, model.n_levels, known)
    if not (model.info.filled_by_nets and model.history == 1):
        return filled
    for _ in range(_ROUNDS):
        filled = _by_nets(model, filled)
    return filled


def _by_nets(model: FittedModel, panel: PanelDataset) -> PanelDataset:
    """Return the panel filled in by nets, with the factors that what is filled in now says."""
    place = match_ids(model.agent_ids, list(panel.agent_ids))
    old, prior = np.flatnonzero(place >= 0), model.posterior.prior
    known = known_rows(model, panel)
    data = replace(panel, uneven=model.uneven).transitions(known=known)
    found = gather(model.members, model.normalizer, prior, data, panel.n_agents)
    found = found.add(old, model.posterior.evidence.take(place[old]))
    factors = Posterior(prior, found, np.zeros(panel.n_agents, bool)).solve()[0]
    members = eqx.tree_at(lambda m: m.agents, model.members, on_device(factors))
    noise = np.median(prior.noise, axis=0)
    passed = filtered_by_nets(panel, model.normalizer, members, noise, panel.agent, known)
    return replace(panel, filled=passed.filled)
