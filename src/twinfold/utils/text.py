"""Names in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def and_more(number: int) -> str:
    """Return " and N more"; nothing if there are none."""
    return f" and {number} more" if number > 0 else ""


def listed(names: Sequence[object], most: int, separator: str = ", ") -> str:
    """Return the first names, and how many more there are: ``a, b and 3 more``.

    Args:
        names: what is listed, as text.
        most: names that are given.
        separator: between names.
    """
    shown, more = separator.join(map(str, names[:most])), and_more(len(names) - most)
    return shown + (separator.strip(", ") if more else "") + more


def cut(text: str, longest: int = 60) -> str:
    """Return a text on one line, with dots for what is too long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."


def clipped(value: object, longest: int = 60) -> str:
    """Return a value as Python shows it, on one line, with dots for what is too long."""
    return cut(repr(value), longest)
