"""What acted in rows of context: the memory of a question is that of the panel's own rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.simulator import Simulator
from twinfold.simulation.what_if import QUERY, answer
from twinfold.training.fit import fit

SETTINGS = FitConfig(linear="pooled", rank=0, behaviour_steps=0, history=3)
ROLES = {
    "agent": "id",
    "time": "t",
    "state": "x",
    "action": ["mode", "u"],
    "action_type": ("discrete", "continuous"),
    "exogenous": ["sky", "w"],
}
N_ROWS, AHEAD, CONTEXT = 16, 4, 3


def quiet(line: str) -> None:
    """Nobody listens."""


def whole_table() -> pd.DataFrame:
    """What acts does so for two rows: the present and the next one."""
    rng, frames = np.random.default_rng(0), []
    for agent in range(8):
        rows = N_ROWS + AHEAD
        mode, sky = rng.choice(["off", "on"], rows), rng.choice(["clear", "grey"], rows)
        u, w = rng.normal(size=(2, rows))
        push = (mode == "on") * u + 0.5 * w + 0.4 * (sky == "grey")
        x = np.zeros(rows)
        for t in range(rows - 1):
            x[t + 1] = 0.8 * x[t] + push[t] + 0.7 * push[max(t - 1, 0)]
        columns = {"t": range(rows), "x": x, "mode": mode, "u": u, "sky": sky, "w": w}
        frames.append(pd.DataFrame({"id": agent, **columns}))
    return pd.concat(frames, ignore_index=True)


TABLE = whole_table()


def aligned(table: pd.DataFrame, align: str) -> pd.DataFrame:
    """The table with what acts in the row of its outcome, where that is asked for."""
    if align == "next":
        return table
    names = ["mode", "u", "sky", "w"]
    return table.assign(**table.groupby("id")[names].shift(1))


@pytest.fixture(scope="module", params=["next", "same-row"])
def model(request: Any) -> FittedModel:
    past: Any = TABLE[TABLE["t"] < N_ROWS]
    table = aligned(past, request.param)
    return fit(
        PanelDataset.from_frame(table, {**ROLES, "align": request.param}), SETTINGS, reserve=0
    )


def asked(model: FittedModel, first: int) -> pd.DataFrame:
    """A question for each agent, from a row on; the last state is that of the last known row."""
    table = aligned(TABLE, model.roles.align)
    table = table[table["t"] >= first].assign(**{QUERY: lambda rows: rows["id"]})
    return table.assign(x=table["x"].where(table["t"] < N_ROWS))


def test_the_context_is_remembered_as_the_panel_remembers_it(model: FittedModel) -> None:
    """Where the data ended the model knows what a question can tell it."""
    own = asked(model, N_ROWS - 1).assign(x=np.nan)
    known = answer(model, own, quiet)
    told = answer(model, asked(model, N_ROWS - CONTEXT), quiet)
    np.testing.assert_allclose(told["x"], known["x"], rtol=1e-5, atol=1e-5)
    both = known.merge(TABLE, on=["id", "t"], suffixes=("", "_true"))
    error = both["x"] - both["x_true"]
    assert len(both) == 8 * AHEAD
    assert np.sqrt(np.mean(error**2)) < 0.05 * both["x_true"].std()


@pytest.mark.parametrize("column", ["mode", "u", "sky", "w"])
def test_whatever_acts_is_remembered(model: FittedModel, column: str) -> None:
    table = asked(model, N_ROWS - CONTEXT)
    told = answer(model, table, quiet)["x"].to_numpy()
    late = N_ROWS - 2 + (model.roles.align == "same-row")  # acts before the start
    table.loc[table["t"] == late, column] = np.nan
    less = answer(model, table, quiet)["x"].to_numpy()
    assert np.abs(told - less).max() > 0.05


def test_a_scenario_tells_the_context_too(model: FittedModel) -> None:
    table = asked(model, N_ROWS - CONTEXT)
    told = answer(model, table, quiet)["x"].to_numpy()
    scenario: Any = table[["id", "t", "sky", "w"]]
    found = answer(model, table.drop(columns=["sky", "w"]), quiet, scenario=scenario)
    np.testing.assert_allclose(found["x"], told, rtol=1e-6)


def test_a_way_in_two_parts_is_the_way_as_a_whole(model: FittedModel) -> None:
    rows: Any = TABLE[(TABLE["id"] == 2) & (TABLE["t"] >= N_ROWS - CONTEXT)]
    past, ahead = rows[rows["t"] < N_ROWS], rows[rows["t"] >= N_ROWS - 1].iloc[:AHEAD]
    columns = ["x", "mode", "u", "sky", "w"]
    simulator = Simulator(model, 2)

    def way(state: float, before: Any, ahead: Any) -> Any:
        acts, known = ahead[["mode", "u"]], ahead[["sky", "w"]]
        told: dict[str, Any] = {"before": before[columns], "exogenous": known}
        return simulator.rollout([state], acts, quiet, **told).centre[:, 0]

    start = float(past["x"].iloc[-1])
    whole = way(start, past.iloc[:-1], ahead)
    before = pd.concat([past, ahead.iloc[1:2].assign(x=whole[0])])
    after = way(whole[1], before, ahead.iloc[2:])
    np.testing.assert_allclose(after, whole[2:], rtol=1e-5, atol=1e-5)
