"""Reading and writing tables and panels: CSV, Parquet, and the manifest beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from twinfold.data.action_kinds import with_guessed_kinds, without_kinds
from twinfold.data.csv_file import CsvFile, write_csv
from twinfold.data.expression_value import with_expressions
from twinfold.data.manifest import Manifest, StrPath, manifest_path, read_manifest
from twinfold.data.panel import PanelDataset
from twinfold.data.parquet_file import ParquetFile
from twinfold.data.parquet_folder import ParquetFolder
from twinfold.data.roles import Roles
from twinfold.data.table_format import TableFormat, settle_frame
from twinfold.data.table_size import check_size, too_large
from twinfold.data.text_source import PACKED, unpacked_name
from twinfold.data.time_step import TIME_STEPS
from twinfold.data.validate import column_problems
from twinfold.errors import InvalidDataError, UsageError, one_of
from twinfold.utils.files import atomic_path, atomic_paths
from twinfold.utils.reading import regular_size

TableFile = CsvFile | ParquetFile | ParquetFolder
Form = TableFormat | Mapping[str, Any] | None

_TEXT = (".csv", ".tsv")
_PARQUET = (".parquet", ".pq")
_EPISODES = (".hdf5", ".h5")
TABLE_SUFFIXES = _TEXT + _PARQUET
"""Of the tables that are written; text is also read compressed, and Parquet from a folder."""


def read_table(
    path: StrPath,
    ids: Sequence[str] = (),
    used: Sequence[str] | None = None,
    *,
    form: Form = None,
    time: str | None = None,
) -> pd.DataFrame:
    """Read a CSV or Parquet file, or a folder of Parquet files.

    A CSV column becomes integers, floats or booleans only if every value is one and no digit is
    lost: ``007`` and 20-digit codes stay text. In the ``ids`` columns only integers written the
    plain way become numbers (``1.0``, ``1e5`` and ``NA`` stay text), and only blanks are missing.
    Separators other than the comma are recognised by the header (semicolon, tab).

    Args:
        path: a ``.csv`` or ``.tsv`` file, as it is or compressed (``.csv.gz``, ``.csv.zst``); a
            ``.parquet`` or ``.pq`` file; or a folder of these.
        ids: columns that hold ids, if known.
        used: columns to read; the others may hold anything. All are read when None, or if one of
            them is missing, so that it can be told from what there is.
        form: how values are written, if not the plain way.
        time: the column of times, which may have a form of its own.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        InvalidDataError: the file is empty or damaged.
    """
    parsed = TableFormat.parse(form)
    return settle_frame(_frame(open_table(path, parsed), ids, used), tuple(ids), parsed, time)


def column_names(path: StrPath, form: Form = None) -> list[str]:
    """Return the names of a table's columns, as written.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        InvalidDataError: the file is empty or damaged.
    """
    return open_table(path, TableFormat.parse(form), names_only=True).names


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


def load_panel(
    path: StrPath,
    roles: Roles | Mapping[str, Any] | None = None,
    *,
    form: Form = None,
    time_step: float | str | pd.Timedelta | None = None,
) -> PanelDataset:
    """Read a table and check it.

    Args:
        path: a CSV or Parquet file, or a folder of Parquet files.
        roles: which column is what; taken from the manifest beside the table when None. A mapping
            without an agent changes what the manifest says; one without an action type takes it
            from the values, and a warning says so.
        time_step: as ``PanelDataset.from_frame``; the manifest's when None.
        form: how its values are written; a mapping changes what the manifest says of it.

    Raises:
        UsageError: there is no such file, or neither roles nor a manifest; or the time step does
            not fit the times.
        InvalidDataError: the table or the manifest cannot be used; one problem per line.
    """
    read = read_with_roles(path, roles, form)
    panel = _panel_of(path, read, time_step)
    return replace(panel, warnings=(*read.guessed, *panel.warnings))


def _panel_of(path: StrPath, read: TableRead, time_step: Any) -> PanelDataset:
    """Return the panel of a table that was read, with the time step given or the manifest's."""
    steady = read.time_step not in (None, *TIME_STEPS)
    if time_step is not None and not (steady and time_step == "regular"):
        return PanelDataset.from_frame(read.frame, read.roles, time_step=time_step, form=read.form)
    try:
        return PanelDataset.from_frame(
            read.frame, read.roles, time_step=read.time_step, form=read.form
        )
    except UsageError as error:  # its time step, the only thing not checked yet
        if read.manifest is None:
            raise
        raise InvalidDataError(f"{manifest_path(path)}: {error}") from None


class TableRead(NamedTuple):
    """What ``load_panel`` starts with.

    Attributes:
        frame: the table.
        roles: which column is what.
        form: how its values are written.
        manifest: what roles and format came from, if from a manifest.
        guessed: a line for every action column of which it was told what kind it is.
    """

    frame: pd.DataFrame
    roles: Roles
    form: TableFormat
    manifest: Manifest | None
    guessed: tuple[str, ...] = ()

    @property
    def time_step(self) -> float | str | None:
        """The manifest's."""
        return None if self.manifest is None else self.manifest.time_step


def read_with_roles(
    path: StrPath, roles: Roles | Mapping[str, Any] | None = None, form: Form = None
) -> TableRead:
    """The table, its roles and format, and the manifest these came from; see ``load_panel``.

    Raises:
        UsageError: there is no such file, or neither roles nor a manifest.
        InvalidDataError: the file is damaged, or lacks a column that has a role.
    """
    changed = isinstance(roles, Mapping) and "agent" not in roles
    manifest = read_manifest(path) if roles is None or changed else None
    parsed_form = told_format(manifest, form)
    opened = open_table(path, parsed_form)
    if roles is None and manifest is None:
        raise UsageError("\n".join([*_layout(opened), _no_roles(Path(path), opened.names)]))
    guess = manifest is None and without_kinds(roles)
    if guess and isinstance(roles, Mapping):
        roles = {**roles, "action_type": "continuous"}  # until the values are read
    given = Roles.parse(roles or {}) if manifest is None else _changed(manifest.roles, roles)
    try:
        parsed = with_expressions(given, opened.names)
    except UsageError as error:
        raise InvalidDataError(f"{Path(path).name}: {error}") from None
    problems = list(column_problems(opened.names, parsed))
    if problems and manifest:
        name = manifest_path(path).name
        problems = [f"{name} does not match {Path(path).name}: {problem}" for problem in problems]
    if problems:
        raise InvalidDataError([*_layout(opened), *problems])
    ids = [name for name in (parsed.agent, parsed.episode) if name is not None]
    frame = _frame(opened, ids, parsed.columns)
    parsed, guessed = with_guessed_kinds(parsed, frame, parsed_form) if guess else (parsed, [])
    return TableRead(frame, parsed, parsed_form, manifest, tuple(guessed))


def _changed(roles: Roles, changes: Any) -> Roles:
    return Roles.parse({**roles.model_dump(), **(changes or {})})


def told_format(manifest: Manifest | None, form: Form) -> TableFormat:
    """Return a format: the manifest's, or the plain one, with what is said besides."""
    if isinstance(form, TableFormat):
        return form
    beside = {} if manifest is None else manifest.table_format.given()
    return TableFormat.parse({**beside, **(form or {})})


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
    text = manifest.text()
    suffix, table = _kind(Path(path)), _arrow_table(dataset.to_frame(), Path(path))
    with atomic_paths(path, manifest_path(path)) as (file, beside):
        _write(table, file, suffix)
        beside.write_text(text, encoding="utf-8")


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        named = f"suffix {suffix!r}" if suffix else "no suffix"
        hint = "; `twinfold data import` makes a table of it" if suffix in _EPISODES else ""
        raise UsageError(f"{file} has {named}; {one_of(TABLE_SUFFIXES)}{hint}")
    return suffix


def _kind_to_read(file: Path) -> str:
    """A table's suffix, without that of its compression."""
    name = unpacked_name(file)
    if name != file and name.suffix.lower() not in _TEXT:
        pairs = [text + packed for text in _TEXT for packed in PACKED]
        raise UsageError(f"{file}: of compressed files text alone is read; {one_of(pairs)}")
    return _kind(name)


def open_table(path: StrPath, form: TableFormat, names_only: bool = False) -> TableFile:
    """A table's file, of which the names of the columns are read, and nothing else if so asked."""
    file = Path(path)
    if os.path.isdir(file):  # False of a name that is too long
        return ParquetFolder.open(file, _PARQUET)
    suffix = _kind_to_read(file)
    size = regular_size(file, UsageError, f"give a {' or '.join(TABLE_SUFFIXES)} file")
    separator = "\t" if suffix == ".tsv" else None
    try:
        if suffix in _PARQUET:
            return ParquetFile.open(file)
        if names_only:
            return CsvFile.head(file, separator, form)
        check_size(file, size)
        return CsvFile.open(file, separator, form)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {file}: {reason}") from None
    except MemoryError:
        raise InvalidDataError(too_large(file)) from None


def _layout(opened: TableFile) -> list[str]:
    """What looks odd in how a text file is laid out, where its columns are not those expected."""
    advice = opened.layout_advice if isinstance(opened, CsvFile) else ""
    return [f"{opened.file}: {advice}"] if advice else []


def _frame(opened: TableFile, ids: Sequence[str], used: Sequence[str] | None) -> Any:
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


def _no_roles(file: Path, names: Sequence[str]) -> str:
    columns = ", ".join(map(repr, names))
    return (
        f"{file} has no manifest ({manifest_path(file).name}); `twinfold data import` guesses one; "
        "or say which column is what: "
        "--agent, --time, --state a,b,c, --action x, --action-type discrete|continuous, and if "
        f"there are such columns --episode, --reward, --terminated, --truncated. "
        f"The table's columns: {columns}"
    )
