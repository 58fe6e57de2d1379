"""Questions whose first state lacks some values: what stands for them, and what is said of it.

Axes: Q questions, D state columns, W = D and the steps before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.models.fitted_model import FittedModel

Floats = NDArray[np.float64]


def complete_start(
    model: FittedModel, agent: NDArray[np.integer], start: Floats
) -> tuple[Floats, list[tuple[NDArray[np.intp], str]]]:
    """Return first states without holes, and which questions had one, with a sentence on each kind.

    What is missing is the agent's last known value; of an agent without one, the mean of all.

    Args:
        model: the fitted model.
        agent: ``(Q,)`` indices.
        start: ``(Q, D)`` or ``(Q, W)`` raw units, NaN where a value is missing.
    """
    names = model.roles.state
    holes: Any = np.isnan(start[:, : len(names)])
    if not holes.any():
        return start, []
    start, lines = start.copy(), []
    last = model.recent[agent][:, : len(names)]
    for d, name in enumerate(names):
        hole, known = holes[:, d], np.isfinite(last[:, d])
        start[hole, d] = np.where(known, last[:, d], model.normalizer.state_mean[d])[hole]
        for rows, what in (
            (hole & known, "the agent's last known value"),
            (hole & ~known, "the mean of all agents"),
        ):
            hit = np.flatnonzero(rows)
            if len(hit):
                lines.append(
                    (
                        hit,
                        f"no value of {name!r} where the prediction starts: {what}, "
                        f"{start[hit[0], d]:.6g}, stands for it; the band does not say how far it "
                        "may be off",
                    )
                )
    return start, lines
