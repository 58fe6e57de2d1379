"""Reading the action columns of a table: words and flags as levels, and all columns as one code.

Axes: R rows, C action columns, L levels.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.data.actions import ActionCode
from twinfold.data.columns import Mask, Numbers, as_numbers, as_text, distinct_values, says_null
from twinfold.data.ids import look_alikes, natural_key
from twinfold.data.issues import Notes, counted
from twinfold.data.roles import Level, Roles
from twinfold.data.table_settings import TABLE
from twinfold.utils.text import listed

Words = dict[str, tuple[Level, ...]]

UNRECORDED = frozenset(
    [
        *("?", "??", "-", "--", "unknown", "unk", "unkn", "unspecified", "undefined", "missing"),
        *("n.a.", "not available", "not recorded", "not known", "not reported", "nr", "n/r"),
        *("n.r.", "nd", "n/d", "k.a.", "keine angabe", "unbekannt", "inconnu", "desconocido"),
        *("tbd", "error"),
    ]
)
"""Words that say that no action was recorded (lower case)."""


def read_actions(columns: Sequence[pd.Series], roles: Roles) -> tuple[list[Numbers], Words]:
    """Return the action columns as numbers, and the words that the numbers of some of them count.

    Args:
        columns: the action columns, in the order of the roles.
        roles: the user's; levels that it names are counted first, in its order.
    """
    found: list[Numbers] = []
    words: Words = {}
    discrete = [i for i, kind in enumerate(roles.kinds) if kind == "discrete"]
    for i, (name, series) in enumerate(zip(roles.action, columns, strict=True)):
        known = []
        if i in discrete:
            known = list(dict.fromkeys(level[discrete.index(i)] for level in roles.levels))
        numbers = as_numbers(series)
        if i in discrete and _in_words(series, numbers, known):
            numbers, words[name] = as_words(series, known)
        found.append(numbers)
    return found, words


def _in_words(series: pd.Series, numbers: Numbers, known: Sequence[Level]) -> bool:
    """Whether a discrete column holds words or flags; one slip among integers makes none."""
    if any(type(level) is not int for level in known):
        return True
    if pd.api.types.is_bool_dtype(series.dtype):
        return True
    values = [v for v in distinct_values(series)[1] if not says_null(v)]
    if values and all(isinstance(value, bool | np.bool_) for value in values):
        return True
    as_read = as_numbers(pd.Series(values, dtype=object))
    return bool(numbers.bad.any()) and 2 * int(as_read.bad.sum()) >= len(values)


def as_words(series: pd.Series, known: Sequence[Level] = ()) -> tuple[Numbers, tuple[Level, ...]]:
    """Return the number of each value of a column, and the distinct values.

    A value is text without blanks around it, or a flag if all are. "none" is a word here, unlike
    other texts for no value.

    Args:
        series: the column.
        known: values that come first; others follow in natural order.
    """
    codes, distinct = distinct_values(series)
    flags = all(isinstance(value, bool | np.bool_) for value in distinct)
    flags = flags or {as_text(v).lower() for v in distinct} <= {"true", "false"}
    flags = flags and all(type(level) is bool for level in known)
    names: list[Level | None] = []
    for value in distinct:
        text = as_text(value)
        if says_null(value) and text.lower() != "none":
            names.append(None)
        else:
            names.append(text.lower() == "true" if flags else text)
    given = {str(level): level for level in known}
    others = sorted(
        {name for name in names if name is not None and str(name) not in given},
        key=lambda name: natural_key(name) if isinstance(name, str) else name,
    )
    levels = (*known, *others)
    place = {str(level): i for i, level in enumerate(levels)}
    number = [np.nan if name is None else float(place[str(name)]) for name in names]
    values = np.array([*number, np.nan])[codes]
    null = np.isnan(values)
    return Numbers(values, null, np.zeros_like(null)), levels


def coded_actions(
    action: NDArray[np.float64],
    inner: Mask,
    roles: Roles,
    words: Mapping[str, tuple[Level, ...]],
    notes: Notes,
) -> tuple[NDArray[Any], NDArray[np.int64] | None, Roles]:
    """Return the actions as a model takes them, the integer levels, and the roles with all levels.

    Args:
        action: ``(R, C)``, numbers of the columns; NaN where no action was taken.
        inner: ``(R,)``, where one was.
        roles: the user's.
        words: what the numbers of columns of words count.
        notes: takes problems and warnings.
    """
    if not roles.action:
        return np.where(inner, 0, -1).astype(np.int32), np.zeros(1, np.int64), roles
    if not roles.discrete and not roles.mixed:
        return action, None, roles
    discrete, continuous = ActionCode(roles, ()).places
    index, distinct = _combinations(action[inner][:, discrete])
    if len(discrete) == 1 and not words and not roles.mixed and not roles.levels:
        if len(distinct) > TABLE.many_levels:
            notes.warnings.append(
                f"column {roles.action[0]!r} (action) has {len(distinct)} distinct values; "
                'if they are amounts rather than choices, use action type "continuous"'
            )
        level = np.full(len(action), -1, np.int32)
        level[inner] = index
        return level, distinct[:, 0].astype(np.int64), roles
    names = [roles.action[i] for i in discrete]
    rows = [
        tuple(words[n][int(v)] if n in words else int(v) for n, v in zip(names, row, strict=True))
        for row in distinct.tolist()
    ]
    levels = roles.levels or tuple(rows)
    roles = roles.model_copy(update={"levels": levels})
    code = ActionCode(roles, levels)
    place = code.level_of(rows)
    _level_notes(code, rows, place, words, notes)
    for name, names_of in words.items():
        _note_unrecorded(name, names_of, action[inner][:, roles.action.index(name)], notes)
    level = np.full(len(action), -1, np.int32)
    level[inner] = np.maximum(place, 0)[index]
    if not roles.mixed:
        return level, np.arange(len(levels), dtype=np.int64), roles
    packed = np.full((len(action), len(code.names)), np.nan)
    if not notes.problems:
        packed[inner] = code.pack(level[inner], action[inner][:, continuous])
    return packed, None, roles


def _combinations(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the index of each row ``(K,)`` among the distinct ones, and these, sorted."""
    distinct, index = np.unique(values, axis=0, return_inverse=True)
    return index.reshape(-1), distinct


def _level_notes(
    code: ActionCode,
    rows: Sequence[tuple[Level, ...]],
    place: NDArray[np.int32],
    words: Mapping[str, tuple[Level, ...]],
    notes: Notes,
) -> None:
    """Note levels that the roles do not name, too many of them, and some that look alike."""
    names = ", ".join(repr(code.roles.action[i]) for i in code.places[0])
    column = f"column{'s' if len(code.places[0]) > 1 else ''} {names} (action)"
    unknown = [" and ".join(map(repr, row)) for row, i in zip(rows, place, strict=True) if i < 0]
    if unknown:
        notes.problems.append(
            f"{column}: {listed(unknown, 5)} not among the levels of the roles, "
            f"{listed(list(code.level_names), 20)}; add it to them, or correct it"
        )
    if len(rows) > TABLE.most_levels:
        notes.problems.append(
            f"{column} has {len(rows)} distinct values, too many for choices "
            f"({TABLE.most_levels} are the most): group them, or if they are amounts use action "
            'type "continuous"'
        )
    elif len(rows) > TABLE.many_levels:
        notes.warnings.append(
            f"{column} has {len(rows)} distinct values; of each little is known: group them"
        )
    for name, levels in words.items():
        alike = look_alikes([level for level in levels if isinstance(level, str)])
        if alike:
            notes.warnings.append(
                f"column {name!r} (action): {listed(alike[0], 5)} look alike and are taken for "
                f"{len(alike[0])} levels; if they are one, write them the same way"
            )


def _note_unrecorded(
    name: str, levels: Sequence[Level], taken: NDArray[np.float64], notes: Notes
) -> None:
    """Note words that are no choice but say that none was recorded; ``taken`` are places."""
    for place, level in enumerate(levels):
        count = int(np.count_nonzero(taken == place))
        if count and isinstance(level, str) and level.casefold() in UNRECORDED:
            notes.warnings.append(
                f"column {name!r} (action): {level!r} in {counted(count, 'row')} probably says "
                f"that no action was recorded; if so, give --missing {shlex.quote(level)}: it is a "
                "level like any other now, and may be planned"
            )


def action_columns(code: ActionCode, action: NDArray[Any]) -> dict[str, Any]:
    """Return the action columns of a table, empty where no action was taken.

    Args:
        code: how the actions are written.
        action: ``(R,)`` or ``(R, A)``, as a panel keeps them.
    """
    roles = code.roles
    if not roles.discrete and not roles.mixed:
        return {name: action[:, a] for a, name in enumerate(roles.action)}
    null = np.asarray(action < 0 if roles.discrete else np.isnan(action).any(axis=1))
    safe = np.where(null if roles.discrete else null[:, None], 0, action)
    values = code.user_values(safe, one=False)
    found: dict[str, Any] = {}
    for i, (name, kind) in enumerate(zip(roles.action, roles.kinds, strict=True)):
        column = values[:, i]
        if kind == "continuous":
            found[name] = np.where(null, np.nan, column.astype(np.float64))
        elif all(type(value) is int for value in column) or column.dtype != object:
            found[name] = pd.arrays.IntegerArray(column.astype(np.int64), null)
        elif all(type(value) is bool for value in column):
            found[name] = pd.arrays.BooleanArray(column.astype(bool), null)
        else:
            column[null] = None
            found[name] = pd.Series(column, dtype="str")
    return found
