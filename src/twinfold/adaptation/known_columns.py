"""Known inputs of other data, as a model reads them: its columns, its words, its usual step.

Axes: R rows, E known inputs of the model.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from twinfold.data.issues import some
from twinfold.data.levels import coded_names
from twinfold.data.panel import PanelDataset
from twinfold.data.time_step import step_ratio
from twinfold.errors import UsageError, one_of
from twinfold.models.fitted_model import FittedModel

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
