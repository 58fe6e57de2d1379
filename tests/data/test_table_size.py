"""Tables that do not fit are refused before they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinfold.data import read_table
from twinfold.data.table_settings import TABLE
from twinfold.data.table_size import check_size
from twinfold.errors import InvalidDataError


def limit_to(monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    monkeypatch.setattr("twinfold.data.table_size.usable_memory", lambda: size)


def test_a_text_file_that_does_not_fit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n2\n3\n")
    limit_to(monkeypatch, TABLE.copies * 8)
    assert read_table(path)["x"].tolist() == [1, 2, 3]
    limit_to(monkeypatch, TABLE.copies * 8 - 1)
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(InvalidDataError) as error:
        read_table(path)
    assert str(error.value) == (
        f"{path} needs at least 32 bytes of memory, and this process may have 31 bytes; give it "
        "fewer rows or columns"
    )


def test_the_largest_column_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(monkeypatch, 10**6)
    check_size(Path("a.csv"), 250_000, {"x": 250_000})
    words = r"needs at least 1\.0 MB of memory, 800\.0 kB of it for column 'y', and .* 1\.0 MB;"
    with pytest.raises(InvalidDataError, match=words):
        check_size(Path("a.csv"), 250_001, {"x": 50_001, "y": 200_000})


def test_where_the_limit_is_not_known_all_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(monkeypatch, None)
    check_size(Path("a.csv"), 10**30)
