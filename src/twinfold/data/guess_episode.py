"""The column that tells apart an agent's several trajectories, where times come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class EpisodeGuessSettings:
    """Numbers that decide whether a column tells trajectories apart.

    Attributes:
        come_back: share of the rows whose agent and time another row has, at the least.
        rows: of a trajectory on the average, at the least.
    """

    come_back: float = 0.5
    rows: float = 2.0


EPISODE_GUESS = EpisodeGuessSettings()
"""Those of every table."""


def guess_episode(
    columns: Mapping[str, pd.Series], names: Sequence[str], agent: str, time: str
) -> str | None:
    """Return the column by which, beside agent and time, no two rows are of one time.

    None if these two do that already in most rows, or no column does it in trajectories of two rows
    or more on the average. Of several the one with the fewest trajectories is taken.

    Args:
        columns: by name.
        names: of those that may be it.
        agent: name of the agent column.
        time: name of the time column.
    """
    frame = pd.DataFrame({"agent": pd.factorize(columns[agent])[0], "time": columns[time].array})
    if frame.duplicated(keep=False).mean() < EPISODE_GUESS.come_back:
        return None
    found: dict[str, int] = {}
    for name in names:
        frame["episode"] = pd.factorize(columns[name])[0]
        trajectories = len(frame[["agent", "episode"]].drop_duplicates())
        told_apart = bool(np.all(frame["episode"] >= 0)) and not frame.duplicated().any()
        if told_apart and EPISODE_GUESS.rows * trajectories <= len(frame):
            found[name] = trajectories
    return min(found, key=lambda name: found[name]) if found else None
