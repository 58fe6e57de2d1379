"""Every name that is imported from twinfold exists.

Packages load their names when they are first used, so that neither an import of the package nor a
type checker finds a name that has gone: only the program that uses it.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for room in ("src", "tests", "benchmarks", "examples")
    for path in (ROOT / room).rglob("*.py")
)


def _imported(path: Path) -> set[tuple[str, str]]:
    """Return the modules and names of ``from twinfold... import ...``, in functions too."""
    return {
        (node.module, name.name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "twinfold"
        for name in node.names
        if node.module is not None
    }


def _exists(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    try:  # a module of a package that exports nothing
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("room", ["src", "tests", "benchmarks", "examples"])
def test_what_is_imported_exists(room: str) -> None:
    missing = [
        f"{path.relative_to(ROOT)}: from {module} import {name}"
        for path in FILES
        if path.is_relative_to(ROOT / room)
        for module, name in sorted(_imported(path))
        if not _exists(module, name)
    ]
    assert not missing
