"""Panel data: many agents, few rows each.

``PanelDataset`` is what every later step works on. Nothing here imports JAX, and pandas is loaded
only when a table is read, checked or written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# Loaded at once: it has the name of its module, which would take its place if it were loaded later.
from twinfold.data.describe import describe
from twinfold.utils.lazy import lazy_exports

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
    from twinfold.data.validate import ValidationReport, check
    from twinfold.data.windows import Windows, hold_out

_HOME = {
    "DataRanges": "panel",
    "Windows": "windows",
    "Manifest": "io",
    "PanelDataset": "panel",
    "Roles": "roles",
    "Transitions": "panel",
    "ValidationReport": "validate",
    "check": "validate",
    "hold_out": "windows",
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
    "Manifest",
    "PanelDataset",
    "Roles",
    "Transitions",
    "ValidationReport",
    "Windows",
    "check",
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

__getattr__ = lazy_exports(
    __name__, {name: f"{__name__}.{module}" for name, module in _HOME.items()}
)
