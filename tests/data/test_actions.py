"""Actions in words, of several columns and mixed: from a table to what a model takes, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data.actions import ActionCode
from twinfold.data.describe import describe
from twinfold.data.io import load_panel, save_panel
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.data.validate import check
from twinfold.errors import InvalidDataError, UsageError

BASE = {"agent": "id", "time": "t", "state": ["x"]}
WORDS = {**BASE, "action": "a", "action_type": "discrete"}
MIXED = {**BASE, "action": ["u", "m"], "action_type": ["continuous", "discrete"]}


def table(**columns: list[Any]) -> pd.DataFrame:
    """Two agents of three rows; the actions of the last rows are empty."""
    full = {name: [*values[:2], None, *values[2:], None] for name, values in columns.items()}
    return pd.DataFrame(
        {"id": list("aaabbb"), "t": [0, 1, 2] * 2, "x": [1.0, 2, 4, 3, 5, 4], **full}
    )


def panel(roles: dict[str, Any], **columns: list[Any]) -> PanelDataset:
    return PanelDataset.from_frame(table(**columns), roles)


def test_words_are_counted_and_kept() -> None:
    data = panel(WORDS, a=[" low", "high", "low", "mid10"])
    assert data.roles.levels == (("high",), ("low",), ("mid10",))
    assert data.action.tolist() == [1, 0, -1, 1, 2, -1]
    assert data.action_levels is not None
    assert data.action_levels.tolist() == [0, 1, 2]
    back = data.to_frame()["a"]
    assert back[back.notna()].tolist() == ["low", "high", "low", "mid10"]
    assert describe(data)["action_levels"] == {"high": 1, "low": 2, "mid10": 1}


def test_integers_of_one_column_stay_what_they_were() -> None:
    data = panel(WORDS, a=[5, 3, 5, 3])
    assert data.roles.levels == ()
    assert "levels" not in data.roles.model_dump()
    assert data.action_levels is not None
    assert data.action_levels.tolist() == [3, 5]
    assert data.to_frame()["a"].dtype == "Int64"


@pytest.mark.parametrize("values", [[True, False, True, True], ["true", "False", "TRUE", "true"]])
def test_flags_are_levels(values: list[Any]) -> None:
    data = panel(WORDS, a=values)
    assert data.roles.levels == ((False,), (True,))
    assert data.action.tolist() == [1, 0, -1, 1, 1, -1]
    assert data.to_frame()["a"].dropna().tolist() == [True, False, True, True]


def test_none_is_a_word_and_a_blank_is_not() -> None:
    data = panel(WORDS, a=["none", "drug", "drug", "None "])
    assert set(data.roles.levels) == {("none",), ("None",), ("drug",)}
    assert "look alike" in data.warnings[0]
    with pytest.raises(InvalidDataError, match="no action"):  # of most transitions
        panel(WORDS, a=["", "", "stop", "drug"])


def test_a_slip_among_integers_makes_no_words() -> None:
    report = check(table(a=[0, "1l", 1, 0]), WORDS)
    assert len(report.problems) == 1
    assert "'1l' is no number at row 1" in report.problems[0]


def test_several_columns_are_their_combinations() -> None:
    roles = {**BASE, "action": ["m", "k"], "action_type": "discrete"}
    data = panel(roles, m=["up", "up", "down", "up"], k=[1, 2, 2, 1])
    assert data.roles.levels == (("down", 2), ("up", 1), ("up", 2))
    assert data.action.tolist() == [1, 2, -1, 0, 1, -1]
    frame = data.to_frame().dropna()
    assert frame["m"].tolist() == ["up", "up", "down", "up"]
    assert frame["k"].tolist() == [1, 2, 2, 1]
    assert data.action_code.level_names == ("m=down, k=2", "m=up, k=1", "m=up, k=2")


def test_amounts_stand_at_their_level() -> None:
    data = panel(MIXED, u=[0.5, 2.0, 3.0, 4.0], m=["on", "off", "on", "on"])
    assert data.action_code.names == ("m=off", "m=on", "u at m=off", "u at m=on")
    assert data.action[[0, 1]].tolist() == [[0, 1, 0, 0.5], [1, 0, 2, 0]]
    assert np.isnan(data.action[[2, 5]]).all()
    assert data.action_levels is None
    frame = data.to_frame()
    assert frame["u"].dropna().tolist() == [0.5, 2, 3, 4]
    assert frame["m"].dropna().tolist() == ["on", "off", "on", "on"]
    summary = describe(data)
    assert summary["action"]["u"]["max"] == 4
    assert summary["action_levels"] == {"off": 1, "on": 3}


def test_nobody_acts() -> None:
    data = panel(BASE)
    assert data.action.tolist() == [0, 0, -1] * 2
    assert list(data.to_frame().columns) == ["id", "t", "x"]
    assert "nothing can be planned" in data.warnings[0]


def test_a_panel_comes_back_from_a_file(tmp_path: Any) -> None:
    data = panel(MIXED, u=[0.5, 2.0, 3.0, 4.0], m=["on", "off", "on", "on"])
    for name in ("panel.csv", "panel.parquet"):
        save_panel(data, tmp_path / name)
        again = load_panel(tmp_path / name)
        assert again.roles == data.roles
        assert again.fingerprint() == data.fingerprint()


def test_levels_of_the_roles_come_first_and_are_all_there_are() -> None:
    values = ["low", "high", "low", "high"]
    roles = {**WORDS, "levels": ["off", "low", "high"]}
    data = panel(roles, a=values)
    assert data.action.tolist() == [1, 2, -1, 1, 2, -1]
    with pytest.raises(InvalidDataError, match="'off' not among the levels of the roles, low, hi"):
        panel({**WORDS, "levels": ["low", "high"]}, a=["off", "low", "low", "high"])


def test_words_by_the_thousand_are_refused_in_one_line() -> None:
    n = 1200
    frame = pd.DataFrame(
        {"id": 0, "t": range(n), "x": range(n), "a": [f"note {i}" for i in range(n)]}
    )
    report = check(frame, WORDS)
    assert len(report.problems) == 1
    assert "1199 distinct values, too many for choices" in report.problems[0]


def test_an_expression_in_place_of_a_column() -> None:
    roles = {**WORDS, "reward": "-(x - 1)^2 - (a == 'up')", "terminated": "x < 0"}
    data = panel(roles, a=["up", "down", "up", "down"])
    assert data.roles.reward is None
    assert data.roles.reward_expression == "-(x - 1)^2 - (a == 'up')"
    assert data.roles.terminated_expression == "x < 0"
    with pytest.raises(InvalidDataError) as error:
        panel({**roles, "reward": "-(y - 1)^2", "terminated": "x <"}, a=["up", "down", "up", "up"])
    assert "terminated" in str(error.value)
    with pytest.raises(InvalidDataError, match="there is no column 'y'"):
        panel({**roles, "reward": "-(y - 1)^2"}, a=["up", "down", "up", "up"])


def test_a_column_with_a_sign_in_its_name_is_a_column() -> None:
    frame = table(a=["up", "down", "up", "up"]).assign(**{"gain-loss": 1.0})
    data = PanelDataset.from_frame(frame, {**WORDS, "reward": "gain-loss"})
    assert data.roles.reward == "gain-loss"


@given(st.data())
def test_packing_and_unpacking_are_inverse(data: st.DataObject) -> None:
    n_levels, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    names = tuple(f"u{i}" for i in range(width))
    roles = Roles.parse(
        {
            **BASE,
            "action": ["m", *names],
            "action_type": ["discrete", *["continuous"] * width],
            "levels": [f"l{i}" for i in range(n_levels)],
        }
    )
    code = ActionCode(roles, roles.levels)
    drawn = data.draw(st.lists(st.integers(0, n_levels - 1), max_size=4))
    level = np.array(drawn, np.int64)
    amount = np.random.default_rng(0).normal(size=(len(level), width))
    packed = code.pack(level, amount)
    assert packed.shape == (len(level), len(code.names))
    back = code.unpack(packed)
    assert back[0].tolist() == level.tolist()
    np.testing.assert_array_equal(back[1], amount)
    given_back = code.user_values(packed)
    assert given_back.shape == (len(level), 1 + width)
    assert given_back[:, 0].tolist() == [f"l{i}" for i in level]
    np.testing.assert_array_equal(given_back[:, 1:].astype(float), amount)


def test_levels_are_found_however_they_were_read() -> None:
    code = ActionCode.of(Roles.parse(WORDS), np.array([0, 1, 7]))
    assert code.level_of([[0], [7.0], ["1"], [True], [0.5], ["x"]]).tolist() == [0, 2, 1, 1, -1, -1]
    with pytest.raises(UsageError, match="has 2 values for 1 discrete"):
        Roles.parse({**WORDS, "levels": [["a", "b"]]})
