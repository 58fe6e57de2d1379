"""What is doubtful about data that a model is to be adapted to. It is said, not refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
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
    """Say which static columns lack, and which lie far outside what was learned from."""
    known = None if model.posterior is None else model.posterior.static
    if known is None:
        return
    if static is None:
        names = ", ".join(map(repr, model.roles.static))
        warn(f"the data has no static columns ({names}): new agents begin as average ones")
        return
    lacking = np.isnan(static)
    for c, name in enumerate(model.roles.static):
        without = np.flatnonzero(lacking[:, c])
        if len(without):
            more = f" and {len(without) - 1} more" if len(without) > 1 else ""
            warn(
                f"agent {ids[without[0]]!r}{more}: {name!r} (static) is not known; without all of "
                "the static columns an agent begins as the average one"
            )
        low, high = known.low[c], known.high[c]
        margin = _STATE_MARGIN * (high - low) + _ROUNDING * max(abs(low), abs(high))
        with np.errstate(invalid="ignore"):
            far = np.flatnonzero((static[:, c] < low - margin) | (static[:, c] > high + margin))
        if len(far):
            more = f" and {len(far) - 1} more" if len(far) > 1 else ""
            warn(
                f"agent {ids[far[0]]!r}{more}: {name!r} is {static[far[0], c]:g}, far outside the "
                f"model's data ({low:g} to {high:g}); what it says of the agent is a guess"
            )
