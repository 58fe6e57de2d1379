"""What stands for missing values of a state where a model reads it.

A missing value counts nowhere: not as a target, not in a sum, not in a mean. Where a model reads a
state, something has to stand for it; here that is interpolated within the trajectory, and a fit
replaces it by what is predicted from the rows before (``models.filling``), or by nets
(``models.net_filling``), which then learn from what later rows say as well.

Axes: R rows, D state columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset

Floats = NDArray[np.float64]


class Smoothed(NamedTuple):
    """What all rows of a trajectory, later ones as well, say of its states: to train nets on.

    Attributes:
        state: ``(R, D)``, raw units, no NaN.
        next_state: ``(R, D)``, of the next row; of a trajectory's last row anything.
        weight: ``(R, D)`` in [0, 1], how much the next row counts as what follows from this one:
            less where this row is not sure, and as much of a value that was not observed as other
            rows tell of it that the rows before do not.
        ahead: ``(R,)``, of the rows that follow, how many may have a say.
    """

    state: Floats
    next_state: Floats
    weight: Floats
    ahead: NDArray[np.int32]

    def take(self, rows: NDArray[Any]) -> Smoothed:
        """Those of some rows, by numbers or by a mask."""
        state, next_state, weight, ahead = self
        return Smoothed(state[rows], next_state[rows], weight[rows], ahead[rows])


class Filled(NamedTuple):
    """The states of a panel with something in place of every missing value.

    Attributes:
        state: ``(R, D)``, raw units, no NaN.
        trust: ``(R, D)`` in (0, 1], how much the next row counts as what follows from this one, by
            column: less where what is filled in makes it uncertain.
        smoothed: what later rows say as well; None if nets are to learn from ``state``.
    """

    state: Floats
    trust: Floats
    smoothed: Smoothed | None = None

    def take(self, rows: NDArray[np.integer]) -> Filled:
        """Those of some rows."""
        smoothed = None if self.smoothed is None else self.smoothed.take(rows)
        return Filled(self.state[rows], self.trust[rows], smoothed)


def interpolated(panel: PanelDataset) -> Filled:
    """Fill missing values in by the line between those before and after in the trajectory.

    Beyond the first and the last value of a trajectory by that value; where it has none, by the
    agent's mean, or else by that of all agents. An angle goes the short way round.
    """
    state = panel.state.copy()
    for d, name in enumerate(panel.roles.state):
        column = state[:, d]
        missing = np.isnan(column)
        if not missing.any():
            continue
        rows = np.flatnonzero(~missing)
        place = np.searchsorted(rows, np.flatnonzero(missing))
        segment = panel.segment[missing]
        before, after = (rows[np.clip(place - k, 0, len(rows) - 1)] for k in (1, 0))
        has_before = (place > 0) & (panel.segment[before] == segment)
        has_after = (place < len(rows)) & (panel.segment[after] == segment)
        gone = np.flatnonzero(missing) - before
        share = np.where(has_before & has_after, gone / np.maximum(after - before, 1), 0.0)
        low, high = column[np.where(has_before, before, after)], column[after]
        change = high - low
        if name in panel.roles.angle:
            change = wrap(change)
        means = _agent_means(column, panel.agent, panel.n_agents)[panel.agent[missing]]
        column[missing] = np.where(has_before | has_after, low + share * change, means)
    return Filled(state, np.ones_like(state))


def _agent_means(values: Floats, agent: NDArray[np.integer], n_agents: int) -> Floats:
    """Return the mean of each agent's values, that of all for one without any, ``(N,)``."""
    known = ~np.isnan(values)
    count = np.bincount(agent[known], minlength=n_agents)
    total = np.bincount(agent[known], weights=values[known], minlength=n_agents)
    return np.where(count > 0, total / np.maximum(count, 1), values[known].mean())
