"""Parquet columns of every type are read without loss, or told in one line."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinfold.data import PanelDataset, Roles, load_panel, read_table
from twinfold.errors import InvalidDataError

ROLES = Roles(agent="id", time="t", state=("x",), action=("u",), action_type="continuous")


def table(**columns: Any) -> pa.Table:
    plain = {
        "id": pa.array(["a"] * 3),
        "t": pa.array([0, 1, 2]),
        "x": pa.array([1.5, 2.5, 3.5]),
        "u": pa.array([1.0, 2.0, None]),
    }
    return pa.table(plain | columns)


def load(content: pa.Table, path: Path) -> PanelDataset:
    pq.write_table(content, path)
    return load_panel(path, ROLES)


def doubled(columns: pa.Table) -> pa.Table:
    return columns.append_column("n", pa.array([1, 2, 3])).append_column("n", pa.nulls(3))


@pytest.mark.parametrize(
    "columns",
    [
        table(id=pa.array([b"a"] * 3)),
        table(id=pa.array([b"a"] * 3, pa.binary(1))),
        table(id=pa.array(["a"] * 3).dictionary_encode()),
        table(id=pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "a"]))),
        table(t=pa.array([0, 1, 2], pa.uint64())),
        table(t=pa.array([0, 1, 2], pa.decimal128(10, 2))),
        table(x=pa.array(["1.5", "2.5", "3.5"], pa.string_view())),
        table(x=pa.array([1.5, 2.5, 3.5], pa.float32()).dictionary_encode()),
        table(n=pa.array([{"p": [1]}, None, {"p": []}])),
        table(n=pa.array([2**62, 0, 1], pa.timestamp("us", "Mars/Base"))),
        doubled(table()),
        table().replace_schema_metadata({b"pandas": b"{"}),
        table().replace_schema_metadata({b"pandas": b'{"index_columns": ["z"], "columns": [1]}'}),
    ],
)
def test_types_and_what_is_written_about_them(tmp_path: Path, columns: pa.Table) -> None:
    panel = load(columns, tmp_path / "a.parquet")
    assert panel.agent_ids == ("a",)
    assert panel.time.tolist() == [0, 1, 2]
    assert panel.state[:, 0].tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (table(id=pa.array([["a"]] * 3)), "'id' (agent): ids must be text or integers, not lists"),
        (table(x=pa.array([[1.0]] * 3)), "'x' (state): array([1.]) is no number in 3 rows"),
        (table(x=pa.nulls(3)), "'x' (state) is empty"),
        (table(x=pa.array([0, 1, 2], pa.date32())), "is no number in 3 rows"),
        (table(t=pa.array([2**64 - 1, 0, 1], pa.uint64())), "18446744073709551615 is no time"),
        (table(t=pa.array([0, 1, 2], pa.timestamp("s", "Mars/Base"))), "column 't' of type"),
        (table(t=pa.array([True, False, True])), "is no time"),
        (table().append_column("t", pa.array([0, 1, 2])), "2 columns named 't'"),
    ],
)
def test_types_that_have_no_meaning(tmp_path: Path, columns: pa.Table, words: str) -> None:
    with pytest.raises(InvalidDataError) as error:
        load(columns, tmp_path / "a.parquet")
    assert words in error.value.problems[0]
    assert "\n" not in error.value.problems[0]


def test_text_that_is_no_unicode(tmp_path: Path) -> None:
    buffers = pa.array([b"\xff", b"b", b"c"]).buffers()
    columns = table(id=pa.Array.from_buffers(pa.string(), 3, buffers))
    with pytest.raises(InvalidDataError, match=r"column 'id' of type string cannot be read"):
        load(columns, tmp_path / "a.parquet")
    other = table(n=columns["id"].chunk(0))
    assert load(other, tmp_path / "b.parquet").n_transitions == 2


def test_integers_and_periods_survive(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame(
        {
            "n": pd.array([2**62 + 1, None], dtype="Int64"),
            "p": pd.period_range("2026-01", periods=2, freq="M"),
        }
    ).to_parquet(path)
    df = read_table(path)
    assert df["n"].iloc[0] == 2**62 + 1
    assert df["p"].astype(str).tolist() == ["2026-01", "2026-02"]
    ids = pa.array([uuid.UUID(int=7).bytes] * 3, pa.uuid())
    assert load(table(id=ids), path).agent_ids == (str(uuid.UUID(int=7)),)


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:200] + data[300:]])
def test_damaged_files_name_themselves(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidDataError, match=r"a\.parquet"):
        load_panel(path, ROLES)


def test_more_rows_than_the_memory_holds_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    monkeypatch.setattr("os.sysconf", lambda name: 1)
    with pytest.raises(
        InvalidDataError, match=r"needs at least .* may have 1 bytes; give it fewer"
    ):
        read_table(tmp_path / "a.parquet")


LARGE = 60_000  # rows; a text of as many bytes each would be 3.6 GB
LONG = pa.array(["x" * LARGE, "y"])


@pytest.mark.parametrize(
    "column",
    [
        LONG.dictionary_encode().take(pa.array(np.zeros(LARGE, int))),
        LONG.cast(pa.binary()).dictionary_encode().take(pa.array(np.arange(LARGE) % 2)),
        pa.array([b"x" * 999] * LARGE, pa.binary(999)),
    ],
)
def test_a_few_bytes_that_stand_for_many_are_not_spelled_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: Any
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"t": pa.array(range(LARGE)), "id": column}), path)
    assert path.stat().st_size < 2**20
    monkeypatch.setattr("twinfold.data.table_size.usable_memory", lambda: 10**8)
    with pytest.raises(InvalidDataError, match=r"of it for column 'id', and .* 100\.0 MB; give"):
        read_table(path)
    assert len(read_table(path, used=["t"])) == LARGE


def test_pages_that_decompress_to_too_much_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    texts = pa.table({"t": pa.array([1, 2]), "id": pa.array(["x" * 10**7, "y" * 10**7])})
    pq.write_table(texts, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 2**18
    monkeypatch.setattr("twinfold.data.table_size.usable_memory", lambda: 10**7)
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", None)  # the sizes alone are looked at
    with pytest.raises(
        InvalidDataError, match=r"80\.0 MB of memory, 80\.0 MB of it for column 'id'"
    ):
        read_table(path)


def test_row_groups_are_read_until_they_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file says of their sizes."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"t": pa.array(range(4000))}), path, row_group_size=1000)
    monkeypatch.setattr(
        "twinfold.data.parquet_file._some_at_a_time", lambda _: ([i] for i in range(4))
    )
    monkeypatch.setattr("twinfold.data.parquet_file.ParquetFile._sizes", lambda *_: {})
    assert read_table(path)["t"].tolist() == [*range(4000)]
    read = []
    whole = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_groups", lambda self, *a: read.append(a[0]) or whole(self, *a)
    )
    monkeypatch.setattr("twinfold.data.table_size.usable_memory", lambda: 4 * 2500 * 8)
    with pytest.raises(InvalidDataError, match=r"needs at least 9\d\.\d kB"):
        read_table(path)
    assert read == [[0], [1], [2]]


def test_texts_of_many_row_groups_and_dictionaries(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [None if i % 7 == 0 else f"é{i % 13}" for i in range(1000)]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        options: Any
        for options in ({}, {"use_dictionary": False}, {"dictionary_pagesize_limit": 20}):
            content = pa.table({"x": pa.array(texts, pa.string()).cast(kind)})
            pq.write_table(content, path, row_group_size=100, data_page_size=50, **options)
            found = read_table(path)["x"]
            assert [None if pd.isna(x) else x for x in found] == texts
    pq.write_table(content.slice(0, 0), path)
    assert read_table(path).columns.tolist() == ["x"]
