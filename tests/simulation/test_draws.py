"""Draws and parts of bands: of many questions together as of each alone, and few programs' runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models import noisy_rollout
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.simulator import Simulator
from twinfold.simulation.what_if import answer
from twinfold.training.fit import fit

ROLES = {"agent": "id", "time": "t", "state": "x", "action": "a", "action_type": "continuous"}
FAST = FitConfig(linear="levels", rank=0, behaviour_steps=0)


def walks(uneven: bool) -> PanelDataset:
    """x' = x e^(-h/5) + a + noise of eight agents, at even or uneven times."""
    rng = np.random.default_rng(0)
    tables = []
    for name in range(8):
        hours = rng.uniform(0.5, 2, 40) if uneven else np.ones(40)
        a, x = rng.normal(size=40), np.zeros(40)
        for i in range(39):
            x[i + 1] = x[i] * np.exp(-hours[i] / 5) + a[i] + 0.3 * rng.normal()
        columns = {"id": name, "t": np.cumsum(hours) - hours[0], "x": x, "a": a}
        tables.append(pd.DataFrame(columns))
    return PanelDataset.from_frame(pd.concat(tables), ROLES)


def questions(lengths: list[int], step: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    tables = []
    for q, n in enumerate(lengths):
        table = pd.DataFrame({"query_id": q, "id": q % 8, "t": step * np.arange(n), "x": np.nan})
        table["a"] = rng.normal(size=n)
        table.loc[0, "x"] = rng.normal()
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module", params=["even", "uneven"])
def model(request: Any) -> FittedModel:
    return fit(walks(request.param == "uneven"), FAST, reserve=0)


@pytest.mark.parametrize("how", [{"draws": 7}, {"parts": True}])
def test_many_questions_are_drawn_as_each_alone(model: FittedModel, how: dict[str, Any]) -> None:
    table = questions([3, 1, 5, 3])
    if model.uneven:  # steps longer than any in the data, which are taken in parts
        longest = float(model.normalizer.known_high[-1] * model.time_step)
        table.loc[table["query_id"] == 3, "t"] *= 3 * longest
    together = answer(model, table, lambda line: None, **how)
    own = [part for _, part in table.groupby("query_id")]
    alone = pd.concat([answer(model, part, lambda line: None, **how) for part in own])
    keys = ["query_id", *(["draw"] if "draw" in together else []), "t"]
    pd.testing.assert_frame_equal(
        together.sort_values(keys, ignore_index=True),
        alone.sort_values(keys, ignore_index=True),
        rtol=1e-4,
    )
    assert np.isfinite(together["x"].to_numpy()).all()


def test_users_columns_keep_their_names_beside_ours(model: FittedModel) -> None:
    renamed = {"id": "step", "x": "query"}
    roles = model.roles.model_copy(update={"agent": "step", "state": ("query",)})
    named = dataclasses.replace(model, roles=roles)
    plain = Simulator(model, 3).rollout([[1.0], [2.0]], [0.5, 0.0]).to_frame()
    own = Simulator(named, 3).rollout([[1.0], [2.0]], [0.5, 0.0]).to_frame()
    assert own.columns[:4].tolist() == ["query_", "step", "step_", "query"]
    ours = {"query": "query_", "step": "step_", "x_lower": "query_lower", "x_upper": "query_upper"}
    pd.testing.assert_frame_equal(own, plain.rename(columns=ours | renamed))


def test_questions_of_one_length_are_drawn_together(
    model: FittedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, roll = [], noisy_rollout._roll
    monkeypatch.setattr(noisy_rollout, "_roll", lambda *given: calls.append(0) or roll(*given))
    answer(model, questions([2, 3] * 50), lambda line: None, draws=2)
    assert len(calls) == 2
