"""Writing files so that nothing is ever half-written."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from twinfold.errors import UsageError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside ``path`` to write to; it replaces ``path`` if the block ends without an error.

    Missing parent directories are made. On an error or an interrupt the old file stays as it was
    and nothing is left behind.

    Raises:
        UsageError: ``path`` is a directory, or its directory cannot be written to.
    """
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"{target} is a directory; give the path of a file")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # or a crash could leave an empty file under the final name
        os.replace(temporary, target)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file in one go; see ``atomic_path``."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file in one go; see ``atomic_path``."""
    atomic_write_bytes(path, text.encode("utf-8"))
