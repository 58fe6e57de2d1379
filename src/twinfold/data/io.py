"""Reading and writing tables and panels: CSV, Parquet, and the manifest beside them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.data.columns import NULL_TEXTS
from twinfold.data.issues import LINE_KEY
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Column, Roles
from twinfold.data.validate import column_problems
from twinfold.errors import InvalidDataError, UsageError, one_of
from twinfold.utils.files import atomic_path, atomic_paths
from twinfold.utils.reading import READING, problem_lines, read_json
from twinfold.utils.text import clipped

pc: Any = pyarrow.compute  # its functions are made at run time; checkers see none

StrPath = str | os.PathLike[str]

_TEXT = (".csv", ".tsv")
_PARQUET = (".parquet", ".pq")
_BLANKS = pa.array(sorted({form(t) for t in NULL_TEXTS for form in (str, str.upper, str.title)}
                          | {"NaN", "-NaN", "NaT"}))  # fmt: skip
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_LARGEST = 2**53  # integers beyond are not exact as floats
_NOT_A_QUANTITY = r"^[+-]?(0\d+|\d{16,})$"  # 007, 20261122093000123: numbers would lose digits


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


def read_table(path: StrPath, ids: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    A CSV column becomes integers, floats or booleans only if every value is one and no digit is
    lost: ``007`` and 20-digit codes stay text. In the ``ids`` columns only integers written the
    plain way become numbers (``1.0``, ``1e5`` and ``NA`` stay text), and only blanks are missing.
    Separators other than the comma are recognised by the header (semicolon, tab).

    Args:
        path: a ``.csv``, ``.tsv``, ``.parquet`` or ``.pq`` file.
        ids: columns that hold ids, if known.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        InvalidDataError: the file is empty or damaged.
    """
    file = Path(path)
    suffix = _kind(file)
    if not file.exists():
        raise UsageError(f"no such file: {file}")
    if file.is_dir():
        raise UsageError(f"{file} is a directory; give one {' or '.join(_TEXT + _PARQUET)} file")
    try:
        if suffix in _PARQUET:
            return _read_parquet(file)
        return _read_csv(file, suffix, ids)
    except PermissionError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None


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
        lines = problem_lines(error, lambda place: one_of(Manifest.model_fields))
        raise InvalidDataError([f"{file}: {line}" for line in lines]) from None


def load_panel(path: StrPath, roles: Roles | Mapping[str, Any] | None = None) -> PanelDataset:
    """Read a table and check it.

    Args:
        path: a CSV or Parquet file.
        roles: which column is what; taken from the manifest beside the table when None.

    Raises:
        UsageError: there is no such file, or neither roles nor a manifest.
        InvalidDataError: the table or the manifest cannot be used; one problem per line.
    """
    df, parsed, manifest = read_with_roles(path, roles)
    if manifest is None:
        return PanelDataset.from_frame(df, parsed)
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
        InvalidDataError: the file is damaged, or the manifest does not match the table.
    """
    manifest = read_manifest(path) if roles is None else None
    if roles is None and manifest is None:
        raise UsageError(_no_roles(Path(path), read_table(path)))
    parsed = manifest.roles if manifest else Roles.parse(roles or {})
    df = read_table(path, [name for name in (parsed.agent, parsed.episode) if name is not None])
    problems = list(column_problems(df, parsed)) if manifest else []
    if problems:
        name = manifest_path(path).name
        raise InvalidDataError(
            [f"{name} does not match {Path(path).name}: {problem}" for problem in problems]
        )
    return df, parsed, manifest


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
    step = dataset.time_step
    manifest = Manifest(
        roles=dataset.roles,
        time_step=str(step) if isinstance(step, pd.Timedelta) else float(step),
        source=dict(source or {}),
    )
    text = json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False, default=_plain)
    suffix, table = _kind(Path(path)), _arrow_table(dataset.to_frame(), Path(path))
    with atomic_paths(path, manifest_path(path)) as (file, beside):
        _write(table, file, suffix)
        beside.write_text(text + "\n", encoding="utf-8")


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in _TEXT + _PARQUET:
        named = f"suffix {suffix!r}" if suffix else "no suffix"
        raise UsageError(f"{file} has {named}; {one_of(_TEXT + _PARQUET)}")
    return suffix


def _read_parquet(file: Path) -> pd.DataFrame:
    if not file.stat().st_size:
        raise InvalidDataError(f"{file} is empty (0 bytes)")
    try:
        df = pd.read_parquet(file, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidDataError(f"{file} is no readable Parquet file: {first}") from None
    df.attrs.clear()
    named = [name for name in df.index.names if name is not None and name not in df.columns]
    return df.reset_index(level=named) if named else df


def _read_csv(file: Path, suffix: str, ids: Sequence[str]) -> pd.DataFrame:
    data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise InvalidDataError(f"{file} is empty: it has no header and no rows")
    header, separator = _read_header(file, data, suffix)
    try:
        table = pacsv.read_csv(
            io.BytesIO(data),
            read_options=pacsv.ReadOptions(column_names=None),
            parse_options=pacsv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in header}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        message = str(error).removeprefix("CSV parse error: ").splitlines()[0]
        raise InvalidDataError(f"{file} is no regular CSV: {message}") from None
    columns = [
        _as_ids(column) if name in ids else _as_values(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    df = pa.table(columns, names=table.column_names).to_pandas()
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if lines == len(df) + 1:  # neither blank lines nor line breaks within values
        df.attrs[LINE_KEY] = [2, len(df)]
    return df


def _read_header(file: Path, data: bytes, suffix: str) -> tuple[list[str], str]:
    """Column names, and the separator: the comma unless the header has none of them."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidDataError(
            f"{file} is not UTF-8 text (line {line}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InvalidDataError(f"{file} holds binary data, not text")
    first = next(line for line in text.splitlines() if line.strip())
    separator = "\t" if suffix == ".tsv" else ","
    if separator not in first:
        separator = max(";\t", key=first.count) if any(s in first for s in ";\t") else separator
    start = text.index(first)
    header = next(csv.reader(io.StringIO(text[start : start + 1_000_000]), delimiter=separator))
    return header, separator


def _as_ids(column: Any) -> Any:
    """Integers if every id is written as one, else text; blanks are missing."""
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    whole = _as_integers(column)
    return column if whole is None else whole


def _as_values(column: Any) -> Any:
    """Integers, floats or booleans if every value is one, else text."""
    values = pc.if_else(pc.is_in(column, value_set=_BLANKS), pa.scalar(None, pa.string()), column)
    if values.null_count == len(values):
        return values.cast(pa.float64())
    whole = _as_integers(values)
    if whole is not None:
        return whole
    if not pc.any(pc.match_substring_regex(values, _NOT_A_QUANTITY)).as_py():
        try:
            return values.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    if pc.all(pc.is_in(values.drop_null(), value_set=pa.array(list(_BOOLS)))).as_py():
        true = pc.is_in(values, value_set=pa.array([t for t, v in _BOOLS.items() if v]))
        return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), true)
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _as_integers(column: Any) -> Any | None:
    """The column as integers, if no digit is lost by it, in pandas' floats with blanks neither."""
    try:
        whole = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.equal(whole.cast(pa.string()), column)).as_py():
        return None
    ends = pc.min_max(whole).as_py()
    if whole.null_count and not (
        ends["min"] is not None and -_LARGEST < ends["min"] <= ends["max"] < _LARGEST
    ):
        return None
    return whole


def _arrow_table(df: pd.DataFrame, file: Path) -> pa.Table:
    """Return a table as it goes to a file."""
    try:
        return pa.Table.from_pandas(df, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidDataError(f"cannot write {file}: {'; '.join(map(str, error.args))}") from None


def _write(table: pa.Table, file: Path, suffix: str) -> None:
    if suffix in _PARQUET:
        pq.write_table(table, str(file))
    else:
        _write_csv(table, file, "\t" if suffix == ".tsv" else ",")


def _write_csv(table: pa.Table, file: Path, separator: str) -> None:
    """Write with as few quotes as possible; dates as short, and floats as exact, as can be."""
    for i, column in enumerate(table.columns):
        name = table.column_names[i]
        if pa.types.is_timestamp(column.type):
            table = table.set_column(i, name, _shortest_dates(column))
        elif pa.types.is_duration(column.type):
            text = pa.array(column.to_pandas().astype(str), pa.string())
            table = table.set_column(i, name, text)
    header = io.StringIO()
    csv.writer(header, delimiter=separator, lineterminator="\n").writerow(table.column_names)
    for quoting in ("none", "needed"):
        with file.open("wb") as target:
            target.write(header.getvalue().encode("utf-8"))
            options = pacsv.WriteOptions(
                include_header=False, delimiter=separator, quoting_style=quoting
            )
            try:
                pacsv.write_csv(table, target, options)
                return
            except pa.ArrowInvalid:  # a text holds a separator, quote or line break
                if quoting == "needed":
                    raise


def _shortest_dates(column: Any) -> Any:
    """Dates in the coarsest unit that keeps them exact."""
    for unit in ("s", "ms", "us"):
        try:
            return column.cast(pa.timestamp(unit, column.type.tz))
        except pa.ArrowInvalid:
            continue
    return column


def _plain(value: Any) -> Any:
    """JSON form of NumPy values among provenance data."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _no_roles(file: Path, df: pd.DataFrame) -> str:
    columns = ", ".join(repr(str(name)) for name in df.columns)
    return (
        f"{file} has no manifest ({manifest_path(file).name}); say which column is what: "
        "--agent, --time, --state a,b,c, --action x, --action-type discrete|continuous, and if "
        f"there are such columns --episode, --reward, --terminated, --truncated. "
        f"The table's columns: {columns}"
    )
