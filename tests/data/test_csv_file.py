"""CSV files of every making are read to the same table, or told in one line."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path

import pandas as pd
import pytest

from twinfold.data import Roles, load_panel, read_table
from twinfold.data.io import column_names
from twinfold.data.table_settings import TableSettings
from twinfold.errors import InvalidDataError, UsageError

ROLES = Roles(agent="id", time="t", state=("x",), action=("u",), action_type="continuous")
ROWS = b"a,0,1.5,1\na,1,2.5,2\na,2,3.5,\n"
LONG = b"y" * 1_500_000


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"id,t,x,u\n" + ROWS,
        (b"id,t,x,u\n" + ROWS).replace(b"\n", b"\r"),
        b"id,t,x,u\r" + ROWS,
        b"\xef\xbb\xbf\xef\xbb\xbfid,t,x,u\n" + ROWS,
        b"\xef\xbb\xbf" * 300_000 + b"id,t,x,u\n" + ROWS,
        b"id,t,x,u,n,n\n" + ROWS.replace(b"\n", b",1,2\n"),
        b"id,t,x,u," + LONG + b"\n" + ROWS.replace(b"\n", b",1\n"),
        b"id,t,x,u," + b",".join([b"c%d" % i for i in range(3000)]) + b"\n"
        + ROWS.replace(b"\n", b"," * 3000 + b"\n"),
        b"id,t,x,u,n\n" + ROWS.replace(b"\n", b"," + LONG + b"\n"),
        b"id,t,x,u,n\n" + ROWS.replace(b"\n", b",caf\xe9\x00\n"),
        b'id,t,x,u,"two\nlines"\n' + ROWS.replace(b"\n", b',"a\nb"\n'),
        b"id,t,x,u,n\n" + ROWS.replace(b"\n", b',5" pipe\n'),
    ],
    ids=["plain", "old line ends", "mixed line ends", "two marks", "many marks", "doubled unused",
         "long name", "many columns", "long unused", "unused no UTF-8",
         "line breaks", "one quote within"],
)  # fmt: skip
def test_only_used_columns_matter(tmp_path: Path, content: bytes) -> None:
    panel = load_panel(write(tmp_path / "a.csv", content), ROLES)
    assert panel.agent_ids == ("a",)
    assert panel.state[:, 0].tolist() == [1.5, 2.5, 3.5]
    assert csv.field_size_limit() == 131_072  # the user's own reading is as before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"id,t,x,u\n" + ROWS, mtime=0), "compressed by gzip"),
        (b"PK\x03\x04 and more", "a workbook"),
        (("id,t,x,u\n" + ROWS.decode()).encode("utf-16"), "give --encoding utf-16"),
        (("id,t,x,u\n" + ROWS.decode()).encode("utf-32"), "give --encoding utf-32"),
        (b"PAR1", "name it .parquet"),
        (b'id,t,x,u\na,0,"1.5,1\na,1,2.5,2\n', "a quote opened in line 2 is never closed"),
        (
            b"id,t,x,u\n" + ROWS.replace(b"\n", b",\n"),
            "remove the separator at the end, or end the",
        ),
        (("id,t,x,u\n" + ROWS.decode()).encode("utf-16-le"), "give --encoding utf-16-le"),
        (b"id,t,x,u\n" + ROWS + b"a,3\n", "row 3 has 2 values, the header 4: 'a,3'"),
        (b"id,t,x,u\n" + ROWS.replace(b"a", b"\xe9"), "(line 2) in column 'id'"),
        (b"id,t,x,u\n" + ROWS.replace(b"1.5", b"\0"), "a NUL in column 'x', line 2"),
        (b'"id,t,x,u\n' + ROWS, "its header cannot be read"),
        (b"id,t,x,u\n", "the table is empty"),
        (b"id,t,x,u\n\n \n", "the table is empty"),
        (b"id,t,x,u\n" + b"\n" * 2**21 + ROWS.replace(b"2.5", b"oops"), "at row 1, agent 'a'"),
        (b"id\na\n", "no column 't' (time)"),
        (b"id,t,x,u,t\n" + ROWS, "2 columns named 't'"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(InvalidDataError) as error:
        load_panel(write(tmp_path / "a.csv", content), ROLES)
    assert words in error.value.problems[0]
    assert "\n" not in error.value.problems[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# made by a logger\nid,t,x,u\n" + ROWS, "its first line begins with #"),
        (b"\n #no,t,x,u\n" + ROWS, "its first line begins with #"),
        (b"sep=;\nid;t;x;u\n" + ROWS.replace(b",", b";"), "which begins with sep=, is meant for"),
        (b"id t x u\n" + ROWS.replace(b",", b" "), "comma, semicolon, tab and |, but ' '"),
        (b'"patient", "t", "x", "u"\n' + ROWS, "remove the blanks after separators"),
        (b"id:t:x:u\n" + ROWS, "none of comma, semicolon, tab and |, but ':'"),
    ],
)
def test_a_layout_that_is_not_read_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(InvalidDataError) as error:
        load_panel(path, ROLES)
    assert error.value.problems[0].startswith(f"{path}: ")
    assert words in error.value.problems[0]
    assert "no column 'id' (agent)" in error.value.problems[1]
    with pytest.raises(UsageError, match=re.escape(words)):
        load_panel(path)
    if content.startswith(b"id|t|x|u\na,"):
        with pytest.raises(InvalidDataError, match=re.escape(words)):
            read_table(path)


def test_a_comment_among_the_rows_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"id,t,x,u\n" + ROWS + b"# the sensor was changed\n")
    with pytest.raises(InvalidDataError, match=r"changed'; remove lines that are comments$"):
        load_panel(path, ROLES)


def test_no_more_is_read_for_the_names_than_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is longer than what is read at first, however that is cut."""
    header = '\ufeff"é, x";"a\n;b";t'.encode()
    path = write(tmp_path / "a.csv", header + b"\r\n" + b"1;2;3\r\n" * 9)
    whole, expected = Path.read_bytes, ["é, x", "a\n;b", "t"]
    read = []
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self) or whole(self))
    for size in range(1, path.stat().st_size + 5):
        monkeypatch.setattr("twinfold.data.csv_file.TABLE", TableSettings(head=size))
        assert column_names(path) == expected, size
        assert bool(read) == (size < len(header) + 3), size
        read.clear()


def test_names_are_kept_as_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'" id",t ,"temp, C",u\n' + ROWS)
    names = [" id", "t ", "temp, C", "u"]
    assert column_names(path) == read_table(path).columns.tolist() == names
    roles = ROLES.model_copy(update={"agent": " id", "time": "t ", "state": ("temp, C",)})
    assert load_panel(path, roles).n_transitions == 2


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (b"id;t;temp, C;u", ["id", "t", "temp, C", "u"]),
        (b'id,t,"a;b;c;d;e",u', ["id", "t", "a;b;c;d;e", "u"]),
        (b'id\tt\t"x, y, z, 1"\tu', ["id", "t", "x, y, z, 1", "u"]),
        (b"a,b;c", ["a", "b;c"]),
    ],
)
def test_the_separator_is_that_of_most_names(
    tmp_path: Path, header: bytes, names: list[str]
) -> None:
    assert column_names(write(tmp_path / "a.csv", header + b"\n")) == names


def test_columns_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"id,t,x,u\n" + ROWS)
    assert read_table(path, used=["u", "id"]).columns.tolist() == ["id", "u"]
    assert read_table(path, used=["id", "y"]).columns.tolist() == ["id", "t", "x", "u"]


def test_large_numbers_lose_no_digit(tmp_path: Path) -> None:
    content = b"t,x\n9007199254740993.0,1\n9007199254740995.0,1.5\n"
    df = read_table(write(tmp_path / "a.csv", content))
    assert df["t"].tolist() == ["9007199254740993.0", "9007199254740995.0"]
    assert pd.api.types.is_float_dtype(df["x"])


def test_lines_are_counted_whatever_ends_them(tmp_path: Path) -> None:
    for end in (b"\n", b"\r", b"\r\n"):
        content = (b"id,t,x,u\n" + ROWS.replace(b"2.5", b"oops")).replace(b"\n", end)
        with pytest.raises(InvalidDataError, match=r"'oops' is no number at row 1 \(line 3\)"):
            load_panel(write(tmp_path / "a.csv", content), ROLES)


def test_bars_separate_columns_as_commas_do(tmp_path: Path) -> None:
    bars = write(tmp_path / "a.csv", b"id|t|x|u\n" + ROWS.replace(b",", b"|"))
    commas = write(tmp_path / "b.csv", b"id,t,x,u\n" + ROWS)
    assert load_panel(bars, ROLES).fingerprint() == load_panel(commas, ROLES).fingerprint()
