"""Known inputs of other data, as a model reads them: its columns, its words, its usual step.

Axes: R rows, E known inputs of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adaptation_settings import ADAPTATION
from twinfold.data.issues import some
from twinfold.data.levels import coded_names
from twinfold.data.panel import PanelDataset
from twinfold.data.time_step import differences, joins, step_ratio, step_text, ticks_from_step
from twinfold.errors import UsageError, one_of
from twinfold.models.fitted_model import FittedModel
from twinfold.utils.text import counted

Floats = NDArray[np.float64]


def check_known(model: FittedModel, panel: PanelDataset) -> None:
    """Refuse data that lacks the model's exogenous columns, or whose times are of another kind.

    Raises:
        UsageError: naming what differs.
    """
    mine, theirs = model.roles.exogenous, panel.roles.exogenous
    if set(mine) != set(theirs):
        raise UsageError(
            f"the model's exogenous columns are {', '.join(map(repr, mine)) or 'none'}, those of "
            f"the data {', '.join(map(repr, theirs)) or 'none'}; give the same"
        )
    for name in mine:
        if (name in model.levels) != (name in panel.levels):
            kinds = ("numbers", "words")
            raise UsageError(
                f"column {name!r} (exogenous) holds {kinds[name in panel.levels]}, in the model's "
                f"data {kinds[name in model.levels]}"
            )
    if panel.uneven and not model.uneven:
        raise UsageError(
            "times are uneven, and the model was fitted to even ones: read the data with the time "
            'step "regular", or fit a model of its own'
        )


def in_even_steps(
    model: FittedModel, panel: PanelDataset, warn: Callable[[str], None]
) -> PanelDataset:
    """Return a panel whose times were found uneven as a model of even steps has read its own data.

    Trajectories are split where a step is not as long as the model's. Some rows of a table may be
    found uneven where the whole is not. Panels of even times, and those of which most steps are of
    another length, are returned as they are.

    Args:
        model: the fitted model.
        panel: data with the model's columns.
        warn: is told of the transitions that are left out.
    """
    if model.uneven or not panel.uneven or step_ratio(model.time_step, panel.time_step) is None:
        return panel
    ticks = panel.time.view(np.int64) if panel.time.dtype.kind in "mM" else panel.time
    usual = joins(differences(ticks), ticks_from_step(model.time_step, panel.time.dtype.kind))
    within = panel.segment[1:] == panel.segment[:-1]
    first = within & usual  # of a transition that is kept
    if first.sum() < ADAPTATION.usual_steps * max(within.sum(), 1):
        return panel
    other = counted(int((within & ~usual).sum()), "transition")
    warn(
        f"{other} left out: the two rows are not {step_text(model.time_step)} apart, as in the "
        "model's data, nor nearly so"
    )
    last = np.r_[~first, True]
    action, reward = panel.action.copy(), panel.reward
    action[last] = -1 if panel.action_levels is not None else np.nan
    even = replace(
        panel,
        uneven=False,
        time_step=model.time_step,
        segment=np.cumsum(np.r_[False, ~first], dtype=np.int32),
        action=action,
        reward=None if reward is None else np.where(last, np.nan, reward),
    )
    moving = np.zeros(panel.n_agents, bool)
    moving[panel.agent[:-1][first]] = True
    if moving.all():
        return even
    at_rest, static = np.flatnonzero(~moving), panel.static
    kept = even.select_agents([panel.agent_ids[n] for n in np.flatnonzero(moving)])
    order = np.r_[np.flatnonzero(moving), at_rest, panel.n_agents + np.arange(len(panel.left_out))]
    return replace(
        kept,
        left_out=(*(panel.agent_ids[n] for n in at_rest), *panel.left_out),
        static=None if static is None else static[order],
    )


def known_rows(model: FittedModel, panel: PanelDataset) -> Floats | None:
    """Return known inputs of a panel's rows as the model reads them, ``(R, E)``; None for none.

    In the order of the model's; unknown words are the mean.
    """
    if not model.normalizer.n_known:
        return None
    values, size = panel.known_inputs(), len(panel.agent)
    names = coded_names(panel.roles.exogenous, panel.levels)
    found, first = np.zeros((size, model.normalizer.n_known)), 0
    for column in model.roles.exogenous:
        own = coded_names([column], model.levels)
        part = found[:, first : first + len(own)]  # a view
        for e, name in enumerate(own):
            if values is not None and name in names:
                part[:, e] = values[:, names.index(name)]
        if column in model.levels:
            unknown = ~part.any(axis=1)
            part[unknown] = model.normalizer.known_mean[first : first + len(own)]
        first += len(own)
    if model.uneven:
        ratio = step_ratio(model.time_step, panel.time_step)
        length = np.ones(size) if values is None or not panel.uneven else values[:, -1]
        found[:, -1] = length * (1.0 if ratio is None else ratio)
    return found


def known_doubts(model: FittedModel, panel: PanelDataset, warn: Callable[[str], None]) -> None:
    """Say which words of the data the model has not seen."""
    for name, levels in panel.levels.items():
        new = [level for level in levels if level not in model.levels.get(name, levels)]
        if new:
            warn(
                f"column {name!r}: {some(new)} never seen in training "
                f"({one_of(model.levels[name])}); taken as unknown, the mean of all"
            )
