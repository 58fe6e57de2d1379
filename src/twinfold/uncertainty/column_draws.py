"""Actions of which one column is drawn at random, to see what that column does by itself.

Where all columns are numbers, a column takes the value that another recorded action has. Where
levels are among them not everything goes together, so that a column is drawn given the others: an
amount is that of another recorded action at the same level; a discrete column changes among the
levels that differ in it alone, as often as each was taken, and the amounts are kept within those
that the data has at the new level.

Axes: S ends, H steps, C action columns, A continuous ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.actions import ActionCode
from twinfold.data.expression_value import level_values
from twinfold.models.fitted_model import FittedModel

Floats = NDArray[np.float64]


def column_draws(
    code: ActionCode,
    action: NDArray[Any],
    mask: NDArray[np.bool_],
    drawn: NDArray[Any],
    rng: np.random.Generator,
) -> list[NDArray[Any]]:
    """Return actions ``(S, H, ...)`` with one column drawn at random, by column.

    Args:
        code: says what the columns are; of a single one nothing is drawn.
        action: recorded, ``(S, H, ...)``.
        mask: ``(S, H)``, where anything was.
        drawn: all columns drawn at random together, ``(S, H, ...)``.
        rng: of further draws.
    """
    if len(code.roles.action) < 2:
        return []
    found = []
    for column in range(len(code.roles.action)):
        if code.levels:
            found.append(_drawn_given_others(code, action, mask, column, rng))
            continue
        one = action.copy()
        one[..., column] = drawn[..., column]
        found.append(one)
    return found


def _drawn_given_others(
    code: ActionCode,
    action: NDArray[Any],
    mask: NDArray[np.bool_],
    column: int,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Return the actions with a column drawn from recorded ones that agree in the others."""
    discrete, continuous = code.places
    level, amount = code.unpack(action) if code.roles.mixed else (action, None)
    seen = level[mask]
    counts = np.bincount(seen, minlength=len(code.levels))
    new = level.copy()
    if column in continuous:
        assert amount is not None, "it is one of the amounts"
        own, values = continuous.index(column), amount[mask]
        amount = amount.copy()
        for each in np.flatnonzero(counts):
            pool, here = values[seen == each, own], level == each
            amount[here, own] = pool[rng.integers(0, len(pool), int(here.sum()))]
        return code.pack(new, amount)
    place = discrete.index(column)
    others = [tuple(v for i, v in enumerate(row) if i != place) for row in code.levels]
    for each in np.flatnonzero(counts):
        alike = np.array([rest == others[each] for rest in others])
        share = counts * alike / (counts * alike).sum()
        new[level == each] = rng.choice(len(share), int((level == each).sum()), p=share)
    if amount is None:
        return new
    amounts = amount[mask]
    low, high = np.zeros((2, len(counts), amount.shape[-1]))
    for each in np.flatnonzero(counts):
        low[each], high[each] = amounts[seen == each].min(axis=0), amounts[seen == each].max(axis=0)
    return code.pack(new, np.clip(amount, low[new], high[new]))


def column_values(model: FittedModel, action: NDArray[Any]) -> Floats:
    """Return actions by column, ``(..., C)``: levels as numbers, amounts in standard deviations.

    C is 0 where nobody acts.
    """
    code = model.action_code
    if not code.roles.action:
        return np.zeros((*action.shape, 0))
    if not code.levels:
        return model.normalizer.encode_action(action)
    discrete, continuous = code.places
    level, amount = code.unpack(action) if code.roles.mixed else (action, None)
    found = np.zeros((*level.shape, len(code.roles.action)))
    for i, column in enumerate(discrete):
        found[..., column] = np.array(level_values(code, i))[level]
    if amount is not None:
        _, known = code.unpack(model.sample.action)
        found[..., continuous] = amount / np.maximum(known.std(axis=0), 1e-12)
    return found
