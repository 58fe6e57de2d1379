"""Whether a column of an action holds choices or amounts, told from its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from twinfold.data.coding import holds_words
from twinfold.data.columns import as_numbers
from twinfold.data.roles import ActionType, Roles
from twinfold.data.table_format import TableFormat, settle_numbers


@dataclass(frozen=True)
class ActionKindSettings:
    """Numbers that decide what an action column is taken for.

    Attributes:
        levels: distinct whole numbers of an action that is a choice, at most.
    """

    levels: int = 10


ACTION_KIND = ActionKindSettings()
"""Those of every table."""

_MEANING = {
    "discrete": "choices (discrete: words, flags or a few whole numbers without a gap); if they "
    "are amounts, say --action-type continuous",
    "continuous": "amounts (continuous); if they are choices, say --action-type discrete",
}


def guess_kind(series: pd.Series) -> ActionType:
    """Return whether a column holds choices (words, flags, a few codes) or amounts.

    Args:
        series: the column, its values read by the format of the table.
    """
    if holds_words(series):
        return "discrete"
    levels = np.unique(as_numbers(series).values)
    levels = levels[~np.isnan(levels)]
    whole = np.all(levels == np.floor(levels)) and np.all(np.diff(levels) == 1)
    return "discrete" if whole and len(levels) <= ACTION_KIND.levels else "continuous"


def without_kinds(roles: Any) -> bool:
    """Return whether a mapping of roles names action columns and not what kind they are."""
    return (
        isinstance(roles, Mapping)
        and bool(roles.get("action"))
        and roles.get("action_type") in (None, (), [])
    )


def with_guessed_kinds(roles: Roles, frame: Any, form: TableFormat) -> tuple[Roles, list[str]]:
    """Return the roles with the kinds that the action columns look like, and a line for each.

    Args:
        roles: of any kinds.
        frame: the table, as it is written.
        form: how its values are written.
    """
    kinds = [guess_kind(settle_numbers(frame[name], form).series) for name in roles.action]
    lines = [
        f"action column {name!r} is taken for {_MEANING[kind]}"
        for name, kind in zip(roles.action, kinds, strict=True)
    ]
    return Roles.parse({**roles.model_dump(), "action_type": kinds}), lines
