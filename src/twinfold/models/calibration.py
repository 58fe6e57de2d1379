"""Errors of agents that a model has not seen, by which its band is calibrated.

Axes: n calibration agents, H steps, k numbers of transitions that they were known by.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class FewRows(NamedTuple):
    """Errors of the calibration agents where they were known by few transitions alone.

    Attributes:
        counts: ``(k,)``, how many, increasing; the last is how many they are usually known by.
        scores: ``(k, n, H)``, as ``Calibration.scores``, which are the last.
    """

    counts: NDArray[np.int32]
    scores: Floats


class Calibration(NamedTuple):
    """Errors and statistics of agents, each predicted by a model that has not seen it.

    Attributes:
        scores: ``(n, H)``, by agent and horizon, the largest error so far in units of the
            uncalibrated band (:mod:`twinfold.uncertainty.conformal`); NaN beyond an agent's data.
        statistics: ``(n, k)``, of each agent (``holdout_evaluation.STATISTICS``).
        agent: ``(n,)``, index of the agent that each row is of.
        few: the scores where they were known by fewer rows; None if that is not known.
    """

    scores: Floats
    statistics: Floats
    agent: NDArray[np.int32]
    few: FewRows | None = None

    def known_by(self, count: int) -> Floats:
        """Return the scores of agents known by as many transitions, and by more, ``(k, n, H)``.

        By more as well: an agent of which less is known is not to get the narrower band. Of a
        number between two that were tried, the smaller counts.
        """
        if self.few is None:
            return self.scores[None]
        least = np.searchsorted(self.few.counts, count, side="right") - 1
        return self.few.scores[max(int(least), 0) :]

    def take(self, agents: NDArray[np.integer]) -> Calibration | None:
        """Return what some agents say, numbered anew; None if nothing is left."""
        stays = np.isin(self.agent, agents)
        if not stays.any():
            return None
        place = np.searchsorted(agents, self.agent[stays]).astype(np.int32)
        few = self.few if self.few is None else self.few._replace(scores=self.few.scores[:, stays])
        return Calibration(self.scores[stays], self.statistics[stays], place, few)
