"""Tables survive files; odd and damaged files are told apart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data import (
    PanelDataset,
    Roles,
    check,
    load_panel,
    manifest_path,
    read_manifest,
    read_table,
    save_panel,
    write_table,
)
from twinfold.errors import InvalidDataError, UsageError

SUFFIXES = (".csv", ".tsv", ".parquet")


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_and_load_is_the_identity(
    table: pd.DataFrame, roles: dict[str, Any], tmp_path: Path, suffix: str
) -> None:
    data = PanelDataset.from_frame(table, roles)
    path = tmp_path / f"cohort{suffix}"
    save_panel(data, path, {"task": "none", "covariates": np.ones(2)})
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "cohort.manifest.json"}
    loaded = load_panel(path)
    assert loaded.fingerprint() == data.fingerprint()
    assert loaded.agent_ids == data.agent_ids
    assert loaded.time_step == data.time_step
    np.testing.assert_array_equal(loaded.action, data.action)
    manifest = read_manifest(path)
    assert manifest is not None
    assert manifest.source == {"task": "none", "covariates": [1.0, 1.0]}
    assert manifest.roles == Roles.parse(roles)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2026-03-29", periods=4, freq="h", tz="Europe/Berlin"),
        pd.date_range("2026-01-01", periods=4, freq="D"),
        pd.date_range("2026-01-01", periods=4, freq="7ns"),
        pd.to_timedelta([0, 1.5, 3, 4.5], unit="s"),
        [0.1, 0.2, 0.30000000000000004, 0.4],
        [-(2**60), -(2**60) + 1, -(2**60) + 2, -(2**60) + 3],
    ],
    ids=["zone", "days", "nanoseconds", "durations", "floats", "large"],
)
def test_times_survive(times: Any, tmp_path: Path, suffix: str) -> None:
    df = pd.DataFrame({"i": "a", "t": times, "x": [0.1, 1 / 3, 1e-300, -0.0], "u": 1.5})
    roles = Roles(agent="i", time="t", state=("x",), action=("u",), action_type="continuous")
    data = PanelDataset.from_frame(df, roles)
    assert data.n_transitions == 3
    path = tmp_path / f"t{suffix}"
    save_panel(data, path)
    loaded = load_panel(path)
    assert loaded.fingerprint() == data.fingerprint()
    assert loaded.time_step == data.time_step


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        min_size=1, max_size=6, unique=True,
    )
)  # fmt: skip
def test_any_text_id_survives_csv_and_parquet(tmp_path_factory: Any, ids: list[str]) -> None:
    n = len(ids)
    df = pd.DataFrame({"id": np.repeat(ids, 2), "t": [0, 1] * n, "x": range(2 * n), "u": 0.5})
    roles = Roles(agent="id", time="t", state=("x",), action=("u",), action_type="continuous")
    data = PanelDataset.from_frame(df, roles)
    folder = tmp_path_factory.mktemp("ids")
    for suffix in SUFFIXES:
        save_panel(data, folder / f"x{suffix}")
        loaded = load_panel(folder / f"x{suffix}")
        assert sorted(map(str, loaded.agent_ids)) == sorted(ids)
        assert loaded.fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["7", "-3"], [7, -3]),
        (["007", "7"], ["007", "7"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (["1e5", "2e7"], ["1e5", "2e7"]),
        (["NA", "DE"], ["NA", "DE"]),
        (["true", "false"], ["true", "false"]),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),
        (["0x10", "0x11"], ["0x10", "0x11"]),
    ],
)
def test_ids_of_a_csv_stay_as_written(tmp_path: Path, texts: list[str], values: list[Any]) -> None:
    path = write(tmp_path / "a.csv", "id,x\n" + "".join(f"{text},1\n" for text in texts))
    assert read_table(path, ids=["id"])["id"].tolist() == values


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "2", ""], "f"),
        (["1", "2", "3"], "i"),
        (["1.5", "NaN", "1e3"], "f"),
        (["True", "False", "True"], "b"),
        (["", "NA", "n/a"], "f"),
        (["007", "008", "1"], "O"),  # a code, even where nobody said so
        (["20261122093000123", "20261122093000124", ""], "O"),
        (["a", "1", ""], "O"),
        (["true", "", "false"], "O"),
    ],
)
def test_kinds_of_csv_columns(tmp_path: Path, texts: list[str], kind: str) -> None:
    path = write(tmp_path / "a.csv", "x,y\n" + "".join(f"{text},1\n" for text in texts))
    column = read_table(path)["x"]
    found = "O" if pd.api.types.is_string_dtype(column) else column.dtype.kind
    assert found == kind
    assert column.isna().tolist() == [text in ("", "NA", "n/a", "NaN") for text in texts]


def test_blank_flags_and_ids_of_a_csv_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,end\n,true\n,\n,false\n")
    df = read_table(path, ids=["id"])
    assert df["id"].isna().tolist() == [True] * 3
    assert df["end"].tolist() == [True, None, False]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid,t,x y\n1,0,2.5\n",
        b"id;t;x y\n1;0;2.5\n",
        b"id\tt\tx y\r\n1\t0\t2.5\r\n",
        b'"id","t","x y"\r\n"1","0","2.5"\r\n',
        b"\n\nid,t,x y\n\n1,0,2.5\n\n",
        b"id,t,x y\n1,0,2.5",
    ],
    ids=["bom", "semicolons", "tabs", "quotes", "blank lines", "no last line break"],
)
def test_dialects(tmp_path: Path, content: bytes) -> None:
    df = read_table(write(tmp_path / "a.csv", content))
    assert df.columns.tolist() == ["id", "t", "x y"]
    assert df.iloc[0].tolist() == [1, 0, 2.5]


def test_problems_of_a_csv_name_the_line(tmp_path: Path, roles: dict[str, Any]) -> None:
    text = "machine id,t,température,p/bar,valve\na,0,1,1,1\na,1,2,oops,1\na,2,3,1,\n"
    problems = check(read_table(write(tmp_path / "a.csv", text)), roles).problems
    assert problems[0].startswith("column 'p/bar' (state): 'oops' is no number at row 1 (line 3)")
    text = text.replace("\na,1", "\n\na,1")  # a blank line: lines are not counted wrong, but not
    problems = check(read_table(write(tmp_path / "a.csv", text)), roles).problems
    assert "at row 1, agent 'a'" in problems[0]
    kept = read_table(write(tmp_path / "a.csv", text.replace("\n\n", "\n"))).iloc[1:]
    assert "(line" not in check(kept, roles).problems[0]  # rows no longer are lines
    twice = pd.concat([kept, kept], ignore_index=True)
    assert "(line" not in check(twice, roles).problems[0]


def test_names_given_twice_are_seen(tmp_path: Path, roles: dict[str, Any]) -> None:
    text = "machine id,t,température,p/bar,valve,t\na,0,1,1,1,9\na,1,2,1,1,9\n"
    problems = check(read_table(write(tmp_path / "a.csv", text)), roles).problems
    assert problems == ("the table has 2 columns named 't' (time); rename one",)


def test_a_header_without_rows(tmp_path: Path, roles: dict[str, Any]) -> None:
    path = write(tmp_path / "a.csv", "machine id,t,température,p/bar,valve\n")
    with pytest.raises(InvalidDataError, match="the table is empty"):
        load_panel(path, roles)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\xef\xbb\xbf\n \n", "is empty"),
        ("a.parquet", b"", "is empty"),
        ("a.parquet", b"PAR1 no", "no readable Parquet"),
        ("a.csv", b"a,b\n1,2,3\n", "row 0 has 3 values, the header 2: '1,2,3'"),
        ("a.csv", b"a,b\n1,2\n\xe9,3\n", "not UTF-8 text (line 3)"),
        ("a.csv", b"a,b\n\x00,3\n", "binary"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InvalidDataError) as error:
        read_table(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_truncated_parquet(table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(table, path)
    write(path, path.read_bytes()[:-20])
    with pytest.raises(InvalidDataError, match="no readable Parquet"):
        read_table(path)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "none.csv", "No such file"),
        (tmp_path / "a.xlsx", "suffix '.xlsx'; valid: .csv"),
        (tmp_path / "a", "no suffix"),
    ):
        with pytest.raises(UsageError, match=words):
            read_table(path)
    (tmp_path / "d.csv").mkdir()
    os.mkfifo(tmp_path / "f.csv")
    (tmp_path / "l.csv").symlink_to("none")
    (tmp_path / "z.parquet").symlink_to("/dev/zero")
    for name, words in (
        ("d.csv", "directory"),
        ("f.csv", "it is a pipe; give a .csv"),
        ("l.csv", "No such file"),
        ("z.parquet", "it is a device; give a .csv"),
        ("x" * 300 + ".csv", "cannot read"),
        ("\0.csv", "cannot read"),
    ):
        with pytest.raises(UsageError, match=words):
            read_table(tmp_path / name)


def test_an_index_with_names_comes_back_as_columns(
    table: pd.DataFrame, roles: dict[str, Any], tmp_path: Path
) -> None:
    table.set_index(["machine id", "t"]).to_parquet(tmp_path / "a.parquet")
    loaded = load_panel(tmp_path / "a.parquet", roles)
    assert loaded.fingerprint() == PanelDataset.from_frame(table, roles).fingerprint()


def test_without_roles_or_manifest_flags_and_columns_are_listed(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    write_table(table, tmp_path / "a.csv")
    with pytest.raises(UsageError) as error:
        load_panel(tmp_path / "a.csv")
    for word in ("a.manifest.json", "--agent", "--action-type", "'machine id'", "'valve'"):
        assert word in str(error.value)


def test_a_manifest_of_another_table(
    table: pd.DataFrame, roles: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    save_panel(PanelDataset.from_frame(table, roles), path)
    write_table(table.rename(columns={"p/bar": "p/Bar"}), path)
    with pytest.raises(InvalidDataError) as error:
        load_panel(path)
    assert error.value.problems == (
        "a.manifest.json does not match a.csv: no column 'p/bar' (state). Did you mean 'p/Bar'? "
        "The columns: 'machine id', 't', 'température', 'p/Bar', 'valve', 'note'.",
    )
    other = {**roles, "state": ["température", "p/Bar"]}
    assert load_panel(path, other).n_transitions == 5  # roles given win


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "no valid JSON"),
        ("[]", "no manifest of a panel"),
        ({"format": "other"}, "no manifest of a panel"),
        ({"version": 2}, "version 2, this twinfold reads version 1"),
        ({"roles": {"agent": "machine id"}}, "role 'time' is missing"),
        ({"roles": None}, "role 'agent' is missing"),
        ({"roles": ["agent"]}, "roles"),
        ({"source": 3}, "source"),
        ({"time_step": "soon"}, "time step 'soon'"),
        ({"time_step": True}, "'time_step"),
        ({"version": True}, "version True, this twinfold reads version 1"),
        ({"time_stop": 1}, "unknown setting 'time_stop'; valid: format, version, roles"),
        ('{"format": NaN}', "NaN is no number of JSON"),
        ("[" * 10**5, "nested in each other"),
        ("[" * 17 + "]" * 17, "more than 16 lists and tables are nested in each other"),
    ],
)
def test_damaged_manifests(
    table: pd.DataFrame, roles: dict[str, Any], tmp_path: Path, change: Any, words: str
) -> None:
    path = tmp_path / "a.csv"
    save_panel(PanelDataset.from_frame(table, roles), path)
    file = manifest_path(path)
    if isinstance(change, dict):
        change = json.dumps(json.loads(file.read_text()) | change)
    file.write_text(change)
    with pytest.raises((InvalidDataError, UsageError)) as error:
        load_panel(path)
    assert words in str(error.value)
    assert "manifest" in str(error.value)


def test_a_manifest_that_is_no_file_is_not_taken_for_none(
    table: pd.DataFrame, roles: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    save_panel(PanelDataset.from_frame(table, roles), path)
    manifest_path(path).unlink()
    os.mkfifo(manifest_path(path))
    with pytest.raises(
        InvalidDataError, match=r"cannot read .*a.manifest.json: it is a pipe.*as fl"
    ):
        load_panel(path)
    assert load_panel(path, roles).n_agents


def test_the_step_of_the_manifest_holds(
    table: pd.DataFrame, roles: dict[str, Any], tmp_path: Path
) -> None:
    data = PanelDataset.from_frame(table, roles).select_agents(["a"])
    frame = data.to_frame().iloc[[0, 2]]  # what is left looks like a step of 2
    write_table(frame, tmp_path / "a.csv")
    assert load_panel(tmp_path / "a.csv", roles).time_step == 2
    save_panel(data, tmp_path / "b.csv")
    write_table(frame, tmp_path / "b.csv")
    with pytest.raises(InvalidDataError, match="no agent has a transition"):
        load_panel(tmp_path / "b.csv")


def test_a_failed_write_leaves_the_old_table(table: pd.DataFrame, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"a{suffix}"
        write_table(table, path)
        before = path.read_bytes()
        mixed = table.assign(note=["x", 1, 2.5, None, [1], "x", "x", "x"])
        with pytest.raises(InvalidDataError, match="note"):
            write_table(mixed, path)
        assert path.read_bytes() == before
    with pytest.raises(UsageError, match="suffix"):
        write_table(table, tmp_path / "a.txt")
    assert len(list(tmp_path.iterdir())) == len(SUFFIXES)


def test_dates_are_short_in_csv(tmp_path: Path) -> None:
    days = pd.date_range("2026-01-01", periods=2, freq="D")
    write_table(pd.DataFrame({"t": days, "s": days + pd.Timedelta("1ms")}), tmp_path / "a.csv")
    first = (tmp_path / "a.csv").read_text().splitlines()[1]
    assert first == "2026-01-01 00:00:00,2026-01-01 00:00:00.001"


def test_line_breaks_within_values_of_a_long_csv(tmp_path: Path) -> None:
    df = pd.DataFrame({"note": ["first line\nsecond, longer line of a note"] * 40_000, "x": 1})
    write_table(df, tmp_path / "a.csv")  # longer than the blocks it is read in
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.csv"), df)


def test_floats_are_exact_in_csv(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-150, 150, 0.3)
    write_table(pd.DataFrame({"x": values, "a,b": "q\"u'o\nte"}), tmp_path / "a.csv")
    back = read_table(tmp_path / "a.csv")
    np.testing.assert_array_equal(back["x"], values)
    assert back["a,b"].unique().tolist() == ["q\"u'o\nte"]
