"""Overlap of data with what the run was made from, or adapted to."""

from __future__ import annotations

from collections import Counter

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

    States that are levels or counts come back by themselves: of the kept ones as many are found by
    chance as there are rows of the data whose state the same agent has in another row. What is
    beyond that counts. Nothing is said where the data has no agent of whom the run keeps states, or
    none whose states do not all come back.
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
    times = Counter(given)
    once = sum(count == 1 for count in times.values())
    if once < rules.fewest:
        return []
    share, by_chance = float(np.mean([row in times for row in kept])), 1 - once / len(given)
    most = by_chance + rules.seen * (1 - by_chance)
    values = {"share": share, "by_chance": by_chance, "states": len(kept)}
    return [said("fresh data", "pass" if share <= most else "warn", rules, values, most=most)]
