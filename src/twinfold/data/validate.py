"""Checking a table before anything is learned from it.

``check`` reports everything that is wrong at once, one line per problem, each with the column, the
agent and the row concerned and what to do about it. Rows count from 0, as in a data frame; for a
table read from a CSV the line of the file is given too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.action_kinds import with_guessed_kinds, without_kinds
from twinfold.data.action_levels import read_actions
from twinfold.data.actions import ActionCode
from twinfold.data.arrow_columns import as_pandas
from twinfold.data.calendars import calendar_line, compact_form
from twinfold.data.columns import LARGEST_EXACT, Mask, Numbers, as_flags, as_numbers
from twinfold.data.expression_value import expression_problems, with_expressions
from twinfold.data.holes import agents_without_values
from twinfold.data.ids import (
    UNUSABLE,
    AgentId,
    did_you_mean,
    factorize_ids,
    in_order,
    is_shortened,
    joined_ids,
    look_alikes,
    shown_id,
    unusable_ids,
)
from twinfold.data.issues import Notes, number_advice, time_advice
from twinfold.data.joined_rows import join_rows, none_in_other_rows, without_copies
from twinfold.data.missing_actions import split_at_missing_actions, stands_too_low
from twinfold.data.roles import Roles
from twinfold.data.segments import Rows, Table, acting_rows, aligned, assemble, trajectories
from twinfold.data.side_columns import check_magnitude, read_exogenous, read_static
from twinfold.data.table_format import TableFormat, settle_numbers, settle_times
from twinfold.data.times import Times, as_times
from twinfold.errors import UsageError
from twinfold.utils.text import clipped, counted, listed

TimeStep = float | str | pd.Timedelta | None

_NUMBERS = {
    "state": "numbers are needed; replace it by a number, or name it with --missing if it says "
    "that there is none",
    "reward": "numbers are needed; replace it by a number",
    "action": "an amount is a number; choices (action type discrete) are integers such as 0, 1, 2, "
    "or words in every row",
}
_DROP = "drop the row: the trajectory is then split there"
_FILL = f"fill it in, or {_DROP}"


@dataclass(frozen=True)
class ValidationReport:
    """Faults of a table (``problems``), and things worth knowing (``warnings``)."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if the table can be used."""
        return not self.problems


def check(
    df: Any,
    roles: Roles | Mapping[str, Any],
    *,
    time_step: TimeStep = None,
    form: TableFormat | Mapping[str, Any] | None = None,
) -> ValidationReport:
    """Check a table against its roles.

    Raises:
        UsageError: the roles themselves are malformed.
    """
    return inspect(df, roles, time_step, form)[0]


def inspect(
    df: Any,
    roles: Roles | Mapping[str, Any],
    time_step: TimeStep = None,
    form: TableFormat | Mapping[str, Any] | None = None,
) -> tuple[ValidationReport, dict[str, Any] | None]:
    """Check a table and, if it can be used, give the fields of its ``PanelDataset``.

    Raises:
        UsageError: the roles themselves are malformed.
    """
    guess = without_kinds(roles)
    given = Roles.parse({**dict(roles), "action_type": "continuous"} if guess else roles)
    df, parsed_form = as_pandas(df), TableFormat.parse(form)
    notes, fields = Notes(df), None
    try:
        parsed = with_expressions(given, df.columns)
    except UsageError as error:
        notes.problems.append(str(error))
    else:
        if guess and not any(column_problems(df.columns, parsed, df.index.names)):
            parsed, guessed = with_guessed_kinds(parsed, df, parsed_form)
            notes.warnings += guessed
        fields = _inspect(df, parsed, time_step, parsed_form, notes)
    if fields is not None:
        code = ActionCode.of(fields["roles"], fields["action_levels"])
        notes.problems += expression_problems(code, fields["levels"])
    report = ValidationReport(tuple(notes.problems), tuple(notes.warnings))
    return report, (fields if report.ok else None)


def _inspect(
    df: pd.DataFrame, roles: Roles, time_step: TimeStep, form: TableFormat, notes: Notes
) -> dict[str, Any] | None:
    notes.problems += column_problems(df.columns, roles, df.index.names)
    if not notes.problems and not len(df):
        notes.problems.append("the table is empty: it has columns but no rows")
    if notes.problems:
        return None
    places = _places(df)
    columns = {name: df.iloc[:, places[name]] for name in roles.columns}
    columns, bounds = _settle(columns, roles, form)
    table = _read(columns, roles, form, notes)
    for name, rows in bounds.items():
        notes.censored(name, df.iloc[:, places[name]], rows, form.censored)
    if table is None:
        return None
    table = join_rows(without_copies(table, notes), roles, notes)
    table = none_in_other_rows(table, roles, notes)
    rows = trajectories(table, roles, time_step, notes)
    rows = split_at_missing_actions(rows, table, roles, notes, bool(form.missing))
    used = np.zeros(len(df), bool)
    used[acting_rows(rows.order, roles)] = rows.inner
    for name, numbers in zip(roles.action, table.actions, strict=True):
        _check_numbers(columns[name], "action", numbers, used, notes, _action_advice(rows, numbers))
    for name, kind, numbers in zip(roles.action, roles.kinds, table.actions, strict=True):
        if kind == "discrete" and name not in table.words:
            _check_whole(name, numbers.values, used, notes)
    if table.reward is not None and roles.reward is not None:
        _check_numbers(columns[roles.reward], "reward", table.reward, used, notes)
    if not used.any():
        notes.problems.append(_nothing_to_learn(table.agent_ids, roles, len(df)))
    return None if notes.problems else assemble(aligned(table, rows, roles), rows, roles, notes)


def _settle(
    columns: Mapping[str, pd.Series], roles: Roles, form: TableFormat
) -> tuple[dict[str, pd.Series], dict[str, Mask]]:
    """The columns with their numbers and times read by the format; rows with bounds, by column."""
    settled, bounds = dict(columns), {}
    for name, role in roles.items():
        if role == "time":
            settled[name] = settle_times(columns[name], form, columns[roles.agent])
        elif role not in ("agent", "episode", "terminated", "truncated"):
            found = settle_numbers(columns[name], form)
            settled[name] = found.series
            if found.censored.any():
                bounds[name] = found.censored
    return settled, bounds


def _read(
    columns: Mapping[str, pd.Series], roles: Roles, form: TableFormat, notes: Notes
) -> Table | None:
    """Every used column as an array; None if ids or times leave no trajectories to look into."""
    agent, agent_ids = in_order(*_read_ids(columns[roles.agent], "agent", form, notes))
    notes.agent, notes.agent_ids = agent, agent_ids
    episode, episode_ids = np.zeros(len(agent), np.int64), ()
    if roles.episode is not None:
        episode, episode_ids = _read_ids(columns[roles.episode], "episode", form, notes)
    times = as_times(columns[roles.time], roles.calendar)
    _check_times(times, columns[roles.time], notes)
    if times.calendar is not None and roles.calendar is None:
        notes.warnings.append(calendar_line(roles.time, times.values, times.calendar))
    compact = None
    if times.calendar is None and roles.calendar is None and times.values.dtype.kind == "i":
        compact = compact_form(times.values)
    if compact is not None:
        notes.warnings.append(
            f"column {roles.time!r} (time): integers such as {times.values[0]} look like dates, by "
            f"which times are more even; if they are, give --date-format {compact}"
        )
    broken = bool(notes.problems)
    states = [as_numbers(columns[name]) for name in roles.state]
    for name, numbers in zip(roles.state, states, strict=True):
        _check_numbers(columns[name], "state", numbers, np.ones(len(agent), bool), notes)
    bare = None
    if not notes.problems:
        state = np.column_stack([numbers.values for numbers in states])
        bare = agents_without_values(roles.state, state, agent, agent_ids, notes)
    flags = {
        role: _read_flags(columns[name], role, notes)
        for role, name in (("terminated", roles.terminated), ("truncated", roles.truncated))
        if name is not None
    }
    static, levels = read_static(
        [columns[name] for name in roles.static], agent, len(agent_ids), notes
    )
    exogenous, more = read_exogenous([columns[name] for name in roles.exogenous], notes)
    if broken:
        return None
    actions, words = read_actions([columns[name] for name in roles.action], roles)
    reward = None if roles.reward is None else as_numbers(columns[roles.reward])
    return Table(
        agent,
        agent_ids,
        episode,
        episode_ids,
        times,
        states,
        actions,
        reward,
        flags,
        static,
        exogenous,
        levels | more,
        words,
        bare,
    )


def _places(df: pd.DataFrame) -> dict[str, int]:
    """Place of each column; a number used as a column name is matched by its text."""
    return {str(column): i for i, column in enumerate(df.columns)}


def column_problems(
    columns: Iterable[Any], roles: Roles, index: Iterable[Any] = ()
) -> Iterator[str]:
    """Columns that are missing, there more than once, or given two roles.

    Args:
        columns: names of the table's columns.
        roles: the user's.
        index: names of the table's index.
    """
    names = [str(column) for column in columns]
    places: dict[str, list[str]] = {}
    for column, role in roles.items():
        places.setdefault(column, []).append(role)
    for column, parts in places.items():
        if len(parts) > 1:
            twice = " and ".join(parts)
            yield f"column {column!r} is used twice, as {twice}; a column has one role"
        count = names.count(column)
        if not count and column in [str(name) for name in index if name is not None]:
            yield f"column {column!r} ({parts[0]}) is the table's index; call reset_index() first"
        elif not count:
            yield f"no column {column!r} ({parts[0]})." + did_you_mean(column, names, "columns")
        elif count > 1:
            yield f"the table has {count} columns named {column!r} ({parts[0]}); rename one"


def _read_ids(
    series: pd.Series, role: str, form: TableFormat, notes: Notes
) -> tuple[NDArray[np.int64], tuple[AgentId, ...]]:
    column = str(series.name)
    unusable = unusable_ids(series)
    if unusable.any():
        value = clipped(series.iloc[int(np.argmax(unusable))])
        notes.bad_rows(column, role, f"{value} is no id", unusable, UNUSABLE)
        return np.full(len(series), -1, np.int64), ()
    try:
        codes, ids, null = factorize_ids(series)
    except TypeError:
        notes.problems.append(
            f"column {column!r} ({role}): ids must be text or integers, not lists or mappings"
        )
        return np.full(len(series), -1, np.int64), ()
    if null.all():
        notes.problems.append(f"column {column!r} ({role}) is empty: every id is missing")
    else:
        advice = f"give every row its {role}, or drop the row"
        notes.bad_rows(column, role, "no id", null, advice)
    alike = look_alikes(ids)
    if alike:
        more = f" (and {counted(len(alike) - 1, 'other group')})" if len(alike) > 1 else ""
        taken = (
            "one, as the first"
            if form.join_ids
            else f"{len(alike[0])} {role}s; if they are one, "
            "write them the same way, or have them joined (--join-ids)"
        )
        shown = listed([shown_id(name) for name in alike[0]], 5)
        notes.warnings.append(
            f"column {column!r} ({role}): {shown}{more} look alike and are taken for {taken}"
        )
    if form.join_ids:
        codes, ids = joined_ids(codes, ids)
    shortened = [name for name in ids if is_shortened(name)]
    if shortened:
        notes.warnings.append(
            f"column {column!r} ({role}): {clipped(shortened[0])} looks like a number that a "
            f"spreadsheet has shortened ({counted(len(shortened), 'id')}); its other digits are "
            "lost, and ids that differed in them are one: export the column as text"
        )
    return codes, ids


def _check_times(times: Times, series: pd.Series, notes: Notes) -> None:
    column = str(series.name)
    if times.null.all():
        notes.problems.append(f"column {column!r} (time) is empty: every time is missing")
        return
    notes.bad_rows(column, "time", "no time", times.null, "give every row its time, or drop it")
    if times.bad.any():
        value = series.iloc[int(np.argmax(times.bad))]
        advice = time_advice(value, times)
        notes.bad_rows(column, "time", f"{clipped(value)} is no time", times.bad, advice)


def _check_numbers(
    series: pd.Series, role: str, numbers: Numbers, used: Mask, notes: Notes, absent: str = _FILL
) -> None:
    """Problems of a numeric column in the rows that are used; what to do about ``absent`` ones."""
    column = str(series.name)
    missing, bad = numbers.null & used, numbers.bad & used
    if numbers.null.all() and used.any():
        advice = {
            "reward": "leave out the reward column",
            "action": "fill it in, leave it out if nobody acts (data import: --no-action),",
        }.get(role, "fill it in")
        notes.problems.append(
            f"column {column!r} ({role}) is empty: every value is missing; {advice} "
            "or name another column"
        )
        return
    if bad.any():
        value = series.iloc[int(np.argmax(bad))]
        advice = number_advice(value, _NUMBERS[role], series.loc[bad])
        notes.bad_rows(column, role, f"{clipped(value)} is no number", bad, advice)
    if role == "action":
        what = "NaN (no action) before the end of a trajectory"
        notes.bad_rows(column, role, what, missing, absent)
    elif role != "state":  # what is missing there is masked
        notes.bad_rows(column, role, "NaN (no value)", missing, absent)
    infinite = np.isinf(numbers.values) & used
    notes.bad_rows(column, role, "infinity", infinite, f"correct it, or {_DROP}")
    check_magnitude(column, role, np.where(used, numbers.values, np.nan), notes)


def _action_advice(rows: Rows, action: Numbers) -> str:
    """What to do about missing actions: where first rows have none, all may stand too low."""
    if stands_too_low(rows, action):
        return (
            "only the first row of each trajectory has none: if an action stands in the row of "
            "its outcome, give --align same-row"
        )
    return f"if a blank says that nothing was done, write 0 or a word for that; else {_FILL}"


def _check_whole(column: str, values: NDArray[np.float64], used: Mask, notes: Notes) -> None:
    """Discrete actions are integers."""
    with np.errstate(invalid="ignore"):
        broken = used & np.isfinite(values)
        broken &= (values != np.floor(values)) | (np.abs(values) >= LARGEST_EXACT)
    if broken.any():
        what = f"{values[np.argmax(broken)]:g} is no integer"
        advice = 'code actions as integers, or use action type "continuous"'
        notes.bad_rows(column, "action", what, broken, advice)


def _read_flags(series: pd.Series, role: str, notes: Notes) -> Mask:
    column = str(series.name)
    flags, bad = as_flags(series)
    if bad.any():
        value = clipped(series.iloc[int(np.argmax(bad))])
        notes.bad_rows(column, role, f"{value} is no flag", bad, "use true and false, or 1 and 0")
    return flags


def _nothing_to_learn(agent_ids: tuple[AgentId, ...], roles: Roles, rows: int) -> str:
    where = "agent, episode" if roles.episode else "agent"
    return (
        f"no agent has a transition: {counted(len(agent_ids), 'agent')} in "
        f"{counted(rows, 'row')}, and no two rows of one {where} follow each other in time; check "
        f"the agent column {roles.agent!r} and the time column {roles.time!r}"
    )
