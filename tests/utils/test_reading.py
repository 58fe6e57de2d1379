"""Only regular files of a bounded size are read, and only what is strictly JSON or TOML."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinfold.errors import InvalidDataError, RunError, UsageError
from twinfold.utils.reading import READING, parse_json, read_json, read_regular, read_toml

PLACES: dict[str, Callable[[Path], Any]] = {
    "it is a directory": Path.mkdir,
    "it is a pipe": os.mkfifo,
    "it is a device": lambda path: path.symlink_to("/dev/zero"),
    "No such file": lambda path: path.symlink_to("gone"),
    "symbolic links": lambda path: path.symlink_to(path.name),
    r"it has 4294967296 bytes, and at most \d+ are read": lambda path: (
        path.write_bytes(b""),
        os.truncate(path, 2**32),
    ),
}


@pytest.mark.parametrize("read", [lambda p, f: read_json(p, READING.record, f), read_toml])
@pytest.mark.parametrize("told", [*PLACES])
@pytest.mark.parametrize("fault", [UsageError, RunError, InvalidDataError])
def test_what_is_no_readable_file_is_named(
    tmp_path: Path, read: Any, told: str, fault: Any
) -> None:
    path = tmp_path / "file"
    PLACES[told](path)
    with pytest.raises(fault, match=f"cannot read {path}: .*{told}"):
        read(path, fault)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 5, UsageError) == b"12345"
    with pytest.raises(UsageError, match="it has 5 bytes, and at most 4 are read"):
        read_regular(tmp_path / "link", 4, UsageError)


def test_a_file_that_does_not_tell_its_size_is_limited_too() -> None:
    with pytest.raises(UsageError, match="it has more than the 3 bytes that are read"):
        read_regular("/proc/self/status", 3, UsageError)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_a_path_that_cannot_be(path: str) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_regular(path, 5, UsageError)


@pytest.mark.parametrize("data", [b'{"a": [1, 2.5, null, "\xc3\xa9"]}', b'\xef\xbb\xbf{"a": 1}'])
def test_json_is_read_with_or_without_a_mark(data: bytes) -> None:
    assert parse_json(data, "x", UsageError)["a"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is no valid JSON"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e400]", "the number '1e400' is too large"),
        (b"1" + b"0" * 400, "the number .* is too large"),
        (b"1" * 5000, "it is no valid JSON"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' is given twice"),
        (b"[" * 100_000, "nested in each other"),
        (b"[" * 100_000 + b"]" * 100_000, "nested in each other"),
        (b"[" * 33 + b"]" * 33, "more than 32 lists and tables are nested"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "more than 32 lists and tables are nested"),
        (b'"\\ud800"', "surrogates not allowed"),
        ('{"a": 1}'.encode("utf-16"), "'utf-8' codec can't decode"),
        (b'{"a": 1} x', "Extra data"),
    ],
)
def test_json_that_is_none_is_refused_in_one_line(data: bytes, told: str) -> None:
    with pytest.raises(RunError, match=f"cannot read here: .*{told}") as caught:
        parse_json(data, "here", RunError)
    assert len(str(caught.value)) < 170
    assert "\n" not in str(caught.value)


def test_nesting_up_to_the_limit_is_read() -> None:
    assert parse_json(b"[" * 32 + b"]" * 32, "x", UsageError)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a = ", "it is no valid TOML"),
        (b"a = 1\na = 2", "it is no valid TOML"),
        (b"a = " + b"[" * 5000, "nested in each other"),
        (b".".join([b"a"] * 50) + b" = 1", "nested in each other"),
        (b"a = " + b"1" * 5000, "it is no valid TOML"),
        (b"\xff", "'utf-8' codec can't decode"),
    ],
)
def test_toml_that_is_none_is_refused_in_one_line(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "a.toml").write_bytes(text)
    with pytest.raises(UsageError, match=f"cannot read .*a.toml: .*{told}") as caught:
        read_toml(tmp_path / "a.toml", UsageError)
    assert "\n" not in str(caught.value)


def test_toml_is_read_with_or_without_a_mark(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert read_toml(tmp_path / "a.toml", UsageError) == {"a": 1}
