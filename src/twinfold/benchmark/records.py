"""Records of what was measured: one JSON line per cell, appended as soon as it is known.

A line is on the disk before the next cell starts. What a kill left of a last line is dropped.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twinfold.benchmark.suite import Cell
from twinfold.errors import RunError, UsageError
from twinfold.utils.files import (
    append_line,
    atomic_write_text,
    locked_file,
    torn_line,
    write_errors,
)

FORMAT = "twinfold-bench"
VERSION = 1

Record = dict[str, Any]


def cell_of(record: Record) -> Cell:
    """Return the cell that a record is of."""
    return Cell(*(record[name] for name in Cell._fields))


def read_records(path: Path) -> dict[Cell, Record]:
    """Return the records of a file by cell, the later one where a cell has two; {} without a file.

    Raises:
        RunError: a line is damaged, or of another version of the format.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    lines = data.split(b"\n")[:-1]  # after the last newline is nothing, or a torn line
    found: dict[Cell, Record] = {}
    for number, line in enumerate(lines, start=1):
        record = _parse(path, number, line)
        cell = cell_of(record)
        found.pop(cell, None)
        found[cell] = record
    return found


def _parse(path: Path, number: int, line: bytes) -> Record:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    where = f"{path}, line {number}"
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunError(
            f"{where} is no record of a benchmark; restore the file, or remove that line and its "
            "cell is measured again"
        )
    if record.get("version") != VERSION:
        raise RunError(
            f"{where} has version {record.get('version')} of the record format, this twinfold "
            f"reads version {VERSION}; measure again into another file (--records), or use the "
            f"twinfold {record.get('twinfold')} that wrote it"
        )
    missing = [name for name in (*Cell._fields, "settings", "figures") if name not in record]
    if missing:
        raise RunError(f"{where} has no {missing[0]!r}; remove that line to measure it again")
    return record


def append_record(path: Path, record: Record) -> None:
    """Add one record; it is on the disk when this returns.

    Raises:
        WriteError: the disk is full; the file is as it was.
        UsageError: the file cannot be written, or is somebody else's.
    """
    line = json.dumps(plain(record), ensure_ascii=False, allow_nan=False)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked_file(path) as file:
            _check_ours(path, torn_line(file))
            append_line(file, line)
            os.fsync(file)


def _check_ours(path: Path, torn: bytes) -> None:
    """Refuse to cut off a last line without an end that no killed process left."""
    begin = json.dumps({"format": FORMAT})[:-1].encode()
    if not torn.startswith(begin[: len(torn)]):
        raise UsageError(f"the last line of {path} is no record of a benchmark; give another file")


def compact(path: Path, order: Iterable[Cell]) -> None:
    """Rewrite a file in one go: one record per cell, in the order of the suite.

    Records of cells that ``order`` does not have stay, behind the others.
    """
    with write_errors(path), locked_file(path):
        records = read_records(path)
        ordered = [*(cell for cell in order if cell in records)]
        known = set(ordered)
        ordered += [cell for cell in records if cell not in known]
        lines = (json.dumps(records[cell], ensure_ascii=False) + "\n" for cell in ordered)
        atomic_write_text(path, "".join(lines))


def differences(
    recorded: Mapping[str, Any], wanted: Mapping[str, Any], default: Callable[[str], Any]
) -> list[str]:
    """Return settings of a record that differ from the wanted ones: ``fit.steps: 500, not 800``.

    A setting that a record does not know, because it is younger, counts as its default.

    Args:
        recorded: settings of a record, nested.
        wanted: settings asked for, nested.
        default: of a setting, by its dotted name.
    """
    old, new = dict(_flat(recorded)), dict(_flat(plain(wanted)))
    return [
        f"{name}: {json.dumps(before)}, not {json.dumps(new.get(name))}"
        for name in dict.fromkeys([*new, *old])
        if (before := old.get(name, default(name))) != new.get(name)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def plain(value: Any) -> Any:
    """Return plain JSON values; a number that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
