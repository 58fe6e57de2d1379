"""Values of flags: words, numbers of a range, a path, and the reading of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from cyclopts import CoercionError, Parameter, Token

from twinfold.utils.seeds import LARGEST_SEED
from twinfold.utils.text import clipped

Number = TypeVar("Number", int, float)
_BOUNDS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True)
class Values:
    """The values that a flag takes: certain words, numbers of a range, or either.

    Attributes:
        number: int or float; None for words alone.
        ge: smallest number.
        gt: a number that is too small.
        le: largest number.
        lt: a number that is too large.
        words: the words.
        several: numbers separated by commas, as a tuple, and not one.
        none: 0 stands for an empty tuple.
    """

    number: type[int] | type[float] | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    words: tuple[str, ...] = ()
    several: bool = False
    none: bool = False

    @classmethod
    def of(cls, annotation: Any, metadata: Sequence[Any] = ()) -> Values:
        """Return what a field of settings takes, by its type and its bounds."""
        bounds = {
            bound: value
            for item in metadata
            for bound in (*_BOUNDS, "min_length")
            if (value := getattr(item, bound, None)) is not None
        }
        if annotation in (int, float):
            return cls(annotation, **bounds)
        parts, origin = get_args(annotation), get_origin(annotation)
        if origin is Literal:
            return cls(words=parts)
        if origin is Annotated:
            return cls.of(parts[0], list(_flat(parts[1:])))
        if origin is tuple:
            return replace(cls.of(parts[0]), several=True, none="min_length" not in bounds)
        if origin in (Union, UnionType):
            found = [cls.of(part) for part in parts]
            words = tuple(word for part in found for word in part.words)
            return replace(next((p for p in found if p.number), cls()), words=words)
        return cls()

    @property
    def hint(self) -> Any:
        """The type of what is read."""
        if self.number is None:
            return str
        if self.several:
            return list[self.number]
        return self.number | str if self.words else self.number

    def read(self, text: str) -> Any:
        """Return the word or the number that a text is.

        Raises:
            ValueError: it is neither; the message says what is taken.
        """
        if text in self.words:
            return text
        if self.number is not None:
            with suppress(ValueError):
                value = number(text, self.number)
                if self._holds(value):
                    return value
        raise ValueError(f"{clipped(text)} is not {self}")

    def read_several(self, texts: Sequence[str]) -> tuple[Any, ...]:
        """Return the numbers of a flag that is repeated, or holds commas.

        Raises:
            ValueError: a part is no such number; the message says what is taken.
        """
        if self.none and list(texts) == ["0"]:
            return ()
        return tuple(self.read(part.strip()) for text in texts for part in text.split(","))

    def __str__(self) -> str:
        """Return what is taken, as the end of ``"x is not ..."``."""
        kinds = [f"one of {', '.join(self.words)}"] if len(self.words) > 1 else list(self.words)
        if self.number is not None:
            kinds.append(("a whole number" if self.number is int else "a number") + self._range())
        more = " (separate several by commas)" if self.several else ""
        return " or ".join(kinds) + more + (", or 0 for none" if self.none else "")

    def _range(self) -> str:
        words = {"ge": "from", "gt": "above", "le": "to", "lt": "and below"}
        if self.ge is None and self.le is not None:
            words["le"] = "and at most"
        bounds = ((word, getattr(self, bound)) for bound, word in words.items())
        return "".join(f" {word} {_plain(value)}" for word, value in bounds if value is not None)

    def _holds(self, value: float) -> bool:
        return (
            (self.number is int or math.isfinite(value))
            and (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


def number(text: str, kind: type[Number]) -> Number:
    """Return the number that a text is, written as in a table: in digits with nothing between.

    Raises:
        ValueError: it is none, or one that Python alone takes, such as ``1_000`` or ``１``.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"{clipped(text)} is no number")
    return kind(text)


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    """Give the bounds themselves, some of which are held by a pydantic ``Field``."""
    for item in metadata:
        yield from getattr(item, "metadata", (item,))


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def reader(read: Callable[[Sequence[str]], Any], **options: Any) -> Parameter:
    """Return a flag whose value is made of its words by a function that may raise ValueError."""

    def convert(_: Any, tokens: Sequence[Token]) -> Any:
        try:
            return read([token.value for token in tokens])
        except ValueError as error:
            raise CoercionError(msg=str(error), token=tokens[-1]) from None

    return Parameter(converter=convert, allow_leading_hyphen=True, json_list=False, **options)


def takes(values: Values, **options: Any) -> Parameter:
    """Return a flag that takes such values."""
    if values.several:
        return reader(values.read_several, negative="", consume_multiple=False, **options)
    return reader(lambda words: values.read(words[-1]), **options)


def _path(words: Sequence[str]) -> Path:
    if not words[-1]:
        raise ValueError("'' is not a path; name a file or folder")
    return Path(words[-1])


AGENT = Values(int, ge=0, lt=1_000_000)
"""The id of an agent of a built-in task."""

Place = Annotated[Path, reader(_path)]
"""A file or folder."""

Seed = Annotated[int, takes(Values(int, ge=0, le=LARGEST_SEED))]
Share = Annotated[float, takes(Values(float, ge=0, le=1))]
Discount = Annotated[float, takes(Values(float, gt=0, le=1))]
Coverage = Annotated[float, takes(Values(float, gt=0, lt=1))]
Draws = Annotated[int, takes(Values(int, ge=1, le=1000))]
Trials = Annotated[int, takes(Values(int, ge=1, le=10_000))]
"""Episodes, trajectories or starts."""

Steps = Annotated[int, takes(Values(int, ge=1, le=10_000))]
Agents = Annotated[int, takes(Values(int, ge=1, le=100_000))]
