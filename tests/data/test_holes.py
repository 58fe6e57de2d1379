"""Missing values of a state: what is said, what is masked, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data import PanelDataset, check
from twinfold.data.filled import Filled, interpolated
from twinfold.data.holes import carried_line

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x", "y"], "action": "a", "action_type": "continuous",
}  # fmt: skip


def table(n_agents: int = 3, n_rows: int = 6, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = n_agents * n_rows
    return pd.DataFrame(
        {
            "id": np.repeat([f"A{n}" for n in range(n_agents)], n_rows),
            "t": np.tile(np.arange(n_rows), n_agents),
            "x": rng.normal(size=size).round(3),
            "y": rng.normal(size=size).round(3),
            "a": rng.normal(size=size).round(3),
        }
    )


def with_holes(share: float = 0.3, seed: int = 1, **size: int) -> pd.DataFrame:
    df = table(**size)
    holes = np.random.default_rng(seed).random((len(df), 2)) < share
    df[["x", "y"]] = df[["x", "y"]].mask(holes)
    df.loc[df["t"] == 0, "y"] = 0.5  # every agent has a value
    df.loc[0, "x"] = 0.5
    return df


def test_how_much_is_missing_is_said_and_what_is_not_observed_has_no_weight() -> None:
    df = table()
    df.loc[[1, 7], "x"] = np.nan
    report = check(df, ROLES)
    assert report.ok
    (line,) = [line for line in report.warnings if "missing values" in line]
    assert "'x' 11 % (2 rows, first row 1, agent 'A0')" in line
    assert "'y'" not in line
    data = PanelDataset.from_frame(df, ROLES).transitions()
    assert data.weight is not None
    assert data.present is not None
    np.testing.assert_array_equal(data.weight[:3], [[0, 1], [1, 1], [1, 1]])
    np.testing.assert_array_equal(data.present[:3], [[True, True], [False, True], [True, True]])
    assert np.isfinite(data.state).all()
    np.testing.assert_array_equal(np.isnan(data.truth), data.weight == 0)
    np.testing.assert_array_equal(np.isnan(data.observed), ~data.present)
    assert data.select(np.array([1])).weight is not None


def test_a_table_without_holes_has_no_weights() -> None:
    data = PanelDataset.from_frame(table(), ROLES).transitions()
    assert data.weight is None
    assert data.present is None
    assert data.complete.all()
    assert data.truth is data.next_state


def test_holes_come_back_in_a_frame_and_count_in_the_fingerprint() -> None:
    panel = PanelDataset.from_frame(with_holes(), ROLES)
    again = PanelDataset.from_frame(panel.to_frame().sample(frac=1, random_state=0), ROLES)
    assert again.fingerprint() == panel.fingerprint()
    np.testing.assert_array_equal(again.state, panel.state)
    assert panel.fingerprint() != PanelDataset.from_frame(table(), ROLES).fingerprint()
    some = panel.select_agents(["A1"])
    np.testing.assert_array_equal(some.state, panel.state[panel.agent == 1])
    low, high = panel.data_ranges()[:2]
    np.testing.assert_array_equal(low, np.nanmin(panel.state, axis=0))
    np.testing.assert_array_equal(high, np.nanmax(panel.state, axis=0))


def test_what_stands_for_missing_values_goes_with_the_rows() -> None:
    panel = PanelDataset.from_frame(with_holes(), ROLES)
    filled = Filled(np.nan_to_num(panel.state), np.full_like(panel.state, 0.5))
    panel = replace(panel, filled=filled)
    for part in (panel.select_agents(["A2"]), panel.without_rows(np.array([2]))):
        assert part.filled is not None
        np.testing.assert_array_equal(part.filled.state, np.nan_to_num(part.state))


@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
def test_interpolation_against_pandas(seed: int, share: float) -> None:
    panel = PanelDataset.from_frame(with_holes(share, seed, n_agents=4, n_rows=7), ROLES)
    found = interpolated(panel).state
    frame = pd.DataFrame(panel.state).groupby(panel.agent)
    expected = frame.transform(lambda x: x.interpolate(limit_direction="both"))
    nothing = expected.isna().to_numpy()
    np.testing.assert_allclose(found[~nothing], expected.to_numpy()[~nothing], atol=1e-12)
    assert np.isfinite(found).all()  # an agent without any value of a column has the mean of all


def test_an_angle_is_interpolated_the_short_way_round() -> None:
    df = table(1, 3)
    df["x"] = [3.1, np.nan, -3.1]
    panel = PanelDataset.from_frame(df, ROLES | {"angle": ["x"]})
    assert abs(np.sin(interpolated(panel).state[1, 0])) < 1e-9


def test_an_agent_without_any_state_is_left_aside_and_it_is_said() -> None:
    df = table()
    bare = df["id"] == "A1"
    df.loc[bare, ["x", "y"]] = np.nan
    for own in (df, df.assign(a=df["a"].mask(bare))):  # whatever its actions are
        panel = PanelDataset.from_frame(own, ROLES)
        assert any(
            "1 agent without a single state ('x', 'y')" in line and "'A1'" in line
            for line in panel.warnings
        )
        assert panel.left_out == ("A1",)
        assert panel.fingerprint() == PanelDataset.from_frame(df[~bare], ROLES).fingerprint()


def test_a_column_without_any_value_is_a_problem_and_all_are_told_at_once() -> None:
    df = table()
    (first, second) = check(df.assign(x=np.nan, a=np.nan), ROLES).problems[:2]
    assert "'x' (state) is empty" in first
    assert "'a' (action) is empty" in second or "A1" in second


def carried(n_rows: int = 120, every: int = 12) -> pd.DataFrame:
    df = table(2, n_rows)
    df["y"] = df["y"].where(df["t"] % every == 0).ffill()
    return df


def test_a_column_carried_forward_is_noticed_and_masked_on_request() -> None:
    df = carried()
    (line,) = [line for line in check(df, ROLES).warnings if "--carried" in line]
    assert "'y'" in line
    assert "runs of 12 rows" in line
    roles = ROLES | {"carried": ["y"]}
    panel = PanelDataset.from_frame(df, roles)
    assert not [line for line in panel.warnings if "--carried" in line]
    known = ~np.isnan(panel.state[:, 1])
    np.testing.assert_array_equal(known, panel.time % 12 == 0)
    assert not np.isnan(panel.state[:, 0]).any()


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=300),
        np.random.default_rng(0).integers(0, 2, 300).astype(float).repeat(4),  # a level
        np.maximum(np.random.default_rng(0).normal(size=300), 0.0),  # a limit
        np.repeat([1.0, 2.0, 1.0], 40),  # a set point
        np.zeros(100),
        np.round(np.cumsum(np.random.default_rng(0).normal(size=300)) * 3) / 3,  # a coarse sensor
    ],
)
def test_what_repeats_itself_for_another_reason_is_not_carried_forward(values: Any) -> None:
    joined = np.r_[np.ones(len(values) - 1, bool), False]
    assert carried_line("x", values, joined) is None


def test_carried_names_a_state_once() -> None:
    from twinfold.errors import UsageError

    with pytest.raises(UsageError, match="carried 'a' is not a state column"):
        PanelDataset.from_frame(table(), ROLES | {"carried": ["a"]})


def doses() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [1, 1, 1, 1, 1, 2, 2, 2],
            "t": [0, 0, 1, 2, 2, 0, 1, 1],
            "x": [".", "0", "3.5", "2.5", ".", "1", "2", "."],
            "y": [".", "1", "2", "3", ".", "4", "5", "."],
            "a": ["25", ".", ".", ".", "3", ".", ".", "7"],
        }
    )


def test_rows_of_one_time_that_complement_each_other_are_joined_and_it_is_said() -> None:
    panel = PanelDataset.from_frame(doses(), ROLES)
    np.testing.assert_array_equal(panel.state, [[0, 1], [3.5, 2], [2.5, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(panel.transitions().action[:, 0], [25, 0, 0])
    joined, zero = panel.warnings[:2]
    assert "3 rows joined" in joined
    assert "row 1 with row 0, agent 1" in joined
    assert "'a' (action) has no value in 2 rows" in zero
    assert "zero" in zero


def test_rows_that_contradict_each_other_are_not_joined() -> None:
    df = doses()
    df.loc[0, "x"] = "0.5"
    (line,) = check(df, ROLES).problems
    assert "1 row with the same agent and time" in line
    assert "row 1" in line


def test_a_row_that_is_there_twice_counts_once_and_it_is_said() -> None:
    df = table()
    again = pd.concat([df, df.iloc[[0, 3]]], ignore_index=True)
    panel = PanelDataset.from_frame(again, ROLES)
    assert panel.fingerprint() == PanelDataset.from_frame(df, ROLES).fingerprint()
    (line,) = [line for line in panel.warnings if "left aside" in line]
    assert line.startswith("2 rows left aside that say in every column what another")
    assert f"first row {len(df)}, like row 0, agent 'A0'" in line
    # Another value anywhere is a contradiction, and two doses are two.
    other = again.copy()
    other.loc[len(df), "a"] += 1.0
    assert "1 row with the same agent and time" in check(other, ROLES).problems[0]
    twice = pd.concat([doses(), doses().iloc[[0]]], ignore_index=True)
    assert "same agent and time" in check(twice, ROLES).problems[0]


def events() -> pd.DataFrame:
    """Doses and samples, never at one time: of one agent before the other, of one after."""
    return pd.DataFrame(
        {
            "id": [1, 1, 1, 1, 2, 2, 2],
            "t": [0, 1, 2, 3, 0, 1, 2],
            "x": [np.nan, 3.5, np.nan, 2.5, 1.0, np.nan, 2.0],
            "y": 1.0,
            "a": [25, np.nan, 5, np.nan, np.nan, 3, np.nan],
        }
    )


def test_in_a_table_of_events_nothing_is_given_in_the_rows_of_samples() -> None:
    roles = ROLES | {"state": ["x"]}
    panel = PanelDataset.from_frame(events(), roles)
    np.testing.assert_array_equal(panel.transitions().action[:, 0], [25, 0, 5, 0, 3])
    assert (
        "'a' (action) has no value in 4 rows, first row 1, agent 1: taken as" in panel.warnings[0]
    )
    filled = PanelDataset.from_frame(events().fillna({"a": 0}), roles)
    assert filled.fingerprint() == panel.fingerprint()
    assert len(filled.warnings) == len(panel.warnings) - 1


def test_an_action_is_not_zero_where_a_row_holds_both_or_only_last_rows_lack_one() -> None:
    roles = ROLES | {"state": ["x"]}
    both = events()
    both.loc[0, "x"] = 1.0
    ends = events().iloc[[0, 3]]
    for table in (both, ends):
        assert not any("taken as zero" in line for line in check(table, roles).warnings)


def test_an_action_is_not_zero_where_nothing_was_joined() -> None:
    df = doses().drop_duplicates(["id", "t"], keep="last")
    assert any("NaN (no action)" in line for line in check(df, ROLES).problems)
