"""Columns of Arrow as pandas holds them, without loss; and any other frame by way of Arrow."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from twinfold.errors import UsageError

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


def as_series(column: Any) -> pd.Series:
    """A column as pandas holds it: integers stay integers beside missing ones.

    Args:
        column: of Arrow, without a dictionary.
    """
    column = _as_text(column)
    whole = column.null_count and column.type in _NULLABLE
    return column.to_pandas(types_mapper=_NULLABLE.get if whole else None)


def as_pandas(frame: Any) -> pd.DataFrame:
    """Return any data frame as one of pandas: of polars, Arrow, DuckDB and what narwhals reads.

    A frame of pandas is returned as it is.

    Raises:
        UsageError: it is no data frame.
    """
    if isinstance(frame, pd.DataFrame):
        return frame
    import narwhals as nw

    try:
        if hasattr(frame, "__arrow_c_array__") or hasattr(frame, "read_all"):
            frame = pa.table(frame)  # batches, and readers of them, are frames as well
        table = nw.from_native(frame).lazy().collect("pyarrow").to_native()
    except (TypeError, ValueError):
        raise UsageError(
            f"a data frame is needed (pandas, polars, Arrow, DuckDB), not a {type(frame).__name__}"
        ) from None
    columns = {i: as_series(_spelled_out(column)) for i, column in enumerate(table.columns)}
    df = pd.DataFrame(columns, index=range(table.num_rows))
    df.columns = list(table.column_names)
    return df


def _spelled_out(column: Any) -> Any:
    """A column of a dictionary and places in it (a categorical one) as one of values."""
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


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
