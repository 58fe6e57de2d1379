"""From the columns of a table to trajectories: sorting, splitting, and the arrays of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.action_levels import coded_actions
from twinfold.data.angles import looks_like_degrees
from twinfold.data.coding import filled_forward
from twinfold.data.columns import Mask, Numbers
from twinfold.data.faults.find import SortedRows, fault_lines
from twinfold.data.holes import carried_line, hole_lines, without_repeats
from twinfold.data.ids import AgentId, natural_key
from twinfold.data.issues import Notes, some
from twinfold.data.levels import Levels
from twinfold.data.roles import Level, Roles
from twinfold.data.side_columns import lacking_lines
from twinfold.data.time_step import (
    TIME_STEPS,
    differences,
    find_step,
    joins,
    longest_step,
    step_from_ticks,
    step_text,
    ticks_from_step,
    uneven_share,
)
from twinfold.data.times import Times
from twinfold.data.variation import action_lines
from twinfold.utils.text import counted, percent

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """The used columns as arrays, in the order of the user's rows, ``(R,)`` each.

    ``agent`` and ``episode`` are indices into their ids; ``flags`` holds those of ``terminated``
    and ``truncated`` that the table has; ``dropped`` rows are left aside.
    """

    agent: NDArray[np.int64]
    agent_ids: tuple[AgentId, ...]
    episode: NDArray[np.int64]
    episode_ids: tuple[AgentId, ...]
    times: Times
    states: list[Numbers]
    actions: list[Numbers]
    reward: Numbers | None
    flags: dict[str, Mask]
    static: Floats | None = None  # (agents, C), in the order of agent_ids
    exogenous: Floats | None = None  # (R, E), NaN where there is no value
    levels: Levels = field(default_factory=dict)
    words: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)
    """Values of the discrete action columns that are no integers; ``actions`` count them."""
    dropped: Mask | None = None  # rows that say nothing, or what others say


class Rows(NamedTuple):
    """Rows sorted into trajectories.

    Attributes:
        order: ``(R,)`` the user's row at each sorted place.
        inner: ``(R,)`` whether the sorted row is followed by the next row of its trajectory.
        episode: ``(R,)`` index into ``episode_ids``, sorted.
        episode_ids: the user's episode ids, in their natural order.
        flags: the table's flags, sorted, on the last rows of trajectories.
        time_step: the usual time between rows.
        uneven: whether the time between rows is an input.
    """

    order: NDArray[Any]
    inner: Mask
    episode: NDArray[Any]
    episode_ids: tuple[AgentId, ...]
    flags: dict[str, Mask]
    time_step: float | pd.Timedelta
    uneven: bool = False


def trajectories(
    table: Table, roles: Roles, time_step: float | str | pd.Timedelta | None, notes: Notes
) -> Rows:
    """Sort the rows and find which follow each other; notes duplicates, gaps and early flags."""
    order, episode, episode_ids = _sort(table)
    if table.dropped is not None:
        order = order[~table.dropped[order]]
    agent, episode = table.agent[order], episode[order]
    same = (agent[1:] == agent[:-1]) & (episode[1:] == episode[:-1])
    gaps = differences(table.times.ticks[order])
    twice = same & (gaps == 0)
    notes.duplicates(order, twice, table.times, roles.time, roles.episode is not None)
    kind = table.times.values.dtype.kind
    word = "auto" if time_step is None else time_step if time_step in TIME_STEPS else "regular"
    given = None if time_step is None or word == time_step else time_step
    step = find_step(gaps[same]) if given is None else ticks_from_step(given, kind)
    step = 1.0 if step is None else step  # no two rows to join: any step will do
    if step > (2**53 if kind == "i" else 2**62):  # no longer exact; more than 64 bits hold
        notes.problems.append(
            f"column {roles.time!r} (time): rows are {step:g} apart"
            f"{' nanoseconds' if kind in 'mM' else ''}, a step too long to count with; change the "
            "unit of the times"
        )
        step = 1.0
    uneven, joined = _joined(gaps, same, step, str(word), kind, notes)
    if uneven and str(word) == "auto":
        notes.unusual_steps(order, same & (gaps > 0) & ~joins(gaps, step), table.times, step)
    notes.gaps(order, same & (gaps != 0) & ~joined, int(same.sum()), table.times, step, uneven)
    flags = {role: flag[order] for role, flag in table.flags.items()}
    joined, flags = _break_at_flags(flags, joined, order, roles, notes)
    inner = np.r_[joined, False]
    return Rows(order, inner, episode, episode_ids, flags, step_from_ticks(step, kind), uneven)


def _joined(
    gaps: Floats, same: Mask, step: float, word: str, kind: str, notes: Notes
) -> tuple[bool, Mask]:
    """Return whether times are uneven, and which sorted rows follow each other, ``(R - 1,)``.

    Args:
        gaps: ``(R - 1,)``, time between sorted rows.
        same: ``(R - 1,)``, whether they are of one agent and episode.
        step: the usual one.
        word: one of ``TIME_STEPS``.
        kind: of the times.
        notes: is told that they are uneven.
    """
    share = uneven_share(gaps[same], step)
    if word == "regular" or (word == "auto" and not share):
        return False, same & joins(gaps, step)
    joined = same & (gaps > 0) & (gaps <= longest_step(gaps[same], step))
    if joined.any() and word == "auto":
        low, high = (step_text(step_from_ticks(f(gaps[joined]), kind)) for f in (np.min, np.max))
        usual = step_text(step_from_ticks(step, kind))
        notes.warnings.append(
            f"times are uneven: {percent(share)} of the steps differ by more than half from the "
            f"usual {usual} ({low} to {high}); the length of a step is an input of the model, and "
            "all rows are used (--time-step regular: trajectories are split there instead)"
        )
    return True, joined


def acting_rows(order: NDArray[Any], roles: Roles) -> NDArray[Any]:
    """Return the user's row in which the action of each sorted row stands, ``(R,)``.

    Of the last row of a trajectory that is of no account.
    """
    return order if roles.align == "next" else np.roll(order, -1)


def aligned(table: Table, rows: Rows, roles: Roles) -> Table:
    """Return the columns, actions, rewards and exogenous ones in the rows of the states before."""
    if roles.align == "next":
        return table
    source = np.empty_like(rows.order)
    source[rows.order] = acting_rows(rows.order, roles)

    def moved(numbers: Numbers) -> Numbers:
        return Numbers(numbers.values[source], numbers.null[source], numbers.bad[source])

    return replace(
        table,
        actions=[moved(numbers) for numbers in table.actions],
        reward=None if table.reward is None else moved(table.reward),
        exogenous=None if table.exogenous is None else table.exogenous[source],
    )


def assemble(table: Table, rows: Rows, roles: Roles, notes: Notes) -> dict[str, Any]:
    """The fields of a ``PanelDataset``; agents without a transition are left out."""
    agent = table.agent[rows.order]
    active = np.bincount(agent[rows.inner], minlength=len(table.agent_ids)) > 0
    left_out = tuple(table.agent_ids[i] for i in np.flatnonzero(~active))
    if left_out:
        count = f"{len(left_out)} of {counted(len(table.agent_ids), 'agent')}"
        notes.warnings.append(f"{count} without a transition left out: {some(left_out)}")
    keep = active[agent]
    order, inner = rows.order[keep], rows.inner[keep]
    acting = acting_rows(rows.order, roles)[keep]
    state = np.column_stack([numbers.values[order] for numbers in table.states])
    state = without_repeats(roles.state, roles.carried, state, inner)
    reward = None if table.reward is None else table.reward.values[order]
    given = [numbers.values[order] for numbers in table.actions]
    action: NDArray[Any] = np.stack(given, axis=1) if given else np.zeros((len(order), 0))
    told = action.copy() if roles.align == "next" else np.where(inner[:, None], action, np.nan)
    action[~inner] = np.nan
    acted = action[inner]
    notes.warnings += hole_lines(roles.state, state, order, notes)
    notes.warnings += _carried_lines(roles, state, inner)
    notes.warnings += _constant_lines(roles, state)
    notes.warnings += action_lines(
        roles, acted, agent[keep][inner], acting[inner], notes, table.words
    )
    notes.warnings += _degree_lines(roles, state, inner)
    sorted_rows = (state, told, reward, agent[keep], inner, order, acting)
    notes.warnings += fault_lines(_sorted_rows(table, roles, *sorted_rows), notes)
    code, levels, code_roles = coded_actions(action, inner, roles, table.words, notes)
    starts = np.r_[True, ~inner[:-1]]
    by_use = np.argsort(~active, kind="stable")  # agents with a transition, then those left out
    exogenous = None
    if table.exogenous is not None:
        exogenous = table.exogenous[order]
        used = np.ones(len(order), bool)
        if roles.align == "same-row":  # those of a last row stand nowhere
            exogenous, used = np.where(inner[:, None], exogenous, np.nan), inner
        notes.warnings += lacking_lines(
            roles.exogenous, table.levels, exogenous, used, acting, notes
        )
        exogenous = filled_forward(exogenous, agent[keep])
    return {
        "agent_ids": tuple(table.agent_ids[i] for i in np.flatnonzero(active)),
        "left_out": left_out,
        "time_step": rows.time_step,
        "roles": code_roles.model_copy(update={"calendar": table.times.calendar or roles.calendar}),
        "action_levels": levels,
        "agent": (np.cumsum(active) - 1)[agent[keep]].astype(np.int32),
        "time": table.times.values[order],
        "state": state,
        "action": code,
        "segment": (np.cumsum(starts) - 1).astype(np.int32),
        "reward": None if reward is None else np.where(inner, reward, np.nan),
        "terminated": rows.flags["terminated"][keep] if roles.terminated else None,
        "truncated": rows.flags["truncated"][keep] if roles.truncated else None,
        "episode": rows.episode[keep].astype(np.int32) if roles.episode else None,
        "episode_ids": rows.episode_ids,
        "time_zone": table.times.zone,
        "static": None if table.static is None else table.static[by_use],
        "exogenous": exogenous,
        "levels": table.levels,
        "uneven": rows.uneven,
    }


def _sorted_rows(
    table: Table,
    roles: Roles,
    state: Floats,
    action: Floats,
    reward: Floats | None,
    agent: NDArray[Any],
    inner: Mask,
    order: NDArray[Any],
    acting: NDArray[Any],
) -> SortedRows:
    """What the faults are told from."""
    exogenous = None if table.exogenous is None else table.exogenous[order]
    static, levels = table.static, table.levels
    return SortedRows(
        roles,
        state,
        action,
        reward,
        agent,
        static,
        exogenous,
        levels,
        inner,
        order,
        acting,
        frozenset(table.words),
    )


def _sort(table: Table) -> tuple[NDArray[Any], NDArray[Any], tuple[AgentId, ...]]:
    """Order of rows by agent, episode and time; episodes ``(R,)`` renumbered by id; their ids.

    An agent's episodes follow each other by their first time; where time starts anew in each, by
    their ids (``ep2`` before ``ep10``).
    """
    ticks, agent, ids = table.times.ticks, table.agent, table.episode_ids
    if not ids:
        return np.lexsort((ticks, agent)), table.episode, ids
    by_id = sorted(range(len(ids)), key=lambda i: natural_key(ids[i]))
    rank = np.empty(len(ids), np.int64)
    rank[by_id] = np.arange(len(ids))
    episode = rank[table.episode]
    _, group = np.unique(agent * len(ids) + episode, return_inverse=True)
    order = np.lexsort((ticks, group))
    first = np.r_[True, np.diff(group[order]) > 0]
    starts = ticks[order][first][group]
    order = np.lexsort((ticks, episode, starts, agent))
    return order, episode, tuple(ids[i] for i in by_id)


def _break_at_flags(
    flags: dict[str, Mask], joined: Mask, order: NDArray[Any], roles: Roles, notes: Notes
) -> tuple[Mask, dict[str, Mask]]:
    """Where trajectories go on, given that none goes on after a row flagged as its end.

    ``flags`` and ``joined`` are sorted. If every flag stands one row before the end of a
    trajectory, the flags belong to actions rather than states, as in many loggers, and are moved
    to the row that the action led to.
    """
    ends = np.zeros(len(order), bool)
    for flag in flags.values():
        ends |= flag
    inside = ends[:-1] & joined
    if not inside.any():
        return joined, flags
    names = " and ".join(repr(getattr(roles, role)) for role in flags)
    first = notes.of(int(order[np.argmax(inside)]))
    before_last = joined & ~np.r_[joined[1:], False]
    if np.array_equal(ends, np.r_[before_last & ends[:-1], False]):
        notes.warnings.append(
            f"every flag in {names} stands one row before the end of a trajectory (first at "
            f"{first}); they are taken to belong to the action and moved to the last row"
        )
        return joined, {role: np.r_[False, flag[:-1]] for role, flag in flags.items()}
    notes.warnings.append(
        f"{names} is set at {counted(int(inside.sum()), 'row')} after which the agent goes on "
        f"(first at {first}); a new trajectory begins there"
    )
    return joined & ~ends[:-1], flags


def _degree_lines(roles: Roles, state: NDArray[Any], inner: Mask) -> Iterator[str]:
    for name in roles.angle:
        values, joined = _observed(state[:, roles.state.index(name)], inner)
        if looks_like_degrees(values, joined):
            yield (
                f"column {name!r} (angle) looks like degrees (from {values.min():.6g} to "
                f"{values.max():.6g}, with jumps of about 360); angles are in radians: multiply it "
                "by pi/180"
            )


def _constant_lines(roles: Roles, state: NDArray[Any]) -> Iterator[str]:
    for name, values in zip(roles.state, state.T, strict=True):
        low, high = np.nanmin(values), np.nanmax(values)
        if low == high:
            yield f"column {name!r} (state) is constant ({low:.6g})"


def _carried_lines(roles: Roles, state: NDArray[Any], inner: Mask) -> Iterator[str]:
    for name, values in zip(roles.state, state.T, strict=True):
        line = carried_line(name, values, inner)
        if line is not None:
            yield line


def _observed(values: Floats, inner: Mask) -> tuple[Floats, Mask]:
    """Return the values that are not missing, and which of them the next one follows at once."""
    known = ~np.isnan(values)
    return values[known], (inner & np.r_[known[1:], False])[known]
