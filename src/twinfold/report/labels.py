"""Users' names in pictures and on pages: text, whatever characters they hold."""

from __future__ import annotations

from html import escape

from twinfold.utils.text import printable, shortened


def markup(text: str) -> str:
    """Return a text for HTML, XML and Plotly's labels: nothing in it is markup or ill-formed."""
    return escape(printable(text))


def literal(text: str, longest: int | None = None) -> str:
    """Return a text in which Matplotlib finds no formula and a picture's file no control character.

    Args:
        text: the label.
        longest: characters after which it is cut, if any.
    """
    return printable(text if longest is None else shortened(text, longest)).replace("$", r"\$")
