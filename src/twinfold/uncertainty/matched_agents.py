"""Agents of a panel beside those of a model: who is who, found out once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import match_ids
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel


class MatchedAgents(NamedTuple):
    """Places of a panel's P agents among a model's N, and the other way round.

    Attributes:
        in_model: ``(P,)``, index of each of the panel's agents in the model; -1 if unknown there.
        in_panel: ``(N,)``, index of each of the model's agents in the panel; -1 if not in it.
    """

    in_model: NDArray[np.int32]
    in_panel: NDArray[np.int32]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which of the panel's agents the model knows, ``(P,)``."""
        return self.in_model >= 0


def match_agents(model: FittedModel, panel: PanelDataset) -> MatchedAgents:
    """Return who of a panel is who in a model."""
    return MatchedAgents(
        match_ids(model.agent_ids, panel.agent_ids), match_ids(panel.agent_ids, model.agent_ids)
    )
