"""Ends of trajectories, to be predicted, and how far predictions of them go wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.panel import Transitions

Floats = NDArray[np.float64]

HORIZON = 50
"""Longest prediction that is calibrated, in steps."""


class Ends(NamedTuple):
    """The ends of the last trajectories of some agents, to be predicted.

    Attributes:
        agent: ``(S,)``, index into the panel's agents.
        state: ``(S, D)``, where each begins.
        action: ``(S, H, A)``, or ``(S, H)`` level indices; zero beyond the end.
        next_state: ``(S, H, D)``, what followed.
        mask: ``(S, H)`` bool, True within the trajectory.
    """

    agent: NDArray[np.int32]
    state: Floats
    action: NDArray[Any]
    next_state: Floats
    mask: NDArray[np.bool_]


def split_ends(
    data: Transitions, horizon: int = HORIZON, whole: NDArray[np.bool_] | None = None
) -> tuple[Transitions, Ends]:
    """Cut the end off each agent's last trajectory: half of it, at most ``horizon`` steps.

    Args:
        data: all transitions, ordered by agent and time.
        horizon: H.
        whole: ``(N,)``, of which agents all of it is cut off, but for the same limit: those that
            are known without it. None for none.

    Returns:
        What comes before, and the ends; an agent with a single transition has no end, unless it is
        among ``whole``.
    """
    last = np.flatnonzero(np.r_[data.agent[1:] != data.agent[:-1], True][: len(data)])
    length = data.step[last] + 1  # of the trajectory up to there
    share = length // 2 if whole is None else np.where(whole[data.agent[last]], length, length // 2)
    window = np.minimum(horizon, share)
    last, window = last[window > 0], window[window > 0]
    rows = (last - window + 1)[:, None] + np.arange(horizon)
    mask = np.arange(horizon) < window[:, None]
    rows = np.where(mask, rows, 0)

    def padded(values: NDArray[Any]) -> NDArray[Any]:
        found = values[rows]
        return np.where(mask.reshape(*mask.shape, *[1] * (found.ndim - 2)), found, 0)

    ends = Ends(
        agent=data.agent[last],
        state=data.state[last - window + 1],
        action=padded(data.action).astype(data.action.dtype),
        next_state=padded(data.next_state),
        mask=mask,
    )
    kept = np.ones(len(data), bool)
    kept[rows[mask]] = False
    return data.select(kept), ends


def course_scores(error: Floats, width: Floats, mask: NDArray[np.bool_]) -> Floats:
    """S_i(h), ``(S, H)``: NaN beyond the mask, infinite where a prediction is not finite.

    Args:
        error: ``(S, H, D)``.
        width: ``(S, H, D)``, half-widths of the uncalibrated band.
        mask: ``(S, H)``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(error) / width
    ratio = np.where(np.abs(error) == 0, 0.0, ratio)  # nothing is wrong, however narrow the band
    ratio = np.where(np.isnan(ratio), np.inf, ratio).max(axis=-1)
    return np.where(mask, np.maximum.accumulate(ratio, axis=1), np.nan)
