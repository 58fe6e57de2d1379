"""Public panels, and how their ends and whole agents are cut off.

    from panel_data import PANELS, cut
    train, known, new = cut(PANELS["dietox"], seed=0)

Axes: P rows of a prefix, H steps of a window, D state columns, A action columns, C static columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_frame import Panel
from panel_further import FURTHER
from panel_main import MAIN

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

PANELS = {panel.name: panel for panel in (*MAIN, *FURTHER)}

NEW_SHARE = 0.2
HELD_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class Window:
    """The end of an agent, to be predicted open loop from its last known row.

    Attributes:
        agent: the agent's id.
        known: whether the agent's prefix is in the training table.
        prefix: ``(P, D)`` states known before; the last one is the start.
        prefix_action: ``(P - 1, A)`` actions between them.
        action: ``(H, A)`` actions from the start on.
        truth: ``(H, D)`` states that followed.
        static: ``(C,)`` static columns.
        rows: the prefix as a table; its last row has no action.
        future: the rows from the start on as a table, with the actions and what followed.
    """

    agent: Any
    known: bool
    prefix: Floats
    prefix_action: Floats
    action: Floats
    truth: Floats
    static: Floats
    rows: pd.DataFrame
    future: pd.DataFrame

    @property
    def start(self) -> Floats:
        """The last known state ``(D,)``."""
        return self.prefix[-1]


def cut(panel: Panel, seed: int) -> tuple[pd.DataFrame, list[Window], list[Window]]:
    """Return the training table, the windows of known agents and those of new agents.

    A fifth of the agents (at least 2 of 8 or more, at least 1 of 3 or more) is left out of the
    training table; of all others its last rows are, about 30 %, at least 1 and at most
    ``panel.held_steps``. Agents of fewer than three rows stay in the table and have no window.

    Args:
        panel: the panel.
        seed: seed of the draw of the new agents.
    """
    return cut_frame(panel.frame(), panel, seed)


def cut_frame(
    frame: pd.DataFrame, panel: Panel, seed: int
) -> tuple[pd.DataFrame, list[Window], list[Window]]:
    """``cut`` for a frame that is there already."""
    import pandas as pd

    groups = dict(iter(frame.groupby(panel.agent, sort=True)))
    able = [agent for agent, rows in groups.items() if len(rows) >= 3]
    count = max(round(NEW_SHARE * len(able)), 2 if len(able) >= 8 else int(len(able) >= 3))
    drawn = np.random.default_rng((seed, 20)).permutation(len(able))[:count]
    new = {able[n] for n in drawn}

    train: list[pd.DataFrame] = []
    windows: list[Window] = []
    for agent, rows in groups.items():
        if len(rows) < 3:
            train.append(rows)
            continue
        steps = held_rows(len(rows), panel.held_steps)
        window = end_window(agent, rows, panel, steps, known=agent not in new)
        windows.append(window)
        if window.known:
            train.append(window.rows)
    table = pd.concat(train, ignore_index=True)
    return table, [w for w in windows if w.known], [w for w in windows if not w.known]


def held_rows(rows: int, most: int) -> int:
    """Return how many of an agent's ``rows`` are cut off its end, at most ``most``."""
    return int(np.clip(round(HELD_SHARE * rows), 1, min(most, rows - 2)))


def end_window(agent: Any, rows: pd.DataFrame, panel: Panel, steps: int, *, known: bool) -> Window:
    """Return the window of the last ``steps`` rows of an agent.

    Args:
        agent: the agent's id.
        rows: the agent's rows, sorted.
        panel: what the columns are.
        steps: rows to be predicted, fewer than there are.
        known: whether the rest is in the training table.
    """
    state = rows[list(panel.state)].to_numpy(float)
    action = rows[list(panel.action)].astype(float).to_numpy()
    split = len(rows) - steps
    prefix = rows.iloc[:split].copy()
    prefix.loc[prefix.index[-1], list(panel.action)] = None
    return Window(
        agent=agent,
        known=known,
        prefix=state[:split],
        prefix_action=action[: split - 1],
        action=action[split - 1 : -1],
        truth=state[split:],
        static=rows[list(panel.static)].iloc[0].to_numpy(float),
        rows=prefix,
        future=rows.iloc[split - 1 :],
    )
