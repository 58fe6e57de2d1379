"""How much memory this process may have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def usable_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process may have; None where the system says nothing of it.

    The least of what the machine has, what each group of processes that it is in may have (a
    container is one), and what is left of its own limit.

    Args:
        root: folder of the system's files.
    """
    return min((*_machine(), *_groups(root), *_own(root)), default=None)


def sized(size: float) -> str:
    """Return a number of bytes as people write it.

    >>> sized(512), sized(1.5e9), sized(24e18)
    ('512 bytes', '1.5 GB', '24.0 EB')
    """
    unit = 0
    while size >= 999.95 and unit + 1 < len(_UNITS):
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} {_UNITS[0]}"


def _machine() -> Iterator[int]:
    with suppress(AttributeError, ValueError, OSError):
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(root: Path) -> Iterator[int]:
    """Yield the limits of the groups of this process, of either version, and of those above."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        kinds, _, place = rest.partition(":")
        if not kinds:
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in kinds.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inner = PurePosixPath(*(part for part in place.split("/") if part not in ("", "..")))
        for folder in (inner, *inner.parents):  # inside a container only the top may be there
            with suppress(OSError, ValueError):  # "max" is none
                yield int((top / folder / name).read_text())


def _own(root: Path) -> Iterator[int]:
    """Yield what is left of the limit on this process's addresses, as set by ``ulimit -v``."""
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int((root / "proc/self/statm").read_text().split()[0])
            yield max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))
