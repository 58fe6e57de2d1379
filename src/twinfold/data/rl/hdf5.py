"""Opening files of HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinfold.errors import InvalidDataError, UsageError


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
    """Open a file to read.

    Raises:
        UsageError: h5py is not installed, or there is no such file.
        InvalidDataError: it is no file of HDF5, or a damaged one.
    """
    h5py = hdf5_library()
    if not file.is_file():
        raise UsageError(f"cannot read {file}: there is no such file")
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except OSError as error:
        raise InvalidDataError(f"{file} is no readable file of HDF5: {error}") from None
