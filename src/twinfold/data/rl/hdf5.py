"""Opening files of HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinfold.data.table_size import check_size
from twinfold.errors import InvalidDataError, UsageError
from twinfold.utils.reading import regular_size
from twinfold.utils.text import MESSAGE, cut

# What NumPy, h5py and readers raise of a name, a type or a shape that is not there.
_UNREADABLE = (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError)


def hdf5_library() -> Any:
    """Return h5py.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise UsageError("files of HDF5 need h5py: pip install 'twinfold[minari]'") from None
    return h5py


@contextmanager
def open_hdf5(file: Path) -> Iterator[Any]:
    """Open a file to read; what the block cannot make of its contents is the file's fault.

    Raises:
        UsageError: h5py is not installed, or there is no such file.
        InvalidDataError: it is no file of HDF5, or a damaged one, or holds other things than the
            block reads.
    """
    h5py = hdf5_library()
    regular_size(file, UsageError)
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except OSError as error:
        raise InvalidDataError(f"{file} is no readable file of HDF5: {error}") from None
    except _UNREADABLE as error:
        why = cut(str(error), MESSAGE.line)
        raise InvalidDataError(f"{file} is damaged, or holds something else: {why}") from None


def whole(part: Any) -> Any:
    """Return all of an array of an open file.

    Raises:
        InvalidDataError: it is a group, or too large for the memory.
    """
    if not hasattr(part, "nbytes"):
        raise InvalidDataError(f"{part.file.filename}: {part.name} is a group, not an array")
    check_size(Path(part.file.filename), part.nbytes)
    return part[()]
