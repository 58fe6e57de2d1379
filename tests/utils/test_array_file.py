"""Arrays and their record in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from twinfold.errors import RunError
from twinfold.utils.array_file import Arrays, load_arrays, save_arrays, under


class _Record(BaseModel):
    name: str
    sizes: tuple[int, ...]


def pair(record: _Record, arrays: Arrays) -> Any:
    return record, arrays


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = _Record(name="Größe", sizes=(2, 3))
    arrays = {"a.b": np.arange(6.0).reshape(2, 3).T, "a.c": np.zeros(0, np.float32)}
    path = tmp_path / "new" / "file"
    save_arrays(path, record, arrays)
    found, read = load_arrays(path, "thing", _Record, pair)
    assert found == record
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
    assert set(under(read, "a.")) == {"b", "c"}


@pytest.mark.parametrize("error", [KeyError("a"), ValueError("a\nb"), TypeError("a")])
def test_what_does_not_fit_is_one_line(error: Exception, tmp_path: Path) -> None:
    save_arrays(tmp_path / "file", _Record(name="", sizes=()), {})

    def build(record: _Record, arrays: Arrays) -> Any:
        raise error

    with pytest.raises(RunError, match=r"file holds no thing that can be read: .*a.?$") as caught:
        load_arrays(tmp_path / "file", "thing", _Record, build)
    assert "\n" not in str(caught.value)


def test_a_record_of_another_kind_is_told(tmp_path: Path) -> None:
    save_arrays(tmp_path / "file", _Record(name="", sizes=()), {})

    class Other(BaseModel):
        number: int

    with pytest.raises(RunError, match=r"file holds no thing that can be read: .*number"):
        load_arrays(tmp_path / "file", "thing", Other, lambda record, arrays: record)
