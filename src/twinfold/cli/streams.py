"""Standard output and error of a command: whatever is printed goes through here.

Ids, column names and paths are users' own, and a terminal obeys control characters in them. They
are written out in one place, so that no command has to think of it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from twinfold.errors import TwinfoldError
from twinfold.utils.text import printable


class Output:
    """A stream that shows hidden characters, and fails as a command does: with a line.

    Args:
        stream: where the text goes.
        name: what the stream is called in a message; None where nobody could read that message,
            and what cannot be written is lost.
        verbatim: write escape sequences as they are, for what has made text printable itself.
    """

    def __init__(
        self, stream: io.TextIOBase | TextIO, name: str | None, verbatim: bool = False
    ) -> None:
        self.stream, self.name, self._verbatim = stream, name, verbatim

    def write(self, text: str) -> int:
        """Write a text."""
        with self._failing():
            self.stream.write(text if self._verbatim else printable(text))
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        with self._failing():
            self.stream.flush()

    def verbatim(self) -> Output:
        """Return the same stream for text with escape sequences of our own."""
        return Output(self.stream, self.name, verbatim=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # whoever read it has seen enough
            if self.name is not None:
                raise
        except OSError as error:
            if self.name is not None:
                why = error.strerror or "it is closed"
                raise TwinfoldError(f"cannot write to {self.name}: {why}") from error


@contextmanager
def printable_streams() -> Iterator[None]:
    """Let everything that is printed meanwhile go through ``Output``."""
    before = sys.stdout, sys.stderr
    _fill_descriptors()
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # a name the terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")
    out, err = (stream or io.TextIOBase() for stream in before)  # which cannot be written to
    sys.stdout = cast(TextIO, Output(out, "standard output"))
    sys.stderr = cast(TextIO, Output(err, None))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _fill_descriptors() -> None:
    """Leave none of the first three closed: the next file would get its number, and our prints."""
    with suppress(OSError):
        while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(free)
