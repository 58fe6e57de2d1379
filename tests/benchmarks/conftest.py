"""What tests of benchmarks/ share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def load_benchmarks() -> Callable[[Mapping[str, str]], Any]:
    """Load modules of benchmarks/, as attributes of the names that they are given."""

    def load(modules: Mapping[str, str]) -> Any:
        sys.path.insert(0, str(FOLDER))
        try:
            found = {name: importlib.import_module(module) for name, module in modules.items()}
        finally:
            sys.path.pop(0)
        return SimpleNamespace(**found)

    return load
