"""Laws of a panel: nothing lost, nothing joined that does not belong together, order irrelevant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data import PanelDataset, Roles
from twinfold.data.ids import natural_key
from twinfold.data.io import load_panel, save_panel
from twinfold.errors import UsageError

DISCRETE = Roles(
    agent="id", time="t", state=("x", "y"), action=("u",), action_type="discrete",
    reward="r", terminated="end",
)  # fmt: skip
CONTINUOUS = Roles(agent="id", time="t", state=("x",), action=("u", "v"), action_type="continuous")


@st.composite
def panels(draw: st.DrawFn) -> tuple[pd.DataFrame, Roles]:
    """A table of a few agents with gaps, its rows in any order."""
    discrete = draw(st.booleans())
    ids: list[Any] = draw(
        st.lists(
            draw(st.sampled_from([st.integers(-5, 99), st.text("ab7 é,\"'", min_size=1)])),
            min_size=1, max_size=5, unique=True,
        )
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    start = int(rng.integers(-3, 3))
    frames = []
    for name in ids:
        times = start + np.flatnonzero(rng.random(rng.integers(2, 12)) < 0.8)
        frames.append(pd.DataFrame({"id": [name] * len(times), "t": times}))
    base = pd.DataFrame({"id": [ids[0]] * 4, "t": [100, 101, 102, 103]})  # there is always a step
    df = pd.concat([*frames, base], ignore_index=True)
    n = len(df)
    for name in ("x", "y", "v", "r"):
        df[name] = rng.normal(size=n)
    df["u"] = rng.choice([-1, 0, 4], n) if discrete else rng.normal(size=n)
    df["end"] = False
    df = df.iloc[rng.permutation(n)].reset_index(drop=True)
    return df, DISCRETE if discrete else CONTINUOUS


@given(panels())
def test_transitions_are_those_a_plain_loop_finds(case: tuple[pd.DataFrame, Roles]) -> None:
    df, roles = case
    data = PanelDataset.from_frame(df, roles)
    found = data.transitions()
    rows = {
        (row["id"], row["t"]): row for row in df.sort_values("t").to_dict("records")
    }  # step 1: t is followed by t + 1
    expected = {key: row for key, row in rows.items() if (key[0], key[1] + 1) in rows}
    assert data.time_step == 1.0
    assert len(found) == data.n_transitions == len(expected)
    seen = set()
    for k in range(len(found)):
        name = data.agent_ids[found.agent[k]]
        key = next(
            key
            for key, row in expected.items()
            if key[0] == name and row[roles.state[0]] == found.state[k, 0]
        )
        row, after = expected[key], rows[(key[0], key[1] + 1)]
        assert found.state[k].tolist() == [row[c] for c in roles.state]
        assert found.next_state[k].tolist() == [after[c] for c in roles.state]
        if data.action_levels is not None:
            assert data.action_levels[found.action[k]] == row["u"]
        else:
            assert found.action[k].tolist() == [row["u"], row["v"]]
        seen.add(key)
    assert seen == set(expected)
    assert set(data.agent_ids) == {key[0] for key in expected}
    assert set(data.left_out) == {key[0] for key in rows} - set(data.agent_ids)


@given(panels())
def test_segments_count_their_steps(case: tuple[pd.DataFrame, Roles]) -> None:
    found = PanelDataset.from_frame(*case).transitions()
    for segment in np.unique(found.segment):
        inside = found.segment == segment
        assert found.step[inside].tolist() == list(range(inside.sum()))
        assert len(np.unique(found.agent[inside])) == 1
        np.testing.assert_array_equal(found.state[inside][1:], found.next_state[inside][:-1])


@given(panels(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(case: tuple[pd.DataFrame, Roles], random: Any) -> None:
    df, roles = case
    order = list(range(len(df)))
    random.shuffle(order)
    one = PanelDataset.from_frame(df, roles)
    for turned in (df.iloc[order], one.to_frame(), one.to_frame().iloc[::-1]):
        other = PanelDataset.from_frame(turned, roles)
        assert other.fingerprint() == one.fingerprint()
        assert other.agent_ids == one.agent_ids == tuple(sorted(one.agent_ids, key=natural_key))
        assert (other.time_step, other.n_segments) == (one.time_step, one.n_segments)
        for name in ("agent", "time", "state", "action", "action_levels", "segment", "reward"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


@given(panels(), st.integers(0, 10**6))
def test_any_used_value_changes_the_fingerprint(
    case: tuple[pd.DataFrame, Roles], place: int
) -> None:
    df, roles = case
    data = PanelDataset.from_frame(df, roles)
    frame = data.to_frame()
    row = place % len(frame)
    for column in (roles.state[0], roles.time, *(("end",) if roles.terminated else ())):
        changed = frame.copy()
        if column == "end":
            changed.loc[changed.index[-1], "end"] = True
        elif column == roles.time:
            changed[column] += 1
        else:
            changed.loc[row, column] = changed.loc[row, column] + 1
        assert PanelDataset.from_frame(changed, roles).fingerprint() != data.fingerprint()


@given(panels())
def test_selecting_all_agents_in_another_order_keeps_the_data(
    case: tuple[pd.DataFrame, Roles],
) -> None:
    data = PanelDataset.from_frame(*case)
    turned = data.select_agents(data.agent_ids[::-1])
    assert turned.agent_ids == data.agent_ids
    assert turned.fingerprint() == data.fingerprint()
    parts = [data.select_agents([name]) for name in data.agent_ids]
    assert sum(part.n_transitions for part in parts) == data.n_transitions
    states = np.concatenate([part.transitions().state for part in parts])
    np.testing.assert_array_equal(states, turned.transitions().state)


@given(panels())
def test_last_rows_have_no_action(case: tuple[pd.DataFrame, Roles]) -> None:
    data = PanelDataset.from_frame(*case)
    last = np.r_[data.segment[1:] != data.segment[:-1], True]
    null = data.action < 0 if data.action_levels is not None else np.isnan(data.action).all(axis=1)
    np.testing.assert_array_equal(null, last)
    if data.reward is not None:
        np.testing.assert_array_equal(np.isnan(data.reward), last)


def test_forms_of_one_number_have_one_fingerprint(
    table: pd.DataFrame, roles: dict[str, Any]
) -> None:
    one = PanelDataset.from_frame(table, roles)
    table["température"] = [-0.0, *table["température"][1:]]
    table["t"] = table["t"].astype(float)
    table["valve"] = pd.Series([3, 5, 3, None, None, 5, 5, None], dtype="Int8")
    table["p/bar"] = table["p/bar"].astype(str)
    assert PanelDataset.from_frame(table, roles).fingerprint() == one.fingerprint()


def test_arrays_have_the_promised_types(table: pd.DataFrame, roles: dict[str, Any]) -> None:
    data = PanelDataset.from_frame(table, roles)
    assert data.action_levels is not None
    assert data.action_levels.tolist() == [3, 5]
    assert data.action_levels.dtype == np.int64
    assert (data.agent.dtype, data.segment.dtype, data.action.dtype) == (np.int32,) * 3
    found = data.transitions()
    assert found.action.tolist() == [0, 1, 0, 1, 1]
    assert (found.agent.dtype, found.segment.dtype, found.step.dtype) == (np.int32,) * 3
    assert found.select(np.array([4, 0])).state[:, 0].tolist() == [6, 0]


def test_back_to_a_frame(table: pd.DataFrame, roles: dict[str, Any]) -> None:
    back = PanelDataset.from_frame(table, roles).to_frame()
    expected = table.drop(index=4, columns="note").reset_index(drop=True)
    pd.testing.assert_frame_equal(back, expected.astype({"valve": "Int64"}))


def test_frames_do_not_share_memory(table: pd.DataFrame, roles: dict[str, Any]) -> None:
    data = PanelDataset.from_frame(table, roles)
    frame, before = data.to_frame(), data.fingerprint()
    frame["p/bar"] = frame["p/bar"].to_numpy() * 0
    frame.loc[0, "température"] = 77.0
    table.loc[0, "température"] = 77.0
    assert data.fingerprint() == before


def test_dates_with_a_zone_come_back(roles: dict[str, Any]) -> None:
    hours = pd.date_range("2026-03-29", periods=5, freq="h", tz="Europe/Berlin")
    df = pd.DataFrame(
        {"machine id": "a", "t": hours, "température": range(5), "p/bar": 1.5, "valve": range(5)}
    )
    data = PanelDataset.from_frame(df, roles)
    assert data.time_step == pd.Timedelta("1h")
    assert data.n_transitions == 4
    assert data.to_frame()["t"].tolist() == hours.tolist()
    assert data.to_frame()["t"].dt.tz is not None


def test_int_ids_stay_ints_and_are_found_as_text() -> None:
    df = pd.DataFrame({"id": [9, 9, 4, 4], "t": [0, 1] * 2, "x": range(4), "u": 0.5, "v": 1.0})
    data = PanelDataset.from_frame(df, CONTINUOUS)
    assert data.agent_ids == (4, 9)
    assert data.agent_index([4, "9"]).tolist() == [0, 1]
    assert data.to_frame()["id"].dtype == np.int64


def test_columns_named_by_numbers() -> None:
    df = pd.DataFrame([[1, 0, 2.0, 1.0], [1, 1, 3.0, 1.0]])
    roles = Roles(agent="0", time="1", state=("2",), action=("3",), action_type="continuous")
    assert PanelDataset.from_frame(df, roles).n_transitions == 1


def test_unknown_agents_are_named(table: pd.DataFrame, roles: dict[str, Any]) -> None:
    data = PanelDataset.from_frame(table, roles)
    with pytest.raises(UsageError, match=r"unknown agent 'd'.*The agents: 'a', 'c'"):
        data.agent_index(["a", "d"])
    with pytest.raises(UsageError, match="without a transition"):
        data.select_agents(["b"])
    with pytest.raises(UsageError, match="twice"):
        data.select_agents(["a", "a"])
    with pytest.raises(UsageError, match="no agent selected"):
        data.select_agents([])


def test_selection_keeps_levels_and_ranges_are_of_the_data(
    table: pd.DataFrame, roles: dict[str, Any]
) -> None:
    data = PanelDataset.from_frame(table, roles)
    only_c = data.select_agents(["c"])
    assert only_c.action_levels is not None
    assert only_c.action_levels.tolist() == [3, 5]
    assert only_c.transitions().action.tolist() == [1, 1]
    ranges = data.data_ranges()
    assert ranges.state_low.tolist() == [0, 0]
    assert ranges.state_high.tolist() == [7, 49]
    assert (ranges.action_low.tolist(), ranges.action_high.tolist()) == ([3], [5])
    continuous = PanelDataset.from_frame(
        table.fillna({"valve": 99}), {**roles, "action_type": "continuous"}
    )
    assert continuous.data_ranges().action_high.tolist() == [5]  # last actions do not count


def test_neither_pandas_nor_jax_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, twinfold.data as d, twinfold.data.panel, twinfold.data.windows;"
        "assert 'pandas' not in sys.modules and 'jax' not in sys.modules;"
        "d.check, d.load_panel, d.hold_out;"
        "assert callable(d.describe) and all(hasattr(d, name) for name in d.__all__);"
        "assert 'jax' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Static columns: one value per agent


def described() -> pd.DataFrame:
    """Agents c, a and b with 3, 1 and 3 rows; b's size stands in one row only, c has no site."""
    return pd.DataFrame(
        {
            "id": ["c"] * 3 + ["a"] + ["b"] * 3,
            "t": [0, 1, 2, 0, 0, 1, 2],
            "x": np.arange(7.0),
            "u": [1, 1, None, None, 0, 1, None],
            "size": [3, 3, 3, 7, None, "2.5", None],
            "site": [None, None, None, 1, 0, 0, 0],
        }
    )


STATIC = Roles(
    agent="id", time="t", state=("x",), action=("u",), action_type="discrete",
    static=("size", "site"),
)  # fmt: skip


def test_static_columns_have_a_value_per_agent_those_left_out_last() -> None:
    panel = PanelDataset.from_frame(described(), STATIC)
    assert (panel.agent_ids, panel.left_out) == (("b", "c"), ("a",))
    assert panel.static is not None
    np.testing.assert_array_equal(panel.static, [[2.5, 0], [3, np.nan], [7, 1]])
    chosen = panel.select_agents(["b"])
    np.testing.assert_array_equal(chosen.static, [[2.5, 0]])
    frame = panel.to_frame()
    assert frame["size"].tolist() == [2.5, 2.5, 2.5, 3, 3, 3]
    again = PanelDataset.from_frame(frame, STATIC)
    np.testing.assert_array_equal(again.static, panel.static[:2])


def test_the_same_rows_are_the_same_data_with_static_columns_or_without() -> None:
    plain = STATIC.model_copy(update={"static": ()})
    prints = {
        PanelDataset.from_frame(table, roles).fingerprint()
        for table, roles in (
            (described(), plain),
            (described(), STATIC),
            (described().assign(site=1.0), STATIC),
        )
    }
    assert len(prints) == 1


def test_a_static_column_may_be_empty_and_goes_through_a_file(tmp_path: Path) -> None:
    panel = PanelDataset.from_frame(described().assign(site=None), STATIC)
    assert any("'site' (static) is empty" in line for line in panel.warnings)
    chosen = panel.select_agents(["c"])
    for name in ("one.csv", "one.parquet"):
        save_panel(chosen, tmp_path / name)
        again = load_panel(tmp_path / name)
        np.testing.assert_array_equal(again.static, [[3, np.nan]])


def test_rounding_is_no_change_of_a_static_value() -> None:
    table = described()
    table["size"] = [0.3, 0.1 + 0.2, 0.3, 7, 2, 2, 2]
    panel = PanelDataset.from_frame(table, STATIC)
    turned = PanelDataset.from_frame(table.iloc[::-1], STATIC)
    assert panel.static is not None
    assert panel.static[1, 0] == 0.3
    np.testing.assert_array_equal(turned.static, panel.static)
