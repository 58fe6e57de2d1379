"""Data sets of Minari, in their form of HDF5.

They are read by h5py alone; to write one needs the extra ``minari``. What a panel is besides its
numbers (ids, names of columns, times, static columns) is kept in the metadata, so that it comes
back the same.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from twinfold.data.panel import PanelDataset
from twinfold.data.rl.episodes import KEY, Episode, Origin, as_arrays, as_id, episodes_of
from twinfold.data.rl.hdf5 import open_hdf5, whole
from twinfold.errors import InvalidDataError, UsageError
from twinfold.utils.reading import READING, read_json
from twinfold.utils.text import clipped

MAIN = "main_data.hdf5"


def find_minari(place: Path) -> Path | None:
    """Return the file of a data set's episodes: of a folder, its ``data``, or the file itself."""
    for file in (place, place / MAIN, place / "data" / MAIN):
        if file.name == MAIN and file.is_file():
            return file
    return None


def read_minari(file: Path) -> tuple[list[Episode], Origin | None]:
    """Return the episodes of a data set, and what is known of its columns.

    Raises:
        InvalidDataError: it is damaged, or holds pictures or texts.
    """
    said = file.with_name("metadata.json")
    there = os.path.lexists(said)
    metadata = read_json(said, READING.record, InvalidDataError) if there else {}
    if not isinstance(metadata, dict):
        raise InvalidDataError(f"{said} is damaged: it must be a table, not {clipped(metadata)}")
    origin = Origin.parse(metadata[KEY]) if isinstance(metadata.get(KEY), str) else None
    with open_hdf5(file) as h5:
        names = sorted(
            (n for n in h5 if n.startswith("episode_")), key=lambda n: int(n.rpartition("_")[2])
        )
        try:
            return [_episode(h5[name], f"{file}, {name}") for name in names], origin
        except KeyError as error:
            raise InvalidDataError(f"{file} is no data set of Minari: {error}") from None


def from_minari(dataset: Any) -> tuple[list[Episode], Origin | None]:
    """Return the episodes of a ``minari.MinariDataset``; of one with HDF5 or Arrow alike."""
    metadata = dataset.storage.metadata
    origin = Origin.parse(metadata[KEY]) if isinstance(metadata.get(KEY), str) else None
    indices = [int(i) for i in dataset.episode_indices]
    noted = list(dataset.storage.get_episode_metadata(indices))
    found = []
    for episode, attributes in zip(dataset.iterate_episodes(indices), noted, strict=True):
        parts = {
            "observations": episode.observations,
            "actions": episode.actions,
            "rewards": episode.rewards,
            "terminations": episode.terminations,
            "truncations": episode.truncations,
            "infos": episode.infos or {},
        }
        found.append(_made(parts, attributes, f"episode {episode.id}"))
    return found, origin


def write_minari(panel: PanelDataset, folder: Path, name: str = "twinfold/panel-v0") -> None:
    """Write a panel as a data set that ``minari.MinariDataset(folder / "data")`` reads.

    Args:
        panel: the panel; trajectories of a single row are left out.
        folder: to write, which must not exist; in Minari's own folder, under the data set's name,
            ``minari.load_dataset`` finds it.
        name: of the data set, in its metadata.

    Raises:
        UsageError: Minari is not installed, the folder exists, or actions are levels below 0.
    """
    try:
        import gymnasium as gym
        import minari
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError:
        raise UsageError(
            "writing a data set of Minari needs it: pip install 'twinfold[minari]'"
        ) from None
    if folder.exists():
        raise UsageError(f"{folder} exists already; choose another folder")
    episodes, origin = episodes_of(panel)
    state, action = episodes[0].state, np.concatenate([e.action for e in episodes])
    box = gym.spaces.Box(-np.inf, np.inf, state.shape[1:], np.float64)
    acts: Any = gym.spaces.Box(-np.inf, np.inf, action.shape[1:], np.float64)
    if action.ndim == 1:
        low, high = int(action.min()), int(action.max())
        acts = gym.spaces.Discrete(high - low + 1, start=low)
    buffers = [_buffer(EpisodeBuffer, i, episode) for i, episode in enumerate(episodes)]
    noted = {"dataset_id": name, "minari_version": minari.__version__, KEY: origin.text()}
    draft = _draft(folder.absolute())  # Minari takes a relative path for one inside of itself
    try:
        storage = MinariStorage.new(draft / "data", box, acts, data_format="hdf5")
        storage.update_episodes(buffers)
        storage.update_metadata(noted)
        storage.update_episode_metadata([_attributes(episode) for episode in episodes])
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _draft(folder: Path) -> Path:
    """Return a new folder beside one to be written; what a killed export left there is removed."""
    draft = folder.with_name(f".{folder.name}.minari-partial")
    if draft.is_dir() and not draft.is_symlink() and {p.name for p in draft.iterdir()} <= {"data"}:
        shutil.rmtree(draft)
    (draft / "data").mkdir(parents=True)
    return draft


def _buffer(kind: Any, number: int, episode: Episode) -> Any:
    """An episode in Minari's terms."""
    steps = len(episode.action)
    last = np.arange(steps) == steps - 1
    return kind(
        id=number,
        observations=episode.state,
        actions=episode.action,
        rewards=list(np.zeros(steps) if episode.reward is None else episode.reward),
        terminations=list(last & episode.terminated),
        truncations=list(last & (episode.truncated or not episode.terminated)),
        infos={KEY: {"time": episode.time}},
    )


def _attributes(episode: Episode) -> dict[str, Any]:
    """What Minari has no place for, of one episode."""
    noted: dict[str, Any] = {f"{KEY}_agent": episode.agent, f"{KEY}_cut": episode.truncated}
    if episode.name is not None:
        noted[f"{KEY}_episode"] = episode.name
    if episode.static is not None:
        noted[f"{KEY}_static"] = episode.static
    return noted


def _episode(group: Any, what: str) -> Episode:
    """An episode of a file."""
    return _made(_tree(group), dict(group.attrs), what)


def _made(parts: dict[str, Any], noted: dict[str, Any], what: str) -> Episode:
    """An episode of its parts and its metadata."""
    action = parts["actions"]
    plain = isinstance(action, np.ndarray) and action.ndim == 1 and action.dtype.kind in "iu"
    terminated = bool(np.any(parts["terminations"]))
    infos = parts.get("infos") or {}
    own = infos.get(KEY) if isinstance(infos.get(KEY), dict) else {}
    agent, name = noted.get(f"{KEY}_agent"), noted.get(f"{KEY}_episode")
    if agent is None and "agent_id" in infos:
        agent = np.ravel(infos["agent_id"])[0]
    return Episode(
        as_arrays(parts["observations"], f"{what}, observations"),
        action if plain else as_arrays(action, f"{what}, actions"),
        np.asarray(parts["rewards"], np.float64),
        terminated,
        bool(noted.get(f"{KEY}_cut", np.any(parts["truncations"]))),
        agent=None if agent is None else as_id(agent),
        name=None if name is None else as_id(name),
        time=own.get("time") if own else None,
        static=noted.get(f"{KEY}_static"),
    )


def _tree(group: Any) -> Any:
    """A group of HDF5 as mappings, and as tuples where Minari wrote one."""
    if not hasattr(group, "items"):
        return whole(group)
    found = {name: _tree(part) for name, part in group.items()}
    if found and all(name.startswith("_index_") for name in found):
        return tuple(found[f"_index_{i}"] for i in range(len(found)))
    return found
