"""Rich's console, safe for users' names and for any environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.segment import Segment
from rich.text import Text

from twinfold.utils.text import printable


class Terminal(Console):
    """A console in which users' names are text: no style, no picture, no control character."""

    narrowest, widest = 20, 1000  # columns, beyond which a width is a mistake of the environment
    usual = 80

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as it will be seen, so that tables make room for it."""
        return super().render_str(printable(text), **options)

    def render(self, *args: Any, **options: Any) -> Iterator[Segment]:
        """Return segments in which no text holds a control character; Rich's own stay."""
        for segment in super().render(*args, **options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    @property
    def size(self) -> ConsoleDimensions:
        """The size of the terminal; Rich would wait for ever in one without a width, or fill it."""
        found = super().size
        sane = self.narrowest <= found.width <= self.widest
        return found if sane else found._replace(width=self.usual)

    def on_broken_pipe(self) -> None:
        """Let the command end as after any print."""
        raise BrokenPipeError
