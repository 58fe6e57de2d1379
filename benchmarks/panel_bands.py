"""The band that a simple model gets by itself: split conformal, of whole trajectories.

    1. cut the ends of the training rows off, as long as those to be predicted where there are rows
    2. predict them: for known agents by a control fitted to what comes before; for new agents by
       controls fitted to other agents
    3. g[h, d] = root mean square error at step h of column d, never falling with h
       score of an agent = max over h, d of |error[h, d]| / g[h, d]
    4. half-width = g times the score's conformal quantile

Axes: n calibration agents, H steps, D state columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_controls import Predict, fit_controls
from panel_course import Units
from panel_data import Window, end_window
from panel_frame import Panel

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

FOLDS = 5
NOMINAL = 0.9


def control_band(
    control: str,
    predict: Predict,
    train: pd.DataFrame,
    panel: Panel,
    windows: Sequence[Window],
    *,
    known: bool,
) -> dict[str, float] | None:
    """Return coverage and width of a control's own band; None for fewer than 9 agents.

    Args:
        control: name of the control.
        predict: the control, fitted to ``train``.
        train: training table.
        panel: what its columns are.
        windows: windows to be covered.
        known: whether their agents are in the training table.
    """
    longest = max(len(window.truth) for window in windows)
    ends = _training_ends(train, panel, longest)
    rank = int(np.ceil((len(ends) + 1) * NOMINAL))
    if rank > len(ends):
        return None
    sd = Units.of(train, panel).state_sd
    found = (
        _predicted_early(control, train, panel, ends) if known else _by_fold(control, panel, ends)
    )
    errors = [np.abs(values - end.truth) / sd for end, values in zip(ends, found, strict=True)]

    scale = _scale(errors, longest)
    scores = np.sort([np.max(error / scale[: len(error)]) for error in errors])
    half = scores[rank - 1] * scale  # (H, D) in standard deviations
    within = [
        bool(np.all(np.abs(values - window.truth) / sd <= half[: len(values)]))
        for window, values in zip(windows, predict(windows), strict=True)
    ]
    width = [2 * half[: len(window.truth)].mean() for window in windows]
    return {"coverage": float(np.mean(within)), "width": float(np.mean(width))}


def _training_ends(train: pd.DataFrame, panel: Panel, longest: int) -> list[Window]:
    """Return the ends of the training rows of agents that have three or more."""
    groups: Any = train.groupby(panel.agent, sort=True)
    return [
        end_window(agent, rows, panel, min(longest, len(rows) - 2), known=True)
        for agent, rows in groups
        if len(rows) >= 3
    ]


def _predicted_early(
    control: str, train: pd.DataFrame, panel: Panel, ends: list[Window]
) -> list[Floats]:
    """Return the ends as predicted by the control fitted to what comes before them."""
    import pandas as pd

    cut_off = train[panel.agent].isin([end.agent for end in ends])
    early: Any = pd.concat([*(end.rows for end in ends), train[~cut_off]], ignore_index=True)
    return fit_controls(early, panel, (control,))[control](ends)


def _by_fold(control: str, panel: Panel, ends: list[Window]) -> list[Floats]:
    """Return the ends as predicted by controls fitted to whole other agents."""
    import pandas as pd

    fold = np.random.default_rng(23).permutation(len(ends)) % FOLDS
    found: list[Floats] = [np.zeros(0)] * len(ends)
    for out in range(FOLDS):
        whole = [
            pd.concat([end.rows.iloc[:-1], end.future])
            for end, place in zip(ends, fold, strict=True)
            if place != out
        ]
        table: Any = pd.concat(whole, ignore_index=True)
        predict = fit_controls(table, panel, (control,))[control]
        own = np.flatnonzero(fold == out)
        for n, values in zip(own, predict([ends[n] for n in own]), strict=True):
            found[n] = values
    return found


def _scale(errors: list[Floats], longest: int) -> Floats:
    """Return the root mean square error by step and column ``(H, D)``, never falling with H."""
    scale = np.zeros((longest, errors[0].shape[1]))
    for step in range(longest):
        at = [error[step] for error in errors if step < len(error)]
        if at:
            scale[step] = np.sqrt(np.mean(np.square(at), axis=0))
    return np.maximum(np.maximum.accumulate(scale), 1e-9)
