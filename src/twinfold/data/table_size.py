"""Tables that do not fit into the memory are refused before the machine runs out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twinfold.data.table_settings import TABLE
from twinfold.errors import InvalidDataError
from twinfold.utils.memory import sized, usable_memory

_ADVICE = "give it fewer rows or columns"


def check_size(file: Path, size: int, columns: Mapping[str, int] | None = None) -> None:
    """Refuse a table that takes more memory than there is while it is checked.

    Args:
        file: of the table.
        size: bytes that it takes once.
        columns: bytes of each of its columns, where they are known.

    Raises:
        InvalidDataError: naming the largest column, the size and the limit.
    """
    limit, needed = usable_memory(), TABLE.copies * size
    if limit is None or needed <= limit:
        return
    most = ""
    if columns:
        name = max(columns, key=lambda name: columns[name])
        most = f", {sized(TABLE.copies * columns[name])} of it for column {name!r}"
    raise InvalidDataError(
        f"{file} needs at least {sized(needed)} of memory{most}, and this process may have "
        f"{sized(limit)}; {_ADVICE}"
    )


def too_large(file: Path) -> str:
    """Return what is said of a table that turned out not to fit."""
    return f"{file} does not fit into the memory; {_ADVICE}"
