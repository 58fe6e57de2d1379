"""Data sets of d3rlpy: replay buffers, and their files.

d3rlpy keeps no state after the last action of an episode. One that was cut off is written with its
last state and an action of zeros that d3rlpy never uses; one that ended by itself without its last
state, as its algorithms need it. Ids, names, times and those last states have no place in d3rlpy;
a file that ``write_d3rlpy`` makes keeps them beside, where d3rlpy does not look.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twinfold.data.panel import PanelDataset
from twinfold.data.rl.episodes import KEY, Episode, Origin, as_arrays, as_id, episodes_of
from twinfold.data.rl.hdf5 import hdf5_library, open_hdf5, whole
from twinfold.errors import InvalidDataError, UsageError
from twinfold.utils.files import atomic_write_bytes

_VERSION = "2.1"
_KEYS = ("observations", "actions", "rewards", "terminated")


def read_d3rlpy(file: Path) -> tuple[list[Episode], Origin | None]:
    """Return the episodes of a file that ``ReplayBuffer.dump`` or ``write_d3rlpy`` made.

    Raises:
        InvalidDataError: it is damaged or of another version.
    """
    with open_hdf5(file) as h5:
        version = as_id(h5["version"][()]) if "version" in h5 else None
        if version != _VERSION:
            raise InvalidDataError(
                f"{file} is of version {version} of d3rlpy's files; {_VERSION} is read"
            )
        own = h5.get(KEY)
        origin = None if own is None else Origin.parse(own.attrs["origin"])
        try:
            episodes = [_stored(h5, i, own) for i in range(int(h5["num_episodes"][()]))]
        except KeyError as error:
            raise InvalidDataError(f"{file} is damaged: {error}") from None
    return episodes, origin


def from_d3rlpy(buffer: Any) -> list[Episode]:
    """Return the episodes of a replay buffer, or of a sequence of d3rlpy's episodes."""
    return [
        _made(e.observations, e.actions, e.rewards, bool(e.terminated), f"episode {i}")
        for i, e in enumerate(getattr(buffer, "episodes", buffer))
    ]


def to_d3rlpy(panel: PanelDataset) -> Any:
    """Return a panel as a ``d3rlpy.dataset.ReplayBuffer``.

    Raises:
        UsageError: d3rlpy is not installed.
    """
    try:
        from d3rlpy.dataset import Episode as Theirs, create_infinite_replay_buffer
    except ImportError:
        raise UsageError(
            "a replay buffer of d3rlpy needs it: pip install 'twinfold[baselines]'"
        ) from None
    return create_infinite_replay_buffer([Theirs(**_theirs(e)) for e in episodes_of(panel)[0]])


def write_d3rlpy(panel: PanelDataset, file: Path) -> None:
    """Write a panel as a file that ``d3rlpy.dataset.ReplayBuffer.load`` reads.

    Raises:
        UsageError: h5py is not installed, or the place cannot be written to.
    """
    h5py = hdf5_library()
    episodes, origin = episodes_of(panel)
    content = io.BytesIO()
    with h5py.File(content, "w") as h5:
        h5.create_dataset("columns", data=list(_KEYS))
        h5.create_dataset("num_episodes", data=len(episodes))
        h5.create_dataset("version", data=_VERSION)
        own = h5.create_group(KEY)
        own.attrs["origin"] = origin.text()
        for i, episode in enumerate(episodes):
            for key, value in _theirs(episode).items():
                h5.create_dataset(f"{key}_{i}", data=value)
            beside = own.create_group(str(i))
            beside.attrs["agent"] = episode.agent
            beside.attrs["truncated"] = episode.truncated
            if episode.name is not None:
                beside.attrs["episode"] = episode.name
            for name, value in (("time", episode.time), ("static", episode.static)):
                if value is not None:
                    beside.create_dataset(name, data=value)
            beside.create_dataset("last", data=episode.state[-1])
    atomic_write_bytes(file, content.getvalue())


def _theirs(episode: Episode) -> dict[str, Any]:
    """The fields of d3rlpy's episode."""
    action = episode.action if episode.action.ndim == 2 else episode.action[:, None]
    reward = np.zeros(len(action)) if episode.reward is None else episode.reward
    state, reward = episode.state, reward[:, None]
    if episode.terminated:
        state = state[:-1]
    else:
        action = np.concatenate([action, np.zeros_like(action[:1])])
        reward = np.concatenate([reward, np.zeros_like(reward[:1])])
    return {
        "observations": state,
        "actions": action,
        "rewards": reward,
        "terminated": episode.terminated,
    }


def _stored(h5: Any, number: int, own: Any) -> Episode:
    """An episode of a file, with what twinfold kept beside."""
    values = [whole(h5[f"{key}_{number}"]) for key in _KEYS if f"{key}_{number}" in h5]
    if len(values) < len(_KEYS):
        raise InvalidDataError(
            f"episode {number}: observations of several parts, or missing; vectors are needed"
        )
    state, action, reward, terminated = values
    episode = _made(state, action, reward, bool(terminated), f"episode {number}")
    if own is None:
        return episode
    beside = own[str(number)]
    state, time = episode.state, beside["time"][()] if "time" in beside else None
    if episode.terminated:
        state = np.concatenate([state, beside["last"][()][None]])
    return Episode(
        state,
        episode.action[: len(state) - 1],
        None if episode.reward is None else episode.reward[: len(state) - 1],
        episode.terminated,
        bool(beside.attrs["truncated"]),
        agent=as_id(beside.attrs["agent"]),
        name=as_id(beside.attrs["episode"]) if "episode" in beside.attrs else None,
        time=time,
        static=beside["static"][()] if "static" in beside else None,
    )


def _made(state: Any, action: Any, reward: Any, terminated: bool, what: str) -> Episode:
    """An episode of d3rlpy's; its last action has an outcome that is not known."""
    if isinstance(state, Sequence):
        state = tuple(state)
    action = np.asarray(action)
    if action.ndim == 2 and action.shape[1] == 1 and action.dtype.kind in "iu":
        action = action[:, 0]
    return Episode(
        as_arrays(state, f"{what}, observations"),
        action,
        np.asarray(reward, np.float64).reshape(-1),
        terminated,
        truncated=not terminated,
    )
