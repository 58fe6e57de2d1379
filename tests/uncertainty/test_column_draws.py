"""Actions of which one column is drawn: what goes together stays together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.config import FitConfig
from twinfold.data.actions import ActionCode
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.training.fit import fit
from twinfold.uncertainty.column_draws import column_draws, column_values
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
from twinfold.validation.action_sensitivity import reacts

ROLES = Roles(
    agent="id",
    time="t",
    state=("x",),
    action=("mode", "u", "valve"),
    action_type=("discrete", "continuous", "discrete"),
    levels=(("fill", 0), ("fill", 1), ("drain", 0), ("hold", 1)),
)
CODE = ActionCode(ROLES, ROLES.levels)


@pytest.fixture(scope="module")
def drawn() -> Any:
    rng = np.random.default_rng(0)
    level = rng.choice(4, (40, 30), p=[0.4, 0.3, 0.2, 0.1])
    amount = np.where(level == 3, 0.0, 10.0 * level + rng.uniform(1, 2, level.shape))
    action = CODE.pack(level, amount[..., None])
    found = column_draws(CODE, action, np.ones(level.shape, bool), action, rng)
    return SimpleNamespace(level=level, amount=amount, found=found)


def test_an_amount_is_one_that_was_given_at_the_level(drawn: Any) -> None:
    level, amount = CODE.unpack(drawn.found[1])
    np.testing.assert_array_equal(level, drawn.level)
    for each in range(4):
        own = amount[level == each, 0]
        assert set(own) <= set(drawn.amount[drawn.level == each])
    assert (amount[..., 0] != drawn.amount).mean() > 0.8


def test_a_discrete_column_changes_among_levels_that_differ_in_it_alone(drawn: Any) -> None:
    for column, pairs in ((0, {0: {0, 2}, 2: {0, 2}, 1: {1, 3}, 3: {1, 3}}),
                          (2, {0: {0, 1}, 1: {0, 1}, 2: {2}, 3: {3}})):  # fmt: skip
        level, amount = CODE.unpack(drawn.found[column])
        for each, allowed in pairs.items():
            assert set(level[drawn.level == each]) == allowed
        for each in range(4):
            own, data = amount[level == each, 0], drawn.amount[drawn.level == each]
            assert data.min() <= own.min()
            assert own.max() <= data.max()
    from_first = CODE.unpack(drawn.found[0])[0][drawn.level == 0]
    assert (from_first == 2).mean() == pytest.approx(0.2 / 0.6, abs=0.07)  # as often as taken


def test_what_does_nothing_by_itself_is_told_from_what_does() -> None:
    """Tanks that fill by the amount; a lamp beside, on or off, and a door that stays as it is."""
    rng, rows = np.random.default_rng(1), []
    for who in range(14):
        x, door = 0.0, ("open", "shut")[who % 2]
        for t in range(30):
            mode, lamp, amount = rng.choice(["fill", "drain"]), int(rng.integers(2)), rng.uniform()
            rows.append((who, t, x, mode, lamp, door, amount))
            x = 0.8 * x + (amount if mode == "fill" else -amount) + 0.02 * rng.normal()
    names = ["id", "t", "x", "mode", "lamp", "door", "amount"]
    roles: Any = {"agent": "id", "time": "t", "state": "x", "action": names[3:]}
    roles["action_type"] = ["discrete"] * 3 + ["continuous"]
    panel = PanelDataset.from_frame(pd.DataFrame(rows, columns=names), roles)
    model = fit(panel, FitConfig(linear="pooled", rank=0, behaviour_steps=0), reserve=0)
    found = evaluate_holdout(model, panel, refit_from_prefix=True, columns=True)
    mode, lamp, door, amount = found.redrawn_columns
    for column in (mode, amount):
        assert np.median(column.moved) > 5 * np.median(lamp.moved)
        assert np.median(column.rmse / found.rmse) > 2
    assert np.median(lamp.rmse / found.rmse) == pytest.approx(1, abs=0.2)
    assert lamp.same.mean() < 0.7
    assert np.median(door.moved) < np.median(mode.moved) / 5
    values = column_values(model, found.ends.action[found.ends.mask])
    assert [len(np.unique(column)) for column in values.T[:3]] == [2, 2, 2]
    assert values[:, 3].std() == pytest.approx(1, abs=0.1)
    assert found.steady.all(axis=0).tolist() == [False, False, True, False]


def test_where_nobody_acts_there_is_no_column_and_the_band_is_calibrated_all_the_same() -> None:
    rng = np.random.default_rng(0)
    own, rows = rng.uniform(0.4, 0.9, 60), []
    for i, rate in enumerate(own):
        x = rng.normal()
        for t in range(8):
            rows.append((f"a{i}", t, x))
            x = rate * x + 0.1 * rng.normal()
    frame = pd.DataFrame(rows, columns=["id", "t", "x"])
    panel = PanelDataset.from_frame(
        frame, Roles(agent="id", time="t", state=("x",), action_type="none")
    )
    model = fit(panel, FitConfig(rank=0, members=1), reserve=10)
    assert model.info.reserved_agents == 10
    assert column_values(model, np.zeros((3, 4), int)).shape == (3, 4, 0)
    found = evaluate_holdout(
        model, panel.select_agents([f"a{i}" for i in range(10)]), refit_from_prefix=True
    )
    assert found.steady.shape == (10, 0)
    check = reacts(found)
    assert (check.status, check.planning) == ("unknown", True)
    assert "Nobody acts" in check.advice
