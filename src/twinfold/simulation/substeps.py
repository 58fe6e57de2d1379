"""Steps longer than any in the data, where times are uneven: taken as several that are not.

An action that stays on acts in each of the parts; one that acts at once (a dose) in the first
alone, and is 0 after it. Which it is, the data of all agents says: a pooled linear model explains
more if actions act by the length of the step, or if they act at once.

Axes: K actions of all questions, P parts of their steps, Q questions, E known inputs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear import LINEAR
from twinfold.models.linear_terms import action_features
from twinfold.simulation.known import KnownInputs

MOST_PARTS = 1000
"""Parts of a step, at the most."""


class Parts(NamedTuple):
    """Questions with long steps in parts.

    Attributes:
        codes: ``(P,)`` level indices or ``(P, A)`` raw units.
        known: ``(P,)``.
        offset: ``(Q,)``, where each question's parts begin.
        length: ``(Q,)``, how many they are.
        last: ``(K,)``, place of the last part of each step.
    """

    codes: NDArray[Any]
    known: KnownInputs
    offset: NDArray[np.intp]
    length: NDArray[np.intp]
    last: NDArray[np.intp]


def in_parts(
    model: FittedModel,
    codes: NDArray[Any],
    known: KnownInputs | None,
    offset: NDArray[np.intp],
    length: NDArray[np.intp],
) -> Parts | None:
    """Return questions with steps longer than any in the data in parts; None if there is no such.

    Args:
        model: the fitted model.
        codes: ``(K,)`` level indices or ``(K, A)`` raw units.
        known: ``(K,)``; None for a model without known inputs.
        offset: ``(Q,)``, where each question's actions begin.
        length: ``(Q,)``, how many they are.
    """
    if known is None or not model.uneven:
        return None
    step, longest = known.value[:, -1], model.normalizer.known_high[-1]
    number = np.ceil(step / longest * (1 - 1e-9)).astype(np.int64).clip(1, MOST_PARTS)
    if number.max(initial=1) == 1:
        return None
    row = np.repeat(np.arange(len(codes)), number)
    ends = np.cumsum(number)
    parts, first = codes[row], np.isin(np.arange(len(row)), ends - number)
    if model.action_levels is None and acts_at_once(model):
        parts = np.where(first[:, None], parts, 0.0)
    told = known.take(row)
    told.value[:, -1] = (step / number)[row]
    begin = ends - number
    return Parts(parts, told, begin[offset], np.add.reduceat(number, offset), ends - 1)


def acts_at_once(model: FittedModel) -> bool:
    """Return whether actions do at once what they do, rather than by the length of the step."""
    sums = model.sums
    gram, moment = sums.gram.sum(axis=0), sums.moment.sum(axis=0)
    q, n_inputs = gram.shape[-1], sums.n_inputs
    n_action = action_features(q, n_inputs, uneven=True)
    base = 1 + n_inputs + n_action
    at_once = np.arange(q) >= 2 * base
    by_length = ~at_once & (np.arange(q) % base > n_inputs)

    def explained(left_out: NDArray[np.bool_]) -> float:
        used = np.flatnonzero(~left_out)
        system = gram[np.ix_(used, used)] + LINEAR.free * np.eye(len(used))
        return float(np.sum(moment[used] * np.linalg.solve(system, moment[used])))

    return explained(by_length) > explained(at_once)
