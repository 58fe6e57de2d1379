"""Parquet files: their columns as a frame.

The Arrow columns alone are read. What pandas or others wrote about them is passed over: it says
nothing that the columns do not, and where it is damaged they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from twinfold.data.arrow_columns import as_series
from twinfold.data.table_settings import TABLE
from twinfold.data.table_size import check_size
from twinfold.errors import InvalidDataError
from twinfold.utils.text import cut

pc: Any = pyarrow.compute  # its functions are made at run time; checkers see none

_REFUSED = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError)
_EXTENSION = b"ARROW:extension:name"


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file that is read up to its columns' names.

    Attributes:
        file: where it is.
        names: of its columns.
        rows: their number.
        source: the opened file.
    """

    file: Path
    names: list[str]
    rows: int
    source: Any

    @classmethod
    def open(cls, file: Path) -> ParquetFile:
        """Read the names.

        Raises:
            InvalidDataError: the file is empty or damaged.
        """
        if not file.stat().st_size:
            raise InvalidDataError(f"{file} is empty (0 bytes)")
        try:
            source = pq.ParquetFile(file, page_checksum_verification=True)
            if any(_EXTENSION in (field.metadata or {}) for field in source.schema_arrow):
                pa.array(pd.array([], "period[D]"))  # from here on Arrow knows the types of pandas
                source = pq.ParquetFile(file, page_checksum_verification=True)
            return cls(file, list(source.schema_arrow.names), source.metadata.num_rows, source)
        except PermissionError:
            raise
        except _REFUSED as error:
            raise InvalidDataError(_damaged(file, error)) from None

    def frame(self, ids: Sequence[str] = (), used: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the columns ``used``, all when None.

        Args:
            ids: passed over: columns have types already.
            used: names of the columns to read; those that the file lacks are passed over.

        Raises:
            InvalidDataError: a column is damaged or of a type that cannot be read.
        """
        del ids
        chosen = [name for name in self.names if used is None or name in used]
        sizes = self._sizes({*chosen})
        check_size(self.file, sum(sizes.values()), sizes)
        try:
            table = pa.concat_tables(self._parts(chosen, None if used is None else chosen))
        except MemoryError:  # which is Arrow's own error too
            raise
        except _REFUSED as error:
            raise InvalidDataError(_damaged(self.file, error)) from None
        kept = [
            (name, column)
            for name, column in zip(table.column_names, table.columns, strict=True)
            if used is None or name in used  # a nested column may bring others along
        ]
        columns = {i: self._series(name, column) for i, (name, column) in enumerate(kept)}
        df = pd.DataFrame(columns, index=range(table.num_rows))
        df.columns = [name for name, _ in kept]
        return df

    def _sizes(self, names: set[str]) -> dict[str, int]:
        """Return the bytes that columns take in memory, at the least, by what the file says."""
        said, kinds = self.source.metadata, self.source.schema_arrow
        sizes: dict[str, int] = {}
        for kind in kinds:
            if kind.name in names:  # of two columns with the same name, both
                sizes[kind.name] = sizes.get(kind.name, 0) + self.rows * _width(kind.type)
        for i in range(said.num_columns):
            path = said.schema.column(i).path
            name = path if path in names else path.partition(".")[0]
            if name in sizes:
                parts = (said.row_group(j).column(i) for j in range(said.num_row_groups))
                sizes[name] += sum(max(0, part.total_uncompressed_size) for part in parts)
        return sizes

    def _parts(self, names: Sequence[str], read: Sequence[str] | None) -> Iterator[pa.Table]:
        """Yield the rows, some at a time, while they fit: the file may say less than it holds.

        Texts come as a dictionary and places in it, as most are written: a few bytes of a file may
        stand for any number of long ones.
        """
        fields = list(self.source.schema_arrow)
        source = pq.ParquetFile(
            self.file,
            page_checksum_verification=True,
            read_dictionary=[f.name for f in fields if f.name in names and _is_text(f.type)],
        )
        yield (
            source.schema_arrow.empty_table() if read is None else source.read_row_groups([], read)
        )
        size = 0
        for groups in _some_at_a_time(source.metadata):
            part = source.read_row_groups(groups, read)
            size += part.nbytes
            check_size(self.file, size)
            yield part

    def _series(self, name: str, column: Any) -> pd.Series:
        """A column as pandas holds it, without loss: integers stay integers beside missing ones."""
        try:
            column.validate(full=True)
            if pa.types.is_dictionary(column.type):
                size = sum(_size_as_text(chunk) for chunk in column.chunks)
                check_size(self.file, size, {name: size})
                column = _spelled_out(column)
            return as_series(column)
        except MemoryError:  # which is Arrow's own error too
            raise
        except _REFUSED as error:
            kind = next(field.type for field in self.source.schema_arrow if field.name == name)
            raise InvalidDataError(
                f"{self.file}: column {name!r} of type {_short(kind)} cannot be read: "
                f"{_short(error)}"
            ) from None


def _width(kind: Any) -> int:
    """Return the bytes of a value of a type; of one without a width, those of where it is."""
    if pa.types.is_dictionary(kind):
        return _width(kind.value_type)
    try:
        return max(8, kind.bit_width // 8)
    except ValueError:
        return 8


def _is_text(kind: Any) -> bool:
    """Return whether a type is one that is read as a dictionary."""
    tests = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)


def _size_as_text(part: Any) -> int:
    """Return the bytes that the texts of a dictionary take where each stands for itself."""
    if not _is_text(part.type.value_type):
        return len(part) * _width(part.type)
    lengths = pc.cast(pc.binary_length(part.dictionary), pa.int64())
    return pc.sum(lengths.take(part.indices)).as_py() or 0


def _spelled_out(column: Any) -> Any:
    """A column of a dictionary and places in it as one of values."""
    kind = column.type.value_type
    if _is_text(kind):  # of which there may be more than a column of the plain type holds
        binary = any(getattr(pa.types, f"is_{test}")(kind) for test in ("binary", "large_binary"))
        kind = pa.large_binary() if binary else pa.large_string()
    parts = [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks]
    return pa.chunked_array(parts, kind)


def _some_at_a_time(said: Any) -> Iterator[list[int]]:
    """Yield the row groups of a file, as many together as are read at once."""
    groups: list[int] = []
    size = 0
    for i in range(said.num_row_groups):
        groups.append(i)
        size += max(0, said.row_group(i).total_byte_size)
        if size >= TABLE.read_at_once:
            yield groups
            groups, size = [], 0
    if groups:
        yield groups


def _damaged(file: Path, error: BaseException) -> str:
    return f"{file} is no readable Parquet file: {_short(error)}"


def _short(value: object) -> str:
    """The first line of a text, cut if long."""
    return cut((str(value) or type(value).__name__).splitlines()[0], 160)
