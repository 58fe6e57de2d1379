"""Reading and writing tables and panels: CSV, Parquet, and the manifest beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.data.csv_file import CsvFile, write_csv
from twinfold.data.panel import PanelDataset
from twinfold.data.parquet_file import ParquetFile
from twinfold.data.roles import Column, Roles
from twinfold.data.time_step import TIME_STEPS
from twinfold.data.table_size import check_size, too_large
from twinfold.data.validate import column_problems
from twinfold.errors import InvalidDataError, UsageError, one_of
from twinfold.utils.files import atomic_path, atomic_paths
from twinfold.utils.reading import READING, problem_lines, read_json, regular_size
from twinfold.utils.text import clipped

StrPath = str | os.PathLike[str]

_TEXT = (".csv", ".tsv")
_PARQUET = (".parquet", ".pq")
TABLE_SUFFIXES = _TEXT + _PARQUET


class Manifest(BaseModel):
    """The meaning of a table's columns, kept as JSON beside it.

    Attributes:
        roles: the column roles.
        time_step: time between two rows; a number, or a text such as ``0 days 01:00:00``.
        source: where the data came from; free form, never a model input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinfold-panel"] = "twinfold-panel"
    version: Literal[1] = 1
    roles: Roles
    time_step: Annotated[float, Field(strict=True)] | Column | None = None
    source: dict[str, Any] = Field(default_factory=dict)


def read_table(
    path: StrPath, ids: Sequence[str] = (), used: Sequence[str] | None = None
) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    A CSV column becomes integers, floats or booleans only if every value is one and no digit is
    lost: ``007`` and 20-digit codes stay text. In the ``ids`` columns only integers written the
    plain way become numbers (``1.0``, ``1e5`` and ``NA`` stay text), and only blanks are missing.
    Separators other than the comma are recognised by the header (semicolon, tab).

    Args:
        path: a ``.csv``, ``.tsv``, ``.parquet`` or ``.pq`` file.
        ids: columns that hold ids, if known.
        used: columns to read; the others may hold anything. All are read when None, or if one of
            them is missing, so that it can be told from what there is.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        InvalidDataError: the file is empty or damaged.
    """
    return _frame(_open(path), ids, used)


def column_names(path: StrPath) -> list[str]:
    """Return the names of a table's columns, as written.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        InvalidDataError: the file is empty or damaged.
    """
    return _open(path, names_only=True).names


def write_table(df: pd.DataFrame, path: StrPath) -> None:
    """Write a table (without its index) as CSV or Parquet, by suffix; never half a file.

    Raises:
        UsageError: the suffix is unknown or the place cannot be written to.
        InvalidDataError: a column mixes kinds of values that no file format keeps.
    """
    file = Path(path)
    suffix, table = _kind(file), _arrow_table(df, file)
    with atomic_path(file) as temporary:
        _write(table, temporary, suffix)


def manifest_path(path: StrPath) -> Path:
    """``cohort.parquet`` -> ``cohort.manifest.json``."""
    return Path(path).with_suffix(".manifest.json")


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


def load_panel(
    path: StrPath,
    roles: Roles | Mapping[str, Any] | None = None,
    time_step: float | str | pd.Timedelta | None = None,
) -> PanelDataset:
    """Read a table and check it.

    Args:
        path: a CSV or Parquet file.
        roles: which column is what; taken from the manifest beside the table when None.
        time_step: as ``PanelDataset.from_frame``; the manifest's when None.

    Raises:
        UsageError: there is no such file, or neither roles nor a manifest; or the time step does
            not fit the times.
        InvalidDataError: the table or the manifest cannot be used; one problem per line.
    """
    df, parsed, manifest = read_with_roles(path, roles)
    steady = manifest is not None and manifest.time_step not in (None, *TIME_STEPS)
    if manifest is None or (time_step is not None and not (steady and time_step == "regular")):
        return PanelDataset.from_frame(df, parsed, time_step=time_step)
    try:
        return PanelDataset.from_frame(df, parsed, time_step=manifest.time_step)
    except UsageError as error:  # its time step, the only thing not checked yet
        raise InvalidDataError(f"{manifest_path(path)}: {error}") from None


def read_with_roles(
    path: StrPath, roles: Roles | Mapping[str, Any] | None = None
) -> tuple[pd.DataFrame, Roles, Manifest | None]:
    """The table, its roles and the manifest these came from; what ``load_panel`` starts with.

    Raises:
        UsageError: there is no such file, or neither roles nor a manifest.
        InvalidDataError: the file is damaged, or lacks a column that has a role.
    """
    manifest = read_manifest(path) if roles is None else None
    opened = _open(path)
    if roles is None and manifest is None:
        raise UsageError("\n".join([*_layout(opened), _no_roles(Path(path), opened.names)]))
    parsed = manifest.roles if manifest else Roles.parse(roles or {})
    problems = list(column_problems(opened.names, parsed))
    if problems and manifest:
        name = manifest_path(path).name
        problems = [f"{name} does not match {Path(path).name}: {problem}" for problem in problems]
    if problems:
        raise InvalidDataError([*_layout(opened), *problems])
    ids = [name for name in (parsed.agent, parsed.episode) if name is not None]
    return _frame(opened, ids, parsed.columns), parsed, manifest


def save_panel(
    dataset: PanelDataset, path: StrPath, source: Mapping[str, Any] | None = None
) -> None:
    """Write a data set as a table with its manifest beside it.

    Args:
        dataset: what to write; agents that were left out are not in it.
        path: ``.parquet`` or ``.csv``.
        source: where the data came from; kept in the manifest.

    Raises:
        UsageError: the suffix is unknown or the place cannot be written to.
    """
    step: Any = "variable" if dataset.uneven else dataset.time_step
    manifest = Manifest(
        roles=dataset.roles,
        time_step=step if isinstance(step, int | float) else str(step),
        source=dict(source or {}),
    )
    text = json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False, default=_plain)
    suffix, table = _kind(Path(path)), _arrow_table(dataset.to_frame(), Path(path))
    with atomic_paths(path, manifest_path(path)) as (file, beside):
        _write(table, file, suffix)
        beside.write_text(text + "\n", encoding="utf-8")


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        named = f"suffix {suffix!r}" if suffix else "no suffix"
        raise UsageError(f"{file} has {named}; {one_of(TABLE_SUFFIXES)}")
    return suffix


def _open(path: StrPath, names_only: bool = False) -> CsvFile | ParquetFile:
    """A table's file, of which the names of the columns are read, and nothing else if so asked."""
    file = Path(path)
    suffix = _kind(file)
    size = regular_size(file, UsageError, f"give a {' or '.join(TABLE_SUFFIXES)} file")
    separator = "\t" if suffix == ".tsv" else None
    try:
        if suffix in _PARQUET:
            return ParquetFile.open(file)
        if names_only:
            return CsvFile.head(file, separator)
        check_size(file, size)
        return CsvFile.open(file, separator)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {file}: {reason}") from None
    except MemoryError:
        raise InvalidDataError(too_large(file)) from None


def _layout(opened: CsvFile | ParquetFile) -> list[str]:
    """What looks odd in how a text file is laid out, where its columns are not those expected."""
    advice = opened.layout_advice if isinstance(opened, CsvFile) else ""
    return [f"{opened.file}: {advice}"] if advice else []


def _frame(opened: CsvFile | ParquetFile, ids: Sequence[str], used: Sequence[str] | None) -> Any:
    """The columns of an opened table, unless they are more than the memory holds."""
    used = used if used is not None and set(used) <= set(opened.names) else None
    try:
        return opened.frame(ids, used)
    except MemoryError:
        raise InvalidDataError(too_large(opened.file)) from None


def _arrow_table(df: pd.DataFrame, file: Path) -> pa.Table:
    """Return a table as it goes to a file."""
    try:
        return pa.Table.from_pandas(df, preserve_index=False)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError) as error:
        raise InvalidDataError(f"cannot write {file}: {'; '.join(map(str, error.args))}") from None


def _write(table: pa.Table, file: Path, suffix: str) -> None:
    if suffix in _PARQUET:
        pq.write_table(table, str(file), write_page_checksum=True)
    else:
        write_csv(table, file, "\t" if suffix == ".tsv" else ",")


def _plain(value: Any) -> Any:
    """JSON form of NumPy values among provenance data."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _no_roles(file: Path, names: Sequence[str]) -> str:
    columns = ", ".join(map(repr, names))
    return (
        f"{file} has no manifest ({manifest_path(file).name}); say which column is what: "
        "--agent, --time, --state a,b,c, --action x, --action-type discrete|continuous, and if "
        f"there are such columns --episode, --reward, --terminated, --truncated. "
        f"The table's columns: {columns}"
    )
