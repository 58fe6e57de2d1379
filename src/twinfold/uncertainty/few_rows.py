"""What a band must be for agents of which only a few rows are known.

The calibration agents are known by half a trajectory each, a newcomer often by three rows. What is
not known of its factors widens the band already, but as a straight line would: with few rows
predictions of nonlinear models go further astray than that. So the same agents are predicted again,
known by their last 0, 1, 3, ... transitions before the end alone.

Axes: S ends of at most H steps, k numbers of transitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.data.windows import split_ends
from twinfold.models.calibration import FewRows
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import predict_paths
from twinfold.uncertainty.holdout_evaluation import (
    HoldoutResult,
    as_known,
    counted_values,
    difference,
)
from twinfold.uncertainty.intervals import trajectory_scores, uncalibrated_band

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FewRowsSettings:
    """Numbers that decide for which agents a band is calibrated anew.

    Attributes:
        counts: transitions that agents are known by, those below what they are usually known by.
    """

    counts: tuple[int, ...] = (0, 1, 3, 10, 30)


FEW_ROWS = FewRowsSettings()
"""Those of every calibration."""

Pair = tuple[FittedModel, PanelDataset]


def few_rows(pairs: Sequence[Pair], found: Sequence[HoldoutResult]) -> FewRows | None:
    """Return the scores of calibration agents where less was known of them.

    Args:
        pairs: models, and calibration agents that each has not seen.
        found: how these were predicted.

    Returns:
        None where less makes no difference: agents are alike, or never known by more.
    """
    known = [split_ends(one.data)[0] for one in found]
    each = [
        np.bincount(before.agent, minlength=one.match.in_model.size)[one.agent]
        for before, one in zip(known, found, strict=True)
    ]
    usual = int(np.median(np.concatenate(each)))
    counts = [count for count in FEW_ROWS.counts if count < usual]
    if not counts or pairs[0][0].members.alike:
        return None
    horizon = max(one.scores.shape[1] for one in found)
    scores = [
        [
            _padded(_scores(*pair, one, _last(before, count)), horizon)
            for pair, one, before in zip(pairs, found, known, strict=True)
        ]
        for count in counts
    ]
    scores.append([_padded(one.scores, horizon) for one in found])
    return FewRows(
        np.array([*counts, usual], np.int32), np.stack([np.concatenate(one) for one in scores])
    )


def _scores(
    model: FittedModel, panel: PanelDataset, one: HoldoutResult, before: Transitions
) -> Floats:
    """Return the scores ``(S, H)`` of agents that are known by ``before`` alone."""
    ends = one.ends
    seen = as_known(model, panel, one.match, before, refit_from_prefix=True)
    paths, unknown = predict_paths(seen, ends.agent, ends.start, ends.action, ends.known)
    middle, width, _ = uncalibrated_band(seen, paths, 1 + np.arange(paths.shape[2]), unknown)
    error = difference(model, middle, ends.truth)
    return trajectory_scores(error, width, ends.mask, counted_values(ends))


def _last(data: Transitions, count: int) -> Transitions:
    """Return the last transitions of each agent, of data ordered by agent and time."""
    after = np.searchsorted(data.agent, data.agent, side="right")
    return data.select(after - np.arange(len(data)) <= count)


def _padded(scores: Floats, horizon: int) -> Floats:
    """Return scores ``(S, horizon)``, NaN beyond what is known."""
    room = [(0, 0), (0, horizon - scores.shape[1])]
    return np.pad(scores, room, constant_values=np.nan)
