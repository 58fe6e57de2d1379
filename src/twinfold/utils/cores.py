"""The number of cores that this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Those it is bound to, where the system can say so; else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
