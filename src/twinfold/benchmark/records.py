"""Records of what was measured: one JSON line per cell, appended as soon as it is known.

A line is on the disk before the next cell starts. What a kill left of a last line is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from twinfold.benchmark.suite_parts import Cell
from twinfold.errors import RunError, UsageError
from twinfold.utils.files import (
    append_line,
    atomic_write_text,
    locked_file,
    torn_line,
    write_errors,
)
from twinfold.utils.plain import plain
from twinfold.utils.reading import READING, parse_json, problem_lines, read_regular
from twinfold.utils.text import clipped, cut

FORMAT = "twinfold-bench"
VERSION = 1

Record = dict[str, Any]


class _Part(BaseModel):
    """Part of a record: what later steps read is checked, and more may be there."""

    model_config = ConfigDict(strict=True)


class _Settings(_Part):
    data: dict[str, Any] | None
    fit: dict[str, Any] | None
    plan: dict[str, Any] | None


class _LastFinite(_Part):
    rmse_mean: float | None = None
    mean: float | None = None
    steps: int | None = None
    episodes: int | None = None


class _Figures(_Part):
    values: list[float | None] | None = None
    diverged: bool = False
    last_finite: _LastFinite | None = None


class _Error(_Figures):
    rmse_mean: float | None
    r2_median: float | None = None
    rmse_low: float | None = None
    rmse_high: float | None = None


class _Return(_Figures):
    mean: float | None
    std: float | None = None
    n: int = 1


class _Trajectories(_Part):
    trajectories: int
    steps: int


class _Episodes(_Part):
    episodes: int


class _Seconds(_Part):
    fit: float | None
    evaluation: float


class _Line(_Part):
    twinfold: str
    date: str
    task: str
    dataset: str | None
    method: str
    planner: str | None
    agent: int
    repeat: Annotated[int, Field(ge=0)]
    n_agents: int | None = None
    error: str | None = None
    note: str | None = None
    settings: _Settings
    seconds: _Seconds
    device: str
    cores: int


class _Prediction(_Line):
    kind: Literal["prediction"]
    figures: _Error
    budget: _Trajectories


class _Planning(_Line):
    kind: Literal["return"]
    figures: _Return
    budget: _Episodes


_RECORD = TypeAdapter(Annotated[_Prediction | _Planning, Field(discriminator="kind")])


def cell_of(record: Record) -> Cell:
    """Return the cell that a record is of; an older record says no number of training agents."""
    known = (name for name in Cell._fields if name in record)
    return Cell(**{name: record[name] for name in known})


def read_records(path: Path) -> dict[Cell, Record]:
    """Return the records of a file by cell, the later one where a cell has two; {} without a file.

    Raises:
        UsageError: the file cannot be read.
        RunError: a line is damaged, or of another version of the format.
    """
    if not os.path.lexists(path):
        return {}
    data = read_regular(path, READING.records, UsageError)
    lines = data.split(b"\n")[:-1]  # after the last newline is nothing, or a torn line
    found: dict[Cell, Record] = {}
    for number, line in enumerate(lines, start=1):
        record = _parse(path, number, line)
        cell = cell_of(record)
        found.pop(cell, None)
        found[cell] = record
    return found


def _parse(path: Path, number: int, line: bytes) -> Record:
    where, remedy = (
        f"{path}, line {number}",
        "restore the file, or remove that line to measure anew",
    )
    try:
        record = parse_json(line, where, RunError)
    except RunError as error:
        raise RunError(f"{error}; {remedy}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunError(f"{where} is no record of a benchmark; {remedy}")
    version = record.get("version")
    if type(version) is not int or version != VERSION:
        writer = record.get("twinfold")
        which = cut(writer) if isinstance(writer, str) else "version"
        raise RunError(
            f"{where} has version {clipped(version)} of the record format, this twinfold reads "
            f"version {VERSION}; measure again into another file (--records), or use the twinfold "
            f"{which} that wrote it"
        )
    try:
        _RECORD.validate_python(record)
    except ValidationError as error:
        problem = next(problem_lines(error.errors(), str))
        raise RunError(f"{where} is no such record: {problem}; {remedy}") from None
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
