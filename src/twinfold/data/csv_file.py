"""CSV files: their columns as a frame, and a table as a file.

Only the columns asked for are decoded and checked: what stands in the others does not matter.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv

from twinfold.data.columns import LARGEST_EXACT, NULL_TEXTS
from twinfold.data.issues import LINE_KEY
from twinfold.data.table_format import PLAIN, TableFormat
from twinfold.data.table_settings import TABLE
from twinfold.data.text_source import read_text
from twinfold.errors import InvalidDataError
from twinfold.utils.text import clipped

pc: Any = pyarrow.compute  # its functions are made at run time; checkers see none

_BOMS = re.compile(b"(?:\xef\xbb\xbf)+")
_NOT_TEXT = {
    b"\x1f\x8b": "compressed by gzip; unpack it, or name it .csv.gz",
    b"PK\x03\x04": "a zip archive or a workbook; unpack it, or export the sheet as CSV",
    b"BZh": "compressed by bzip2; unpack it",
    b"\xfd7zXZ": "compressed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it, or name it .csv.zst",
    b"PAR1": "a Parquet file; name it .parquet",
}
_NOT_UTF_8 = "save it as UTF-8, or give its --encoding, such as cp1252"
_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+\Z")
_RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): ?(.*)", re.DOTALL)
_SOMETHING = re.compile(rb"\S")
_BLANKS = pa.array(sorted({form(t) for t in NULL_TEXTS for form in (str, str.upper, str.title)}
                          | {"NaN", "-NaN", "NaT"}))  # fmt: skip
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# Bytes parsed at once, and whether by threads. A line must fit; without threads rows are named.
_TRIES = ((1 << 20, True), ((1 << 31) - 1, False))
# 007, 20261122093000123, 9007199254740993.0: numbers would lose digits
_NOT_A_QUANTITY = r"^[+-]?(0\d+|\d{16,}(\.\d*)?)$"


@dataclass(frozen=True)
class CsvFile:
    """A CSV file that is read up to its header.

    Attributes:
        file: where it is.
        names: of its columns, as written.
        separator: between values.
        data: the whole file.
        start: place in it of what follows the header.
        lines: of the file, if its first is the whole header; else None.
        form: how its values are written.
    """

    file: Path
    names: list[str]
    separator: str
    data: bytes = field(repr=False)
    start: int
    lines: int | None
    form: TableFormat = PLAIN

    @classmethod
    def open(cls, file: Path, separator: str | None = None, form: TableFormat = PLAIN) -> CsvFile:
        """Read a file; the separator is told from the header when None.

        Raises:
            InvalidDataError: it is empty, no text, or has no readable header.
        """
        return cls._read(file, separator, read_text(file, form.encoding), form)

    @classmethod
    def head(cls, file: Path, separator: str | None = None, form: TableFormat = PLAIN) -> CsvFile:
        """Read no more of a file than its header takes; see ``open``."""
        with suppress(InvalidDataError):  # of what may be half a header
            data = read_text(file, form.encoding, TABLE.head)
            found = cls._read(file, separator, data, form)
            if len(data) < TABLE.head or found.start < len(found.data):
                return found
        return cls.open(file, separator, form)

    @classmethod
    def _read(cls, file: Path, separator: str | None, data: bytes, form: TableFormat) -> CsvFile:
        if marks := _BOMS.match(data):
            data = data[marks.end() :]
        for start, what in _NOT_TEXT.items():
            if data.startswith(start):
                raise InvalidDataError(f"{file} is {what}")
        first = next((line for line in _LINE.finditer(data) if line.group().strip()), None)
        if first is None:
            raise InvalidDataError(f"{file} is empty: it has no header and no rows")
        separator = separator or _separator(first.group())
        names, end = _header(file, data, first.start(), separator)
        ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
        lines = ends + (not data.endswith((b"\n", b"\r")))
        plain = first.start() == 0 and end == first.end()
        return cls(file, names, separator, data, end, lines if plain else None, form)

    @property
    def layout_advice(self) -> str:
        """What to do if the columns are not those expected; nothing if it is not known."""
        if self.names[0].lstrip().startswith("#"):
            return (
                "its first line begins with #, as a comment does; remove such lines, so that the "
                "first one names the columns"
            )
        if self.names[0].startswith("sep="):
            return "its first line, which begins with sep=, is meant for a spreadsheet; remove it"
        if any(name.startswith(' "') for name in self.names[1:]):
            return "in its first line quotes follow blanks; remove the blanks after separators"
        mark = next((mark for mark in ":^ " if len(self.names) == 1 and mark in self.names[0]), "")
        return mark and (
            f"its first line holds none of comma, semicolon, tab and |, but {mark!r}; separate the "
            "columns by one of those"
        )

    def frame(self, ids: Sequence[str] = (), used: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the columns ``used``, all when None.

        Args:
            ids: columns that hold ids, if known.
            used: names of the columns to read; those that the file lacks are passed over.

        Raises:
            InvalidDataError: rows are not regular, or a value is no UTF-8 text.
        """
        places = [i for i, name in enumerate(self.names) if used is None or name in used]
        columns = {}
        for i, column in zip(places, self._columns(places), strict=True):
            text = self._text(self.names[i], column)
            is_id = self.names[i] in ids
            typed = _as_ids(text) if is_id else _as_values(text, self.form.plain_numbers)
            columns[i] = typed.to_pandas()
        df = pd.DataFrame(columns)
        df.columns = [self.names[i] for i in places]
        if self.lines == len(df) + 1:  # neither blank lines nor line breaks within values
            df.attrs[LINE_KEY] = [2, len(df)]
        return df

    def texts(self) -> dict[str, pd.Series]:
        """Return every column as it is written, without blanks around, by its name.

        Of equal names it is the first.

        Raises:
            InvalidDataError: rows are not regular, or a value is no UTF-8 text.
        """
        columns = self._columns(list(range(len(self.names))))
        texts = zip(self.names, columns, strict=True)
        found: dict[str, pd.Series] = {}
        for name, column in texts:
            if name not in found:
                text = pc.utf8_trim_whitespace(self._text(name, column))
                found[name] = text.to_pandas(strings_to_categorical=False).astype(object)
        return found

    def _columns(self, places: list[int]) -> list[Any]:
        """Columns by their place, as bytes."""
        if not _SOMETHING.search(self.data, self.start):
            return [pa.chunked_array([], pa.binary()) for _ in places]
        self._check_quotes()
        names = [str(i) for i in range(len(self.names))]  # unlike the user's, all distinct
        error = None
        for size, threads in _TRIES:
            try:
                table = pacsv.read_csv(
                    pa.BufferReader(pa.py_buffer(self.data).slice(self.start)),
                    pacsv.ReadOptions(column_names=names, block_size=size, use_threads=threads),
                    pacsv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                    pacsv.ConvertOptions(
                        column_types={name: pa.binary() for name in names},
                        include_columns=[names[i] for i in places],
                        strings_can_be_null=False,
                        check_utf8=False,
                    ),
                )
                return table.columns
            except pa.ArrowInvalid as refused:
                error = refused
        problem = f"{self.file} is no regular CSV: {_irregular(str(error))}"
        raise InvalidDataError(
            f"{problem}; {advice}" if (advice := self.layout_advice) else problem
        )

    def _check_quotes(self) -> None:
        """Refuse a quote that is never closed: all rows that follow would be one value."""
        if self.data.count(b'"', self.start) % 2 == 0:
            return
        with _long_fields():
            lines = (text for text, _ in _lines(self.data, self.start, "replace"))
            rows = csv.reader(lines, delimiter=self.separator, strict=True)
            line = 0
            try:
                for _ in rows:
                    line = rows.line_num
            except csv.Error as error:
                if "unexpected end" in str(error):
                    where = f"row {line} or later" if self.lines is None else f"line {line + 2}"
                    raise InvalidDataError(
                        f"{self.file} is no regular CSV: a quote opened in {where} is never closed"
                    ) from None

    def _text(self, name: str, column: Any) -> Any:
        """The column as text."""
        try:
            text = column.cast(pa.string())
        except pa.ArrowInvalid:
            row = next(i for i, value in enumerate(column.to_pylist()) if not _is_utf8(value))
            place = self._place(row, len(column))
            raise InvalidDataError(
                f"{self.file} is not UTF-8 text ({place}) in column {name!r}; {_NOT_UTF_8}"
            ) from None
        null = pc.match_substring(text, "\0")
        if pc.any(null).as_py():
            row = null.to_pylist().index(True)
            raise InvalidDataError(
                f"{self.file} holds binary data, not text: a NUL in column {name!r}, "
                f"{self._place(row, len(column))}"
            )
        return text

    def _place(self, row: int, rows: int) -> str:
        return f"line {row + 2}" if self.lines == rows + 1 else f"row {row}"


def write_csv(table: pa.Table, file: Path, separator: str) -> None:
    """Write with as few quotes as possible; dates as short, and floats as exact, as can be."""
    for i, column in enumerate(table.columns):
        name = table.column_names[i]
        if pa.types.is_timestamp(column.type):
            table = table.set_column(i, name, _shortest_dates(column))
        elif pa.types.is_duration(column.type) or isinstance(column.type, pa.BaseExtensionType):
            text = pa.array(column.to_pandas().astype(str), pa.string())
            table = table.set_column(i, name, text)
    header = io.StringIO()
    csv.writer(header, delimiter=separator, lineterminator="\n").writerow(table.column_names)
    for quoting in ("none", "needed"):
        with file.open("wb") as target:
            target.write(header.getvalue().encode("utf-8"))
            options = pacsv.WriteOptions(
                include_header=False, delimiter=separator, quoting_style=quoting
            )
            try:
                pacsv.write_csv(table, target, options)
                return
            except pa.ArrowInvalid:  # a text holds a separator, quote or line break
                if quoting == "needed":
                    raise


def _separator(first: bytes) -> str:
    """The most frequent one in the header, names in quotes aside; the comma among equals."""
    plain = re.sub(rb'"[^"]*"', b"", first)
    return max((",", ";", "\t", "|"), key=lambda separator: plain.count(separator.encode()))


def _header(file: Path, data: bytes, start: int, separator: str) -> tuple[list[str], int]:
    """The names in the first line, or lines, and where these end."""
    ends = []

    def lines() -> Iterator[str]:
        for text, end in _lines(data, start):
            ends.append(end)
            yield text

    try:
        with _long_fields():
            names = next(csv.reader(lines(), delimiter=separator, strict=True))
    except UnicodeDecodeError:
        raise InvalidDataError(f"{file} is not UTF-8 text (line 1); {_NOT_UTF_8}") from None
    except csv.Error as error:
        message = f"{file} is no regular CSV: its header cannot be read ({error})"
        raise InvalidDataError(message) from None
    if any("\0" in name for name in names):
        told = "holds binary data, not text: a NUL in its header"
        if data[1:20:2] == b"\0" * len(data[1:20:2]):
            told = "looks like UTF-16 text without a mark; give --encoding utf-16-le"
        raise InvalidDataError(f"{file} {told}")
    return names, ends[-1]


def _lines(data: bytes, start: int, errors: str = "strict") -> Iterator[tuple[str, int]]:
    """Yield each line from ``start`` on as text, with its line break, and where it ends."""
    for line in _LINE.finditer(data, start):
        yield line.group().decode("utf-8", errors), line.end()


@contextmanager
def _long_fields() -> Iterator[None]:
    """Values of any length, while the standard library's reader is used."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _irregular(message: str) -> str:
    """The parser's complaint in words of tables; rows count from 0."""
    found = _RAGGED.search(message)
    if found is None:
        return clipped(message.removeprefix("CSV parse error: ").split("\n")[0], 160)
    row, wanted, got, text = found.groups()
    advice = "a value that holds the separator must be in quotes"
    if text.lstrip().startswith("#"):
        advice = "remove lines that are comments"
    elif int(got) == int(wanted) + 1 and text.rstrip().endswith((",", ";", "\t", "|")):
        advice = "remove the separator at the end, or end the header with one too"
    return f"row {int(row) - 1} has {got} values, the header {wanted}: {clipped(text)}; {advice}"


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_ids(column: Any) -> Any:
    """Integers if every id is written as one, else text; blanks are missing."""
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    whole = _as_integers(column)
    return column if whole is None else whole


def _as_values(column: Any, plain: bool) -> Any:
    """Integers, floats or booleans if every value is one, else text.

    Where numbers are not written the plain way, 1.500 may be 1500: these stay text.
    """
    values = pc.if_else(pc.is_in(column, value_set=_BLANKS), pa.scalar(None, pa.string()), column)
    if values.null_count == len(values):
        return values.cast(pa.float64())
    whole = _as_integers(values)
    if whole is not None:
        return whole
    if plain and not pc.any(pc.match_substring_regex(values, _NOT_A_QUANTITY)).as_py():
        try:
            return values.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    if pc.all(pc.is_in(values.drop_null(), value_set=pa.array(list(_BOOLS)))).as_py():
        true = pc.is_in(values, value_set=pa.array([t for t, v in _BOOLS.items() if v]))
        return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), true)
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _as_integers(column: Any) -> Any | None:
    """The column as integers, if no digit is lost by it, in pandas' floats with blanks neither."""
    try:
        whole = column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.equal(whole.cast(pa.string()), column)).as_py():
        return None
    ends = pc.min_max(whole).as_py()
    if whole.null_count and not (
        ends["min"] is not None and -LARGEST_EXACT < ends["min"] <= ends["max"] < LARGEST_EXACT
    ):
        return None
    return whole


def _shortest_dates(column: Any) -> Any:
    """Dates in the coarsest unit that keeps them exact."""
    for unit in ("s", "ms", "us"):
        try:
            return column.cast(pa.timestamp(unit, column.type.tz))
        except pa.ArrowInvalid:
            continue
    return column
