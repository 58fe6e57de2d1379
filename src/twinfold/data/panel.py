"""The data set that every later step works on: rows of many agents, sorted, and their transitions.

Axes: R rows, K transitions, N agents, D state columns, A action columns, E known inputs: exogenous
columns as coded, and where times are uneven the length of the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.actions import ActionCode
from twinfold.data.calendars import from_counts
from twinfold.data.filled import Filled, interpolated
from twinfold.data.fingerprint import fingerprint
from twinfold.data.ids import AgentId, did_you_mean, match_ids, take_ids
from twinfold.data.levels import Levels, decoded
from twinfold.data.memory import acted, n_acted, steps_before
from twinfold.data.roles import Roles
from twinfold.data.time_step import differences, ticks_from_step
from twinfold.data.transitions import DataRanges, Transitions
from twinfold.errors import InvalidDataError, UsageError
from twinfold.utils.text import clipped, counted

if TYPE_CHECKING:
    import pandas as pd

    from twinfold.data.table_format import TableFormat

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PanelDataset:
    """Trajectories of many agents. Build one with ``from_frame`` or ``twinfold.data.load_panel``.

    Rows are sorted by agent, episode and time, agents by id (2 before 10, ``u2`` before ``u10``):
    a table is the same data set in whatever order its rows come. Row t holds the state s_t, the
    action a_t and the reward r_t of a_t; a trajectory's last row has neither action nor reward.
    Compare two data sets by ``fingerprint()``.

    Attributes:
        roles: the user's column names.
        agent_ids: the user's ids of the N agents that have a transition, as given.
        left_out: ids of agents without a transition; their rows are not kept.
        time_step: the time between two rows of a trajectory; a ``pandas.Timedelta`` if the time
            column holds dates or durations.
        action_levels: ``(L,)`` int64, the sorted distinct discrete actions, or their numbers if
            these are in ``roles.levels``; None if an action column is continuous.
        agent: ``(R,)`` int32, index into ``agent_ids``.
        time: ``(R,)`` int64, float64, datetime64[ns] (UTC) or timedelta64[ns]; of integers that
            are dates, such as 202312, how many months, days or quarters (``dates`` has them).
        state: ``(R, D)`` float64; NaN where a value is missing.
        action: ``(R, A)`` float64 with NaN on last rows, or ``(R,)`` int32 index into
            ``action_levels`` with -1 on last rows; see :mod:`twinfold.data.actions`.
        segment: ``(R,)`` int32; rows of one segment follow each other without a gap.
        reward: ``(R,)`` float64 with NaN on last rows, or None.
        terminated: ``(R,)`` bool, True where a trajectory ended by itself, or None.
        truncated: ``(R,)`` bool, True where a trajectory was cut off, or None.
        episode: ``(R,)`` int32, index into ``episode_ids``, or None.
        episode_ids: the user's episode ids.
        static: ``(N + L, C)`` float64, static columns, coded, of the N agents, then of the L left
            out; NaN where not known. None if there are none.
        exogenous: ``(R, E)`` float64, exogenous columns, coded, without gaps; None if there are
            none.
        levels: of the static and exogenous columns that are words (``data.coding``).
        uneven: whether times are uneven, so that the length of a step is an input.
        time_zone: time zone of the user's time column; None if it has none.
        warnings: what was noticed when the table was read, one line each.
        filled: what stands for missing values where a model reads them; None for what is
            interpolated, or if none is missing.
    """

    roles: Roles
    agent_ids: tuple[AgentId, ...]
    left_out: tuple[AgentId, ...]
    time_step: float | pd.Timedelta
    action_levels: NDArray[np.int64] | None
    agent: Ints
    time: NDArray[Any]
    state: Floats
    action: Floats | Ints
    segment: Ints
    reward: Floats | None = None
    terminated: NDArray[np.bool_] | None = None
    truncated: NDArray[np.bool_] | None = None
    episode: Ints | None = None
    episode_ids: tuple[AgentId, ...] = ()
    time_zone: str | None = None
    static: Floats | None = None
    exogenous: Floats | None = None
    levels: Levels = field(default_factory=dict)
    uneven: bool = False
    warnings: tuple[str, ...] = field(default=(), repr=False)
    filled: Filled | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """A short line; the arrays would fill the screen."""
        return (
            f"PanelDataset({counted(self.n_agents, 'agent')}, "
            f"{counted(self.n_transitions, 'transition')}, "
            f"state {list(self.roles.state)}, {self.roles.action_kind} {list(self.roles.action)})"
        )

    @classmethod
    def from_frame(
        cls,
        df: Any,
        roles: Roles | Mapping[str, Any],
        *,
        time_step: float | str | pd.Timedelta | None = None,
        form: TableFormat | Mapping[str, Any] | None = None,
    ) -> PanelDataset:
        """Check a table and sort it into trajectories.

        Args:
            df: one row per agent and time, in any order; a frame of pandas, polars, Arrow or
                DuckDB, or any other that narwhals reads.
            roles: which column is what; of a mapping without an action type it is told from the
                values, and a warning says so.
            time_step: time between two rows; found from the data when None. "variable" if it is
                another from row to row and so an input of the model, "regular" if not; found from
                the data too when None.
            form: how values are written, if not the plain way.

        Raises:
            UsageError: the roles themselves are malformed.
            InvalidDataError: the table cannot be used; one problem per line.
        """
        from twinfold.data.validate import inspect

        report, fields = inspect(df, roles, time_step, form)
        if fields is None:
            raise InvalidDataError(report.problems)
        return cls(warnings=report.warnings, **fields)

    def to_frame(self) -> pd.DataFrame:
        """The table again, under the user's column names, sorted.

        A discrete action is a nullable integer column; last rows have neither action nor reward.
        """
        import pandas as pd

        from twinfold.data.action_levels import action_columns

        roles = self.roles
        columns: dict[str, Any] = {roles.agent: take_ids(self.agent_ids, self.agent)}
        if roles.episode is not None and self.episode is not None:
            columns[roles.episode] = take_ids(self.episode_ids, self.episode)
        times = pd.Series(self.dates)
        if self.time_zone is not None:
            times = times.dt.tz_localize("UTC").dt.tz_convert(self.time_zone)
        columns[roles.time] = times
        columns |= {name: self.state[:, d] for d, name in enumerate(roles.state)}
        columns |= action_columns(self.action_code, self.action)
        if self.exogenous is not None:
            columns |= decoded(self.exogenous, roles.exogenous, self.levels)
        for role in ("reward", "terminated", "truncated"):
            name, values = getattr(roles, role), getattr(self, role)
            if name is not None and values is not None:
                columns[name] = values
        if self.static is not None:
            columns |= decoded(self.static[self.agent], roles.static, self.levels)
        df = pd.DataFrame(columns, copy=True)
        if roles.align == "same-row":  # as it was read; a trajectory's last row has no action
            moved = [*roles.action, *([] if self.reward is None else [str(roles.reward)])]
            df[moved] = df[moved].shift(1)
            known = list(roles.exogenous)  # of which a trajectory's first row has none
            df[known] = df.groupby(self.segment)[known].shift(1)
        return df

    @property
    def dates(self) -> NDArray[Any]:
        """``time`` as the user writes it: 202312 of months that are counted."""
        calendar = self.roles.calendar
        if calendar is None or calendar == "none":
            return self.time
        return from_counts(self.time, calendar)

    @property
    def action_code(self) -> ActionCode:
        """How the user's actions are written in ``action``."""
        return ActionCode.of(self.roles, self.action_levels)

    @property
    def n_agents(self) -> int:
        """N, agents with at least one transition."""
        return len(self.agent_ids)

    @property
    def n_transitions(self) -> int:
        """K, pairs of rows that follow each other within a segment."""
        return int(np.count_nonzero(self.segment[1:] == self.segment[:-1]))

    @property
    def n_segments(self) -> int:
        """Contiguous trajectories, those of a single row included."""
        return int(self.segment[-1]) + 1 if len(self.segment) else 0

    def transitions(
        self, history: int = 1, known: Floats | None = None, *, changes_alone: bool = False
    ) -> Transitions:
        """All transitions, ordered by agent, episode and time.

        Args:
            history: rows that a model reads, the present one included: with more there is a memory.
            known: ``(R, E)``, known inputs as a model reads them; the panel's own if None.
            changes_alone: whether the memory holds how the state changed, and not what acted.
        """
        known = self.known_inputs() if known is None else known
        first = np.flatnonzero(self.segment[1:] == self.segment[:-1])
        starts = np.searchsorted(self.segment, np.arange(self.n_segments))
        segment, smoothed = self.segment[first], None
        memory, state, present, weight, missing = None, self.state, None, None, self.missing
        if missing is not None:
            state, trust, smoothed = self.filled or interpolated(self)
            present = ~missing[first]
            weight = np.where(missing[first + 1], 0.0, trust[first])
        if history > 1:
            above = first - starts[segment]
            length = known[:, -1] if known is not None and self.uneven else None
            n_known = (0 if known is None else known.shape[1]) - self.uneven
            n_levels = 0 if self.action_levels is None else len(self.action_levels)
            size = 0 if changes_alone else n_acted(self.action.shape[-1], n_levels, n_known)
            past = acted(self.action, known, size, self.uneven)
            memory = steps_before(state, past, first, above, history, self.roles, length)
        return Transitions(
            agent=self.agent[first],
            state=state[first],
            action=self.action[first],
            next_state=state[first + 1],
            segment=segment,
            step=(first - starts[segment]).astype(np.int32),
            memory=memory,
            known=None if known is None else known[first],
            known_after=None if known is None else known[first + 1],
            present=present,
            weight=weight,
            smoothed=None if smoothed is None or history > 1 else smoothed.take(first),
        )

    def known_inputs(self) -> Floats | None:
        """What is known of every row beside state and action, ``(R, E)``; None for nothing.

        The exogenous columns, and where times are uneven the length of the step to the next row,
        in units of the usual one: 1 in the last row of a trajectory.
        """
        if not self.uneven:
            return self.exogenous
        ticks = self.time.view(np.int64) if self.time.dtype.kind in "mM" else self.time
        step = ticks_from_step(self.time_step, self.time.dtype.kind)
        inner = np.r_[self.segment[1:] == self.segment[:-1], False]
        length = np.where(inner, np.r_[differences(ticks), 0.0] / step, 1.0)
        parts = [length] if self.exogenous is None else [self.exogenous, length]
        return np.column_stack(parts)

    def refuse_known_inputs(self) -> None:
        """Refuse data with exogenous columns or uneven times, of a method that cannot use them.

        Raises:
            UsageError: the data has any.
        """
        if self.exogenous is not None:
            names = ", ".join(map(repr, self.roles.exogenous))
            raise UsageError(f"this method cannot use exogenous columns ({names}); leave them out")
        if self.uneven:
            raise UsageError(
                "this method takes all steps to be alike; read the data with the time step "
                '"regular"'
            )

    @property
    def whole(self) -> Floats:
        """The states ``(R, D)`` with what stands for missing values."""
        return self.state if self.missing is None else (self.filled or interpolated(self)).state

    @property
    def missing(self) -> NDArray[np.bool_] | None:
        """Which values of ``state`` are missing, ``(R, D)``; None if none is."""
        missing = np.isnan(self.state)
        return missing if missing.any() else None

    def agent_index(self, ids: Iterable[AgentId]) -> Ints:
        """Indices ``(n,)`` of agents by the user's ids.

        Raises:
            UsageError: an id is not in the data; the message names the nearest ones.
        """
        asked = list(ids)
        index = match_ids(self.agent_ids, asked)
        unknown = [asked[i] for i in np.flatnonzero(index < 0)]
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            left = " It is in the table, but without a transition."
            raise UsageError(
                f"unknown agent {clipped(unknown[0])}{more}."
                + (left if match_ids(self.left_out, unknown[:1])[0] >= 0 else "")
                + did_you_mean(unknown[0], self.agent_ids, "agents")
            )
        return index

    def select_agents(self, ids: Iterable[AgentId]) -> PanelDataset:
        """The data of some agents, whatever the order; action levels and time step stay.

        Raises:
            UsageError: an id is unknown or given twice, or none is given.
        """
        index = self.agent_index(ids)
        if not len(index):
            raise UsageError("no agent selected; give at least one id")
        if len(np.unique(index)) < len(index):
            raise UsageError("an agent is selected twice; give each id once")
        index = np.sort(index)
        place = np.full(self.n_agents, -1, dtype=np.int32)
        place[index] = np.arange(len(index), dtype=np.int32)
        agent = place[self.agent]
        rows = np.flatnonzero(agent >= 0)

        def take(values: Any) -> Any:
            return None if values is None else values[rows]

        segment = self.segment[rows]
        new = np.r_[np.zeros(1, bool), segment[1:] != segment[:-1]]
        return replace(
            self,
            agent_ids=tuple(self.agent_ids[i] for i in index),
            left_out=(),
            agent=agent[rows],
            time=self.time[rows],
            state=self.state[rows],
            action=self.action[rows],
            segment=np.cumsum(new, dtype=np.int32),
            reward=take(self.reward),
            terminated=take(self.terminated),
            truncated=take(self.truncated),
            episode=take(self.episode),
            exogenous=take(self.exogenous),
            static=None if self.static is None else self.static[index],
            warnings=(),
            filled=None if self.filled is None else self.filled.take(rows),
        )

    def without_rows(self, rows: NDArray[np.integer]) -> PanelDataset:
        """The data without some rows; trajectories are split there, agents and levels stay.

        Args:
            rows: ``(n,)``, positions in ``agent``.
        """
        kept = np.ones(len(self.agent), bool)
        kept[rows] = False
        cut = np.cumsum(~kept)[kept]  # how many rows were left out before each
        segment = self.segment[kept]
        new = (segment[1:] != segment[:-1]) | (cut[1:] != cut[:-1])

        def take(values: Any) -> Any:
            return None if values is None else values[kept]

        action = self.action[kept]
        last = np.r_[new, True]
        action[last] = -1 if self.action_levels is not None else np.nan
        return replace(
            self,
            agent=self.agent[kept],
            time=self.time[kept],
            state=self.state[kept],
            action=action,
            segment=np.cumsum(np.r_[False, new], dtype=np.int32),
            reward=take(self.reward),
            terminated=take(self.terminated),
            truncated=take(self.truncated),
            episode=take(self.episode),
            exogenous=take(self.exogenous),
            filled=None if self.filled is None else self.filled.take(np.flatnonzero(kept)),
        )

    def data_ranges(self) -> DataRanges:
        """Smallest and largest observed value of every state and action column."""
        if self.action_levels is not None:
            levels = self.action_levels.astype(np.float64)
            low, high = levels[:1], levels[-1:]
        else:
            low, high = np.nanmin(self.action, axis=0), np.nanmax(self.action, axis=0)
        return DataRanges(np.nanmin(self.state, axis=0), np.nanmax(self.state, axis=0), low, high)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the roles and of every value in a used column but static ones.

        Equal for equal tables whatever the order of their rows or agents, and for CSV and Parquet.
        Static columns describe agents and are no observations: the same rows are the same data,
        with or without them.
        """
        return fingerprint(self)
