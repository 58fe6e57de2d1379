"""Columns of words as columns of 0 and 1 and back; gaps filled as a plain loop fills them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.baselines.cadm_training import unlimited_normalizer
from twinfold.data.coding import as_words, filled_forward, holds_words, read_coded
from twinfold.data.io import load_panel, save_panel
from twinfold.data.issues import Notes
from twinfold.data.levels import coded_names, decoded
from twinfold.data.panel import PanelDataset
from twinfold.data.validate import check
from twinfold.errors import UsageError

ROLES: dict[str, Any] = {
    "agent": "id",
    "time": "t",
    "state": ["x"],
    "action": ["a"],
    "action_type": "continuous",
}


@pytest.fixture
def table() -> Any:
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"id": np.repeat(["p", "q"], 5), "t": np.tile(range(5), 2)})
    df["x"], df["a"], df["warm"] = rng.normal(size=(3, 10))
    df["day"] = ["Mon", "Tue", "Sat", "Sun", "Mon"] * 2
    df["site"] = np.repeat(["north", "south"], 5)
    return df


words = st.lists(st.sampled_from(["a", "b", "c 1", "c 10", None, "NA", ""]), min_size=1)


@given(words, words)
def test_indicators_say_which_level_a_row_has(one: list[Any], two: list[Any]) -> None:
    read, other = (as_words(pd.Series(x, dtype=object)) for x in (one, two))
    found = read.indicators(other.levels)
    for row, value in enumerate(one):
        if value in (None, "NA", ""):
            assert np.isnan(found[row]).all()
        else:
            assert found[row].tolist() == [float(value == level) for level in other.levels]


def test_a_number_among_words_or_a_word_among_numbers_is_no_column_of_words() -> None:
    assert holds_words(pd.Series(["a", None, "b"]))
    assert not holds_words(pd.Series(["a", "1"]))
    assert not holds_words(pd.Series([1.0, 2.0]))
    assert not holds_words(pd.Series([None, None], dtype=object))


def test_columns_survive_coding(table: Any) -> None:
    values, levels = read_coded([table["warm"], table["day"]], "exogenous", Notes(table))
    assert coded_names(["warm", "day"], levels) == (
        "warm", "day=Mon", "day=Sat", "day=Sun", "day=Tue",
    )  # fmt: skip
    back = decoded(values, ["warm", "day"], levels)
    assert back["day"].tolist() == table["day"].tolist()
    np.testing.assert_array_equal(back["warm"], table["warm"])


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([np.nan, 1.0, 2.0, 5.0])),
        min_size=1,
        max_size=12,
    )
)
def test_gaps_are_filled_as_a_plain_loop_fills_them(rows: list[tuple[int, float]]) -> None:
    rows.sort(key=lambda row: row[0])
    group, values = np.array([g for g, _ in rows]), np.array([v for _, v in rows])
    expected = values.copy()
    for g in set(group):
        own = np.flatnonzero(group == g)
        known = [row for row in own if not np.isnan(values[row])]
        for row in own:
            before = [k for k in known if k <= row]
            if known:
                expected[row] = values[before[-1] if before else known[0]]
    filled = expected[~np.isnan(expected)]
    if len(filled):
        expected[np.isnan(expected)] = filled.mean()
    np.testing.assert_allclose(filled_forward(values[:, None], group)[:, 0], expected)


def test_a_panel_keeps_exogenous_and_static_words(table: Any) -> None:
    table.loc[2, "warm"] = np.nan
    roles = {**ROLES, "exogenous": ["warm", "day"], "static": ["site"]}
    panel = PanelDataset.from_frame(table.sample(frac=1, random_state=1), roles)
    assert panel.levels == {"site": ("north", "south"), "day": ("Mon", "Sat", "Sun", "Tue")}
    back: Any = panel.to_frame()
    assert back["day"].tolist() == table["day"].tolist()
    assert back["site"].tolist() == table["site"].tolist()
    assert back["warm"][2] == table["warm"][1]
    (line,) = [line for line in panel.warnings if "warm" in line]
    assert "no value in 1 row" in line
    data = panel.transitions()
    assert data.known is not None
    assert data.known_after is not None
    np.testing.assert_array_equal(data.known[:, 0], back["warm"][back.t < 4])
    np.testing.assert_array_equal(data.known_after[:, 0], back["warm"][back.t > 0])
    some = panel.select_agents(["q"])
    np.testing.assert_array_equal(some.transitions().known, data.known[4:])
    assert panel.fingerprint() != PanelDataset.from_frame(table, ROLES).fingerprint()


def test_a_manifest_keeps_the_roles_and_that_times_are_uneven(table: Any, tmp_path: Path) -> None:
    table["t"] = np.tile([0.0, 0.3, 1.0, 2.9, 3.1], 2)
    roles = {**ROLES, "exogenous": ["day", "warm"], "static": "site"}
    panel = PanelDataset.from_frame(table, roles, time_step="variable")
    for name in ("p.csv", "p.parquet"):
        save_panel(panel, tmp_path / name)
        again = load_panel(tmp_path / name)
        assert again.uneven
        assert again.levels == panel.levels
        assert again.fingerprint() == panel.fingerprint()
        np.testing.assert_array_equal(again.transitions().known, panel.transitions().known)
    assert not load_panel(tmp_path / "p.csv", time_step="regular").uneven


def test_methods_that_cannot_use_known_inputs_refuse_them(table: Any) -> None:
    roles = {**ROLES, "exogenous": "warm"}
    with pytest.raises(UsageError, match=r"cannot use exogenous columns \('warm'\)"):
        unlimited_normalizer(PanelDataset.from_frame(table, roles))
    uneven = PanelDataset.from_frame(table, ROLES, time_step="variable")
    with pytest.raises(UsageError, match='read the data with the time step "regular"'):
        unlimited_normalizer(uneven)
    unlimited_normalizer(PanelDataset.from_frame(table, ROLES))


def test_all_faults_of_exogenous_columns_are_said_at_once(table: pd.DataFrame) -> None:
    table["empty"] = np.nan
    table["mixed"] = ["1", "2", "warm", "4", "5"] * 2
    table["big"] = [1e200, *[1.0] * 9]
    table["site"] = ["north", "south"] * 5
    roles = {**ROLES, "exogenous": ["empty", "mixed", "big"], "static": "site"}
    told = "\n".join(check(table, roles).problems)
    assert "'empty' (exogenous) is empty" in told
    assert "column 'mixed' (exogenous): 'warm' is no number in 2 rows, first at row 2" in told
    assert "column 'big' (exogenous): 1e+200 is too large at row 0" in told
    assert "column 'site' (static): south after north in 4 rows, first at row 1" in told


def test_words_by_the_thousand_are_refused() -> None:
    n = 3000
    df = pd.DataFrame({"id": "p", "t": range(n), "x": 0.0, "a": 1.0})
    df["text"] = [f"note {k}" for k in range(n)]
    (line,) = check(df, {**ROLES, "exogenous": "text"}).problems
    assert "'text' (exogenous) has 3000 distinct words, such as 'note 0'; 64 are the most" in line
