"""Bands that hold over the whole course of a prediction, by split conformal prediction.

Some agents are reserved: the nets never see them. Each is adapted to in closed form with all but
the end of its last trajectory, and that end is predicted. Its score up to horizon h,

    S_i(h) = max_{t <= h, d} |error_{t,d}| / width_{t,d}

is how many times the uncalibrated band (``bands.uncalibrated_band``) would have to be widened to
hold all of it. With q the ceil((n + 1) c)-th smallest of n scores, the band widened q times holds
the whole course of a new agent with probability at least c,

    P( |error_{t,d}| <= q width_{t,d} for all t <= h and all d ) >= c

over the draw of all the agents, if the new agent is exchangeable with the reserved ones and its
actions come from the same policy (Vovk et al. 2005; Lei et al. 2018). Not for each kind of agent by
itself, not under another policy, not beyond h, and not given one particular set of reserved agents.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.ids import match_ids
from twinfold.data.panel import PanelDataset, Transitions
from twinfold.models.bands import uncalibrated_band
from twinfold.models.ensemble import FittedModel
from twinfold.models.fold_in import with_transitions
from twinfold.models.predictive import predict_paths

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


def split_ends(data: Transitions, horizon: int = HORIZON) -> tuple[Transitions, Ends]:
    """Cut the end off each agent's last trajectory: half of it, at most ``horizon`` steps.

    Args:
        data: all transitions, ordered by agent and time.
        horizon: H.

    Returns:
        What comes before, and the ends; agents with a single transition have no end.
    """
    last = np.flatnonzero(np.r_[data.agent[1:] != data.agent[:-1], True])
    length = data.step[last] + 1  # of the trajectory up to there
    window = np.minimum(horizon, length // 2)
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


def reserve(
    dataset: PanelDataset, n_reserved: int, seed: int = 0
) -> tuple[PanelDataset, PanelDataset]:
    """Split the agents at random: those to fit, and those reserved for calibration."""
    order = np.random.default_rng((seed, 11)).permutation(dataset.n_agents)
    chosen = np.sort(order[:n_reserved])
    others = np.sort(order[n_reserved:])
    ids = dataset.agent_ids
    return (
        dataset.select_agents([ids[n] for n in others]),
        dataset.select_agents([ids[n] for n in chosen]),
    )


def default_reserved(n_agents: int) -> int:
    """A tenth of the agents, at least 20 and at most 100; none of fewer than 60."""
    return 0 if n_agents < 60 else min(100, max(20, n_agents // 10))


def calibrate(model: FittedModel, reserved: PanelDataset) -> FittedModel:
    """The model with its reserved agents known and its band calibrated on them.

    Args:
        model: fitted without the reserved agents; has a posterior.
        reserved: their data, with the model's action levels.
    """
    data = reserved.transitions()
    before, ends = split_ends(data)
    scores = end_scores(with_transitions(model, reserved.agent_ids, before), reserved, ends)
    adapted = with_transitions(model, reserved.agent_ids, data)
    info = {**model.info, "reserved_agents": reserved.n_agents}
    return replace(adapted, conformal=scores, info=info)


def end_scores(adapted: FittedModel, panel: PanelDataset, ends: Ends) -> Floats:
    """S_i(h) of some agents, ``(S, H)``.

    Args:
        adapted: a model that knows the agents by what comes before the ends.
        panel: the agents.
        ends: by ``split_ends``.
    """
    index = match_ids(adapted.agent_ids, list(panel.agent_ids))[ends.agent]
    paths, unknown = predict_paths(adapted, index, ends.state, ends.action)
    steps = np.arange(1, ends.mask.shape[1] + 1)
    middle, width, _ = uncalibrated_band(adapted, paths, steps, unknown)
    error = middle - ends.next_state
    for name in adapted.roles.angle:
        d = adapted.roles.state.index(name)
        error[..., d] = wrap(error[..., d])
    return course_scores(error, width, ends.mask)
