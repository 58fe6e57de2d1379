"""Names in sentences, and as a terminal or a page may show them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What has no shape of its own and changes how the rest is seen: control characters but tab and
# newline, soft hyphens, marks and overrides of direction, separators of lines, tags, halves of
# characters, and what XML forbids. Joiners stay: scripts and emoji need them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    r"""Return a text whose hidden characters are written out, as Python writes them.

    A name can neither move a terminal's cursor nor turn a line around, and is well-formed in XML.

    >>> print(printable("\x1b[31mred"), printable("a\rb"), printable("\u202eabc"))
    \x1b[31mred a\rb \u202eabc
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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
