"""Names in sentences, and as a terminal or a page may show them."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

MOST_DIGITS = 4000  # of an integer that Python writes as text


@dataclass(frozen=True)
class MessageSettings:
    """Numbers that decide how much of what a user gave is shown in a message.

    Attributes:
        names: names of a list.
        characters: characters of a name.
        listed: names of a record.
        line: characters of what the system says.
        longest: characters of a line of an error.
        spellings: texts by which it is found out how a column is written.
        searched: names among which the nearest to a wrong one is looked for: a second or so.
    """

    names: int = 12
    characters: int = 80
    listed: int = 20
    line: int = 1000
    longest: int = 1900
    spellings: int = 100
    searched: int = 20_000


MESSAGE = MessageSettings()
"""Those of every message."""

# What has no shape of its own and changes how the rest is seen: control characters but tab and
# newline, soft hyphens, marks and overrides of direction, separators of lines, tags, halves of
# characters, and what XML forbids. Joiners stay: scripts and emoji need them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)


def unused_name(name: str, *taken: Container[str]) -> str:
    """Return a name for a column of ours, with underscores at its end where users have it.

    >>> unused_name("step", ("room", "step"))
    'step_'
    """
    while any(name in names for names in taken):
        name += "_"
    return name


def printable(text: str) -> str:
    r"""Return a text whose hidden characters are written out, as Python writes them.

    A name can neither move a terminal's cursor nor turn a line around, and is well-formed in XML.

    >>> print(printable("\x1b[31mred"), printable("a\rb"), printable("\u202eabc"))
    \x1b[31mred a\rb \u202eabc
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def banded(value: float, lower: float, upper: float, short: int = 9) -> str:
    """Return a value and its band, all to the place that shows the band's width to two digits.

    Ends that differ look different, and a band that holds a value is seen to hold it.

    >>> banded(101312.4, 101290.1, 101334.9), banded(0.5, 0.49, 0.51), banded(3e-9, -1e-9, 7e-9)
    ('101312 [101290..101335]', '0.500 [0.490..0.510]', '3.0e-9 [-1.0e-9..7.0e-9]')

    Args:
        value: a prediction; a dash stands for one that is not there.
        lower: the lower end.
        upper: the upper end.
        short: characters of a number from which on powers of ten are used if they are shorter.
    """
    if math.isnan(value):
        return "–"
    figures = (value, lower, upper)
    place = _last_place(figures)
    plain, powers = _rounded(figures, min(place, 0), "f"), _rounded(figures, place, "e")
    length = max(map(len, plain))
    middle, low, high = powers if length > max(short, *map(len, powers)) else plain
    return f"{middle} [{low}..{high}]"


def _last_place(figures: tuple[float, float, float]) -> int:
    """Return the power of ten of the second digit of the width; of a point, of its fourth digit."""
    _, lower, upper = figures
    width, digits = upper - lower, 2
    if not 0 < width < math.inf:
        width, digits = max(abs(x) for x in (*figures, 0.0) if math.isfinite(x)), 4
    return math.floor(math.log10(width)) + 1 - digits if width > 0 else 0


def _rounded(figures: Sequence[float], place: int, style: str) -> list[str]:
    """Return figures rounded to a power of ten, as decimals ("f") or with an exponent ("e")."""
    from decimal import Context, Decimal

    exact, unit = Context(prec=2000), Decimal((0, (1,), place))
    texts = []
    for figure in figures:
        if math.isfinite(figure):
            near = exact.quantize(Decimal(figure), unit)
            zero = format(abs(near), style) if style == "f" else "0"
            texts.append(format(near, style) if near else zero)
        else:
            texts.append(str(figure))
    return texts


def counted(count: int, noun: str) -> str:
    """``1 row``, ``2 rows``, ``2 queries``."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("ry") else f"{count} {noun}s"


def percent(share: float) -> str:
    """Return a share in per cent, to two digits.

    >>> percent(0.123), percent(0.0004), percent(0.999)
    ('12 %', '0.04 %', '100 %')
    """
    text = f"{100 * share:.2g}"
    return f"{'100' if text == '1e+02' else text} %"


def and_more(number: int) -> str:
    """Return " and N more"; nothing if there are none."""
    return f" and {number} more" if number > 0 else ""


def listed(names: Sequence[object], most: int = MESSAGE.names, separator: str = ", ") -> str:
    """Return the first names, and how many more there are: ``a, b and 3 more``.

    Args:
        names: what is listed, as text.
        most: names that are given.
        separator: between names.
    """
    shown, more = separator.join(map(str, names[:most])), and_more(len(names) - most)
    return shown + (separator.strip(", ") if more else "") + more


def shortened(text: str, longest: int) -> str:
    """Return a text as it is, with dots for what is too long."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def cut(text: str, longest: int = 60) -> str:
    """Return a text on one line, with dots for what is too long."""
    return shortened(" ".join(text.split()), longest)


def clipped(value: Any, longest: int = MESSAGE.characters) -> str:
    """Return a value as Python shows it, on one line, with dots for what is too long."""
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"an integer of more than {MOST_DIGITS} digits"
    plain = getattr(value, "item", None) if getattr(value, "ndim", None) == 0 else None
    return shortened(repr(value if plain is None else plain()).replace("\n", " "), longest)
