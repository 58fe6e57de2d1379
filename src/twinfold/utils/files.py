"""Writing files: never half of one, and never into what belongs to somebody else.

A file is written under a temporary name beside its own, then renamed. Its writer holds a lock on
it, so that one left by a killed process is told from one in use: the next writer of the same file
removes it. Appending is done under a lock as well. Only regular files are opened, and no link is
followed but one of the user's own to a file in a folder of the user's own: there the file that it
leads to is replaced, and the link stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from twinfold.errors import UsageError, WriteError
from twinfold.utils.text import clipped

_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # another path may fail as well
_LINKS = 40  # that lead to each other; as many as Linux follows
_MODE = 0o666  # of a new file, less what the umask of the process takes


@contextlib.contextmanager
def write_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the system has against writing ``path`` into one line that names it.

    Raises:
        WriteError: the disk is full or broken.
        UsageError: ``path`` is no place that can be written to.
    """
    try:
        yield
    except OSError as error:
        kind = WriteError if error.errno in _FAILURES else UsageError
        why = (error.strerror or str(error)).partition("\n")[0]
        raise kind(f"cannot write {os.fspath(path)}: {why}") from error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside ``path`` to write to; it replaces ``path`` if the block ends without an error.

    Missing parent directories are made. On an error or an interrupt the old file stays as it was
    and nothing is left behind. The new file has the permissions of the one that it replaces. The
    block must write into the file that is there, not put another in its place.

    Raises:
        WriteError: the disk is full or broken.
        UsageError: ``path`` is not a regular file, or its directory cannot be written to, or it is
            a link that ``destination`` refuses.
    """
    with atomic_paths(path) as (temporary,):
        yield temporary


@contextlib.contextmanager
def atomic_paths(*paths: str | os.PathLike[str]) -> Iterator[tuple[Path, ...]]:
    """Paths to write files to that belong together; see ``atomic_path``.

    None replaces anything before all are on the disk.
    """
    targets = [destination(path) for path in paths]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_new_file(target)) for target in targets]
        with write_errors(targets[0]):
            yield tuple(file.path for file in files)
        for target, file in zip(targets, files, strict=True):
            with write_errors(target):
                file.settle()
        for target, file in zip(targets, files, strict=True):
            with write_errors(target):
                os.replace(file.path, target)


def check_name(path: str | os.PathLike[str]) -> None:
    """Refuse to write to a path that no file can have.

    Raises:
        UsageError: there is a null character in it, or one that no file's name can hold.
    """
    try:
        with contextlib.suppress(OSError):
            os.lstat(path)
    except ValueError as error:
        raise UsageError(f"cannot write {clipped(str(path))}: {error}") from None


def destination(path: str | os.PathLike[str]) -> Path:
    """Return where what is written to ``path`` goes: where a link leads to, not in its place.

    Raises:
        UsageError: ``path`` is a link that somebody else made, which may lead anywhere, or leads to
            a file or into a folder of somebody else, or no file can have it.
    """
    place = Path(path)
    check_name(place)
    with write_errors(path):
        for _ in range(_LINKS):
            if not place.is_symlink():
                break
            _check_own(Path(path), os.lstat(place))
            place = place.parent / os.readlink(place)
        else:
            raise UsageError(f"{path} is a link that leads to itself; remove it")
        if place != Path(path):
            place = Path(os.path.realpath(place.parent)) / place.name
            for found in (place.parent, place):
                with contextlib.suppress(FileNotFoundError):
                    _check_own(Path(path), os.lstat(found), place)
    return place


def draft_of(path: Path) -> Path:
    """Return a path beside the destination of ``path`` for ``atomic_path``, that is renamed later.

    If there is a file to replace, an empty draft with its permissions is made: they stay.

    Raises:
        UsageError: ``path`` is not a regular file, or its directory cannot be written to.
    """
    target = destination(path)
    # With the suffix, which says how a file is written.
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp{path.suffix}")
    with write_errors(path):
        replaced = _replaced(target)
        _remove_abandoned(target)
        if replaced is not None:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(draft, flags, 0o600)
            try:
                _NewFile(draft, descriptor, replaced).settle()
            finally:
                os.close(descriptor)
    return draft


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file in one go; see ``atomic_path``."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file in one go; see ``atomic_path``."""
    atomic_write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def locked_file(path: Path, wait: bool = True) -> Iterator[int]:
    """Open a file to read and append to, made if missing, that no other process has meanwhile.

    Args:
        path: its directory exists.
        wait: for a process that has it; if not, ``BlockingIOError`` is raised at once.

    Yields:
        Its descriptor.

    Raises:
        UsageError: ``path`` is a link, or not a regular file.
    """
    while True:
        descriptor = _open_regular(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Another process may have renamed or replaced the file while this one waited.
            if _is_at(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def append_line(descriptor: int, line: str) -> None:
    """Append a line to an open file, all of it or, on an error, nothing.

    A last line without an end, which a killed process left, is dropped first.
    """
    size = drop_torn_line(descriptor)
    left = memoryview(f"{line}\n".encode())
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except BaseException:
        os.ftruncate(descriptor, size)
        raise


def drop_torn_line(descriptor: int) -> int:
    """Cut off a last line that has no end, and return the size of the file."""
    size, torn = os.fstat(descriptor).st_size, len(torn_line(descriptor))
    if torn:
        os.ftruncate(descriptor, size - torn)
    return size - torn


def torn_line(descriptor: int) -> bytes:
    """Return what an open file holds behind the end of its last line."""
    size = os.fstat(descriptor).st_size
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return b""
    return os.pread(descriptor, size, 0).rpartition(b"\n")[2]


def is_temporary(name: str, of: str | None = None) -> bool:
    """Return whether a name is that of a temporary file, of the file ``of`` if given.

    Or that of a draft (``draft_of``), or of the temporary file of a draft.
    """
    target, end = ".+" if of is None else re.escape(of), r"\.[0-9a-f]{8}\.tmp"
    pattern = rf"\.{target}{end}(\.[^.]+)?|\.\.{target}{end}(\.[^.]+)?{end}"
    return re.fullmatch(pattern, name, re.DOTALL) is not None


class _NewFile(NamedTuple):
    """A file that is being written under a temporary name, locked while it is open.

    Attributes:
        path: its temporary name.
        descriptor: keeps it open.
        replaced: status of the file whose place it takes; None if there is none.
    """

    path: Path
    descriptor: int
    replaced: os.stat_result | None

    def settle(self) -> None:
        """Give it the permissions of the file that it replaces, and see it to the disk."""
        if self.replaced is not None:
            with contextlib.suppress(PermissionError):  # a group that we do not belong to
                os.fchown(self.descriptor, -1, self.replaced.st_gid)
            os.fchmod(self.descriptor, stat.S_IMODE(self.replaced.st_mode) & 0o777)
        os.fsync(self.descriptor)  # or a crash could leave an empty file under the final name


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[_NewFile]:
    """Make a temporary file beside ``target``, which is gone at the end unless it was renamed."""
    with write_errors(target):
        replaced = _replaced(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        path, descriptor = _new_temporary(target, replaced)
    try:
        yield _NewFile(path, descriptor, replaced)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def _new_temporary(target: Path, replaced: os.stat_result | None) -> tuple[Path, int]:
    """Make a temporary file and lock it; never one that exists."""
    # Not more open than the file that it replaces, even while it is being written.
    mode = _MODE if replaced is None else stat.S_IMODE(replaced.st_mode) & _MODE | stat.S_IWUSR
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with contextlib.suppress(OSError):  # a file system without locks, where nobody tidies up
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(descriptor, path):  # if not, it was taken for abandoned before it was locked
            return path, descriptor
        os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files of ``target`` whose writers are dead."""
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if is_temporary(entry.name, target.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):  # in use, or gone by now
                    _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


def _replaced(target: Path) -> os.stat_result | None:
    """Return the status of the file that a new one replaces; None if there is none."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{target} is a directory; give the path of a file")
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{target} is not a regular file; give another path or remove it")
    return found


def _check_own(link: Path, found: os.stat_result, place: Path | None = None) -> None:
    """Refuse what a link leads through or to if it is not the user's.

    Args:
        link: the path given.
        found: status of a link, or of what one leads to.
        place: where the link leads; None of a link.
    """
    if found.st_uid == os.geteuid():
        return
    what = "which you did not make" if place is None else f"to {place}, which is not yours"
    raise UsageError(f"{link} is a link, {what}; give the path of a file, or remove the link")


def _open_regular(path: Path) -> int:
    """Open a regular file to read and append to; make it if it is missing."""
    if path.is_symlink():
        raise UsageError(f"{path} is a link; give the file that it leads to, or remove it")
    # Not blocking: opening a pipe would wait for its other end.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, _MODE)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise UsageError(f"{path} is not a regular file; remove it, or give another path")


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
