"""The manifest beside a table: which column is what, how its values are written, its time step."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.data.roles import Column, Roles
from twinfold.data.table_format import PLAIN, TableFormat
from twinfold.data.text_source import unpacked_name
from twinfold.errors import InvalidDataError, UsageError, one_of
from twinfold.utils.reading import READING, problem_lines, read_json
from twinfold.utils.text import clipped

StrPath = str | os.PathLike[str]


class Manifest(BaseModel):
    """The meaning of a table's columns, kept as JSON beside it.

    Attributes:
        roles: the column roles.
        table_format: how the table's values are written.
        time_step: time between two rows; a number, or a text such as ``0 days 01:00:00``.
        source: where the data came from; free form, never a model input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinfold-panel"] = "twinfold-panel"
    version: Literal[1] = 1
    roles: Roles
    table_format: TableFormat = PLAIN
    time_step: Annotated[float, Field(strict=True)] | Column | None = None
    source: dict[str, Any] = Field(default_factory=dict)

    def text(self) -> str:
        """Return the manifest as it is written; a plain format is not mentioned."""
        content = self.model_dump()
        content["table_format"] = self.table_format.given()
        if not content["table_format"]:
            del content["table_format"]
        return json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"


def manifest_path(path: StrPath) -> Path:
    """``cohort.parquet`` -> ``cohort.manifest.json``; of a folder beside it."""
    table = unpacked_name(Path(path))
    if os.path.isdir(table):
        return table.with_name(f"{table.name}.manifest.json")
    return table.with_suffix(".manifest.json")


def read_manifest(path: StrPath) -> Manifest | None:
    """The manifest beside a table, or None if there is none.

    Raises:
        InvalidDataError: it is damaged, of another kind or of a later version.
    """
    file = manifest_path(path)
    if not os.path.lexists(file):
        return None
    try:
        content = read_json(file, READING.record, InvalidDataError, READING.source_depth)
    except InvalidDataError as error:
        raise InvalidDataError(
            f"{error}; write it anew, or give the roles as flags and remove it"
        ) from None
    if not isinstance(content, dict) or content.get("format") != "twinfold-panel":
        raise InvalidDataError(
            f'{file} is no manifest of a panel: "format" must be "twinfold-panel"'
        )
    version = content.get("version")
    if type(version) is not int or version != 1:
        raise InvalidDataError(
            f"{file} has version {clipped(version)}, this twinfold reads version 1"
        )
    try:
        roles = Roles.parse(content.get("roles") or {})
        return Manifest.model_validate({**content, "roles": roles})
    except UsageError as error:
        raise InvalidDataError([f"{file}: {line}" for line in str(error).splitlines()]) from None
    except ValidationError as error:
        lines = problem_lines(error.errors(), lambda place: one_of(Manifest.model_fields))
        raise InvalidDataError([f"{file}: {line}" for line in lines]) from None


def _plain(value: Any) -> Any:
    """JSON form of NumPy values among provenance data."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
