"""A file of any format of reinforcement learning to a table, and a panel to such a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from twinfold.data.io import save_panel
from twinfold.data.panel import PanelDataset
from twinfold.data.rl.d3rlpy_format import from_d3rlpy, read_d3rlpy, write_d3rlpy
from twinfold.data.rl.d4rl_format import from_d4rl, read_d4rl
from twinfold.data.rl.episodes import Episode, Origin, to_table
from twinfold.data.rl.hdf5 import open_hdf5
from twinfold.data.rl.minari_format import MAIN, find_minari, from_minari, read_minari, write_minari
from twinfold.data.rl.trajectories import from_trajectories
from twinfold.data.roles import Roles
from twinfold.errors import UsageError, one_of

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".hdf5", ".h5")
Format = Literal["parquet", "minari", "d3rlpy"]


def is_episodes(place: Path) -> bool:
    """Return whether a file or folder is of a format of reinforcement learning."""
    return find_minari(place) is not None or place.suffix.lower() in SUFFIXES


def episode_table(source: Any, *, each: bool = False) -> tuple[pd.DataFrame, Roles]:
    """Return a data set of reinforcement learning as a long table, and which column is what.

    Args:
        source: a file or folder of Minari, a file of d3rlpy or with D4RL's arrays; in Python also
            a ``minari.MinariDataset``, a ``d3rlpy`` replay buffer, a mapping of D4RL's arrays, or a
            list of trajectories, a mapping of arrays each (``twinfold.data.rl.trajectories``).
        each: whether every episode is an agent of its own, where it is not known whose it is; else
            all are of one agent.

    Raises:
        UsageError: there is no such file, or it is none of them.
        InvalidDataError: it is damaged, or holds pictures or texts.
    """
    episodes, origin = _read(source)
    return to_table(episodes, origin, each=each)


def panel_of_episodes(source: Any, *, each: bool = False) -> PanelDataset:
    """Return a data set of reinforcement learning as a panel; see ``episode_table``."""
    episodes, origin = _read(source)
    df, roles = to_table(episodes, origin, each=each)
    return PanelDataset.from_frame(df, roles, time_step=None if origin is None else origin.step)


def write_episodes(panel: PanelDataset, place: Path, kind: Format) -> None:
    """Write a panel in a format: a table with its manifest, a folder of Minari, or a file.

    Args:
        panel: what is written.
        place: the file, or the folder of a data set of Minari.
        kind: ``"parquet"``, ``"minari"`` or ``"d3rlpy"``.

    Raises:
        UsageError: there is no such format, or the place cannot be written to.
    """
    if kind not in get_args(Format):
        raise UsageError(f"unknown format {str(kind)!r}; {one_of(get_args(Format))}")
    if kind == "parquet":
        save_panel(panel, place)
    elif kind == "minari":
        write_minari(panel, place)
    else:
        write_d3rlpy(panel, place)


def _read(source: Any) -> tuple[list[Episode], Origin | None]:
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    if isinstance(source, dict):
        return from_d4rl(source), None
    if hasattr(source, "iterate_episodes"):
        return from_minari(source)
    if isinstance(source, list | tuple) and not all(hasattr(e, "observations") for e in source):
        return from_trajectories(source), None
    if hasattr(source, "episodes") or isinstance(source, list | tuple):
        return from_d3rlpy(source), None
    raise UsageError(
        f"a {type(source).__name__} is no data set of Minari, d3rlpy or D4RL, and no file of one"
    )


def _read_file(place: Path) -> tuple[list[Episode], Origin | None]:
    file = find_minari(place)
    if file is not None:
        return read_minari(file)
    with open_hdf5(place) as h5:
        names = set(h5)
    if "num_episodes" in names:
        return read_d3rlpy(place)
    if {"observations", "actions"} <= names:
        return read_d4rl(place), None
    raise UsageError(
        f"{place} is no data set of Minari ({MAIN}), d3rlpy or D4RL; it holds "
        f"{', '.join(sorted(names)[:10])}"
    )
