"""A stranger's table looked at: roles and format are guessed, shown with reasons, and written.

Only the manifest is written, and only if the table can be used by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from twinfold.data.coding import as_words, holds_words
from twinfold.data.columns import as_numbers
from twinfold.data.csv_file import CsvFile
from twinfold.data.faults.alignment import AlignmentFigures, alignment_figures
from twinfold.data.guess_format import (
    Guess,
    guess_date_format,
    guess_encoding,
    guess_marks,
    guess_missing,
)
from twinfold.data.guess_roles import RoleGuesses, guess_roles
from twinfold.data.io import TABLE_SUFFIXES, open_table, read_table
from twinfold.data.manifest import Manifest, StrPath, manifest_path
from twinfold.data.roles import Roles
from twinfold.data.table_format import TableFormat, settle_numbers, settle_times
from twinfold.data.text_source import unpacked_name
from twinfold.data.times import as_times
from twinfold.data.validate import ValidationReport, check
from twinfold.errors import InvalidDataError, UsageError
from twinfold.utils.files import atomic_write_text

__all__ = ["Imported", "guess_table", "import_table"]


@dataclass(frozen=True)
class Imported:
    """What a table is taken for.

    Attributes:
        table: the file.
        columns: by column, its role (empty if it has none) and the reason.
        settings: by setting of roles and format, its value and the reason.
        roles: in the form of a manifest; a role that could not be told is not there.
        form: how values are written.
        report: what the checks say, if all roles could be told.
        alignment: figures of where actions stand, if there are enough rows.
        missing: roles that could not be told.
    """

    table: Path
    columns: dict[str, tuple[str, str]]
    settings: dict[str, Guess]
    roles: dict[str, Any]
    form: TableFormat
    report: ValidationReport | None = None
    alignment: AlignmentFigures | None = None
    missing: tuple[str, ...] = field(default=())

    @property
    def manifest(self) -> Manifest:
        """The manifest of the table."""
        return Manifest(
            roles=Roles.parse(self.roles),
            table_format=self.form,
            source={"imported": self.table.name},
        )

    @property
    def written(self) -> bool:
        """Whether the table can be used, so that its manifest is written."""
        return self.report is not None and self.report.ok

    @property
    def place(self) -> Path:
        """Where the manifest goes."""
        return manifest_path(self.table)

    def record(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return {
            "table": str(self.table),
            "manifest": str(self.place) if self.written else None,
            "columns": {n: {"role": r or None, "why": w} for n, (r, w) in self.columns.items()},
            "settings": {n: {"value": g.value, "why": g.why} for n, g in self.settings.items()},
            "roles": self.roles,
            "table_format": self.form.given(),
            "missing": list(self.missing),
            "problems": list(self.report.problems) if self.report else [],
            "warnings": list(self.report.warnings) if self.report else [],
        }


def import_table(
    path: StrPath,
    roles: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
    *,
    replace: bool = False,
) -> Imported:
    """Guess roles and format of a table, and write the manifest beside it.

    Args:
        path: a CSV or Parquet file, or a folder of Parquet files.
        roles: those that are known, such as ``{"agent": "patient"}``; the others are guessed.
        form: what is known of how values are written.
        replace: whether a manifest that is there already is replaced.

    Returns:
        What was guessed and why. Nothing was written if a role could not be told, or the table
        cannot be used: see ``missing`` and ``report``.

    Raises:
        UsageError: there is a manifest already, or no such file.
        InvalidDataError: the file is damaged.
    """
    file = manifest_path(path)
    if file.exists() and not replace:
        raise UsageError(f"{file} is there already; --replace writes it anew")
    found = guess_table(path, roles or {}, form or {})
    if found.written:
        atomic_write_text(file, found.manifest.text())
    return found


def guess_table(path: StrPath, roles: Mapping[str, Any], form: Mapping[str, Any]) -> Imported:
    """Guess roles and format of a table; nothing is written. See ``import_table``."""
    file = Path(path)
    settings: dict[str, Guess] = {}
    parsed = TableFormat.parse(form)
    frame = pd.DataFrame()
    if unpacked_name(file).suffix.lower() in TABLE_SUFFIXES[:2] and not file.is_dir():
        parsed = _text_format(file, form, settings)
    frame = read_table(file, form=parsed)
    frame.columns = [str(name) for name in frame.columns]
    columns: dict[str, Any] = {
        name: frame[name] for name, count in Counter(frame.columns).items() if count == 1
    }
    if not columns:
        told = "no column has a name of its own; name them in its first line"
        raise InvalidDataError(f"{file}: {told}")
    if not len(frame):
        raise InvalidDataError(f"{file} is empty: it has columns but no rows")
    ids = (roles.get("agent"), roles.get("episode"), roles.get("time"))
    bounded = parsed.model_copy(update={"censored": True})  # <0.05 is no empty place
    for name, series in columns.items():
        if name not in ids:
            columns[name] = settle_numbers(series, bounded).series
    if parsed.date_format is None:
        told = _date_format(columns, roles)
        if told is not None:
            name, guess = told
            settings["date_format"] = guess
            parsed = TableFormat.parse({**parsed.given(), "date_format": guess.value})
            columns[name] = settle_times(columns[name], parsed)
    guesses = guess_roles(columns, roles)
    time = columns.get(guesses.roles.get("time", ""))
    guesses.why |= {n: ("", "named twice") for n in frame.columns if n not in columns}
    return _checked(file, guesses, time, settings, parsed)


def _text_format(file: Path, form: Mapping[str, Any], settings: dict[str, Guess]) -> TableFormat:
    """The format of a text file: what is given, and what is guessed of the rest."""
    known = dict(form)
    if "encoding" not in known and (guess := guess_encoding(file)) is not None:
        settings["encoding"] = guess
        known["encoding"] = guess.value
    opened = open_table(file, TableFormat.parse(known))
    assert isinstance(opened, CsvFile), "by its suffix"
    texts = opened.texts()
    settings["separator"] = Guess(opened.separator, "the most frequent one in the header")
    if not {"decimal", "thousands"} & set(known):
        guess = guess_marks(texts, opened.separator)
        if guess is not None:
            for name, value in zip(("decimal", "thousands"), guess.value, strict=True):
                if value not in ("", "."):
                    settings[name] = Guess(value, guess.why)
                known[name] = value
    if "missing" not in known:
        marks = (known.get("decimal", "."), known.get("thousands", ""))
        tokens = guess_missing(texts, marks)
        if tokens:
            why = "; ".join(f"{token.value!r} {token.why}" for token in tokens)
            settings["missing"] = Guess([token.value for token in tokens], why)
            known["missing"] = settings["missing"].value
    return TableFormat.parse(known)


def _date_format(
    columns: Mapping[str, pd.Series], roles: Mapping[str, Any]
) -> tuple[str, Guess] | None:
    """The column of dates that are none of ISO 8601, and their form."""
    names = [roles["time"]] if "time" in roles else list(columns)
    for name in names:
        series = columns.get(name)
        if series is None or not (series.dtype == object or pd.api.types.is_string_dtype(series)):
            continue
        guess = guess_date_format(series.dropna().astype(str).str.strip())
        if guess is not None:
            return name, guess
    return None


def _checked(
    file: Path, guesses: RoleGuesses, time: Any, settings: dict[str, Guess], form: TableFormat
) -> Imported:
    """The guesses with what the checks and the alignment say of them."""
    roles = guesses.roles
    needed = ["agent", "time", "state"]
    needed += [] if roles.get("action_type") == "none" else ["action"]
    missing = tuple(name for name in needed if not roles.get(name))
    if {"agent", "time"} & set(missing):  # without them the others were not looked for
        missing = tuple(name for name in missing if name in ("agent", "time"))
    if missing:
        return Imported(file, guesses.why, settings, roles, form, missing=missing)
    if "action_type" not in guesses.given:
        why = "words, flags or whole numbers without a gap are discrete; amounts are not"
        settings["action_type"] = Guess(roles["action_type"], why)
    if "angle" in roles and "angle" not in guesses.given:
        settings["angle"] = Guess(roles["angle"], "named so, and wraps around")
    parsed = Roles.parse(roles)
    calendar = as_times(time, parsed.calendar).calendar
    if calendar is not None and parsed.calendar is None:
        roles["calendar"] = calendar
        settings["calendar"] = Guess(calendar, f"all integers of {parsed.time!r} are such dates")
    ids = [name for name in (parsed.agent, parsed.episode) if name is not None]
    frame = read_table(file, ids, parsed.columns, form=form, time=parsed.time)
    figures = _alignment(frame, parsed)
    if "align" not in guesses.given and (parsed.action or parsed.exogenous):
        settings["align"] = _align(guesses, figures)
        if settings["align"].value != "next":
            roles["align"] = settings["align"].value
    report = check(frame, roles, form=form)
    return Imported(file, guesses.why, settings, roles, form, report, figures)


def _align(guesses: RoleGuesses, figures: AlignmentFigures | None) -> Guess:
    """Where actions stand, by what is empty, or by figures."""
    for name, where in guesses.empty.items():
        value = "same-row" if where == "first" else "next"
        return Guess(value, f"{name!r} is empty in the {where} row of each trajectory")
    if figures is None:
        return Guess("next", "too few rows to tell; the usual way")
    numbers = (
        f"error of {figures.column!r} one step ahead, of that without any action: "
        f"{figures.as_is:.3f} with the action of the row, {figures.late:.3f} with that of the next"
    )
    return Guess("same-row" if figures.probably_late else "next", numbers)


def _alignment(frame: Any, roles: Roles) -> AlignmentFigures | None:
    """Figures of where actions stand, of a table that need not be usable."""
    keys = [roles.agent] if roles.episode is None else [roles.agent, roles.episode]
    codes = frame.groupby(keys, dropna=False).ngroup().to_numpy()
    ticks = as_times(frame[roles.time], roles.calendar).ticks
    order = np.lexsort((ticks, codes))
    joined = np.diff(codes[order]) == 0
    state = np.column_stack([as_numbers(frame[name]).values[order] for name in roles.state])
    names = roles.action or roles.exogenous
    inputs = [_codes(frame[name])[order] for name in names]
    kinds = roles.kinds or ("continuous",) * len(names)
    action = np.column_stack(inputs) if inputs else np.zeros((len(order), 0))
    return alignment_figures(roles.state, kinds, state, action, joined)


def _codes(series: Any) -> Any:
    """A column's numbers; of words their codes."""
    if not holds_words(series):
        return as_numbers(series).values
    code = as_words(series).code.astype(np.float64)
    return np.where(code < 0, np.nan, code)
