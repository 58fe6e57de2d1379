"""Where suites are and of which kind, by their files. No JAX."""

from __future__ import annotations

import os
from pathlib import Path

from twinfold.benchmark.suite_parts import FOLDER
from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import read_toml

STUDY = "study"
"""Kind of a suite that holds studies (:mod:`twinfold.benchmark.studies`) and no table."""


def find_suite(name: str | Path) -> Path:
    """Return the file of a suite, given by its path or by its name in ``./suites``.

    Raises:
        UsageError: there is none.
    """
    path = Path(name)
    if os.path.exists(path) and not os.path.isdir(path):
        return path
    inside = FOLDER / f"{name}.toml"
    if path.name == str(name) and os.path.exists(inside):
        return inside
    known = suite_names()
    here = one_of(known) if known else f"there are none in {FOLDER}/, so give the path of a file"
    raise UsageError(f"no suite {str(name)!r}; {here}")


def suite_names() -> list[str]:
    """Return the names of the suites in ``./suites``, without those that a script runs."""
    return sorted(file.stem for file in FOLDER.glob("*.toml") if _is_suite(file))


def is_study(name: str | Path) -> bool:
    """Return whether a suite holds studies and no table.

    Raises:
        UsageError: there is no such suite, or it cannot be read.
    """
    return read_toml(find_suite(name), UsageError).get("kind") == STUDY


def _is_suite(file: Path) -> bool:
    """Return whether a file looks like a suite, and not like one that a script runs."""
    try:
        return "script" not in read_toml(file, UsageError)
    except UsageError:
        return False
