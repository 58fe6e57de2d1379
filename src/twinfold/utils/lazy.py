"""Public names of a package that load when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that loads its public names when they are used.

    Args:
        package: its full name, ``__name__`` in its ``__init__``.
        home: the full name of the module that each public name lives in.
    """

    def getattr_(name: str) -> Any:
        if name in home:
            return getattr(importlib.import_module(home[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return getattr_
