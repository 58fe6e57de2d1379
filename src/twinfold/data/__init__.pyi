from .describe import describe as describe
from .ids import match_ids as match_ids
from .import_table import Imported as Imported, import_table as import_table
from .io import (
    load_panel as load_panel,
    read_table as read_table,
    save_panel as save_panel,
    write_table as write_table,
)
from .manifest import (
    Manifest as Manifest,
    manifest_path as manifest_path,
    read_manifest as read_manifest,
)
from .panel import (
    PanelDataset as PanelDataset,
)
from .rl.convert import (
    episode_table as episode_table,
    panel_of_episodes as panel_of_episodes,
    write_episodes as write_episodes,
)
from .roles import Roles as Roles
from .table_format import TableFormat as TableFormat
from .transitions import (
    DataRanges as DataRanges,
    Transitions as Transitions,
)
from .validate import ValidationReport as ValidationReport, check as check
from .windows import Windows as Windows, hold_out as hold_out
