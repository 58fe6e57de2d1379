"""Agent and episode ids: kept as the user gave them, found again however they were typed."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinfold.utils.text import MESSAGE, MOST_DIGITS, clipped

if TYPE_CHECKING:
    import pandas as pd

AgentId = str | int | float

UNUSABLE = "give ids as integers or as Unicode text; floats of 2^53 and more have lost digits"
"""What to do about ids that cannot be told apart or written."""

UNHASHABLE = (TypeError, NotImplementedError, ArithmeticError)
"""What pandas raises of values that cannot be told apart: lists, mappings, signalling decimals."""

_DIGITS = re.compile("([0-9]+)")
_ZEROS = re.compile(r"(?<![0-9.,])0+(?=[0-9])")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_JOINTS = re.compile("[\\s_\u2010-\u2015\u2212-]+")  # blanks, underscores, dashes of any length
_WHOLE = re.compile(r"([0-9]+)\.0+")
_LATIN = str.maketrans(
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c"  # Greek
    "\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"  # Cyrillic
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0406\u0408\u0405",
    "ABEZHIKMNOPTYXoABEKMHOPCTYXaeopcyxijsIJS",
)
"""Letters of other alphabets that look like one of the Latin."""

_SHORTENED = re.compile(r"[0-9][.,][0-9]+[eE]\+?[0-9]{2,}")


def canonical_ids(values: Iterable[Any]) -> tuple[AgentId, ...]:
    """Plain Python ids: integers, or text; never a mixture.

    NumPy integers become ``int``. Whole floats become ``int``, since a column of integers turns to
    floats as soon as a reader meets a blank. Anything else (UUID objects, dates) becomes its text.
    A column that mixes numbers and text becomes text, as no file format keeps such a column; so do
    integers beyond 64 bits.
    """
    plain = [_plain(value) for value in values]
    whole = [value for value in plain if isinstance(value, int)]
    if len(whole) == len(plain):
        low = min(whole, default=0)
        fits = max(whole, default=0) < (2**63 if low < 0 else 2**64) and low >= -(2**63)
        return tuple(whole) if fits else tuple(str(value) for value in whole)
    if all(isinstance(value, int | float) for value in plain):
        return tuple(float(value) for value in plain)
    return tuple(str(value) for value in plain)


def _plain(value: Any) -> AgentId:
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return int(value) if math.isfinite(value) and float(value).is_integer() else float(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value) if value.adjusted() < MOST_DIGITS else str(value)
    return str(value)


def factorize_ids(
    series: pd.Series,
) -> tuple[NDArray[np.int64], tuple[AgentId, ...], NDArray[np.bool_]]:
    """Index ``(R,)`` into the distinct ids in order of first appearance, the ids, and the nulls.

    An empty text counts as null, as a CSV cannot tell the two apart. Nulls have index -1.

    Raises:
        TypeError: the values are lists, mappings or others that cannot be told apart.
    """
    import pandas as pd

    try:
        raw, distinct = pd.factorize(series, use_na_sentinel=True)
    except UNHASHABLE as error:
        raise TypeError(str(error)) from None
    ids = canonical_ids(list(distinct))
    # Canonical forms may coincide (1 and 1.0 and "1" in one column): merge those.
    first: dict[AgentId, int] = {}
    for value in ids:
        if value != "":
            first.setdefault(value, len(first))
    merge = np.array([first.get(value, -1) for value in ids] + [-1], dtype=np.int64)
    codes = merge[np.asarray(raw)]
    return codes, tuple(first), codes < 0


def look_alikes(ids: Iterable[AgentId]) -> list[list[str]]:
    """Return groups of ids that differ in what is easily mistyped only; see ``_alike_key``."""
    groups: dict[str, list[str]] = {}
    for text in map(str, ids):
        groups.setdefault(_alike_key(text), []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def joined_ids(
    codes: NDArray[np.int64], ids: Sequence[AgentId]
) -> tuple[NDArray[np.int64], tuple[AgentId, ...]]:
    """Return an index into ids, and these, of which those that look alike are one: the first."""
    first: dict[str, int] = {}
    place = [first.setdefault(_alike_key(str(value)), len(first)) for value in ids]
    kept = dict(reversed([*zip(place, ids, strict=True)]))
    return np.array([*place, -1], np.int64)[codes], tuple(kept[i] for i in range(len(kept)))


def shown_id(text: str) -> str:
    """Return an id as Python shows it, letters of two characters by their numbers."""
    return repr(text) if unicodedata.normalize("NFC", text) == text else ascii(text)


def is_shortened(value: AgentId) -> bool:
    """Return whether an id looks like a long number that a spreadsheet wrote as ``1.23E+15``."""
    return isinstance(value, str) and _SHORTENED.fullmatch(value) is not None


def _alike_key(text: str) -> str:
    """Return a text without what is easily mistyped or changed by a program on the way.

    Case, blanks and dashes, forms of letters and letters of other alphabets that look the same,
    what is not seen, zeros ahead, and the ``.0`` of a whole number.
    """
    plain = text
    if not text.isascii():
        plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).translate(_LATIN)
    plain = _JOINTS.sub(" ", plain.strip()).casefold()
    whole = _WHOLE.fullmatch(plain)
    return _ZEROS.sub("", plain if whole is None else whole.group(1))


def unusable_ids(series: pd.Series) -> NDArray[np.bool_]:
    """Return the rows whose id has lost digits or cannot be written.

    Floats that are infinite or too large to be exact, endless integers, and text that is no
    Unicode.
    """
    if not (series.dtype == object or getattr(series.dtype, "kind", "O") == "f"):
        return np.zeros(len(series), bool)
    return np.array([_is_unusable(value) for value in series], dtype=bool)


def _is_unusable(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, int):
        return abs(value) >= 10**MOST_DIGITS
    return isinstance(value, float | np.floating) and bool(abs(value) >= 2.0**53)


def in_order(
    index: NDArray[np.int64], ids: tuple[AgentId, ...]
) -> tuple[NDArray[np.int64], tuple[AgentId, ...]]:
    """Return the ids in their natural order, and the index renumbered; -1 stays.

    So the order of a table's rows leaves no trace, nor whether a file keeps 9 and 10 as text.
    """
    order = sorted(range(len(ids)), key=lambda i: natural_key(ids[i]))
    place = np.full(len(ids) + 1, -1, np.int64)
    place[order] = np.arange(len(ids))
    return place[index], tuple(ids[i] for i in order)


def match_ids(known: Sequence[AgentId], asked: Iterable[Any]) -> NDArray[np.int32]:
    """Indices ``(n,)`` into ``known`` of ids asked for; -1 where unknown.

    An id matches itself or its text: one typed on a command line is text, and a column of ids is
    integers in one CSV and text in another where a single id has a letter.
    """
    exact = {value: index for index, value in enumerate(known)}
    by_text = {str(value): index for index, value in enumerate(known)}
    found = []
    for value in asked:
        plain = _plain(value)
        index = exact.get(plain, -1)
        found.append(index if index >= 0 else by_text.get(str(plain), -1))
    return np.asarray(found, dtype=np.int32)


def take_ids(ids: Sequence[AgentId], index: NDArray[np.integer]) -> pd.Series:
    """Return ids row by row, as an integer column if they all are integers, else as given."""
    import pandas as pd

    return pd.Series(list(ids)).take(index).reset_index(drop=True)  # pyright: ignore


def did_you_mean(name: Any, valid: Sequence[Any], what: str) -> str:
    """The end of a message about an unknown name: the nearest valid ones, and a list."""
    texts = [str(value) for value in valid]
    by_lower = {text.strip().casefold(): text for text in reversed(texts)}
    longest = MESSAGE.characters
    key = str(name).strip().casefold()[:longest]
    searched = [key] if key in by_lower else list(reversed(by_lower))[: MESSAGE.searched]
    near = difflib.get_close_matches(key, searched, n=1, cutoff=0.6)
    hint = f" Did you mean {clipped(by_lower[near[0]], longest)}?" if near else ""
    listed = ", ".join(clipped(value, longest) for value in valid[: MESSAGE.names])
    more = f", ... ({len(valid)} in all)" if len(valid) > MESSAGE.names else ""
    return f"{hint} The {what}: {listed or 'none'}{more}."


def natural_key(value: AgentId) -> tuple[Any, ...]:
    """Sort key under which ``ep2`` comes before ``ep10`` and numbers before text."""
    if not isinstance(value, str):
        return (0, value)
    parts: list[Any] = _DIGITS.split(value + "\0")  # text and digits in turn, text first
    # By length and digits: Python makes no number of 5000 digits.
    parts[1::2] = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return (1, tuple(parts), value)
