"""Parquet files: their columns as a frame.

The Arrow columns alone are read. What pandas or others wrote about them is passed over: it says
nothing that the columns do not, and where it is damaged they are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from twinfold.errors import InvalidDataError
from twinfold.utils.text import cut

_REFUSED = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError)
_EXTENSION = b"ARROW:extension:name"
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


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
        try:
            table = self.source.read(columns=None if used is None else chosen)
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

    def _series(self, name: str, column: Any) -> pd.Series:
        """A column as pandas holds it, without loss: integers stay integers beside missing ones."""
        try:
            column.validate(full=True)
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            column = _as_text(column)
            whole = column.null_count and column.type in _NULLABLE
            return column.to_pandas(types_mapper=_NULLABLE.get if whole else None)
        except _REFUSED as error:
            raise InvalidDataError(
                f"{self.file}: column {name!r} of type {_short(column.type)} cannot be read: "
                f"{_short(error)}"
            ) from None


def _as_text(column: Any) -> Any:
    """A column of bytes as text, if they are: some writers do not tell the two apart."""
    kind = column.type
    fixed = pa.types.is_fixed_size_binary(kind) and not pa.types.is_decimal(kind)
    if not (fixed or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return column
    try:
        return column.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        return column


def _damaged(file: Path, error: BaseException) -> str:
    return f"{file} is no readable Parquet file: {_short(error)}"


def _short(value: object) -> str:
    """The first line of a text, cut if long."""
    return cut((str(value) or type(value).__name__).splitlines()[0], 160)
