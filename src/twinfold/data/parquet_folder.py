"""Folders of Parquet files: one table, its rows in several files.

Folders within may be named ``column=value``, as many writers do: these are columns too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

from twinfold.data.ids import did_you_mean
from twinfold.data.parquet_file import ParquetFile
from twinfold.errors import InvalidDataError, UsageError

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # of Hive, and of all who write as it does


@dataclass(frozen=True)
class ParquetFolder:
    """A folder of Parquet files that are read up to their columns' names.

    Attributes:
        file: the folder.
        names: of the columns, those in the names of folders last.
        parts: the files, in the order of their paths, each with the values that its path gives.
    """

    file: Path
    names: list[str]
    parts: list[tuple[ParquetFile, dict[str, str | None]]]

    @classmethod
    def open(cls, folder: Path, suffixes: Sequence[str]) -> ParquetFolder:
        """Read the names; files and folders that begin with a dot or a line are passed over.

        Raises:
            UsageError: there is no Parquet file in the folder.
            InvalidDataError: a file is damaged, or has other columns than the first.
        """
        try:
            files = sorted(
                file
                for file in folder.rglob("*")
                if file.suffix.lower() in suffixes
                and file.is_file()
                and not any(part[0] in "._" for part in file.relative_to(folder).parts)
            )
            parts = [(ParquetFile.open(file), _from_path(file, folder)) for file in files]
        except OSError as error:
            raise UsageError(f"cannot read {folder}: {error.strerror}") from None
        if not parts:
            raise UsageError(
                f"{folder} is a directory that holds no Parquet file ({' or '.join(suffixes)})"
            )
        names = _names(parts[0])
        problems = [
            f"{part[0].file} has no column {name!r}, which {parts[0][0].file.name} has."
            + did_you_mean(name, _names(part), "columns")
            for part in parts[1:]
            for name in names
            if name not in _names(part)
        ]
        if problems:
            raise InvalidDataError(problems)
        return cls(folder, names, parts)

    def frame(self, ids: Sequence[str] = (), used: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the columns ``used``, all when None; see ``ParquetFile.frame``."""
        frames = []
        for part, told in self.parts:
            frame = part.frame(ids, [name for name in part.names if used is None or name in used])
            for name, value in told.items():
                if name not in frame.columns and (used is None or name in used):
                    frame[name] = value
            frames.append(frame[[name for name in self.names if name in frame.columns]])
        df = pd.concat(frames, ignore_index=True)
        for name in df.columns:
            if name not in self.parts[0][1]:
                continue
            told = df[name].dropna().astype(str)
            if len(told) and told.str.fullmatch(r"-?(0|[1-9][0-9]{0,17})").all():
                df[name] = df[name].astype("int64" if len(told) == len(df) else "Int64")
        return df


def _names(part: tuple[ParquetFile, dict[str, str | None]]) -> list[str]:
    return [*part[0].names, *(name for name in part[1] if name not in part[0].names)]


def _from_path(file: Path, folder: Path) -> dict[str, str | None]:
    """Return ``{"site": "A"}`` of a file in a folder ``site=A``; None where it says none."""
    parts = (part.partition("=") for part in file.relative_to(folder).parts[:-1])
    return {
        unquote(name): None if value == _NO_VALUE else unquote(value)
        for name, equals, value in parts
        if equals
    }
