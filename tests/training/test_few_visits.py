"""Agents of few rows whose static columns say how they move: a fit reads them, or leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.what_if import answer
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
    "static": ["weight", "age"],
}  # fmt: skip
NEW = 20


def patients(rows: int, what: str, agents: int = 60 + NEW) -> tuple[pd.DataFrame, Any]:
    """Patients of a few rows, the last without an action; and the level and gain of each."""
    rng, table = np.random.default_rng(0), []
    weight, age = rng.normal(70, 10, agents), rng.normal(50, 15, agents)
    size = (weight - 70) / 10
    level = 2.0 * size if what == "level" else np.zeros(agents)
    gain = 1 + 0.8 * size if what == "gain" else np.ones(agents)
    for n in range(agents):
        x = 2 * rng.normal()
        for t in range(rows):
            a = rng.normal() if t < rows - 1 else np.nan
            table.append((n, t, x, a, weight[n], age[n]))
            x = 0.8 * x + gain[n] * a + level[n] + 0.3 * rng.normal()
    return pd.DataFrame(table, columns=["id", "t", "x", "a", "weight", "age"]), (level, gain)


def next_states(model: FittedModel, agents: Any) -> Any:
    """Predictions of agents that are at 0 and act by 1, ``(n,)``."""
    table = pd.DataFrame({"query_id": agents, "id": agents, "t": 0.0, "x": 0.0, "a": 1.0})
    found = answer(model, table, warn=lambda line: None)
    return found.set_index("id").loc[agents, "x"].to_numpy()


def known_new(rows: int, what: str, out: Path | None = None) -> tuple[FittedModel, float, float]:
    """A model; and how far off its next states of new agents of one transition are.

    In units of the noise, and the same of predicting by the truth of the average agent.
    """
    table, (level, gain) = patients(rows, what)
    config = FitConfig(rank=0, behaviour_steps=0)
    panel = PanelDataset.from_frame(table[table["id"] < 60], ROLES)
    model = fit(panel, config, out=out, log=lambda line: None)
    first: Any = table[(table["id"] >= 60) & (table["t"] < 2)]
    first = first.assign(a=first["a"].where(first["t"] == 0))
    whole = adapt(model, PanelDataset.from_frame(first, ROLES), warn=lambda line: None)
    predicted, truth = next_states(whole, np.arange(60, 60 + NEW)), (gain + level)[60:]
    off, average = (np.sqrt(np.mean((x - truth) ** 2)) / 0.3 for x in (predicted, 1.0))
    return model, float(off), float(average)


@pytest.mark.parametrize("what", ["level", "gain"])
@pytest.mark.parametrize("rows", [2, 4])
def test_columns_tell_new_agents_apart_where_no_agent_is_known_by_its_rows(
    rows: int, what: str, tmp_path: Path
) -> None:
    model, off, without = known_new(rows, what, tmp_path / "run")
    assert off < 0.4 * without
    assert model.posterior.static is not None
    assert any(trial.get("reads_static") for trial in model.info.validation["trials"])
    again = load_run(tmp_path / "run")
    np.testing.assert_array_equal(again.posterior.solve()[0], model.posterior.solve()[0])


def test_columns_that_say_nothing_are_left_aside() -> None:
    model, off, _ = known_new(3, "nothing")
    assert off < 1.0
    assert model.posterior.static is None
    assert not any(trial.get("reads_static") for trial in model.info.validation["trials"])


def test_what_is_known_of_one_column_is_used_where_the_other_is_missing() -> None:
    table, (level, _) = patients(3, "level")
    table.loc[table["id"] % 3 == 0, "age"] = np.nan
    table.loc[table["id"] % 7 == 0, "weight"] = np.nan
    model = fit(
        PanelDataset.from_frame(table, ROLES),
        FitConfig(rank=0, behaviour_steps=0),
        log=lambda line: None,
    )
    known = np.arange(80) % 7 != 0
    left = next_states(model, np.arange(80)) - 1.0 - level
    assert np.sqrt(np.mean(left[known] ** 2)) < 0.3 * level[known].std()
