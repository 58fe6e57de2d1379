"""Episodes of offline reinforcement learning, and panels made of them.

Axes: T actions of an episode, D state columns, A action columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.errors import InvalidDataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

KEY = "twinfold"
"""Under which a file keeps what its format has no place for."""


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        state: ``(T + 1, D)``; ``(T, D)`` where the state after the last action is not known.
        action: ``(T, A)``, or ``(T,)`` integers if discrete.
        reward: ``(T,)``, or None.
        terminated: whether it ended by itself.
        truncated: whether it was cut off.
        agent: whose it is, if known.
        name: of the episode, if it has one.
        time: ``(T + 1,)``, if known; as integers of nanoseconds for dates and durations.
        static: ``(C,)`` of the agent, or None.
    """

    state: NDArray[Any]
    action: NDArray[Any]
    reward: NDArray[Any] | None
    terminated: bool
    truncated: bool
    agent: AgentId | None = None
    name: AgentId | None = None
    time: NDArray[Any] | None = None
    static: NDArray[Any] | None = None


@dataclass(frozen=True)
class Origin:
    """What a panel is besides its numbers.

    Attributes:
        roles: the columns, with actions in the rows of the states they were taken in.
        time: ``"number"``, ``"date"`` or ``"duration"``.
        zone: time zone of dates.
    """

    roles: Roles
    time: str = "number"
    zone: str | None = None

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps({"roles": self.roles.model_dump(), "time": self.time, "zone": self.zone})

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read it from JSON.

        Raises:
            InvalidDataError: it is none.
        """
        try:
            found = json.loads(text)
            return cls(Roles.parse(found["roles"]), str(found["time"]), found["zone"])
        except (ValueError, KeyError, TypeError, UsageError) as error:
            raise InvalidDataError(f"what twinfold noted in the file is damaged: {error}") from None


def episodes_of(panel: PanelDataset) -> tuple[list[Episode], Origin]:
    """Return the trajectories of a panel, in order; those of a single row are left out."""
    starts = np.searchsorted(panel.segment, np.arange(panel.n_segments + 1))
    levels, kind = panel.action_levels, panel.dates.dtype.kind
    time = panel.dates.view(np.int64) if kind in "mM" else panel.dates
    found = []
    for low, high in pairwise(starts):
        if high - low < 2:
            continue
        acted, last = slice(low, high - 1), high - 1
        action: Any = panel.action[acted]
        action = action if levels is None else levels[action]
        flags = [f is not None and bool(f[last]) for f in (panel.terminated, panel.truncated)]
        agent = int(panel.agent[low])
        found.append(
            Episode(
                panel.state[low:high],
                action,
                None if panel.reward is None else panel.reward[acted],
                *flags,
                agent=panel.agent_ids[agent],
                name=None if panel.episode is None else panel.episode_ids[panel.episode[low]],
                time=time[low:high],
                static=None if panel.static is None else panel.static[agent],
            )
        )
    roles = panel.roles.model_copy(update={"align": "next"})
    kinds = {"M": "date", "m": "duration"}
    return found, Origin(roles, kinds.get(kind, "number"), panel.time_zone)


def to_table(
    episodes: Sequence[Episode], origin: Origin | None = None, *, each: bool = False
) -> tuple[pd.DataFrame, Roles]:
    """Return episodes as a long table, and which column is what.

    Args:
        episodes: at least one.
        origin: what is known of the columns; names are made if None.
        each: whether every episode is an agent of its own, where agents are not known; else all
            are of one agent, 0.

    Raises:
        InvalidDataError: there is no episode, or they differ in their columns.
    """
    import pandas as pd

    if not episodes:
        raise InvalidDataError("there is no episode")
    problems = _unlike(episodes)
    if problems:
        raise InvalidDataError(problems)
    roles = origin.roles if origin is not None else _made_up(episodes, each)
    parts = [_rows(episode, i, roles, each) for i, episode in enumerate(episodes)]
    df: Any = pd.concat(parts, ignore_index=True)
    if origin is not None and origin.time == "date":
        dates = pd.to_datetime(df[roles.time])
        df[roles.time] = (
            dates if origin.zone is None else dates.dt.tz_localize("UTC").dt.tz_convert(origin.zone)
        )
    elif origin is not None and origin.time == "duration":
        df[roles.time] = pd.to_timedelta(df[roles.time])
    return df, roles


def _unlike(episodes: Sequence[Episode]) -> list[str]:
    """What keeps episodes from being one table."""
    first, problems = episodes[0], []
    for i, episode in enumerate(episodes):
        rows = len(episode.state)
        if episode.state.ndim != 2 or episode.state.shape[1] != first.state.shape[1]:
            problems.append(
                f"episode {i}: observations of shape {episode.state.shape[1:]}, those of episode 0 "
                f"of {first.state.shape[1:]}; vectors of one length are needed"
            )
        if episode.action.shape[1:] != first.action.shape[1:] or episode.action.ndim > 2:
            problems.append(
                f"episode {i}: actions of shape {episode.action.shape[1:]}, those of episode 0 of "
                f"{first.action.shape[1:]}"
            )
        if len(episode.action) not in (rows, rows - 1):
            problems.append(f"episode {i}: {len(episode.action)} actions for {rows} observations")
    return problems


def _made_up(episodes: Sequence[Episode], each: bool) -> Roles:
    """Roles of columns without names."""
    state, action = episodes[0].state, episodes[0].action
    discrete = action.ndim == 1 and action.dtype.kind in "iub"
    width = 1 if action.ndim == 1 else action.shape[1]
    one = not each or any(episode.agent is not None for episode in episodes)
    return Roles(
        agent="agent_id",
        episode="episode_id" if one else None,
        time="t",
        state=tuple(f"obs_{d}" for d in range(state.shape[1])),
        action=("action",) if width == 1 else tuple(f"action_{a}" for a in range(width)),
        action_type="discrete" if discrete else "continuous",
        reward=None if episodes[0].reward is None else "reward",
        terminated="terminated",
        truncated="truncated",
    )


def _rows(episode: Episode, number: int, roles: Roles, each: bool) -> pd.DataFrame:
    """The rows of one episode; what follows its last row is not known."""
    import pandas as pd

    rows = len(episode.state)
    agent = episode.agent if episode.agent is not None else number if each else 0
    columns: dict[str, Any] = {roles.agent: [agent] * rows}
    if roles.episode is not None:
        columns[roles.episode] = [number if episode.name is None else episode.name] * rows
    columns[roles.time] = np.arange(rows) if episode.time is None else episode.time
    columns |= {name: episode.state[:, d] for d, name in enumerate(roles.state)}
    action = episode.action.reshape(len(episode.action), -1)[: rows - 1]
    for name, values in zip(roles.action, action.T, strict=True):
        whole = roles.action_type == "discrete"
        column = pd.Series(values).reindex(range(rows))
        columns[name] = column.astype("Int64") if whole else column.astype(np.float64)
    if roles.reward is not None and episode.reward is not None:
        reward = np.asarray(episode.reward, np.float64)[: rows - 1]
        columns[roles.reward] = np.r_[reward, np.full(rows - len(reward), np.nan)]
    for name, flag in (
        (roles.terminated, episode.terminated),
        (roles.truncated, episode.truncated),
    ):
        if name is not None:
            columns[name] = np.arange(rows) == rows - 1 if flag else np.zeros(rows, bool)
    for c, name in enumerate(roles.static):
        columns[name] = np.nan if episode.static is None else episode.static[c]
    return pd.DataFrame(columns)


def as_id(value: Any) -> AgentId:
    """Return an id as a file keeps it as a plain one."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value


def as_arrays(value: Any, what: str) -> NDArray[Any]:
    """Return observations as an array ``(T, D)``; those of several parts side by side.

    Raises:
        InvalidDataError: they are pictures, texts, or of no fixed length.
    """
    if isinstance(value, Mapping):
        parts = [as_arrays(part, f"{what} {name!r}") for name, part in value.items()]
        return np.hstack(parts)
    if isinstance(value, tuple):
        return np.hstack([as_arrays(part, f"{what} {i}") for i, part in enumerate(value)])
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim > 2:
        raise InvalidDataError(
            f"{what}: arrays of shape {array.shape[1:]} and type {array.dtype}; vectors of numbers "
            "are needed"
        )
    return array[:, None] if array.ndim == 1 else array
