"""The text of a file: unpacked where it is compressed, and in UTF-8 whatever it was written in."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pyarrow as pa

from twinfold.data.table_size import check_size
from twinfold.errors import InvalidDataError
from twinfold.utils.text import cut

PACKED = {".gz": "gzip", ".zst": "zstd"}
"""Suffixes of compressed text, and what unpacks it."""

_CHUNK = 1 << 24
_MARKS = {  # the first that fits
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_UTF_8 = ("utf-8", "utf-8-sig")


def unpacked_name(file: Path) -> Path:
    """``cohort.csv.gz`` -> ``cohort.csv``; others as they are."""
    return file.with_suffix("") if file.suffix.lower() in PACKED else file


def read_text(file: Path, encoding: str, most: int | None = None) -> bytes:
    """Return a file's text in UTF-8, or its first bytes.

    Args:
        file: a text file, or one of a suffix in ``PACKED``.
        encoding: that it is written in.
        most: bytes to read of what is unpacked; all when None.

    Raises:
        InvalidDataError: it cannot be unpacked, is in another encoding or needs too much memory.
        OSError: it cannot be read.
    """
    packing = PACKED.get(file.suffix.lower())
    if packing is None and most is None:
        data = file.read_bytes()
    elif packing is None:
        with file.open("rb") as opened:
            data = opened.read(most)
    else:
        data = _unpacked(file, packing, most)
    name = codecs.lookup(encoding).name
    if name in _UTF_8:
        for start, what in _MARKS.items():
            if data.startswith(start):
                raise InvalidDataError(
                    f"{file} is {what} text, not UTF-8 text; save it as UTF-8, or give --encoding "
                    f"{what.lower()}"
                )
        return data
    try:
        # Of the first bytes, the last may be half a letter.
        text = codecs.getincrementaldecoder(name)().decode(data, final=most is None)
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        raise InvalidDataError(
            f"{file} is not {encoding} text (byte {place}); give its --encoding, such as utf-8 or "
            "cp1252"
        ) from None
    if most is None:
        check_size(file, len(text))
    return text.encode("utf-8", "surrogatepass")


def _unpacked(file: Path, packing: str, most: int | None) -> bytes:
    """What a compressed file holds: a few bytes may stand for more than the memory has."""
    parts: list[bytes] = []
    size = 0
    try:
        with pa.CompressedInputStream(pa.OSFile(str(file), "rb"), packing) as source:
            while most is None or size < most:
                part: Any = source.read(_CHUNK if most is None else most - size)
                if not part:
                    break
                parts.append(part)
                size += len(part)
                check_size(file, size)
    except (pa.ArrowException, OSError, EOFError) as error:
        if isinstance(error, PermissionError | MemoryError):
            raise
        raise InvalidDataError(
            f"{file} cannot be unpacked by {packing}: {cut(str(error).split(chr(10))[0], 160)}"
        ) from None
    return b"".join(parts)
