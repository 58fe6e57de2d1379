"""What is doubtful about data that a model is to be adapted to. It is said, not refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import AgentId, match_ids
from twinfold.data.panel import PanelDataset, Transitions
from twinfold.models.ensemble import FittedModel

Floats = NDArray[np.float64]
Warn = Callable[[str], None]

_ROUNDING = 1e-6  # share of a value by which it may differ without a word
_STATE_MARGIN = 0.25  # share of the training range by which data may leave it without a word


def range_doubts(model: FittedModel, panel: PanelDataset, data: Transitions, warn: Warn) -> None:
    """Say which columns lie far outside what the nets have seen."""
    ranges = model.ranges
    columns = [
        *zip(model.roles.state, data.state.T, ranges.state_low, ranges.state_high, strict=True)
    ]
    if model.action_levels is None:
        own = zip(
            model.roles.action, data.action.T, ranges.action_low, ranges.action_high, strict=True
        )
        columns += list(own)
    for name, values, low, high in columns:
        margin = _STATE_MARGIN * (high - low) + _ROUNDING * max(abs(low), abs(high))
        far = np.flatnonzero((values < low - margin) | (values > high + margin))
        if name in model.roles.angle or not len(far):
            continue
        row = int(far[0])
        n_agents = len(np.unique(data.agent[far]))
        more = f" and {n_agents - 1} more" if n_agents > 1 else ""
        warn(
            f"agent {panel.agent_ids[data.agent[row]]!r}{more}: {name!r} is {values[row]:g}, far "
            f"outside the model's data ({low:g} to {high:g}); what is learned there is a guess"
        )


def static_doubts(
    model: FittedModel, ids: Sequence[AgentId], static: Floats | None, warn: Warn
) -> None:
    """Say which static columns lack, which have changed, and which lie far outside the fit's."""
    known = model.posterior
    if known is None or known.static is None or known.values is None:
        return
    names, place = model.roles.static, match_ids(model.agent_ids, list(ids))
    before = np.full((len(ids), len(names)), np.nan)
    before[place >= 0] = known.values[place[place >= 0]]
    given = np.full_like(before, np.nan) if static is None else static
    lacking = np.isnan(given) & np.isnan(before)
    bare = np.flatnonzero(lacking.any(axis=1))
    if static is None and len(bare):
        columns = ", ".join(map(repr, names))
        warn(
            f"no static columns among the roles of this data (the model's: {columns}): agents "
            "without them begin as average ones"
        )
    for c, name in enumerate(names):
        without = np.flatnonzero(lacking[:, c])
        if static is not None and len(without):
            warn(
                f"{_several(ids, without)}: {name!r} (static) is not known; without all of "
                "the static columns an agent begins as the average one"
            )
        low, high = known.static.low[c], known.static.high[c]
        margin = _STATE_MARGIN * (high - low) + _ROUNDING * max(abs(low), abs(high))
        with np.errstate(invalid="ignore"):
            far = np.flatnonzero((given[:, c] < low - margin) | (given[:, c] > high + margin))
            moved = np.abs(given[:, c] - before[:, c]) > _ROUNDING * np.abs(before[:, c])
        if len(far):
            warn(
                f"{_several(ids, far)}: {name!r} is {given[far[0], c]:g}, far outside the "
                f"model's data ({low:g} to {high:g}); what it says of the agent is a guess"
            )
        changed = np.flatnonzero(moved)
        if len(changed):
            warn(
                f"{_several(ids, changed)}: {name!r} (static) was {before[changed[0], c]:g} and is "
                f"{given[changed[0], c]:g} now; the new value counts"
            )


def _several(ids: Sequence[AgentId], rows: NDArray[np.integer]) -> str:
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"agent {ids[int(rows[0])]!r}{more}"
