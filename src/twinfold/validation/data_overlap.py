"""Whether data is fresh, or what the run was made from."""

from __future__ import annotations

import numpy as np

from twinfold.adaptation.adapt import panel_transitions
from twinfold.data.ids import match_ids
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.validation.check import Check
from twinfold.validation.thresholds import CRITERIA, Criteria


def made_from(model: FittedModel, panel: PanelDataset) -> bool:
    """Whether a panel is the data that the run was made from, or that it was adapted to.

    The run keeps fingerprints: of its whole table, of the agents that were fitted, of those that
    were reserved, and of every table that it was adapted to. A table whose agents are all known and
    whose trained agents are those that were fitted counts too.
    """
    trained = model.posterior.trained
    if model.info.has_had(panel.fingerprint()):
        return True
    place = match_ids(model.agent_ids, list(panel.agent_ids))
    names = [name for name, n in zip(panel.agent_ids, place, strict=True) if n >= 0 and trained[n]]
    if (place < 0).any() or not names:
        return False
    return panel.select_agents(names).fingerprint() == model.info.fingerprint


def already_had(model: FittedModel, panel: PanelDataset, rules: Criteria = CRITERIA) -> list[Check]:
    """Whether the states that the run keeps of its training data stand in this data.

    Nothing is said where the data has no agent of whom the run keeps states.
    """
    place = match_ids(list(panel.agent_ids), list(model.agent_ids))  # of the model's agents
    data = panel_transitions(model, panel)
    there = {
        (int(agent), state.tobytes()) for agent, state in zip(data.agent, data.state, strict=True)
    }
    agent = np.where(model.sample.agent >= 0, place[model.sample.agent], -1)
    kept = [
        (int(n), state.tobytes())
        for n, state in zip(agent[agent >= 0], model.sample.state[agent >= 0], strict=True)
    ]
    if len(kept) < rules.fewest:
        return []
    share = float(np.mean([row in there for row in kept]))
    fresh = share <= rules.seen
    return [
        Check(
            "fresh data",
            "pass" if fresh else "warn",
            f"{100 * share:.0f} % of the training states that the run keeps of these agents",
            f"at most {100 * rules.seen:.0f} %",
            "The nets have not seen this data."
            if fresh
            else "The nets were trained on much of this data: errors look smaller than they are. "
            "Give data that the run has not had.",
            values={"share": share, "states": len(kept)},
        )
    ]
