"""Flags that several commands have: names as they are, and files that are written together."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from twinfold.cli.flags import (
    all_or_none,
    check_outputs,
    named_agents,
    names,
    numbers,
    state_rows,
    whole,
)
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run
from twinfold.utils.files import atomic_write_text

AGENTS = ("b", " b", "b ", "a", "a,b", '"q"', "new\nline", "[x]")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["b"], ["b"]),
        ([" b"], [" b"]),
        (["a,b"], ["a,b"]),  # an agent is called so
        (["b,a"], ["b", "a"]),
        (["a, b"], ["a", " b"]),
        (["a , b "], ["a", "b"]),
        (["b", "a,  b,b"], ["b", "a", "b", "b"]),
        (['"a,b",b'], ["a,b", "b"]),
        (['b, "a,b"'], ["b", "a,b"]),
        (['"q"'], ['"q"']),
        (["new\nline", "[x],a"], ["new\nline", "[x]", "a"]),
        ([" c"], [" c"]),  # nothing is stripped of a name that stands alone
        (["a,"], ["a", ""]),
        ([""], [""]),
        (["no\nsuch,line"], ["no\nsuch,line"]),
        (None, []),
    ],
)
def test_names_are_found_whole_before_they_are_split(
    values: list[str] | None, found: list[str]
) -> None:
    assert list(names(values, AGENTS)) == found


def test_names_of_nothing_known_are_split_and_trimmed() -> None:
    assert names(["speed, load", '"temp, C"']) == ("speed", "load", "temp, C")
    assert names(["b\n", "b\r", "c,d\n"]) == ("b\n", "b\r", "c,d\n")  # another name


def test_agents_are_ids_each_once(small_cart_pole: FittedModel) -> None:
    assert named_agents(["1,2", "12", " 1 ,2"], small_cart_pole) == (1, 2, 12)
    with pytest.raises(UsageError, match="unknown agent ''"):
        named_agents(["1,"], small_cart_pole)


@pytest.mark.parametrize("gone", [" b", "a,b", "[x]", "new\nline"])
def test_forget_takes_the_agent_of_that_name_and_no_other(
    twinfold: Any, tmp_path: Path, random_model: Callable[..., FittedModel], gone: str
) -> None:
    save_run(random_model(n_agents=8, agent_ids=AGENTS, posterior=True), tmp_path / "run")
    out = tmp_path / "out"
    done = twinfold("forget", tmp_path / "run", "--agent", gone, "--out", out, "--quiet")
    assert done.code == 0, done.err
    assert set(load_run(out).agent_ids) == set(AGENTS) - {gone}


def test_forget_refuses_a_name_with_a_space_too_many(
    twinfold: Any, tmp_path: Path, random_model: Callable[..., FittedModel]
) -> None:
    save_run(random_model(n_agents=8, agent_ids=AGENTS, posterior=True), tmp_path / "run")
    done = twinfold("forget", tmp_path / "run", "--agent", "a ", "--out", tmp_path / "out")
    assert (done.code, done.out) == (2, "")
    assert "unknown agent 'a '. Did you mean 'a'?" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--state", " temperature", "--state", "temp, C"],
        ["--state", ' temperature,"temp, C"'],
    ],
)
def test_columns_with_commas_and_spaces(twinfold: Any, tmp_path: Path, flags: list[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text('id,t, temperature,"temp, C",u\na,0,1,2,0\na,1,2,3,1\na,2,4,5,\n')
    words = ["--agent", "id", "--time", "t", *flags, "--action", "u", "--action-type", "discrete"]
    done = twinfold("data", "describe", table, *words, "--json")
    assert done.code == 0, done.err
    assert '" temperature"' in done.out
    assert '"temp, C"' in done.out


def test_files_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    suffixes = {"out": (".csv",), "plot": (), "free": ()}
    for outputs, said in (
        ({"out": tmp_path / "a.xlsx"}, "--out .*a.xlsx has suffix '.xlsx'; valid: .csv"),
        ({"out": tmp_path / "a"}, "--out .*a has no suffix"),
        ({"plot": tmp_path}, "--plot .* is a directory"),
        ({"plot": tmp_path / "file" / "deep" / "p.png"}, "file is a file; give a folder"),
        ({"plot": tmp_path / "p", "free": tmp_path / "p"}, "--plot and --free are the same file"),
    ):
        with pytest.raises(UsageError, match=said):
            check_outputs(suffixes, **outputs)
    check_outputs(suffixes, out=tmp_path / "new" / "A.CSV", plot=None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["a\0.csv", "\ud800.csv", "x" * 300 + ".csv"])
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*: (embedded|File name too long|'utf-8')"):
        check_outputs({"out": (".csv",)}, out=Path(name))


def test_numbers_are_written_as_in_a_table() -> None:
    assert numbers("1,-2.5,1e3", "--state") == [1.0, -2.5, 1000.0]
    for text in ("1_000", "1,１", "٣", "½", "9" * 5000 + "x"):
        with pytest.raises(
            UsageError, match=r"^--state takes numbers separated by commas, not .{1,90}$"
        ):
            numbers(text, "--state")
        with pytest.raises(UsageError, match=r"^a number, not .{1,90}$"):
            whole(text, "a number")


def test_files_are_all_written_or_none(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.png"
    two.write_text("old")
    with suppress(OSError), all_or_none(one, two, None) as drafts:
        drafts[one].write_text("new")
        raise OSError("full")
    assert [path.name for path in tmp_path.iterdir()] == ["two.png"]
    assert two.read_text() == "old"
    with all_or_none(one, two) as drafts:
        for path, draft in drafts.items():
            assert draft.suffix == path.suffix
            draft.write_text("new")
    assert (one.read_text(), two.read_text()) == ("new", "new")


def test_drafts_of_a_killed_command_are_removed_by_the_next(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two"
    for left in (".one.csv.0123abcd.tmp.csv", "..two.0123abcd.tmp.89abcdef.tmp", ".two.1.tmp"):
        (tmp_path / left).touch()
    with all_or_none(one, two) as drafts:
        for draft in drafts.values():
            atomic_write_text(draft, "text")
    assert {path.name for path in tmp_path.iterdir()} == {"one.csv", "two", ".two.1.tmp"}


def test_files_written_together_keep_their_permissions(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch(0o600)
    with all_or_none(old, new) as drafts:
        for draft in drafts.values():
            atomic_write_text(draft, "text")
        assert drafts[old].stat().st_mode & 0o777 == 0o600
    assert old.stat().st_mode & 0o777 == 0o600
    assert {path.read_text() for path in tmp_path.iterdir()} == {"text"}


def test_files_written_together_leave_links(tmp_path: Path) -> None:
    kept, link, other = tmp_path / "kept.csv", tmp_path / "link.csv", tmp_path / "other"
    kept.write_text("old")
    link.symlink_to("kept.csv")
    with pytest.raises(UsageError, match="--out and --plot are the same file"):
        check_outputs({"out": (), "plot": ()}, out=link, plot=kept)
    with all_or_none(link, other) as drafts:
        for draft in drafts.values():
            atomic_write_text(draft, "new")
    assert link.is_symlink()
    assert (kept.read_text(), other.read_text()) == ("new", "new")
    assert len([*tmp_path.iterdir()]) == 3


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_text("old")
    with pytest.raises(UsageError, match="is not a regular file"), all_or_none(file, pipe):
        raise AssertionError
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "file"}
    assert pipe.is_fifo()
    assert file.read_text() == "old"


def test_a_picture_is_not_drawn_where_the_table_cannot_be(
    twinfold: Any, tank_run: Path, tmp_path: Path
) -> None:
    words = ["--agent", "T-001/é", "--state", "1,20", "--actions", "1,0;1,0"]
    files = ["--out", tmp_path / "a.xlsx", "--plot", tmp_path / "p.png"]
    done = twinfold("simulate", tank_run, *words, *files)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"error: --out .*a\.xlsx has suffix '\.xlsx'; valid: .*\n", done.err)
    assert not list(tmp_path.iterdir())


def test_rows_before_a_state_may_have_actions() -> None:
    def rows(text: str) -> list[list[float]]:
        return state_rows(text, ["x", "v"], ["push"])

    assert rows("1,2") == [[1.0, 2.0]]
    assert rows("1,2;3,4") == [[1.0, 2.0], [3.0, 4.0]]
    assert rows("1,2,.5;3,4,1;5,6") == [[1.0, 2.0, 0.5], [3.0, 4.0, 1.0], [5.0, 6.0]]
    with pytest.raises(
        UsageError, match=r"needs 3 numbers separated by commas .x, v, push., not 2"
    ):
        rows("1,2,3;3,4;5,6")
    for text in ("1,2;3,4,5;6,7", "1,2,3;4,5,6", "1,2,3", "1"):
        with pytest.raises(UsageError, match=r"needs 2 numbers separated by commas .x, v., not"):
            rows(text)
