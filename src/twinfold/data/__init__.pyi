from .describe import describe as describe
from .ids import match_ids as match_ids
from .io import (
    Manifest as Manifest,
    load_panel as load_panel,
    manifest_path as manifest_path,
    read_manifest as read_manifest,
    read_table as read_table,
    save_panel as save_panel,
    write_table as write_table,
)
from .panel import (
    DataRanges as DataRanges,
    PanelDataset as PanelDataset,
    Transitions as Transitions,
)
from .roles import Roles as Roles
from .validate import ValidationReport as ValidationReport, check as check
from .windows import Windows as Windows, hold_out as hold_out
