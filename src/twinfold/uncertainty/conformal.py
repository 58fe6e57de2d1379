"""Bands that hold over the whole length of a prediction, by split conformal prediction.

Some agents are reserved: the nets never see them. Each is adapted to in closed form with all but
the end of its last trajectory, and that end is predicted. Its score up to horizon h,

    S_i(h) = max_{t <= h, d} |error_{t,d}| / width_{t,d}

is how many times the uncalibrated band (``intervals.uncalibrated_band``) must be widened
to hold all of it. With q the ceil((n + 1) c)-th smallest of n scores, the band widened q times
holds the whole trajectory of a new agent with probability at least c,

    P( |error_{t,d}| <= q width_{t,d} for all t <= h and all d ) >= c

over the draw of all the agents, if the new agent is exchangeable with the reserved ones and its
actions come from the same policy (Vovk et al. 2005; Lei et al. 2018). Agents that were fitted to
may be scored as well, each by a fit without it (cross-conformal prediction, Vovk 2015); the promise
is then approximate: the fits differ, and the kind of model was chosen with all of them. Not for
each kind of agent by itself, not under another policy, not beyond h, and not given one particular
set of reserved agents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adapt import panel_transitions, static_values, with_transitions
from twinfold.data.ids import match_ids
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.calibration import Calibration
from twinfold.models.fitted_model import FittedModel
from twinfold.models.recent import last_times
from twinfold.uncertainty.band_form import refined_band, with_band
from twinfold.uncertainty.few_rows import few_rows
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
from twinfold.utils.text import counted


def reserve(
    dataset: PanelDataset, n_reserved: int, seed: int = 0
) -> tuple[PanelDataset, PanelDataset]:
    """Split the agents at random: those to fit, and those reserved for calibration.

    Agents of a single transition come last: they have no end that a band could be calibrated on.
    """
    order = np.random.default_rng((seed, 11)).permutation(dataset.n_agents)
    order = order[np.argsort(~_has_end(dataset)[order], kind="stable")]
    chosen = np.sort(order[:n_reserved])
    others = np.sort(order[n_reserved:])
    ids = dataset.agent_ids
    return (
        dataset.select_agents([ids[n] for n in others]),
        dataset.select_agents([ids[n] for n in chosen]),
    )


def _has_end(dataset: PanelDataset) -> NDArray[np.bool_]:
    """Return which agents have two transitions or more, ``(N,)``."""
    agent = dataset.agent[1:][dataset.segment[1:] == dataset.segment[:-1]]
    return np.bincount(agent, minlength=dataset.n_agents) > 1


def default_reserved(n_agents: int) -> int:
    """A tenth of the agents, at least 20 and at most 100; none of fewer than 60."""
    return 0 if n_agents < 60 else min(100, max(20, n_agents // 10))


def split_reserved(
    dataset: PanelDataset, wanted: int | Literal["auto"] | PanelDataset, seed: int = 0
) -> tuple[PanelDataset, PanelDataset | None]:
    """Return the agents to fit and those reserved for calibration, None for none.

    Args:
        dataset: the panel.
        wanted: number of agents to draw from it, "auto", or a panel of further agents.
        seed: of the draw.

    Raises:
        UsageError: an agent is to be fitted and reserved at once, or none is left to learn from.
    """
    if isinstance(wanted, PanelDataset):
        both = np.flatnonzero(match_ids(dataset.agent_ids, wanted.agent_ids) >= 0)
        if len(both):
            raise UsageError(
                f"agent {wanted.agent_ids[both[0]]!r} is among those to fit and those reserved; "
                "a band is calibrated on agents that the nets have not seen"
            )
        return dataset, wanted
    number = default_reserved(int(_has_end(dataset).sum())) if wanted == "auto" else wanted
    if not 0 <= number < max(dataset.n_agents, 1):
        raise UsageError(
            f"--reserve {number}: the table has {counted(dataset.n_agents, 'agent')}, and at least "
            "one must be left to learn from"
        )
    return reserve(dataset, number, seed) if number else (dataset, None)


def calibrate(
    model: FittedModel,
    reserved: PanelDataset,
    others: Iterable[tuple[FittedModel, PanelDataset]] = (),
) -> FittedModel:
    """The model with its reserved agents known and its band calibrated on them.

    Args:
        model: fitted without the reserved agents; has a posterior.
        reserved: their data.
        others: the same model without some agents it was fitted to, and these: the band is
            calibrated on them as well, and gets their form (``band_form.refined_band``).

    Returns:
        without a calibration if none of these agents has two transitions.
    """
    pairs = [(model, reserved), *others]
    found = [evaluate_holdout(one, panel, refit_from_prefix=True) for one, panel in pairs]
    band = model.band
    if band is not None and len(pairs) > 1:
        # The promise is approximate anyway, and agents are many: they tell the form as well.
        old, band = band, refined_band(band, found)
        found = [with_band(one, old, band) for one in found]
    data = panel_transitions(model, reserved)
    static = static_values(model, reserved)
    if static is not None:
        static = static[: reserved.n_agents]
    ended = last_times(reserved)
    adapted = with_transitions(
        replace(model, band=band), reserved.agent_ids, data, static=static, ended=ended
    )
    info = model.info.changed(
        reserved_agents=reserved.n_agents, reserved_fingerprint=reserved.fingerprint()
    )
    names = [
        panel.agent_ids[n] for one, (_, panel) in zip(found, pairs, strict=True) for n in one.agent
    ]
    if not names:
        return replace(adapted, info=info)
    horizon = max(one.scores.shape[1] for one in found)
    rooms = [[(0, 0), (0, horizon - one.scores.shape[1])] for one in found]
    scores = [
        np.pad(one.scores, room, constant_values=np.nan)
        for one, room in zip(found, rooms, strict=True)
    ]
    statistics = np.concatenate([one.statistics for one in found])
    place = match_ids(adapted.agent_ids, names).astype(np.int32)
    few = few_rows([(replace(one, band=band), panel) for one, panel in pairs], found)
    calibration = Calibration(np.concatenate(scores), statistics, place, few)
    return replace(adapted, calibration=calibration, info=info)
