"""Compiled programs of this process, let go of before they are too many."""

from __future__ import annotations

import gc
from pathlib import Path


def drop_programs(most_maps: int = 30_000) -> bool:
    """Let go of all compiled programs if the process has too many memory maps; say whether it did.

    Each program takes about twenty. Linux gives a process 65,530 of them, and the first that it
    does not get ends the process with a segmentation fault inside jaxlib: after some hundreds of
    fits of tables of different shapes. What is needed again comes from the cache on disk, where
    there is one.

    Args:
        most_maps: memory maps that are left alone. Where they cannot be counted nothing happens.
    """
    try:
        count = Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return False
    if count <= most_maps:
        return False
    import jax

    jax.clear_caches()
    gc.collect()
    return True
