"""Pumps that differ in how they respond to their speed, with tiny settings to fit them by.

And what tests of whole fits share: fits that stop, and fits that are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel

ROLES = {
    "agent": "pump",
    "time": "t",
    "state": ["flow", "pressure"],
    "action": ["speed"],
    "action_type": "continuous",
}
TINY = FitConfig(
    linear="none",
    features="separable",
    rank=4,
    members=2,
    state_net=(8,),
    action_net=(8,),
    batch_size=16,
    steps=1200,
    schedules=(0.25, 1.0),
    shrinkages=(0.01,),
    validation_members=1,
    behaviour_steps=100,
)


def coefficients(n_agents: int) -> NDArray[np.float64]:
    """``(N, 2)``: how an agent's action moves its two states. Some respond the other way."""
    return np.random.default_rng(7).uniform(-1, 1, (n_agents, 2)) * [0.5, 0.3]


def respond(own: Any, state: Any, action: Any) -> Any:
    """The truth, ``(..., 2)``: linear, with the agent in the response to the action."""
    flow, pressure = state[..., 0], state[..., 1]
    return np.stack(
        [
            0.9 * flow + 0.1 * pressure + own[..., 0] * action,
            0.95 * pressure - 0.1 * flow + own[..., 1] * action,
        ],
        axis=-1,
    )


def table(lengths: list[int], seed: int = 0, names: Any = None) -> pd.DataFrame:
    """One trajectory per agent with so many rows, last action null."""
    rng = np.random.default_rng(seed)
    frames = []
    for n, (length, own) in enumerate(zip(lengths, coefficients(len(lengths)), strict=True)):
        state, action = rng.normal(size=2), rng.uniform(-1, 1, length)
        states = [state]
        for a in action[:-1]:
            states.append(respond(own, states[-1], a))
        values = np.array(states)
        action[-1] = np.nan
        frames.append(
            pd.DataFrame(
                {
                    "pump": f"P-{n}/ä" if names is None else names[n],
                    "t": np.arange(length) * 0.5,
                    "flow": values[:, 0],
                    "pressure": 100 + values[:, 1],
                    "speed": action,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def panel(lengths: list[int], **options: Any) -> PanelDataset:
    return PanelDataset.from_frame(table(lengths, **options), ROLES)


def leaves(model: FittedModel) -> list[Any]:
    return jax.tree.leaves((model.members, model.normalizer, model.ranges, model.band))


def assert_same(got: FittedModel, expected: FittedModel) -> None:
    """The same to the last bit."""
    for leaf, other in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)
    assert got.agent_ids == expected.agent_ids
    assert got.info.validation == expected.info.validation
    assert got.info.training_loss == expected.info.training_loss


def stop_at(stage: str, share: float) -> Callable[[str, int, int], None]:
    """Raises KeyboardInterrupt once so much of a stage is done."""

    def progress(what: str, done: int, total: int) -> None:
        if what.startswith(stage) and done >= share * total:
            raise KeyboardInterrupt

    return progress
