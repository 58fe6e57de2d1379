"""Every problem is found, named once, and placed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import PanelDataset, check
from twinfold.errors import InvalidDataError, UsageError

Frame = pd.DataFrame


def put(column: str, row: int, value: Any) -> Callable[[Frame], Frame]:
    def change(df: Frame) -> Frame:
        values = df[column].astype(object).tolist()
        values[row] = value
        return df.assign(**{column: pd.Series(values, dtype=object)})

    return change


def test_a_good_table_has_no_problem(table: Frame, roles: dict[str, Any]) -> None:
    report = check(table, roles)
    assert report.ok
    assert report.problems == ()
    assert report.warnings == ("1 of 3 agents without a transition left out: 'b'",)


CASES: list[tuple[str, Callable[[Frame], Frame], list[str]]] = [
    ("missing column", lambda df: df.rename(columns={"température": "Température "}),
     ["no column 'température' (state). Did you mean 'Température '?", "'p/bar'"]),
    ("index", lambda df: df.set_index("machine id"), ["'machine id' (agent)", "reset_index"]),
    ("twice", lambda df: pd.concat([df, df[["t"]]], axis=1), ["2 columns named 't'"]),
    ("no rows", lambda df: df.iloc[:0], ["empty"]),
    ("no columns", lambda df: df.iloc[:, :0], ["no column 'machine id'"]),
    ("null id", put("machine id", 2, None), ["'machine id' (agent): no id at row 2"]),
    ("blank id", put("machine id", 2, ""), ["no id at row 2"]),
    ("no ids", lambda df: df.assign(**{"machine id": None}), ["every id is missing"]),
    ("null time", put("t", 1, None), ["'t' (time): no time at row 1, agent 'a'"]),
    ("text time", put("t", 1, "noon"), ["'noon' is no time at row 1"]),
    ("no times", lambda df: df.assign(t=np.nan), ["every time is missing"]),
    ("infinity", put("p/bar", 6, -np.inf), ["infinity at row 6, agent 'c'"]),
    ("text", put("p/bar", 6, "n. v."), ["'n. v.' is no number at row 6, agent 'c'"]),
    ("empty state", lambda df: df.assign(**{"p/bar": np.nan}), ["every value is missing"]),
    (
        "NaN actions",
        lambda df: df.assign(valve=df["valve"].where(df.index > 4)),
        ["no action", "at row 0, agent 'a'", "drop the row"],
    ),
    ("infinite action", put("valve", 1, np.inf), ["infinity at row 1, agent 'a'"]),
    ("text action", put("valve", 5, "open"), ["'open' is no number at row 5", "0, 1, 2"]),
    ("fraction", put("valve", 5, 0.5), ["0.5 is no integer at row 5", "continuous"]),
    ("huge action", put("valve", 5, 1e300), ["1e+300 is no integer"]),
    ("overflow", put("p/bar", 6, 1e200), ["1e+200 is too large at row 6, agent 'c'", "unit"]),
    ("large action", put("valve", 5, -1e31), ["-1e+31 is too large", "at row 5, agent 'c'"]),
    ("underflow", lambda df: df.assign(**{"p/bar": df["p/bar"] * 1e-44}),
     ["differ by 4.9e-43 at the most, too little, at row 7, agent 'c'", "unit"]),
    ("comma", put("p/bar", 6, "0,5"), ["'0,5' is no number at row 6", "a decimal comma?"]),
    ("comma in times", lambda df: df.assign(t=[f"{i},000" for i in range(8)]),
     ["'0,000' is no time in 8 rows, first at row 0, agent 'a'", "a decimal comma?"]),
    ("word", put("t", 1, "now"), ["'now' is no time at row 1", "2026-01-31"]),
    ("some offsets", lambda df: df.assign(t=[f"2026-01-01T0{i}:00" + "Z" * (i > 0)
                                             for i in range(8)]),
     ["'2026-01-01T00:00' is no time", "some times have an offset from UTC"]),
    ("clock", lambda df: df.assign(t=["2026-10-25 02:00"] * 2 + [f"2026-10-25 0{i}:00"
                                                                for i in range(3, 9)]),
     ["2026-10-25 02:00:00 is also in row 0", "a change of the clock"]),
    ("float ids", lambda df: df.assign(**{"machine id": 2.0**53}), ["is no id in 8 rows"]),
    ("dates as states", lambda df: df.assign(**{"p/bar": pd.Timestamp("2026-01-01")}),
     ["is no number in 8 rows"]),
    ("complex", lambda df: df.assign(**{"p/bar": 1j}), ["1j is no number in 8 rows"]),
    ("no actions", lambda df: df.assign(valve=np.nan), ["'valve' (action) is empty"]),
    ("duplicate", put("t", 1, 0),
     ["1 row with the same agent and time as another, first row 1, agent 'a'",
      "t 0 is also in row 0", "episode column"]),
    ("no transition", lambda df: df.assign(**{"machine id": list("abcdefgh")}),
     ["no agent has a transition: 8 agents in 8 rows"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_problem_is_one_line(
    table: Frame, roles: dict[str, Any], change: Callable[[Frame], Frame], words: list[str]
) -> None:
    broken = change(table)
    report = check(broken, roles)
    relevant = [line for line in report.problems if words[0] in line]
    assert len(relevant) == 1, report.problems
    for word in words:
        assert word in relevant[0]
    assert all("\n" not in line for line in report.problems)
    with pytest.raises(InvalidDataError) as error:
        PanelDataset.from_frame(broken, roles)
    assert error.value.problems == report.problems


def test_repeated_problems_are_counted_and_all_columns_reported(
    table: Frame, roles: dict[str, Any]
) -> None:
    table = table.assign(température=np.nan)
    table.loc[[2, 5], "p/bar"] = np.inf
    table.loc[[0, 5], "valve"] = 0.25
    problems = check(table, roles).problems
    assert len(problems) == 3
    assert "infinity in 2 rows, first at row 2" in problems[1]
    assert "0.25 is no integer in 2 rows, first at row 0" in problems[2]


def test_rows_are_those_of_the_user_whatever_the_order(table: Frame, roles: dict[str, Any]) -> None:
    table = table.iloc[::-1].reset_index(drop=True)
    table.loc[7 - 5, "valve"] = 1.5
    assert "at row 2, agent 'c'" in check(table, roles).problems[0]


def test_the_last_action_of_a_trajectory_does_not_count(
    table: Frame, roles: dict[str, Any]
) -> None:
    plain = PanelDataset.from_frame(table, roles)
    for value in (np.inf, 0.5, 99, "end"):
        changed = put("valve", 3, value)(table)
        assert PanelDataset.from_frame(changed, roles).fingerprint() == plain.fingerprint()


def test_null_action_may_stand_before_a_gap(table: Frame, roles: dict[str, Any]) -> None:
    table.loc[3, "t"] = 9
    table.loc[2, "valve"] = np.nan
    report = check(table, roles)
    assert report.ok
    assert report.warnings[0] == (
        "1 time gap in 1 agent: 20 % of the steps differ by more than half from the usual 1; "
        "trajectories are split there, first between row 2 and row 3, agent 'a' (2 to 9)"
    )


def test_a_row_without_an_action_ends_a_trajectory(table: Frame, roles: dict[str, Any]) -> None:
    table.loc[1, "valve"] = np.nan
    data = PanelDataset.from_frame(table, roles)
    assert "no action in 1 row before the end of a trajectory" in data.warnings[0]
    assert data.n_transitions == 4  # 0 -> 1 and 2 -> 3 of a, both of c
    assert PanelDataset.from_frame(table.drop(index=1), roles).n_transitions == 3
    assert data.segment.tolist() == [0, 0, 1, 1, 2, 2, 2]
    again = PanelDataset.from_frame(data.to_frame(), data.roles)
    assert again.fingerprint() == data.fingerprint()


def test_a_column_in_two_roles(table: Frame, roles: dict[str, Any]) -> None:
    report = check(table, {**roles, "state": ["p/bar", "valve"]})
    assert report.problems == (
        "column 'valve' is used twice, as state and action; a column has one role",
    )


def test_constant_columns_and_many_levels_are_only_warned_about(roles: dict[str, Any]) -> None:
    n = 300
    df = pd.DataFrame(
        {"machine id": 1, "t": range(n), "température": 4.0, "p/bar": range(n), "valve": range(n)}
    )
    report = check(df, roles)
    assert report.ok
    assert report.warnings[0] == "column 'température' (state) is constant (4)"
    assert "299 distinct values" in report.warnings[1]
    one = check(df.assign(valve=2), roles).warnings[1]
    assert one.startswith("column 'valve' (action) is constant (2)")


def test_reward_counts_where_there_is_an_action(table: Frame, roles: dict[str, Any]) -> None:
    roles = {**roles, "reward": "r"}
    table["r"] = [1.0, 1.0, 1.0, np.nan, np.nan, 0.0, 0.0, np.nan]
    assert check(table, roles).ok
    table.loc[1, "r"] = np.nan
    assert "'r' (reward): NaN (no value) at row 1" in check(table, roles).problems[0]
    assert "leave out the reward" in check(table.assign(r=np.nan), roles).problems[0]


def test_a_trajectory_ends_at_its_flag(table: Frame, roles: dict[str, Any]) -> None:
    roles = {**roles, "terminated": "end"}
    table["end"] = [False, True, False, True, False, False, False, True]
    table.loc[1, "valve"] = np.nan  # no action after the end
    data = PanelDataset.from_frame(table, roles)
    assert data.n_transitions == 4
    assert data.segment.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert "'end' is set at 1 row after which the agent goes on" in data.warnings[0]


def test_flags_of_actions_are_moved_to_the_state_reached(
    table: Frame, roles: dict[str, Any]
) -> None:
    roles = {**roles, "terminated": "end", "truncated": "cut"}
    table["end"] = [0, 0, 1, None, None, 0, 0, 0]
    table["cut"] = [0, 0, 0, None, None, 0, 1, 0]
    data = PanelDataset.from_frame(table, roles)
    assert data.n_transitions == 5
    assert data.terminated is not None
    assert data.truncated is not None
    assert np.flatnonzero(data.terminated).tolist() == [3]
    assert np.flatnonzero(data.truncated).tolist() == [6]
    assert "moved to the last row" in data.warnings[0]


def test_episodes_make_times_unique_and_break_trajectories(
    table: Frame, roles: dict[str, Any]
) -> None:
    table["t"] = [0, 1, 0, 1, 0, 5, 6, 7]
    assert not check(table, roles).ok
    table["run"] = ["r9", "r9", "r10", "r10", "x", "x", "x", "x"]
    table.loc[1, "valve"] = np.nan
    data = PanelDataset.from_frame(table, {**roles, "episode": "run"})
    assert data.n_transitions == 4
    assert data.episode is not None
    assert [data.episode_ids[i] for i in data.episode[:4]] == ["r9", "r9", "r10", "r10"]
    table.loc[3, "t"] = 0
    assert "same agent, episode and time" in check(table, {**roles, "episode": "run"}).problems[0]


def test_episodes_that_follow_in_time_are_not_joined(table: Frame, roles: dict[str, Any]) -> None:
    table["run"] = [1, 1, 2, 2, 1, 1, 1, 1]
    table.loc[1, "valve"] = np.nan
    data = PanelDataset.from_frame(table, {**roles, "episode": "run"})
    assert data.segment.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert data.n_transitions == 4


def test_episodes_follow_each_other_in_time_before_name(roles: dict[str, Any]) -> None:
    df = pd.DataFrame(
        {
            "machine id": "a",
            "run": ["late", "late", "zzz", "zzz"],
            "t": [10, 11, 0, 1],
            "température": [10.0, 11, 0, 1],
            "p/bar": [1.0, 2, 3, 4],
            "valve": 1,
        }
    )
    data = PanelDataset.from_frame(df, {**roles, "episode": "run"})
    assert data.state[:, 0].tolist() == [0, 1, 10, 11]


def test_uuid_ids_and_a_frame_of_another_library(table: Frame, roles: dict[str, Any]) -> None:
    names = {"a": uuid.UUID(int=1), "b": uuid.UUID(int=2), "c": uuid.UUID(int=3)}
    table["machine id"] = [names[value] for value in table["machine id"]]
    assert PanelDataset.from_frame(table, roles).agent_ids == (str(names["a"]), str(names["c"]))
    with pytest.raises(UsageError, match=r"a data frame is needed .*, not a dict"):
        check(table.to_dict(), roles)  # pyright: ignore[reportArgumentType]


def test_times_at_both_ends_of_64_bits(table: Frame, roles: dict[str, Any]) -> None:
    table["t"] = [-(2**63), 0, 1, 2**63 - 1, 0, 5, 6, 7]
    report = check(table, roles)
    assert report.ok
    assert "first between row 0 and row 1" in report.warnings[0]
    table = table[table["machine id"] == "a"].iloc[[0, 3]]
    assert "a step too long to count with" in check(table, roles).problems[0]


def test_no_foreign_warning(
    table: Frame, roles: dict[str, Any], recwarn: pytest.WarningsRecorder
) -> None:
    for name in ("p/bar", "valve", "t", "size"):
        changed = table.assign(
            **{"size": 1.0, name: np.r_[np.array([1.7e308, -1.7e308]), range(6)]}
        )
        assert not check(changed, {**roles, "static": "size"}).ok
    assert not recwarn.list


def test_ids_that_look_alike(table: Frame, roles: dict[str, Any]) -> None:
    table["machine id"] = ["Zo\u00eb"] * 4 + [" zoe\u0308"] + ["ZOE"] * 3
    assert check(table, roles).warnings[0] == (
        "column 'machine id' (agent): 'Zo\u00eb', ' zoe\\u0308' look alike and are taken for 2 "
        "agents; if they are one, write them the same way, or have them joined (--join-ids)"
    )
    table["machine id"] = ["a"] * 3 + ["b"] + ["A"] * 2 + ["B"] * 2
    assert "'a', 'A' (and 1 other group)" in check(table, roles).warnings[0]


def test_ids_that_are_lists(table: Frame, roles: dict[str, Any]) -> None:
    table["machine id"] = [[1]] * len(table)
    assert "not lists" in check(table, roles).problems[0]


def test_another_time_step_can_be_asked_for(table: Frame, roles: dict[str, Any]) -> None:
    assert "no agent has a transition" in check(table, roles, time_step=10.0).problems[0]


# Static columns


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            [3, 3, 4, 4, 7, 5, 5, 5],
            "column 'size' (static): 4 after 3 in 2 rows, first at row 2, agent 'a'; a static "
            "column has one value per agent; make it a state, or correct it",
        ),
        (
            ["big"] * 4 + ["7"] + ["small"] * 3,
            "column 'size' (static): 'big' is no number in 7 rows, first at row 0, agent 'a'; give "
            "a date or a duration in years or days; or words in every row",
        ),
        (
            [3] * 4 + [np.inf] + [5] * 3,
            "column 'size' (static): infinity at row 4, agent 'b'; correct it, or leave it empty",
        ),
    ],
)
def test_static_columns_that_are_none(
    table: pd.DataFrame, roles: dict[str, Any], values: list[Any], told: str
) -> None:
    table["size"] = values
    assert check(table, {**roles, "static": ["size"]}).problems == (told,)


def test_a_static_column_has_no_other_role(table: pd.DataFrame, roles: dict[str, Any]) -> None:
    (told,) = check(table, {**roles, "static": ["p/bar"]}).problems
    assert told == "column 'p/bar' is used twice, as state and static; a column has one role"
    (told,) = check(table, {**roles, "static": "sise"}).problems
    assert told.startswith("no column 'sise' (static).")
