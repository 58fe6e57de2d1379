"""Colours of methods, the same in pictures and on pages."""

from __future__ import annotations

METHODS = (
    "#3b78d8", "#e8710a", "#1d9a6c", "#a44ad0", "#b3261e", "#8f5a00", "#2b9ab3", "#6b7280",
)  # fmt: skip
"""Ours is the first."""


def method_colors(count: int) -> list[str]:
    """Return a colour for each of ``count`` methods, in their order; beyond eight they recur."""
    return [METHODS[k % len(METHODS)] for k in range(count)]
