"""Statistics that say how well each agent's held-out end fits: the larger, the worse.

Axes: S ends of at most H steps, D state columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STATISTICS = (
    "residual scale",
    "trajectory error",
    "residual autocorrelation",
    "residual trend",
    "residual growth",
    "action sensitivity",
    "personalisation gain",
)
"""Statistics of each agent; the larger, the worse.

residual scale: log of the root mean square of the one-step residuals, in units of the noise.
trajectory error: log of the largest error of the trajectory, in units of the uncalibrated band.
residual autocorrelation: mean over columns of the correlation from one step to the next.
residual trend: largest correlation of a column's residuals with time.
residual growth: log of the residuals' size in the later half over that in the earlier one.
action sensitivity: log of the error under the recorded actions over that under random ones.
personalisation gain: log of the error with the agent's factors over that with the average agent's.
"""


def holdout_statistics(
    residual: Floats,
    scores: Floats,
    mask: NDArray[np.bool_],
    rmse: Floats,
    controls: dict[str, Floats],
    shortest: int,
    counted: NDArray[np.bool_] | None = None,
) -> Floats:
    """Return the statistics of S ends, ``(S, len(STATISTICS))``; NaN where an end is too short.

    Args:
        residual: ``(S, H, D)``, of one step, in units of the noise.
        scores: ``(S, H)``, by ``intervals.trajectory_scores``.
        mask: ``(S, H)``.
        rmse: ``(S,)``, of the model.
        controls: by name, ``(S,)`` like ``rmse``.
        shortest: steps from which autocorrelation, trend and growth are defined.
        counted: ``(S, H, D)``, which values were observed; None if all were.
    """
    out = np.full((len(mask), len(STATISTICS)), np.nan)
    for s, length in enumerate(mask.sum(axis=1)):
        r = residual[s, :length]
        if counted is not None and not counted[s, :length].all():
            known = counted[s, :length]
            out[s, :5] = _of_observed(r, known, scores[s, length - 1], shortest)
            continue
        size = np.sqrt(np.square(r).mean(axis=1))
        out[s, 0] = _log(np.sqrt(np.square(size).mean()))
        out[s, 1] = _log(scores[s, length - 1])
        if length >= shortest:
            out[s, 2] = np.mean([_correlation(x[1:], x[:-1]) for x in r.T])
            out[s, 3] = max(abs(_correlation(x, np.arange(length, dtype=np.float64))) for x in r.T)
            half = length // 2
            later, earlier = (np.sqrt(np.square(x).mean()) for x in (size[half:], size[:half]))
            out[s, 4] = _log(later) - _log(earlier)
    out[:, 5] = np.log(rmse) - np.log(controls["other actions"])
    out[:, 6] = np.log(rmse) - np.log(controls["average agent"])
    return out


def _of_observed(r: Floats, known: NDArray[np.bool_], score: float, shortest: int) -> Floats:
    """Return the first five statistics of an end ``(H, D)`` of which some values are missing."""
    out = np.full(5, np.nan)
    out[0], out[1] = _log(np.sqrt(np.mean(r[known] ** 2))), _log(score)
    steps = np.arange(len(r), dtype=np.float64)
    both = known[1:] & known[:-1]
    columns = [d for d in range(r.shape[1]) if both[:, d].sum() + 1 >= shortest]
    if columns:
        pairs = [(r[1:, d][both[:, d]], r[:-1, d][both[:, d]]) for d in columns]
        out[2] = np.mean([_correlation(*pair) for pair in pairs])
    columns = [d for d in range(r.shape[1]) if known[:, d].sum() >= shortest]
    if columns:
        trends = [_correlation(r[known[:, d], d], steps[known[:, d]]) for d in columns]
        out[3] = max(abs(trend) for trend in trends)
    half = len(r) // 2
    parts = [r[half:][known[half:]], r[:half][known[:half]]]
    if len(r) >= shortest and all(len(part) for part in parts):
        later, earlier = (np.sqrt(np.mean(part**2)) for part in parts)
        out[4] = _log(later) - _log(earlier)
    return out


def _log(value: Any) -> Any:
    return np.log(np.clip(np.nan_to_num(value, nan=1e12, posinf=1e12), 1e-12, 1e12))


def _correlation(x: Floats, y: Floats) -> float:
    """Pearson's, 0 where one of the two does not vary."""
    a, b = x - x.mean(), y - y.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if np.isfinite(norm) and norm > 0 else 0.0
