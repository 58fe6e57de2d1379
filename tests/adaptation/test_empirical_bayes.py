"""What agents say of others: units in which they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from twinfold import FitConfig, PanelDataset, fit
from twinfold.models.rollout import rollout_members

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip
N, T = 12, 20


def test_agents_that_are_linear_without_any_noise_are_known_to_the_last_digits() -> None:
    """Their residuals are below the smallest noise there is; they differ no less for that."""
    rng = np.random.default_rng(0)
    keep, gain, level = rng.uniform(0.3, 0.9, N), rng.normal(size=N), rng.normal(size=N)
    x, a = np.zeros((N, T)), rng.normal(size=(N, T))
    for t in range(T - 1):
        x[:, t + 1] = keep * x[:, t] + gain * a[:, t] + level
    agents, times = np.repeat(np.arange(N), T), np.tile(np.arange(T), N)
    df = pd.DataFrame({"id": agents, "t": times, "x": x.ravel(), "a": a.ravel()})
    model = fit(
        PanelDataset.from_frame(df, ROLES),
        FitConfig(rank=0, linear="slopes", behaviour_steps=0),
        reserve=0,
    )
    paths = rollout_members(
        model.members, model.normalizer, np.arange(N), x[:, :1], a[:, :-1, None]
    )[0, ..., 0]
    assert np.abs(paths - x[:, 1:]).max() < 1e-3 * x.std()
