"""Episodes of offline reinforcement learning, and panels made of them.

Axes: T actions of an episode, D state columns, A action columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.actions import ActionCode
from twinfold.data.ids import AgentId
from twinfold.data.levels import Levels, decoded
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
        state: ``(T + 1, D)``, exogenous columns behind the others; ``(T, D)`` where the state after
            the last action is not known.
        action: ``(T, A)``, or ``(T,)`` integers if discrete; of choices beside amounts the number
            of the choice first.
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
        step: the time step, as a manifest has it.
        levels: of the static and exogenous columns that are words.
    """

    roles: Roles
    time: str = "number"
    zone: str | None = None
    step: float | str | None = None
    levels: Levels = field(default_factory=dict)

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps({**vars(self), "roles": self.roles.model_dump()})

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read it from JSON.

        Raises:
            InvalidDataError: it is none.
        """
        try:
            found = json.loads(text)
            levels = {name: tuple(words) for name, words in found["levels"].items()}
            roles = Roles.parse(found["roles"])
            return cls(roles, str(found["time"]), found["zone"], found["step"], levels)
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise InvalidDataError(f"what twinfold noted in the file is damaged: {error}") from None


def episodes_of(panel: PanelDataset) -> tuple[list[Episode], Origin]:
    """Return the trajectories of a panel, in order; those of a single row are left out."""
    starts = np.searchsorted(panel.segment, np.arange(panel.n_segments + 1))
    kind, actions = panel.dates.dtype.kind, _numbers_of(panel)
    state = panel.state
    if panel.exogenous is not None:
        state = np.hstack([state, panel.exogenous])
    time = panel.dates.view(np.int64) if kind in "mM" else panel.dates
    found = []
    for low, high in pairwise(starts):
        if high - low < 2:
            continue
        acted, last = slice(low, high - 1), high - 1
        flags = [f is not None and bool(f[last]) for f in (panel.terminated, panel.truncated)]
        agent = int(panel.agent[low])
        found.append(
            Episode(
                state[low:high],
                actions[acted],
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
    step: Any = "variable" if panel.uneven else panel.time_step
    step = step if isinstance(step, int | float) else str(step)
    return found, Origin(
        roles, kinds.get(kind, "number"), panel.time_zone, step, dict(panel.levels)
    )


def _numbers_of(panel: PanelDataset) -> NDArray[Any]:
    """Actions of a panel ``(R,)`` or ``(R, A)`` as numbers; those of last rows do not count."""
    roles, action = panel.roles, panel.action
    if roles.mixed:
        level, amount = panel.action_code.unpack(action)
        return np.column_stack([level, amount])
    if not roles.discrete:
        return action
    index: Any = np.maximum(action, 0)
    return index if roles.levels or panel.action_levels is None else panel.action_levels[index]


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
    levels = {} if origin is None else origin.levels
    parts = [_rows(episode, i, roles, levels, each) for i, episode in enumerate(episodes)]
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
        if episode.action.dtype.kind not in "biuf":
            problems.append(f"episode {i}: actions of type {episode.action.dtype}; give numbers")
        if len(episode.action) not in (rows, rows - 1):
            problems.append(f"episode {i}: {len(episode.action)} actions for {rows} observations")
    return problems


def _made_up(episodes: Sequence[Episode], each: bool) -> Roles:
    """Roles of columns without names."""
    state, action = episodes[0].state, episodes[0].action
    discrete = action.dtype.kind in "iub"  # several columns of them are choices as well
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


def _rows(episode: Episode, number: int, roles: Roles, levels: Levels, each: bool) -> pd.DataFrame:
    """The rows of one episode; what follows its last row is not known."""
    import pandas as pd

    rows = len(episode.state)
    agent = episode.agent if episode.agent is not None else number if each else 0
    columns: dict[str, Any] = {roles.agent: [agent] * rows}
    if roles.episode is not None:
        columns[roles.episode] = [number if episode.name is None else episode.name] * rows
    columns[roles.time] = np.arange(rows) if episode.time is None else episode.time
    columns |= {name: episode.state[:, d] for d, name in enumerate(roles.state)}
    columns |= decoded(episode.state[:, len(roles.state) :], roles.exogenous, levels)
    columns |= _actions(episode.action[: rows - 1], rows, roles)
    if roles.reward is not None and episode.reward is not None:
        reward = np.asarray(episode.reward, np.float64)[: rows - 1]
        columns[roles.reward] = np.r_[reward, np.full(rows - len(reward), np.nan)]
    for name, flag in (
        (roles.terminated, episode.terminated),
        (roles.truncated, episode.truncated),
    ):
        if name is not None:
            columns[name] = np.arange(rows) == rows - 1 if flag else np.zeros(rows, bool)
    if episode.static is not None:
        columns |= decoded(np.tile(episode.static, (rows, 1)), roles.static, levels)
    return pd.DataFrame(columns)


def _actions(action: NDArray[Any], rows: int, roles: Roles) -> dict[str, Any]:
    """Columns of the action, with none in the last row."""
    import pandas as pd

    if roles.levels:
        code = ActionCode(roles, roles.levels)
        if roles.mixed:
            action = code.pack(action[:, 0].astype(np.int64), action[:, 1:])
        action = code.user_values(action, one=False)
    columns = {}
    for name, kind, values in zip(roles.action, roles.kinds, np.atleast_2d(action.T), strict=False):
        column = pd.Series(values).reindex(range(rows))
        if kind == "continuous":
            column = column.astype(np.float64)
        elif not roles.levels:
            column = column.astype("Int64")
        columns[name] = column
    return columns


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
