"""Commands that die, or find the disk full, at the k-th thing that they do to a file.

A killed process does nothing more: from its death on every operation raises, so that no clean-up
of the command's own has an effect. What its files hold and its locks then end, as with a process.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

_NAMED = ("mkdir", "rename", "replace", "rmdir", "unlink", "remove")
_OPEN = ("write", "ftruncate", "fsync", "fchmod")
_GROWING = ("open", "mkdir", "write", "fsync")  # what a full disk refuses


class Killed(BaseException):
    """The process is dead."""


def dead() -> None:
    """Do nothing more."""
    raise Killed


class Disk:
    """Counts what is done to files below a folder.

    Attributes:
        count: operations so far.
        dead: whether the last one was reached.
    """

    def __init__(self, folder: Path, last: int, full: bool, die: Callable[[], None]) -> None:
        self.folder, self.last, self.full, self.die = str(folder), last, full, die
        self.count, self.dead = 0, False
        self.descriptors: set[int] = set()

    def operation(self, name: str, place: Any) -> None:
        """Count one, and die or refuse when it is the turn."""
        if isinstance(place, int):
            if place not in self.descriptors:
                return
        elif not os.fspath(place).startswith(self.folder):
            return
        self.count += 1
        self.dead = self.dead or self.count == self.last
        if self.dead and not self.full:
            self.die()
        if self.dead and name in _GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def disk(
    folder: Path, last: int = 0, *, full: bool = False, die: Callable[[], None] = dead
) -> Iterator[Disk]:
    """Watch what is done to files below a folder; the ``last`` operation is not done any more.

    Args:
        folder: where to watch.
        last: number of the operation, from 1, at which the process dies; 0 for never.
        full: the disk is full from then on, instead.
        die: how.
    """
    watched = Disk(folder, last, full, die)
    real = {name: getattr(os, name) for name in (*_NAMED, *_OPEN, "open", "close")}
    real_open = io.open

    def before(name: str) -> Callable[..., Any]:
        def call(place: Any, *rest: Any, **options: Any) -> Any:
            watched.operation(name, place)
            return real[name](place, *rest, **options)

        return call

    def os_open(place: Any, flags: int, *rest: Any, **options: Any) -> int:
        below = str(place).startswith(watched.folder)
        if flags & (os.O_WRONLY | os.O_RDWR):
            watched.operation("open", place)
        descriptor = real["open"](place, flags, *rest, **options)
        if below:
            watched.descriptors.add(descriptor)
        return descriptor

    def os_close(descriptor: int) -> None:
        watched.descriptors.discard(descriptor)
        real["close"](descriptor)

    def any_open(place: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if not isinstance(place, int) and set(mode) & set("wax+"):
            watched.operation("open", place)
        return real_open(place, mode, *rest, **options)

    with contextlib.ExitStack() as stack:
        for name in (*_NAMED, *_OPEN):
            stack.enter_context(mock.patch.object(os, name, before(name)))
        stack.enter_context(mock.patch.object(os, "open", os_open))
        stack.enter_context(mock.patch.object(os, "close", os_close))
        stack.enter_context(mock.patch.object(io, "open", any_open))
        stack.enter_context(mock.patch.object(builtins, "open", any_open))
        with contextlib.suppress(Killed):
            yield watched
    for descriptor in watched.descriptors:  # its locks end with it
        os.close(descriptor)
    watched.descriptors.clear()


def listing(folder: Path) -> dict[str, bytes]:
    """Return what the files below a folder hold; an empty folder counts as well."""
    return {
        str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def everywhere(
    folder: Path, command: Callable[[Path], Any], *, full: bool = False, every: int = 1
) -> Iterator[tuple[int, Path]]:
    """Let a command die at each of its operations, in a folder each time a new one.

    Yields:
        The number of the operation and the folder, in which the command is to be repeated.
    """
    last = 1
    while True:
        place = folder / f"{last}"
        place.mkdir()
        with disk(place, last, full=full) as watched:
            command(place)
        if not watched.dead:
            return
        yield last, place
        last += every
