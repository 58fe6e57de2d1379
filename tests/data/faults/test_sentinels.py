"""Numbers that stand for no value, and actions that rest on a handful of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import PanelDataset, check
from twinfold.data.faults.sentinels import sentinel

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip


def table(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    t = np.arange(n) % 20
    return pd.DataFrame({"id": np.arange(n) // 20, "t": t, "x": rng.normal(5, 2, n).round(3),
                         "a": rng.normal(size=n).round(3)})  # fmt: skip


def said(frame: pd.DataFrame, **roles: Any) -> list[str]:
    return [w for w in check(frame, {**ROLES, **roles}).warnings if "no value" in w]


@pytest.mark.parametrize("value", [-999, -99, -9, 999, 9999, -1234.5])
def test_a_number_far_from_all_others_is_named(value: float) -> None:
    frame = table()
    frame.loc[3::30, "x"] = value
    assert said(frame) == [
        f"column 'x' (state): {value:g} in 7 rows, first at row 3, agent 0, probably stands for no "
        f"value; if so, give --missing {value:g}"
    ]
    frame.loc[3::30, "x"] = 5.0
    assert said(frame) == [
        "column 'x' (state): 5 in 7 rows, first at row 3, agent 0, probably stands for no value; "
        "if so, give --missing 5"
    ]


def test_a_number_beyond_all_bounds_is_one_where_it_is_repeated() -> None:
    frame = table()
    frame.loc[[19, 39], "x"] = 9.969209968386869e36
    (problem,) = check(frame, ROLES).problems
    assert "give --missing 9.969209968386869e+36; else correct it" in problem
    told = check(frame, ROLES, form={"missing": ["9.969209968386869e+36"]})
    assert not any("too large" in line for line in told.problems)


def test_zeros_among_measurements() -> None:
    frame = table()
    frame.loc[3::10, "x"] = 0.0
    frame["x"] -= 0.5 * (frame["x"] > 0)  # within the range
    frame.loc[5::60, "x"] = -1 - frame.index[5::60] / 100
    assert said(frame)[0].startswith("column 'x' (state): 0 in 21 rows, first at row 3, agent 0")
    frame["a"] = np.where(np.arange(200) % 10 == 3, 0.0, frame["a"])  # of what is done it is usual
    frame["x"] = table()["x"]
    assert said(frame) == []


def test_declared_missing_it_is_gone() -> None:
    frame = table()
    frame.loc[[19, 39], "a"] = -999  # of last rows, which need no action
    report = check(frame, ROLES, form={"missing": ["-999"]})
    assert report.problems == report.warnings == ()
    panel = PanelDataset.from_frame(frame, ROLES, form={"missing": ["-999"]})
    assert panel.action[np.isfinite(panel.action)].min() > -10


@pytest.mark.parametrize(
    "values",
    [
        lambda rng, n: rng.integers(0, 2, n),
        lambda rng, n: rng.integers(-1, 2, n),
        lambda rng, n: rng.poisson(0.5, n),
        lambda rng, n: np.maximum(rng.normal(size=n), 0),
        lambda rng, n: np.clip(rng.normal(size=n), -1, 1),
        lambda rng, n: rng.normal(size=n).round(1),
        lambda rng, n: rng.lognormal(0, 2, n),
        lambda rng, n: rng.integers(90, 100, n),
        lambda rng, n: rng.choice([0, 50, 100], n),
        lambda rng, n: np.where(np.arange(n) % 20 == 0, 5.0, rng.normal(5, 1, n)),  # a start
        lambda rng, n: np.where(np.arange(n) % 20 == 0, 50.0, rng.normal(5, 1, n)),
        lambda rng, n: rng.choice([1, 2, 4, 8], n, p=[0.3, 0.3, 0.3, 0.1]),
        lambda rng, n: np.where(np.arange(n) < 20, 0.123, rng.normal(size=n)),  # one stands still
        lambda rng, n: np.where(rng.random(n) < 0.05, 0, 0.01 * rng.normal(size=n)),  # returns
        lambda rng, n: np.where(rng.random(n) < 0.1, 0, rng.normal(1, 1, n)),  # growth
        lambda rng, n: np.where(np.arange(n) % 7 == 6, 0, rng.normal(150, 15, n)),  # Sundays
        lambda rng, n: np.maximum(rng.normal(3, 2, n).round(), -1),  # a few below zero
    ],
)
def test_ordinary_columns_raise_no_alarm(values: Any) -> None:
    frame = table()
    for seed in range(3):
        frame["x"] = values(np.random.default_rng(seed), len(frame)).astype(float)
        assert said(frame) == []


def test_minus_one_among_levels() -> None:
    rng = np.random.default_rng(0)
    frame = table(400)
    true = rng.integers(0, 2, 400)
    frame["x"] = np.r_[0.0, np.cumsum(true - 0.5)[:-1]] + 0.1 * rng.normal(size=400)
    frame["a"] = np.where(rng.random(400) < 0.15, -1, true)
    assert said(frame, action_type="discrete")[0].startswith("column 'a' (action): -1 in ")
    # Left, none, right: the effect of -1 is beyond that of 0.
    frame["a"] = rng.integers(-1, 2, 400)
    frame["x"] = np.r_[0.0, np.cumsum(frame["a"])[:-1]] + 0.1 * rng.normal(size=400)
    assert said(frame, action_type="discrete") == []
    frame["a"] = rng.integers(-1, 3, 400)
    frame["x"] = np.r_[0.0, np.cumsum(frame["a"])[:-1]] + 0.1 * rng.normal(size=400)  # one back
    assert said(frame, action_type="discrete") == []
    frame["x"] = rng.normal(size=400)
    # With levels 0, 1, 2 it is no step back.
    assert len(said(frame, action_type="discrete")) == 1


def test_rewards_and_static_columns_are_looked_at() -> None:
    frame = table(600)
    frame["age"] = 40.0 + frame["id"]
    frame.loc[frame["id"].isin([3, 7]), "age"] = -9
    frame["r"] = np.random.default_rng(1).normal(size=600)
    frame.loc[[5, 100, 203], "r"] = -999
    lines = said(frame, static=["age"], reward="r")
    assert [line.split(",")[0] for line in lines] == [
        "column 'r' (reward): -999 in 3 rows", "column 'age' (static): -9 in 2 rows"
    ]  # fmt: skip
    assert "first at row 60, agent 3" in lines[1]


def test_a_handful_of_rows() -> None:
    frame = table()
    frame["a"] = 0.0
    frame.loc[[10, 50, 90], "a"] = [1.0, 2.0, 1.5]
    (line,) = [w for w in check(frame, ROLES).warnings if "variation" in w]
    assert line.startswith("column 'a' (action): 3 of 190 rows make up 100 % of its variation")
    assert "first of them row 50, agent 2" in line
    frame["a"] = np.random.default_rng(0).lognormal(0, 1.0, len(frame))
    assert check(frame, ROLES).warnings == ()


def test_a_limit_with_other_last_digits_is_no_value_that_is_missing() -> None:
    rng = np.random.default_rng(0)
    values = np.tanh(rng.normal(size=400))
    limits = rng.choice(400, 120, replace=False)
    values[limits[:60]], values[limits[60:]] = 0.9999997616, 1.0
    assert sentinel(values) is None
    values[limits] = 0.5  # within the range it is as before
    assert sentinel(values) == (0.5, 120)


def test_several_numbers_for_no_value_are_all_named() -> None:
    frame = table()
    frame.loc[3::30, "x"], frame.loc[4::40, "x"] = -999, -998
    lines = said(frame)
    assert [line.split("--missing ")[1] for line in lines] == ["-998", "-999"]
    panel = PanelDataset.from_frame(frame, ROLES, form={"missing": ["-998", "-999"]})
    assert int(np.isnan(panel.state).sum()) == 12
    assert said(panel.to_frame()) == []


@pytest.mark.parametrize(("unknown", "refused"), [(99, 88), (-99, -88), (999, 777)])
def test_codes_for_no_value_beside_each_other_are_all_named(unknown: int, refused: int) -> None:
    frame = table()
    frame["x"] = np.random.default_rng(3).integers(0, 11, len(frame)).astype(float)
    frame.loc[3::30, "x"], frame.loc[4::40, "x"] = unknown, refused
    assert [line.split("--missing ")[1] for line in said(frame)] == [f"{unknown}", f"{refused}"]


def test_minus_one_below_counts() -> None:
    frame, rng = table(), np.random.default_rng(0)
    frame["x"] = rng.integers(1, 11, len(frame)).astype(float)
    frame.loc[3::15, "x"] = -1
    assert said(frame)[0].startswith("column 'x' (state): -1 in 14 rows")
    frame["x"] = np.maximum(rng.poisson(2.0, len(frame)) - 1.0, -1)  # 0 is there more often
    assert said(frame) == []


def test_zero_need_not_be_a_whole_range_below_measurements() -> None:
    frame = table()
    frame["x"] = (frame["x"] * 12 + 60).round()  # a blood pressure: above 60
    gap = frame["x"].min() / np.ptp(frame["x"])
    assert 0.5 < gap < 1
    frame.loc[np.random.default_rng(0).choice(200, 12, replace=False), "x"] = 0
    assert "'x' (state): 0 in " in said(frame)[0]


def test_a_known_number_may_be_there_once_if_it_is_very_far_away() -> None:
    frame = table()
    frame.loc[7, "x"] = -999
    assert "x' (state): -999 in 1 row, first at row 7" in said(frame)[0]
    frame["x"] *= 3
    frame.loc[7, "x"] = 99  # a few times the range only
    assert said(frame) == []
    frame["age"] = frame["id"] + 40.0
    frame.loc[frame["id"] == 3, "age"] = -999
    assert "'age' (static): -999 in 1 row" in said(frame, static=["age"])[0]


def test_zero_far_from_all_measurements_is_one_unless_a_machine_was_off() -> None:
    frame = table()
    frame["x"] += 100
    frame.loc[3::30, "x"] = 0
    assert "x' (state): 0 in 7 rows" in said(frame)[0]
    frame["x"] = np.where(frame["t"] < 5, 0, table()["x"] + 100)  # off for some time
    assert said(frame) == []


def test_other_columns_that_hold_the_number_are_said() -> None:
    frame = table()
    frame["x"] += 100
    frame.loc[3::30, "x"] = 0
    frame.loc[::50, "a"] = 0.0
    (line,) = said(frame)
    assert "--missing 0 where it stands for none in 'a' as well" in line


@pytest.mark.parametrize("discrete", [np.arange(3.0), np.arange(1.0, 5.0)])
def test_nine_above_a_few_levels(discrete: Any) -> None:
    frame = table()
    frame["a"] = np.resize(discrete, len(frame))
    assert said(frame, action_type="discrete") == []
    frame.loc[5::17, "a"] = 9
    assert "'a' (action): 9 in" in said(frame, action_type="discrete")[0]
    frame["a"] = np.resize(np.arange(10.0), len(frame))
    assert said(frame, action_type="discrete") == []


def test_words_that_say_that_no_action_was_recorded() -> None:
    frame = table()
    frame["a"] = np.resize(["low", "high", "none"], len(frame))
    assert not any(
        "recorded" in w for w in check(frame, {**ROLES, "action_type": "discrete"}).warnings
    )
    frame.loc[[4, 9], "a"] = "Unknown"
    roles = {**ROLES, "action_type": "discrete"}
    (line,) = [w for w in check(frame, roles).warnings if "recorded" in w]
    assert line.startswith("column 'a' (action): 'Unknown' in 2 rows probably says that no action")
    panel = PanelDataset.from_frame(frame, roles, form={"missing": ["Unknown"]})
    assert "no action in 2 rows before the end of a trajectory" in panel.warnings[0]
    assert panel.roles.levels == (("high",), ("low",), ("none",))
    assert panel.n_transitions == 10 * 19 - 2
