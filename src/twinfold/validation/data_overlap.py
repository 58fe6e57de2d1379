"""Overlap of data with what the run was made from, or adapted to."""

from __future__ import annotations

import numpy as np

from twinfold.data.ids import match_ids
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.validation.check import Check, said
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds


def made_from(model: FittedModel, panel: PanelDataset) -> bool:
    """Return whether a panel is what the run was made from, or what it was adapted to.

    The run keeps fingerprints: of its whole table, of the agents that were fitted, of those that
    were reserved, and of every table that it was adapted to. A table whose agents are all known and
    whose trained agents are those that were fitted counts too.
    """
    trained = model.posterior.trained
    if model.info.has_had(panel.fingerprint()):
        return True
    place = match_ids(model.agent_ids, panel.agent_ids)
    names = [name for name, n in zip(panel.agent_ids, place, strict=True) if n >= 0 and trained[n]]
    if (place < 0).any() or not names:
        return False
    return panel.select_agents(names).fingerprint() == model.info.fingerprint


def already_had(
    model: FittedModel, found: HoldoutResult, rules: ValidationThresholds = THRESHOLDS
) -> list[Check]:
    """Check that the states that the run keeps of its training data are not in this data.

    Nothing is said where the data has no agent of whom the run keeps states.
    """
    agent = np.where(model.sample.agent >= 0, found.match.in_panel[model.sample.agent], -1)
    shared = agent >= 0
    if shared.sum() < rules.fewest:
        return []
    given, kept = (
        [(int(n), state.tobytes()) for n, state in zip(agents, states, strict=True)]
        for agents, states in [
            (found.data.agent, found.data.state),
            (agent[shared], model.sample.state[shared]),
        ]
    )
    in_data = set(given)
    share = float(np.mean([row in in_data for row in kept]))
    values = {"share": share, "states": len(kept)}
    return [said("fresh data", "pass" if share <= rules.seen else "warn", rules, values)]
