"""Words and mixed actions of new agents: read by the model's levels, whatever the table's are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt, panel_transitions
from twinfold.adaptation.online import Tracker
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.fit import fit
from twinfold.validation.validate import validate

ROLES: dict[str, Any] = {
    "agent": "id",
    "time": "t",
    "state": "x",
    "action": ["u", "mode"],
    "action_type": ["continuous", "discrete"],
}
RATES = {"up": 1.0, "down": -1.0, "hold": 0.0}


def tanks(ids: list[str], modes: list[str], n_rows: int = 12) -> pd.DataFrame:
    rng, rows = np.random.default_rng(len(ids)), []
    for name in ids:
        x, own = 10.0, rng.uniform(0.5, 1.5)
        for t in range(n_rows):
            mode, u = str(rng.choice(modes)), rng.uniform(0, 1)
            rows.append((name, t, x, u, mode))
            x += own * RATES[mode] * u
    return pd.DataFrame(rows, columns=["id", "t", "x", "u", "mode"])


@pytest.fixture(scope="module")
def model() -> FittedModel:
    data = PanelDataset.from_frame(tanks([f"a{i}" for i in range(8)], [*RATES]), ROLES)
    return fit(data, FitConfig(linear="slopes", rank=0, behaviour_steps=0), reserve=0)


def test_fewer_levels_in_another_order_are_the_same_actions(model: FittedModel) -> None:
    frame = tanks(["b"], ["up", "hold"])
    own = panel_transitions(model, PanelDataset.from_frame(frame, ROLES))
    named = {**ROLES, "levels": ["up", "hold", "down"]}
    turned = panel_transitions(model, PanelDataset.from_frame(frame, named))
    np.testing.assert_array_equal(own.action, turned.action)
    level, amount = model.action_code.unpack(own.action)
    assert [model.action_code.levels[i][0] for i in level] == frame["mode"][:-1].tolist()
    np.testing.assert_allclose(amount[:, 0], frame["u"][:-1])


def test_later_rows_of_known_agents_alone_can_be_validated(model: FittedModel) -> None:
    later = tanks([f"a{i}" for i in range(8)], [*RATES]).assign(t=lambda df: df.t + 100)
    found = validate(model, PanelDataset.from_frame(later, ROLES))
    assert found.record["agents"] == 8


def test_a_level_that_the_model_has_not_seen_is_named(model: FittedModel) -> None:
    frame = tanks(["b"], ["up", "hold"])
    frame.loc[3, "mode"] = "flush"
    with pytest.raises(InvalidDataError) as error:
        adapt(model, PanelDataset.from_frame(frame, ROLES))
    assert "column 'mode', agent 'b', step 3 of its trajectory: action flush never occurs" in str(
        error.value
    )
    assert "its levels: down, hold, up" in str(error.value)


def test_steps_one_by_one_say_what_the_table_says(model: FittedModel) -> None:
    frame = tanks(["b"], [*RATES])
    tracker = Tracker(model, "b")
    rows = frame.to_dict("records")
    for here, after in itertools.pairwise(rows):
        tracker.observe([here["x"]], [here["u"], here["mode"]], [after["x"]])
    adapted = adapt(model, PanelDataset.from_frame(frame, ROLES), warn=lambda line: None)
    index = np.array([adapted.agent_index("b")])
    table = adapted.posterior.evidence.take(index)
    for mine, theirs in zip(tracker.evidence, table, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="unknown action 'sideways'; the levels: down, hold, up"):
        tracker.observe([1.0], [0.5, "sideways"], [1.0])
    with pytest.raises(UsageError, match="an action needs 2 values: u, mode"):
        tracker.observe([1.0], [0.5], [1.0])
