"""``twinfold data``: collect, validate, describe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

HEADER = "machine,t,speed,load [kN],gear"
ROLES = [
    *("--agent", "machine", "--time", "t", "--state", "speed,load [kN]"),
    *("--action", "gear", "--action-type", "discrete"),
]
ROWS = ["a,0,1.5,2,0", "a,1,1.7,2.5,1", "a,2,2,3,", "b,0,1,1,1", "b,1,1.1,1.2,"]


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """A CSV file from its rows."""

    def write(rows: list[str], header: str = HEADER) -> Path:
        path = tmp_path / "cohort.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


def collect(twinfold: Any, out: Path, *more: Any) -> Any:
    return twinfold("data", "collect", "--task", "mountain_car", "--agents", 7, "--out", out, *more)


def test_collect_is_a_function_of_its_flags(twinfold: Any, tmp_path: Path) -> None:
    records = {}
    for name, seed in (("one.parquet", 3), ("two.csv", 3), ("three.parquet", 4)):
        done = collect(twinfold, tmp_path / name, "--seed", seed, "--json")
        assert (done.code, done.err) == (0, "")
        records[name] = json.loads(done.out)
    prints = [record["fingerprint"] for record in records.values()]
    assert prints[0] == prints[1] != prints[2]
    assert records["one.parquet"]["agents"] == 7
    rows = len(pd.read_parquet(tmp_path / "one.parquet"))
    assert records["one.parquet"]["transitions"] == rows - 7


def test_collect_writes_a_manifest_that_the_others_read(twinfold: Any, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "cars.parquet"
    done = collect(twinfold, out)
    assert done.out.startswith(f"{out}: 7 agents, ")
    manifest = json.loads((out.parent / "cars.manifest.json").read_text())
    assert manifest["source"]["task"] == "mountain_car"
    assert manifest["source"]["policy"] == "random"
    assert manifest["roles"]["state"] == ["position", "velocity"]
    done = twinfold("data", "validate", out)
    assert (done.code, done.out, done.err) == (0, f"{out}: valid\n", "")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"--task": "mountain_bike"}, "valid: cart_pole, mountain_car"),
        ({"--policy": "expert"}, "valid: random, test"),
        ({"--agents": 0}, "--agents: '0' is not a whole number from 1"),
        ({"--seed": -1}, "--seed: '-1' is not a whole number from 0"),
        ({"--out": "cars.xlsx"}, "valid: .csv, .tsv, .parquet"),
    ],
)
def test_collect_refuses(
    twinfold: Any, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    flags = {"--task": "cart_pole", "--agents": 3, "--out": "cars.csv"} | change
    flags["--out"] = tmp_path / flags["--out"]
    done = twinfold("data", "collect", *[word for pair in flags.items() for word in pair])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert expected in done.err
    assert not list(tmp_path.iterdir())


def test_a_valid_table(twinfold: Any, table: Any) -> None:
    done = twinfold("data", "validate", table(ROWS), *ROLES)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("cohort.csv: valid\n")


def test_a_row_without_an_action_is_said(twinfold: Any, table: Any) -> None:
    done = twinfold("data", "validate", table(["a,0,1,2,", *ROWS[1:]]), *ROLES)
    assert done.code == 0
    assert "column 'gear' (action): no action in 1 row" in done.err
    assert "row 0 (line 2), agent 'a'" in done.err


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([*ROWS, "b,1,3,3,"], ["row 5 (line 7)", "agent 'b'", "t 1"]),
        (["a,0,1,inf,0", *ROWS[1:]], ["'load [kN]'", "row 0", "agent 'a'", "infinity"]),
        (["a,0,fast,2,0", *ROWS[1:]], ["'speed'", "row 0", "agent 'a'", "'fast'"]),
        (["a,0,1,2,0.5", *ROWS[1:]], ["'gear'", "row 0", "agent 'a'", "0.5 is no integer"]),
        ([row.rsplit(",", 1)[0] + "," for row in ROWS], ["'gear'", "empty", "every value"]),
        ([",0,1,2,0", *ROWS[1:]], ["'machine'", "row 0", "no id"]),
        (["a,0,1,2,0", "b,0,1,2,1"], ["no agent has a transition", "2 agents"]),
        ([], ["empty"]),
    ],
)
def test_each_problem_is_named(
    twinfold: Any, table: Any, rows: list[str], named: list[str]
) -> None:
    path = table(rows)
    done = twinfold("data", "validate", path, *ROLES)
    assert (done.code, done.out) == (3, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("error: ")
    for part in named:
        assert part in done.err
    record = json.loads(twinfold("data", "validate", path, *ROLES, "--json").out)
    assert ["error: " + line for line in record["problems"]] == done.err.splitlines()


def test_a_missing_column_is_named_with_the_nearest(twinfold: Any, table: Any) -> None:
    flags = ["spede,load [kN]" if word.startswith("speed") else word for word in ROLES]
    done = twinfold("data", "validate", table(ROWS), *flags)
    assert done.code == 3
    assert "no column 'spede' (state). Did you mean 'speed'?" in done.err


def test_all_problems_at_once(twinfold: Any, table: Any) -> None:
    done = twinfold("data", "validate", table(["a,0,fast,inf,0", *ROWS[1:]]), *ROLES)
    assert done.code == 3
    assert len(done.err.splitlines()) == 2


def test_warnings_are_no_problem(twinfold: Any, table: Any) -> None:
    rows = ["a,0,1,2,0", "a,1,1,2,1", "a,2,1,2,1", "a,9,1,2,0", "a,10,1,2,", "lone,0,1,2,"]
    path = table(rows)
    done = twinfold("data", "validate", path, *ROLES)
    assert done.code == 0
    assert done.out.endswith(": valid\n")
    assert all(line.startswith("warning: ") for line in done.err.splitlines())
    for part in ("'lone'", "constant", "split"):
        assert part in done.err
    record = json.loads(twinfold("data", "validate", path, *ROLES, "--json").out)
    assert record["problems"] == []
    assert len(record["warnings"]) == len(done.err.splitlines()) >= 3


def test_what_the_data_cannot_say_is_told_with_line_and_agent(
    twinfold: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.repeat([f"A{n}" for n in range(4)], 20), "t": [*range(20)] * 4})
    frame["x"] = 0.0
    frame.loc[27, "x"] = 1e5
    frame["y"] = rng.normal(size=80)
    frame["dose"] = np.repeat([1.0, 2.0, 4.0, 8.0], 20)
    frame["push"] = (np.arange(80) == 50) * 1.0
    path = tmp_path / "quirks.csv"
    frame.to_csv(path, index=False)
    flags = ["--agent", "id", "--time", "t", "--state", "x,y", "--action", "dose,push"]
    done = twinfold("data", "validate", path, *flags, "--action-type", "continuous")
    assert (done.code, done.out) == (0, f"{path}: valid\n")
    assert done.err.splitlines() == [
        "warning: column 'dose' (action) never changes within an agent: what it does cannot be "
        "told from how agents differ",
        "warning: column 'push' (action) is 0 in all rows but one, 1 at row 50 (line 52), agent "
        "'A2': that row carries all that is known of the action",
        "warning: column 'x' (state): 1 value far from all others (all 0), 100000 at row 27 (line "
        "29), agent 'A1'; if that is a mistake, correct it, or drop the row: the trajectory is "
        "then split there",
    ]


def test_an_empty_file_is_invalid_and_a_missing_one_is_usage(twinfold: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    done = twinfold("data", "validate", empty, *ROLES)
    assert (done.code, done.out) == (3, "")
    assert "is empty" in done.err
    assert json.loads(twinfold("data", "validate", empty, *ROLES, "--json").out)["problems"]
    done = twinfold("data", "validate", tmp_path / "none.csv", *ROLES)
    assert done.code == 2
    assert "No such file" in done.err


def test_neither_flags_nor_manifest(twinfold: Any, table: Any) -> None:
    done = twinfold("data", "validate", table(ROWS))
    assert done.code == 2
    for part in ("no manifest", "--agent", "'load [kN]'"):
        assert part in done.err


def test_some_flags_only(twinfold: Any, table: Any) -> None:
    done = twinfold("data", "validate", table(ROWS), "--agent", "machine", "--time", "t")
    assert done.code == 2
    assert "--state missing" in done.err


def test_a_manifest_of_another_table(twinfold: Any, tmp_path: Path) -> None:
    out = tmp_path / "cars.csv"
    collect(twinfold, out)
    frame = pd.read_csv(out).rename(columns={"velocity": "speed"})
    frame.to_csv(out, index=False)
    for command in ("validate", "describe"):
        done = twinfold("data", command, out)
        assert (done.code, done.out) == (3, "")
        assert "cars.manifest.json does not match cars.csv" in done.err
        assert "'velocity'" in done.err
    (tmp_path / "cars.manifest.json").write_text("{")
    done = twinfold("data", "validate", out)
    assert done.code == 3
    assert "no valid JSON" in done.err


def test_describe_shows_names_as_they_are(twinfold: Any, table: Any, tmp_path: Path) -> None:
    header = "machine,t,[red]x[/red],:car:,gear"
    flags = [
        *("--agent", "machine", "--time", "t", "--state", "[red]x[/red],:car:"),
        *("--action", "gear", "--action-type", "discrete"),
    ]
    picture = tmp_path / "coverage.png"
    done = twinfold("data", "describe", table(ROWS, header), *flags, "--plot", picture)
    assert (done.code, done.err) == (0, "")
    assert "2 agents, 3 transitions in 2 trajectories" in done.out
    assert "[red]x[/red]" in done.out
    assert ":car:" in done.out
    assert "transitions per action: 0: 1, 1: 2" in done.out
    assert done.out.endswith(f"picture: {picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_describe_as_a_record(twinfold: Any, table: Any, tmp_path: Path) -> None:
    record = json.loads(twinfold("data", "describe", table(ROWS), *ROLES, "--json").out)
    assert record["agents"] == 2
    assert record["state"]["load [kN]"]["max"] == 3.0
    assert record["action_levels"] == {"0": 1, "1": 2}
    done = twinfold("data", "describe", table(ROWS), *ROLES, "--plot", tmp_path / "p.gif")
    assert done.code == 2
    assert "valid: .png" in done.err
