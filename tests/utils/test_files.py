"""A file is the old one or the new one, never something between."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinfold.errors import UsageError
from twinfold.utils.files import atomic_path, atomic_write_bytes, atomic_write_text


def test_writes_and_makes_directories(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "note.txt"
    atomic_write_text(file, "größe")
    assert file.read_bytes() == "größe".encode()
    atomic_write_bytes(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupt_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "note.txt"
    file.write_text("old")

    def write_half() -> None:
        with atomic_path(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        atomic_write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write"):
        atomic_write_text(tmp_path / "file" / "below", "x")
