"""Actions in the user's columns, and what a model takes of them.

    kinds of the columns        what a model takes
    continuous                  the numbers, ``(A,)``
    discrete, one or several    the index of the level, which is a combination of their values
    discrete and continuous     ``(L + L A,)``: 1 at the level and 0 elsewhere; then each amount at
                                the level and 0 elsewhere, so that a linear model has a slope of the
                                amount for every level
    none                        the index of the only level, 0

A level is a word, a flag or an integer per discrete column. Integers of a single column stand for
themselves, in ``PanelDataset.action_levels``; all others are kept in ``Roles.levels``.

Axes: L levels, A continuous columns, C columns in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.roles import Level, Roles


@dataclass(frozen=True)
class ActionCode:
    """How actions of the user's columns are written for a model.

    Attributes:
        roles: the user's columns, with the levels if they are not integers of one column.
        levels: the L levels, a value per discrete column; empty if all columns are continuous.
    """

    roles: Roles
    levels: tuple[tuple[Level, ...], ...]

    @classmethod
    def of(cls, roles: Roles, action_levels: NDArray[np.int64] | None) -> ActionCode:
        """Return the code of a panel or model with these roles and integer levels."""
        if roles.levels or action_levels is None or not roles.action:
            return cls(roles, roles.levels)
        return cls(roles, tuple((int(level),) for level in action_levels))

    @property
    def places(self) -> tuple[list[int], list[int]]:
        """Places of the discrete and of the continuous columns among those of the action."""
        kinds = self.roles.kinds
        return tuple(  # pyright: ignore[reportReturnType]
            [i for i, kind in enumerate(kinds) if kind == wanted]
            for wanted in ("discrete", "continuous")
        )

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels in sentences: ``fill``, or ``mode=fill, pump=1`` of several."""
        where = self.places[0]
        names = [self.roles.action[i] for i in where]
        if len(names) == 1:
            return tuple(str(level[0]) for level in self.levels)
        return tuple(
            ", ".join(f"{name}={value}" for name, value in zip(names, level, strict=True))
            for level in self.levels
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers that a model takes; of a discrete action its column."""
        roles = self.roles
        if not roles.mixed:
            return roles.action if len(roles.action) == 1 or not roles.discrete else ("action",)
        first, amounts = ([roles.action[i] for i in where] for where in self.places)
        levels = [f"{first[0]}={name}" if len(first) == 1 else name for name in self.level_names]
        return (*levels, *(f"{amount} at {level}" for amount in amounts for level in levels))

    def pack(self, level: Any, amount: Any, xp: Any = np) -> Any:
        """Return what a model takes of a mixed action, ``(..., L + L A)``.

        Args:
            level: ``(...)``, indices.
            amount: ``(..., A)``.
            xp: NumPy or ``jax.numpy``.
        """
        chosen = (level[..., None] == xp.arange(len(self.levels))) * 1.0
        amounts = amount[..., :, None] * chosen[..., None, :]
        size = amount.shape[-1] * len(self.levels)  # of no rows nothing else says it
        return xp.concatenate([chosen, amounts.reshape(*amount.shape[:-1], size)], axis=-1)

    def unpack(self, code: Any, xp: Any = np) -> tuple[Any, Any]:
        """Return the level ``(...)`` and the amounts ``(..., A)`` of a packed action."""
        n_levels = len(self.levels)
        level = xp.argmax(code[..., :n_levels], axis=-1)
        shape = (*code.shape[:-1], code.shape[-1] // n_levels - 1, n_levels)
        amounts = code[..., n_levels:].reshape(shape)
        return level, amounts.sum(axis=-1)

    def user_values(self, codes: NDArray[Any], *, one: bool = True) -> NDArray[Any]:
        """Return actions in the user's values.

        Args:
            codes: what a model takes, ``(...)`` or ``(..., A)``.
            one: whether a single discrete column is ``(...)``, without an axis of columns.

        Returns:
            Integers or words ``(...)`` of one discrete column, numbers ``(..., A)`` of continuous
            ones, and objects ``(..., C)`` of several of which one is discrete.
        """
        roles = self.roles
        if not roles.discrete and not roles.mixed:
            return codes
        level, amount = self.unpack(codes) if roles.mixed else (codes, None)
        if not roles.action:
            return np.zeros((*level.shape, 0), object)
        if roles.discrete and len(roles.action) == 1:
            values = [level[0] for level in self.levels]
            integer = all(type(value) is int for value in values)
            found = np.array(values, np.int64 if integer else object)[level]
            return found if one else found[..., None]
        discrete, continuous = self.places
        found = np.empty((*level.shape, len(roles.action)), object)
        table = np.empty((len(self.levels), len(discrete)), object)
        table[:] = [list(row) for row in self.levels]
        found[..., discrete] = table[level]
        if amount is not None:
            found[..., continuous] = amount
        return found

    def level_of(self, values: Sequence[Sequence[Any]]) -> NDArray[np.int32]:
        """Return the index of each level ``(K,)``, -1 where it is none.

        Args:
            values: a row of values of the discrete columns each; words and numbers as they are
                read from text are understood.
        """
        index = {tuple(map(_plain, level)): i for i, level in enumerate(self.levels)}
        found = [index.get(tuple(map(_plain, row)), -1) for row in values]
        if any(i < 0 for i in found):  # a flag may have been read as a number, or the other way
            turned = {tuple(_FLAGS.get(text, text) for text in row): i for row, i in index.items()}
            found = [
                turned.get(tuple(map(_plain, row)), -1) if i < 0 else i
                for i, row in zip(found, values, strict=True)
            ]
        return np.array(found, np.int32).reshape(len(found))


_FLAGS = {"true": "1", "false": "0", "1": "true", "0": "false"}


def _plain(value: Any) -> str:
    """Return a level as text by which it is found: 1, 1.0, True and "1" of a flag are one."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.lower() if text.lower() in ("true", "false") else text
