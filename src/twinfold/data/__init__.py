"""Panel data: many agents, few rows each.

``PanelDataset`` is what every later step works on. Nothing here imports JAX, and pandas is loaded
only when a table is read, checked or written.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinfold.data.ids import match_ids
    from twinfold.data.io import (
        Manifest,
        load_panel,
        manifest_path,
        read_manifest,
        read_table,
        save_panel,
        write_table,
    )
    from twinfold.data.panel import DataRanges, PanelDataset, Transitions
    from twinfold.data.roles import Roles
    from twinfold.data.split import HeldOut, hold_out
    from twinfold.data.summary import coverage_figure, describe
    from twinfold.data.validate import ValidationReport, check

_HOME = {
    "DataRanges": "panel",
    "HeldOut": "split",
    "Manifest": "io",
    "PanelDataset": "panel",
    "Roles": "roles",
    "Transitions": "panel",
    "ValidationReport": "validate",
    "check": "validate",
    "coverage_figure": "summary",
    "describe": "summary",
    "hold_out": "split",
    "load_panel": "io",
    "manifest_path": "io",
    "match_ids": "ids",
    "read_manifest": "io",
    "read_table": "io",
    "save_panel": "io",
    "write_table": "io",
}

__all__ = [
    "DataRanges",
    "HeldOut",
    "Manifest",
    "PanelDataset",
    "Roles",
    "Transitions",
    "ValidationReport",
    "check",
    "coverage_figure",
    "describe",
    "hold_out",
    "load_panel",
    "manifest_path",
    "match_ids",
    "read_manifest",
    "read_table",
    "save_panel",
    "write_table",
]


def __getattr__(name: str) -> Any:
    """Load the module that holds a public name when the name is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, whether loaded yet or not."""
    return sorted(__all__)
