"""Records of studies: one JSON line per run of a study, on the disk before the next begins."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinfold import __version__
from twinfold.benchmark.studies.study_schema import problem_of
from twinfold.errors import RunError, UsageError
from twinfold.utils.files import append_line, locked_file, torn_line, write_errors
from twinfold.utils.plain import plain
from twinfold.utils.reading import READING, parse_json, read_regular

FORMAT = "twinfold-study"
VERSION = 1

Record = dict[str, Any]

_REMEDY = "restore the file, or remove that line to measure anew"


def study_records_path(folder: Path, study: str, profile: str) -> Path:
    """Return where the records of a study are kept.

    Args:
        folder: of all records.
        study: its name.
        profile: how much was measured.
    """
    return folder / f"study-{study}-{profile}.jsonl"


def study_record(
    study: str, identity: Mapping[str, Any], settings: Any, figures: Mapping[str, Any]
) -> Record:
    """Return a record: what was measured, of what, with which settings.

    Args:
        study: its name.
        identity: what tells it from other records of the study: task, data, method, rank, ...
        settings: of the study.
        figures: what was found.
    """
    return plain(
        {
            "format": FORMAT,
            "version": VERSION,
            "study": study,
            **identity,
            "twinfold": __version__,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "settings": recorded(settings),
            **figures,
        }
    )


def recorded(settings: Any) -> Record:
    """Return the settings of a study that its figures depend on, as plain values.

    Which other records there are changes no figure of one.
    """
    return json.loads(settings.model_dump_json(exclude=set(settings.axes)))


def read_studies(path: Path) -> list[Record]:
    """Return the records of a file, the oldest first; none without a file.

    Raises:
        UsageError: the file cannot be read.
        RunError: a line is damaged, or no record of a study.
    """
    if not os.path.lexists(path):
        return []
    lines = read_regular(path, READING.records, UsageError).split(b"\n")[:-1]
    return [_parse(path, number, line) for number, line in enumerate(lines, start=1)]


def _parse(path: Path, number: int, line: bytes) -> Record:
    where = f"{path}, line {number}"
    record = parse_json(line, where, RunError)
    ours = isinstance(record, dict) and (record.get("format"), record.get("version")) == (
        FORMAT,
        VERSION,
    )
    if not ours or not isinstance(record.get("study"), str):
        raise RunError(f"{where} is no record of a study; {_REMEDY}")
    if problem := problem_of(record["study"], record):
        raise RunError(f"{where} is no such record: {problem}; {_REMEDY}")
    return record


def append_study(path: Path, record: Record) -> None:
    """Add a record; it is on the disk when this returns.

    Raises:
        WriteError: the disk is full.
        UsageError: the file cannot be written, or its last line is somebody else's.
    """
    begin = json.dumps({"format": FORMAT})[:-1].encode()
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked_file(path) as file:
            torn = torn_line(file)
            if not torn.startswith(begin[: len(torn)]):
                raise UsageError(f"the last line of {path} is no record of a study")
            append_line(file, json.dumps(record, ensure_ascii=False, allow_nan=False))
            os.fsync(file)


def find_study(records: list[Record], settings: Any, **identity: Any) -> Record | None:
    """Return the latest record of a run with these settings; None if there is none.

    Args:
        records: of a file.
        settings: of the study.
        identity: what the record must say of itself.
    """
    wanted = recorded(settings).items()
    same = [
        record
        for record in records
        if identity.items() <= record.items() and wanted <= record["settings"].items()
    ]
    return same[-1] if same else None


IDENTITY = ("task", "dataset", "agent", "rank")
"""What tells records of a study apart, as far as a study has it."""


def latest_records(records: list[Record]) -> list[Record]:
    """Return the latest record of each run, whatever its settings, in the order of the first ones.

    Args:
        records: of one study.
    """
    found: dict[tuple[Any, ...], Record] = {}
    for record in records:
        found[tuple(record.get(name) for name in IDENTITY)] = record
    return list(found.values())
