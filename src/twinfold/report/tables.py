"""Tables made from records, with the paper's figure beside ours.

A ``Table`` is plain text cells: the page turns it into HTML, the command line prints the same
cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinfold.report.labels import markup

Record = Mapping[str, Any]
Figures = Mapping[Any, Mapping[str, float]]

NOTHING = "–"


_OUTCOMES = ("pass", "warn", "fail", "unknown")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        columns: the headings.
        rows: one text per column.
        caption: what the table shows, in a sentence.
        strong: indices of the columns that carry the result.
        prose: indices of the columns that hold words, which wrap and begin at the left.
        status: index of the column of outcomes, pass, warn, fail or unknown, which get a colour.
        bold: (row, column) indices of single cells that are marked.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    strong: tuple[int, ...] = ()
    prose: tuple[int, ...] = ()
    status: int | None = None
    bold: frozenset[tuple[int, int]] = frozenset()

    def html(self) -> str:
        """Return the table as HTML, every cell escaped; the first column names the row."""
        head = "".join(
            f'<th scope="col"{self._style(place)}>{markup(column)}</th>'
            for place, column in enumerate(self.columns)
        )
        body = "".join(f"<tr>{self._cells(n, row)}</tr>\n" for n, row in enumerate(self.rows))
        caption = f"<caption>{markup(self.caption)}</caption>" if self.caption else ""
        return (
            f'<div class="table"><table>{caption}\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}</tbody></table></div>"
        )

    def markdown(self) -> str:
        """Return the columns and rows as Markdown, without the caption and without marks."""
        head = f"| {' | '.join(self.columns)} |\n|{'---|' * len(self.columns)}"
        return "\n".join([head, *(f"| {' | '.join(row)} |" for row in self.rows)])

    def _cells(self, number: int, row: Sequence[str]) -> str:
        cells = [f'<th scope="row"{self._style(0)}>{markup(row[0])}</th>']
        for place, text in enumerate(row[1:], start=1):
            marked = (number, place) in self.bold
            cells.append(f"<td{self._style(place, text, marked)}>{markup(text)}</td>")
        return "".join(cells)

    def _style(self, place: int, text: str = "", marked: bool = False) -> str:
        """Return the class of a cell; of a heading without its text."""
        styles = ["strong"] if marked or (text and place in self.strong) else []
        styles += ["prose"] if place in self.prose else []
        styles += [text] if place == self.status and text in _OUTCOMES else []
        return f' class="{" ".join(styles)}"' if styles else ""


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits, one decimal from 100 on, none from 1000 on.

    >>> number(0.0031234), number(-44.52), number(186.63), number(12345.6), number(None)
    ('0.00312', '-44.5', '186.6', '12346', '–')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) < 10.0 ** (digits - 1):
        return f"{value:.{digits}g}"
    return f"{value:.{0 if abs(value) >= 10.0**digits else 1}f}".removesuffix(".0")


def label_of(record: Record) -> str:
    """Return what a record's agent is called: its id, and its label if the record has one."""
    label = record.get("label")
    return str(record["agent"]) if label is None else f"{record['agent']} ({label})"


def error_table(
    records: Sequence[Record], paper: Figures | None = None, caption: str = "Prediction error"
) -> Table:
    """Return a table of the open-loop prediction error of each agent beside the paper's.

    Args:
        records: one per agent: ``agent``, ``rmse_mean`` (raw units), ``r2_median``, optional
            ``label``, ``rmse_low`` and ``rmse_high``.
        paper: agent to ``rmse_mean`` and ``r2_median``; agents may be missing.
        caption: the table's caption.
    """
    rows = []
    for record in records:
        theirs = (paper or {}).get(record["agent"], {})
        ours = record["rmse_mean"]
        row = [label_of(record), number(ours) + _bounds(record, "rmse_low", "rmse_high")]
        if paper:
            row += [number(theirs.get("rmse_mean")), times_lower(ours, theirs.get("rmse_mean"))]
        row.append(number(record.get("r2_median")))
        if paper:
            row.append(number(theirs.get("r2_median")))
        rows.append(tuple(row))
    columns = ("agent", "mean RMSE", "median R²")
    if paper:
        columns = ("agent", "mean RMSE", "paper", "ours is", "median R²", "paper")
    return Table(columns, tuple(rows), caption, strong=(1,))


def returns_table(
    records: Sequence[Record],
    paper: Figures | None = None,
    best: Mapping[Any, float] | None = None,
    caption: str = "Return per episode",
) -> Table:
    """Return a table of the returns of each agent beside the paper's and the best possible ones.

    Args:
        records: one per agent: ``agent``, ``mean``, ``std``, optional ``label``, ``iqm``,
            ``low``, ``high`` (interval of the ``iqm``) and ``n`` (episodes).
        paper: agent to ``return_mean`` and ``return_std``; agents may be missing.
        best: agent to the best possible return, if known.
        caption: the table's caption.
    """
    columns = ["agent", "mean ± std", "interquartile mean"]
    columns += ["paper", "ours is"] if paper else []
    columns += ["best possible"] if best else []
    columns += ["episodes"] if any("n" in record for record in records) else []
    rows = []
    for record in records:
        theirs = (paper or {}).get(record["agent"], {})
        row = [
            label_of(record),
            _plus_minus(record["mean"], record.get("std")),
            number(record.get("iqm")) + _bounds(record, "low", "high"),
        ]
        if paper:
            row.append(_plus_minus(theirs.get("return_mean"), theirs.get("return_std")))
            row.append(_difference(record["mean"], theirs.get("return_mean")))
        if best:
            row.append(number(best.get(record["agent"])))
        if "episodes" in columns:
            row.append(str(record.get("n", NOTHING)))
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows), caption, strong=(1,))


def _bounds(record: Record, low: str, high: str) -> str:
    if low not in record or high not in record:
        return ""
    return f" [{number(record[low])}, {number(record[high])}]"


def _plus_minus(mean: float | None, std: float | None) -> str:
    return number(mean) if std is None else f"{number(mean)} ± {number(std)}"


def times_lower(ours: float, theirs: float | None) -> str:
    """Return the comparison of two errors in words: ``4.2 × lower``."""
    if theirs is None or not (ours > 0.0 and theirs > 0.0 and math.isfinite(ours)):
        return NOTHING
    if ours <= theirs:
        return f"{number(theirs / ours, 2)} × lower"
    return f"{number(ours / theirs, 2)} × higher"


def _difference(ours: float, theirs: float | None) -> str:
    if theirs is None or not math.isfinite(ours - theirs):
        return NOTHING
    return f"{number(abs(ours - theirs))} {'higher' if ours >= theirs else 'lower'}"
