"""What the policy of the data takes a new agent for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.training.fit import fit

PUMPS = {
    "agent": "pump",
    "time": "t",
    "state": ["x", "y"],
    "action": ["a"],
    "action_type": "continuous",
}


def doubt(line: str) -> None:
    raise AssertionError(f"unexpected doubt: {line}")


@pytest.fixture(scope="module")
def pumps() -> pd.DataFrame:
    """Twelve pumps that differ in how they respond."""
    rng, frames = np.random.default_rng(0), []
    for n in range(12):
        own, state, rows = rng.uniform(-0.5, 0.5, 2), rng.normal(size=2), []
        for t in range(20):
            action = rng.uniform(-1, 1) if t < 19 else np.nan
            rows.append((n, t, *state, action))
            state = np.array([0.9 * state[0] + 0.1 * state[1], 0.9 * state[1]]) + own * action
        frames.append(pd.DataFrame(rows, columns=["pump", "t", "x", "y", "a"]))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def pump_model(pumps: pd.DataFrame) -> FittedModel:
    config = FitConfig(
        linear="none",
        features="separable",
        rank=4,
        members=2,
        state_net=(16,),
        action_net=(8,),
        batch_size=32,
        steps=1000,
        schedules=(1.0,),
        shrinkages=(0.01,),
        validation_members=1,
        behaviour_steps=500,
    )
    return fit(PanelDataset.from_frame(pumps, PUMPS), config)


def test_the_policy_takes_a_new_agent_for_what_its_data_says(
    pumps: pd.DataFrame, pump_model: FittedModel, assert_same_agents: Any
) -> None:
    """An agent with the data of a trained one: the same twin, the same policy."""
    model = pump_model
    copy: Any = pumps[pumps["pump"].isin([3, 7])].replace({"pump": {3: 103, 7: 107}})
    adapted = adapt(model, PanelDataset.from_frame(copy, PUMPS), warn=doubt)
    assert_same_agents(adapted, model, model.agent_ids)
    assert adapted.behaviour is not None
    read = np.asarray(adapted.behaviour.factors)
    agents = np.asarray(adapted.members.agents)
    spread = read[:12].std(axis=0)
    for pair in ((3, 103), (7, 107)):
        old, new = map(adapted.agent_index, pair)
        near = np.abs(read[new] - read[old]) / spread
        others = np.abs(np.delete(read[:12], old, axis=0) - read[old]) / spread
        assert np.linalg.norm(near) < 0.5 * np.linalg.norm(others, axis=1).min()
    # And what the policy reads is one and the same map of the factors of the first member.
    for k in range(4):
        slope, offset = np.polyfit(agents[0, :12, k], read[:12, k], 1)
        np.testing.assert_allclose(slope * agents[0, 12:, k] + offset, read[12:, k], atol=1e-3)
