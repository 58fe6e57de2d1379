"""Reading files that anyone may have changed: regular ones of a bounded size, strictly parsed.

Every fault is one line that names the file. Callers say which error it is.
"""

from __future__ import annotations

import json
import math
import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinfold.errors import TwinfoldError
from twinfold.utils.text import and_more, clipped, cut

StrPath = str | os.PathLike[str]
Fault = Callable[[str], TwinfoldError]


@dataclass(frozen=True)
class ReadingLimits:
    """Numbers that decide which files are too large or too deep to be what they should be.

    Attributes:
        settings: bytes of a file of settings.
        record: bytes of a manifest, of the record of a run, or of a policy.
        records: bytes of a file of records.
        depth: levels of lists and tables in each other.
        source_depth: the same of a manifest, whose source becomes a part of the record of a run.
        problems: lines about the contents of one file.
        line: characters of what is wrong with one value.
    """

    settings: int = 2**18
    record: int = 2**26
    records: int = 2**28
    depth: int = 32
    source_depth: int = 16
    problems: int = 5
    line: int = 1000


READING = ReadingLimits()
"""Those of every file."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_regular(path: StrPath, limit: int, fault: Fault) -> bytes:
    """Return the contents of a regular file.

    Args:
        path: of the file; a link to one will do.
        limit: bytes that it may have.
        fault: makes the error from its message.

    Raises:
        TwinfoldError: it is missing, cannot be read, is no regular file, or is too large.
    """
    size = regular_size(path, fault)
    if size > limit:
        raise fault(f"cannot read {path}: it has {size} bytes, and at most {limit} are read")
    try:
        # Not blocking: whatever has taken the file's place since, nothing waits for it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise fault(f"cannot read {path}: {error.strerror}") from None
    if len(data) > limit:
        raise fault(f"cannot read {path}: it has more than the {limit} bytes that are read")
    return data


def regular_size(path: StrPath, fault: Fault, needed: str = "a regular file is needed") -> int:
    """Return the bytes of a regular file.

    Args:
        path: of the file; a link to one will do.
        fault: makes the error from its message.
        needed: end of the message about what is none.

    Raises:
        TwinfoldError: it is missing, cannot be looked at, or is no regular file.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise fault(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a null character in the path
        raise fault(f"cannot read {str(path)!r}: {error}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_it, name in _KINDS if is_it(found.st_mode)), "no file")
        raise fault(f"cannot read {path}: it is {kind}; {needed}")
    return found.st_size


def parse_json(data: bytes, where: str, fault: Fault, depth: int = READING.depth) -> Any:
    """Return strict JSON: no NaN, no number beyond a float, no name twice, not nested deeply.

    Args:
        data: UTF-8, with or without a byte order mark.
        where: what the message names.
        fault: makes the error from its message.
        depth: levels of lists and tables in each other that it may have.
    """
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=lambda text: _finite(text, float(text)),
            parse_int=lambda text: _finite(text, int(text)),
        )
        _check_depth(value, depth)
        if b"\\u" in data:  # half of a pair of surrogates can be neither printed nor written
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise fault(f"cannot read {where}: {_too_deep(depth)}") from None
    except ValueError as error:
        raise fault(f"cannot read {where}: it is no valid JSON ({cut(str(error), 120)})") from None
    return value


def read_json(path: StrPath, limit: int, fault: Fault, depth: int = READING.depth) -> Any:
    """Return what a file of JSON holds; see ``read_regular`` and ``parse_json``."""
    return parse_json(read_regular(path, limit, fault), str(path), fault, depth)


def read_toml(path: StrPath, fault: Fault) -> dict[str, Any]:
    """Return what a file of settings in TOML holds; see ``read_regular``."""
    data = read_regular(path, READING.settings, fault)
    try:
        values = tomllib.loads(data.decode("utf-8-sig"))
        _check_depth(values, READING.depth)
    except RecursionError:
        raise fault(f"cannot read {path}: {_too_deep(READING.depth)}") from None
    except ValueError as error:
        raise fault(f"cannot read {path}: it is no valid TOML ({cut(str(error), 120)})") from None
    return values


def problem_lines(
    problems: Sequence[Mapping[str, Any]], valid: Callable[[tuple[int | str, ...]], str]
) -> Iterator[str]:
    """Yield one line for each of the first problems of settings, with the bad value cut short.

    Args:
        problems: what pydantic found.
        valid: the end of the line about an unknown name at a place.
    """
    for item in problems[: READING.problems]:
        where = clipped(".".join(str(part) for part in item["loc"]))
        text = cut(item["msg"].removeprefix("Value error, "), READING.line)
        if item["type"] == "extra_forbidden":
            yield f"unknown setting {where}; {valid(item['loc'])}"
        elif item["type"] == "missing":
            yield f"setting {where} is missing"
        elif item["loc"]:
            text = text[:1].lower() + text[1:]
            yield f"setting {where} cannot be {clipped(item['input'])}: {text}"
        else:
            yield text
    if len(problems) > READING.problems:
        yield f"these are the first problems{and_more(len(problems) - READING.problems)}"


def _too_deep(depth: int) -> str:
    return f"more than {depth} lists and tables are nested in each other"


def _check_depth(value: Any, depth: int) -> None:
    """Raise RecursionError for what later code could not walk through."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        inner = (part.values() if isinstance(part, dict) else part for part in level)
        level = [item for part in inner for item in part if isinstance(item, dict | list)]
    if level:
        raise RecursionError


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{clipped(name)} is given twice")
        found[name] = value
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str, value: float) -> float:
    """Return a number that a float can hold."""
    try:
        if math.isfinite(value):
            return value
    except OverflowError:  # an integer
        pass
    raise ValueError(f"the number {clipped(text, 20)} is too large")
