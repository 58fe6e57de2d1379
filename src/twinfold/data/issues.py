"""Wording of what is found in a table: rows and agents are named, repeated problems grouped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.calendars import NAMES, from_counts
from twinfold.data.columns import Mask
from twinfold.data.faults.clock import gap_words, repeated_hour
from twinfold.data.ids import AgentId
from twinfold.data.table_settings import TABLE
from twinfold.data.time_step import step_from_ticks, step_text
from twinfold.data.times import Times, offset_of
from twinfold.utils.text import clipped, counted, percent

_COMMA = re.compile(r"(?:[<>≤≥]=?\s*)?[+-]?[0-9.]*,[0-9.,]*(?:e[+-]?[0-9]+)?", re.IGNORECASE)

_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_BOTH = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]*")
_UNIT = re.compile(r"[+-]?[0-9][0-9.,]*\s*([^\W\d_]\S{0,9}|[%°€$£‰]\S{0,4})")

_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:(['_\s])[0-9]{3})(?:\1[0-9]{3})*(?:[.,][0-9]*)?")

# What stands behind a value that is written in another way than its table says.
_OTHER_MARK = re.compile(r" \(decimal ([.,])\)$")
_OTHER_FORM = re.compile(r" \(not (.*)\)$")

_QUARTER = re.compile(r"[0-9]{4}[ -]?[QqWw][0-9]{1,2}|[QqWw][0-9]{1,2}[ -/]?[0-9]{4}")


LINE_KEY = "twinfold_csv_lines"
"""Key of ``DataFrame.attrs``: ``[line of row 0, number of rows]`` if rows are lines of a CSV."""


@dataclass
class Notes:
    """Problems and warnings found so far, and how to name a row and its agent."""

    df: pd.DataFrame
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    agent: NDArray[np.int64] | None = None  # (rows of the table,) index into agent_ids
    agent_ids: tuple[AgentId, ...] = ()

    def row(self, row: int) -> str:
        """A row from 0, with the line of the CSV it was read from if that is known."""
        lines = self.df.attrs.get(LINE_KEY)
        plain = isinstance(self.df.index, pd.RangeIndex) and self.df.index.start == 0
        if lines and plain and lines[1] == len(self.df):
            return f"row {row} (line {row + lines[0]})"
        return f"row {row}"

    def of(self, row: int) -> str:
        """A row and its agent."""
        if self.agent is None or self.agent[row] < 0:
            return self.row(row)
        return f"{self.row(row)}, agent {clipped(self.agent_ids[self.agent[row]])}"

    def bad_rows(self, column: str, role: str, what: str, rows: Mask, advice: str) -> None:
        """A problem of some rows: how many, and the first of them."""
        found = np.flatnonzero(rows)
        if len(found):
            count = f"in {len(found)} rows, first at" if len(found) > 1 else "at"
            self.problems.append(
                f"column {column!r} ({role}): {what} {count} {self.of(int(found[0]))}; {advice}"
            )

    def censored(self, column: str, written: pd.Series, rows: Mask, kept: bool) -> None:
        """Rows that hold a bound such as ``<0.05``, taken as missing or as the bound."""
        found = np.flatnonzero(rows)
        taken = "missing (--censored takes the bound)"
        if kept:
            taken = "the bound itself, words as missing"
        self.warnings.append(
            f"column {column!r}: {counted(len(found), 'censored value')} such as "
            f"{clipped(written.iloc[int(found[0])])}, first at {self.of(int(found[0]))}, taken as "
            f"{taken}"
        )

    def duplicates(
        self, order: NDArray[Any], twice: Mask, times: Times, column: str, episodes: bool
    ) -> None:
        """Rows that stand for the same moment; ``twice`` is per pair of sorted rows."""
        found = np.flatnonzero(twice)
        within, advice = "agent, episode and time", "keep one of them"
        if not episodes:
            within = "agent and time"
            advice += ", or name the episode column if an agent has several trajectories"
        if not len(found):
            return
        named_zone = "/" in str(times.zone)
        if times.values.dtype.kind == "M" and (times.zone is None or named_zone):
            change = repeated_hour(times.local[order[found]])
            if change is not None:
                zone = f"another --time-zone than {times.zone}" if named_zone else "--time-zone"
                advice = (
                    f"a change of the clock explains it ({change.day}): give {zone}, such as "
                    f"{change.zone}, or times in UTC"
                )
            elif not named_zone:
                advice += "; where a change of the clock repeats an hour, give times in UTC"
        first, second = int(order[found[0]]), int(order[found[0] + 1])
        self.problems.append(
            f"{counted(len(found), 'row')} with the same {within} as another, first "
            f"{self.of(second)}: {named(column)} {show_time(times, second)} is also in "
            f"{self.row(first)}; {advice}"
        )

    def unusual_steps(self, order: NDArray[Any], unusual: Mask, times: Times, step: float) -> None:
        """What explains steps of unusual length, if weekends or a clock do."""
        found = np.flatnonzero(unusual)
        if times.values.dtype.kind == "M" and len(found):
            local = times.local
            words = gap_words(local[order[found]], local[order[found + 1]], step)
            if words:
                self.warnings.append(f"of the unusual steps {words.removeprefix('; ')}")

    def gaps(
        self,
        order: NDArray[Any],
        gaps: Mask,
        pairs: int,
        times: Times,
        step: float,
        uneven: bool = False,
    ) -> None:
        """Steps of unusual length, where times are ``uneven`` far too long ones.

        ``gaps`` is per pair of sorted rows.
        """
        found = np.flatnonzero(gaps)
        if not len(found) or self.agent is None:
            return
        first, second = int(order[found[0]]), int(order[found[0] + 1])
        agents = len(np.unique(self.agent[order[found]]))
        usual = step_from_ticks(step, times.values.dtype.kind)
        between = f"{self.row(first)} and {self.of(second)}"
        words = ""
        if times.values.dtype.kind == "M":
            local = times.local
            words = gap_words(local[order[found]], local[order[found + 1]], step)
        away = "differ by more than half from"
        if uneven:
            away = f"are more than {TABLE.longest:g} times the median and"
        self.warnings.append(
            f"{counted(len(found), 'time gap')} in {counted(agents, 'agent')}: "
            f"{percent(len(found) / pairs)} of the steps {away} the usual "
            f"{step_text(usual)}; trajectories are split there, first between {between} "
            f"({show_time(times, first)} to {show_time(times, second)}){words}"
        )


def some(ids: Sequence[AgentId], most: int = 5) -> str:
    """The first few ids."""
    more = ", ..." if len(ids) > most else ""
    return ", ".join(clipped(value) for value in ids[:most]) + more


def number_advice(value: Any, advice: str, column: pd.Series | None = None) -> str:
    """Return what to do about a value that is no number: a comma is told from other text.

    Args:
        value: the first one.
        advice: what to do about other text.
        column: all that are no numbers, which tell the mark between thousands from a decimal comma.
    """
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, str) and (found := _OTHER_MARK.search(value)):
        other = "." if found[1] == "," else ","
        return f"numbers are read with --decimal {found[1]}; give --decimal {other} if all are so"
    if _BOTH.fullmatch(text):
        return "a decimal comma? give --decimal , --thousands . if all numbers are written so"
    if _COMMA.fullmatch(text):
        texts = [text] if column is None else column.astype(str).str.strip().unique()
        whole = sum(_THOUSANDS.fullmatch(each) is not None for each in texts)
        clear = text.count(",") > 1 or "." in text
        if whole == len(texts) and (clear or whole > 1):
            return (
                "a mark between thousands? give --thousands , if all numbers are written so (or "
                "--decimal , if it stands before decimals)"
            )
        return (
            "a decimal comma? give --decimal , if all numbers are written so (or --thousands , if "
            "it stands between thousands); else write it as in 0.5"
        )
    grouped = _GROUPED.fullmatch(text)
    if grouped:
        mark = grouped.group(1) if grouped.group(1) in "'_" else " "
        return f'a mark between thousands? give --thousands "{mark}", if all numbers are written so'
    if unit := _UNIT.fullmatch(text):
        return f"if {unit[1]!r} is a unit, write the numbers without it, all in the same unit"
    return advice


def time_advice(value: Any, times: Times) -> str:
    """Return what to do about a value that is no time."""
    if times.calendar is not None:
        return f"the times are {NAMES[times.calendar]}; correct it, or give --calendar none"
    if isinstance(value, str) and (found := _OTHER_FORM.search(value)):
        return f"times are read as {found[1]}; correct it, or tell the form of all by --date-format"
    dated = times.values.dtype.kind == "M" and isinstance(value, str)
    if dated and (offset_of(value) is None) != (times.zone is None):
        return "some times have an offset from UTC, such as Z or +02:00, and some do not"
    if isinstance(value, str) and _QUARTER.fullmatch(value.strip()):
        return "write a quarter as in 20241 (YYYYQ), a week as in 202452 (YYYYWW)"
    return number_advice(
        value,
        "times are all numbers of at most 64 bits, or all durations such as 90 min, or all dates "
        "such as 2026-01-31 or 2026-01-31T13:00:00 from 1678 to 2261; of dates in another "
        "form --date-format tells it, such as %d.%m.%Y or %b-%y",
    )


def named(column: str) -> str:
    """The name of a column within a sentence, in quotes if it could be misread."""
    return column if column.isidentifier() else repr(column)


def show_time(times: Times, row: int) -> str:
    """A time as the user wrote it, near enough."""
    value = times.values[row]
    if times.calendar is not None:
        shown = from_counts(times.values[row : row + 1], times.calendar)[0]
        return str(shown.astype("datetime64[D]") if shown.dtype.kind == "M" else shown)
    if times.values.dtype.kind == "i":
        return str(value)
    if times.values.dtype.kind == "M":
        date = pd.Timestamp(value)
        local = date if times.zone is None else date.tz_localize("UTC").tz_convert(times.zone)
        return str(local.tz_localize(None))
    return str(pd.Timedelta(value)) if times.values.dtype.kind == "m" else f"{value:.10g}"
