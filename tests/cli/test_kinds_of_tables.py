"""Every pair of the kinds that tables have, through the commands: what one kind needs, another has.

The rows of a covering array: any two settings of any two kinds are together in one of them. Four
rows are tried by default, all by ``make fuzz``.
"""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

KINDS: dict[str, tuple[Any, ...]] = {
    "action": ("none", "level", "word", "amount", "two", "mixed"),
    "agents": (4, 64),  # of 64 some are reserved for the band
    "exogenous": ("none", "number", "word"),
    "static": ("none", "number", "word"),
    "time": ("even", "dates", "uneven"),
    "holes": (False, True),
    "history": (1, 2),
    "nets": (False, True),
    "states": (1, 2),
    "episodes": (False, True),
    "align": ("next", "same-row"),
}
ACTIONS = {"none": "", "level": "level", "word": "mode", "amount": "u", "two": "u,v",
           "mixed": "mode,u"}  # fmt: skip
COLUMNS = {"number": ("warm", "size"), "word": ("day", "site")}
VALUES = {"level": "1", "mode": "low", "u": "0.5", "v": "0.1"}


def covering_rows(tries: int = 60) -> list[dict[str, Any]]:
    """Rows that hold every pair of settings: each the one of some that has the most new pairs."""
    rng, names, rows = np.random.default_rng(0), list(KINDS), []

    def pairs(row: dict[str, Any]) -> set[tuple[str, Any, str, Any]]:
        return {(a, row[a], b, row[b]) for a, b in combinations(names, 2)}

    left = {(a, x, b, y) for a, b in combinations(names, 2) for x in KINDS[a] for y in KINDS[b]}
    while left:
        some = sorted(left, key=str)
        found = []
        for _ in range(tries):
            row = {name: KINDS[name][rng.integers(len(KINDS[name]))] for name in names}
            a, x, b, y = some[rng.integers(len(some))]
            found.append(row | {a: x, b: y})
        rows.append(max(found, key=lambda row: len(pairs(row) & left)))
        left -= pairs(rows[-1])
    return rows


ROWS = covering_rows()


def table(row: dict[str, Any], name: str, n_agents: int, seed: int) -> pd.DataFrame:
    """Agents that go back to zero at rates of their own, moved by their actions and the weather."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(n_agents):
        rate, size = rng.uniform(0.5, 0.9), rng.normal()
        for episode in range(1 + row["episodes"]):
            x, time = rng.normal(size=2), 0.0
            for t in range(9 if n_agents > 10 else 14):
                level, u, v, warm = rng.integers(3), rng.normal(), rng.normal(), np.sin(t / 2 + i)
                rows.append((f"{name}{i}", episode, round(time, 3), *x, level, u, v, warm, size))
                step = rng.uniform(0.3, 2.5) if row["time"] == "uneven" else 1.0
                acts = {"none": 0, "level": level, "word": level, "amount": u, "two": u + v,
                        "mixed": level * u}  # fmt: skip
                x = rate**step * x + 0.3 * acts[row["action"]] * step + 0.2 * warm
                x, time = x + 0.05 * rng.normal(size=2), time + step
    names = ["id", "episode", "t", "x", "y", "level", "u", "v", "warm", "size"]
    found: Any = pd.DataFrame(rows, columns=names)
    found["mode"] = found["level"].map({0: "off", 1: "low", 2: "high"})
    found["level"] = found["level"].astype("Int64")
    found["day"] = np.where(found["warm"] > 0, "Mon", "Tue")
    found["site"] = np.where(found["size"] > 0, "north", "south")
    runs = found.groupby(["id", "episode"])
    inputs = ["level", "mode", "u", "v"]
    if row["align"] == "same-row":
        for column in [*inputs, "warm", "day"]:
            found[column] = runs[column].shift(1)
    else:
        found.loc[runs.cumcount(ascending=False) == 0, inputs] = None
    if row["holes"]:
        inner = runs.cumcount() > 0
        for column in ("x", "y"):
            found.loc[inner & (rng.random(len(found)) < 0.2), column] = np.nan
        found.loc[found["id"] == f"{name}1", ["size", "site"]] = None
    if row["time"] == "dates":
        found["t"] = pd.Timestamp("2026-01-05") + pd.to_timedelta(found["t"], unit="D")
    return found


def flags(row: dict[str, Any]) -> list[str]:
    """The column flags of a table."""
    found = ["--agent", "id", "--time", "t", "--state", "x,y" if row["states"] == 2 else "x"]
    if action := ACTIONS[row["action"]]:
        found += ["--action", action]
        kinds = ["discrete" if x in ("level", "mode") else "continuous" for x in action.split(",")]
        found += ["--action-type", ",".join(kinds)]
    else:
        found.append("--no-action")
    for place, role in enumerate(("exogenous", "static")):
        if row[role] != "none":
            found += [f"--{role}", COLUMNS[row[role]][place]]
    found += ["--episode", "episode"] if row["episodes"] else []
    return [*found, "--align", row["align"]]


def questions(row: dict[str, Any], *tables: pd.DataFrame) -> pd.DataFrame:
    """Of an agent of each table: three rows as they were, and three to be predicted."""
    found = []
    for one in tables:
        part: Any = one[one["id"] == one["id"].iloc[0]].head(6).copy()
        part.loc[part.index[3:], ["x", "y"]] = np.nan
        part["query_id"] = part["id"]
        if row["holes"]:  # a wholly empty row would be where a prediction begins
            part.loc[part.index[:3], ["x", "y"]] = part[["x", "y"]].iloc[:3].ffill()
        found.append(part)
    return pd.concat(found).drop(columns=["episode"])


SHOWN = range(len(ROWS) if "TWINFOLD_FUZZ_SEEDS" in os.environ else 4)


def test_the_rows_hold_every_pair() -> None:
    for a, b in combinations(KINDS, 2):
        assert {(row[a], row[b]) for row in ROWS} == {(x, y) for x in KINDS[a] for y in KINDS[b]}


@pytest.mark.parametrize("number", SHOWN)
def test_a_table_through_all_commands(twinfold: Any, tmp_path: Path, number: int) -> None:
    row = ROWS[number]
    data, new = table(row, "p", row["agents"], 0), table(row, "n", 2, 5)
    data.to_csv(tmp_path / "data.csv", index=False)
    new.to_csv(tmp_path / "new.csv", index=False)
    questions(row, data, new).to_csv(tmp_path / "questions.csv", index=False)
    run, more, less = (tmp_path / name for name in ("run", "more", "less"))

    def done(*words: Any, code: int = 0) -> str:
        found = twinfold(*words)
        assert "Traceback" not in found.err
        assert found.code == code, (words[0], row, found.err)
        return found.out

    nets = ["--linear", "none", "--rank", 2, "--state-net", 8, "--steps", 100]
    size = [*nets, "--shrinkages", 0.3] if row["nets"] else ["--rank", 0]
    size += ["--members", 2, "--history", row["history"], "--quiet"]
    (tmp_path / "short.toml").write_text("behaviour_steps = 200")
    size += ["--config", tmp_path / "short.toml"]
    done("fit", tmp_path / "data.csv", *flags(row), *size, "--out", run)
    hold = [] if row["exogenous"] == "none" else ["--hold-exogenous"]
    action = ACTIONS[row["action"]]
    step = ",".join(VALUES[name] for name in action.split(",") if name)
    acts = ["--actions", ";".join([step] * 3)] if action else ["--steps", 3]
    said = done("simulate", run, "--agent", "p0", "--from-last", *acts, *hold, "--json")
    assert "NaN" not in said
    # Where no agent was reserved there is nothing to examine without other data.
    done("validate", run, code=0 if row["agents"] > 10 else 2)
    done("validate", run, tmp_path / "new.csv")
    done("adapt", run, tmp_path / "new.csv", "--out", more)
    done("simulate", more, "--agent", "n1", "--from-last", *acts, *hold)
    done("simulate", more, "--queries", tmp_path / "questions.csv", "--out", tmp_path / "a.csv")
    answers: Any = pd.read_csv(tmp_path / "a.csv")
    assert not answers[["x", "y"][: row["states"]]].isna().any(axis=None)
    done("forget", more, "--agent", "p1", "--out", less)
    if action:
        goal = ["--agent", "p0", "--reward", "-x^2", "--horizon", 4, *hold]
        state = ["--state", ",".join(["0.5"] * row["states"])]
        near = ["--behaviour", 0.5, "--out-of-range", "penalise", "--disagreement", 0.1]
        done("plan", run, *goal, *state, "--candidates", 40)
        done("plan", run, *goal, *state, "--candidates", 40, *near)
        done("value", run, *goal, "--policy", "random")
