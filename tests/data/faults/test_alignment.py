"""Actions and rewards a row late or early are told; those in their place are not, whoever acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import check
from twinfold.data.faults.alignment import alignment_figures

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x", "y"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip
Policy = Callable[[np.random.Generator, np.ndarray, float, int], float]

POLICIES: dict[str, Policy] = {
    "random": lambda rng, s, a, t: rng.normal(),
    "coin": lambda rng, s, a, t: float(rng.random() < 0.5),
    "smooth": lambda rng, s, a, t: 0.8 * a + 0.5 * rng.normal(),
    "feedback": lambda rng, s, a, t: -0.5 * s[0] - 0.3 * s[1],
    "noisy feedback": lambda rng, s, a, t: -0.5 * s[0] - 0.3 * s[1] + 0.3 * rng.normal(),
    "switch": lambda rng, s, a, t: float(s[0] < 0),
    "slow feedback": lambda rng, s, a, t: 0.7 * a - 0.3 * s[0] + 0.1 * rng.normal(),
    "held": lambda rng, s, a, t: a if t % 5 else rng.normal(),
    "schedule": lambda rng, s, a, t: np.sin(t / 3),
}
EFFECTS = {"strong": 0.5, "weak": 0.1, "none": 0.0}


def panel(policy: str, effect: str, seed: int = 0, agents: int = 16, rows: int = 30) -> Any:
    rng = np.random.default_rng(seed)
    table = []
    for n in range(agents):
        own, s, a = rng.uniform(0.5, 1.5), rng.normal(size=2), 0.0
        for t in range(rows):
            a = POLICIES[policy](rng, s, a, t)
            s_next = np.array([0.8 * s[0] + 0.2 * s[1] + EFFECTS[effect] * own * a,
                               0.9 * s[1] - 0.1 * s[0]])  # fmt: skip
            table.append((n, t, *s, a, 1.0 - s_next[0] ** 2 - 0.1 * a))
            s = s_next + 0.1 * rng.normal(size=2)
    return pd.DataFrame(table, columns=["id", "t", "x", "y", "a", "r"])


def said(frame: Any, **roles: Any) -> list[str]:
    lines = check(frame, {**ROLES, **roles}).warnings
    return [
        line
        for line in lines
        if "probably one row" in line or " rows late" in line or " rows early" in line
    ]


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_said_of_actions_in_their_place(policy: str) -> None:
    for effect in EFFECTS:
        for seed in range(2):
            assert said(panel(policy, effect, seed)) == []


@pytest.mark.parametrize("policy", ["random", "coin", "smooth", "noisy feedback", "held"])
def test_late_actions_are_told_and_moved(policy: str) -> None:
    frame = panel(policy, "strong")
    frame["a"] = frame.groupby("id")["a"].shift(1)
    late = frame.dropna()
    (line,) = said(late)
    assert line.startswith("column 'a' (action) probably one row late: the error of 'x'")
    assert line.endswith("give --align same-row")
    assert said(late, align="same-row") == []


def test_early_actions_and_a_wrong_alignment_are_told() -> None:
    frame = panel("random", "strong")
    (line,) = said(frame, align="same-row")
    assert "probably one row early" in line
    assert "--align same-row is probably wrong" in line
    frame["a"] = frame.groupby("id")["a"].shift(-1)
    assert "one row early" in said(frame)[0]


def test_figures_are_those_of_an_independent_regression() -> None:
    frame = panel("random", "strong")
    frame["a"] = frame.groupby("id")["a"].shift(1)
    frame = frame[["id", "t", "x", "y", "a"]].dropna()
    line = said(frame)[0]
    wide = frame.assign(
        **{f"{c}{k:+d}": frame.groupby("id")[c].shift(-k) for c in "xya" for k in (-1, 1)}
    ).dropna()

    def error(*names: str) -> float:
        x = np.column_stack([np.ones(len(wide)), wide[["x", "y", "x-1", "y-1", *names]]])
        left = wide["x+1"] - x @ np.linalg.lstsq(x, wide["x+1"], rcond=None)[0]
        return float(np.sqrt(np.sum(left**2) / (len(x) - x.shape[1])))

    assert f"is {error('a') / error():.2f} of that without" in line
    assert f"and {error('a+1') / error():.2f} with each" in line


@pytest.mark.parametrize(("shift", "word"), [(1, "late"), (-1, "early"), (0, "")])
def test_rewards_off_by_one_are_told(shift: int, word: str) -> None:
    for policy in ("random", "feedback"):
        frame = panel(policy, "weak")
        frame["r"] = frame.groupby("id")["r"].shift(shift)
        lines = said(frame[frame["r"].notna()], reward="r")
        assert [line.split(":")[0] for line in lines] == [
            f"column 'r' (reward) probably one row {word}"
        ] * bool(word)


def test_discrete_actions_have_an_effect_each() -> None:
    frame = panel("random", "none")
    rng = np.random.default_rng(1)
    frame["a"] = rng.integers(3, size=len(frame))
    push = np.array([0.5, -0.5, 0.5])[frame["a"]]  # of no use as a number
    frame["x"] = frame["x"] + pd.Series(push).groupby(frame["id"]).shift(1).fillna(0)
    assert said(frame, action_type="discrete") == []
    frame["a"] = frame.groupby("id")["a"].shift(1)
    assert "one row late" in said(frame.dropna(), action_type="discrete")[0]


def test_a_value_beyond_all_bounds_is_left_out(recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(0)
    state, action = rng.normal(size=(200, 1)), rng.normal(size=(200, 1))
    joined = np.ones(199, bool)
    state[40] = 1e200
    found = alignment_figures(["x"], ["continuous"], state, action, joined)
    assert found is not None
    assert found.rows == 198 - 3
    assert not recwarn.list


def test_a_short_table_is_not_judged() -> None:
    frame = panel("random", "strong", agents=2, rows=20)
    frame["a"] = frame.groupby("id")["a"].shift(1)
    assert said(frame.dropna()) == []


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("policy", ["random", "coin"])
def test_actions_several_rows_late_or_early_are_told(policy: str, rows: int) -> None:
    words = ("", "", "two rows", "three rows")[rows]
    for way, sign, side in (("late", 1, "up"), ("early", -1, "down")):
        frame = panel(policy, "strong")
        frame["a"] = frame.groupby("id")["a"].shift(sign * rows)
        (line,) = said(frame.dropna())
        assert f"column 'a' (action) probably {words} {way}: the error of 'x'" in line
        assert f"moved {words} {side}" in line
        assert "--align" not in line  # which moves by one row


def two_inputs(late: str) -> Any:
    rng, rows = np.random.default_rng(4), []
    for n in range(12):
        x = 1.0
        for t in range(30):
            a, b = rng.normal(size=2)
            rows.append((n, t, x, 0.0, a, b))
            x = 0.7 * x + 0.5 * a + 0.5 * b + 0.05 * rng.normal()
    frame = pd.DataFrame(rows, columns=["id", "t", "x", "y", "a", "b"])
    frame["y"] = np.random.default_rng(5).normal(size=len(frame))
    if late:
        frame[late] = frame.groupby("id")[late].shift(1).fillna(0.0)
    return frame


@pytest.mark.parametrize("late", ["", "a", "b"])
@pytest.mark.parametrize("role", ["action", "exogenous"])
def test_a_single_input_that_is_late_is_named(late: str, role: str) -> None:
    roles = {"action": ["a", "b"]} if role == "action" else {"action": ["a"], "exogenous": ["b"]}
    lines = said(two_inputs(late), **roles)
    if not late:
        assert lines == []
        return
    (line,) = lines
    what = role if late == "b" else "action"
    assert line.startswith(f"column {late!r} ({what}) probably one row late")
    alone = roles["action"] == [late]  # all actions are late then
    assert line.endswith("--align same-row" if alone else "move it one row up in the table")


def test_rewards_two_rows_late_are_told() -> None:
    frame = panel("random", "strong")
    frame["r"] = frame["a"] - 0.5 * frame["x"] ** 2
    frame["r"] = frame.groupby("id")["r"].shift(2)
    (line,) = said(frame.dropna(), reward="r")
    assert line.startswith("column 'r' (reward) probably two rows late")
