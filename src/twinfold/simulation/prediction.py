"""Predictions with band and support: the path from model, agents, starts and actions to an answer.

Axes: M members, Q questions, H steps, K predicted states of all questions, D state columns, A
action columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import predict_paths
from twinfold.uncertainty.intervals import band_factor, prediction_band
from twinfold.uncertainty.support import Support, path_support, support_columns

Floats = NDArray[np.float64]


class Prediction(NamedTuple):
    """Predicted states and what stands behind them; ``...`` is ``(Q, H)`` or ``(K,)``.

    Attributes:
        middle: ``(..., D)``, robust mean over the members, raw units.
        lower, upper: ``(..., D)``, the band.
        support: ``(...)`` arrays.
    """

    middle: Floats
    lower: Floats
    upper: Floats
    support: Support

    def abstain(self, least: float) -> NDArray[np.bool_]:
        """Erase what has less support, and return where that is: ``(...)``."""
        abstained = self.support.score < least
        for values in (self.middle, self.lower, self.upper):
            values[abstained] = np.nan
        return abstained

    def columns(self, names: Sequence[str], taken: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return columns of a table: the states, ``<state>_lower``, ``<state>_upper``, support.

        A name that is taken already (a state column may itself be called ``x_lower``) gets an
        underscore at its end.
        """
        middle, lower, upper = (values.reshape(-1, len(names)) for values in self[:3])
        table: dict[str, NDArray[Any]] = {name: middle[:, d] for d, name in enumerate(names)}
        for d, name in enumerate(names):
            for end, values in (("lower", lower), ("upper", upper)):
                column = f"{name}_{end}"
                while column in table or column in taken:
                    column += "_"
                table[column] = values[:, d]
        return table | support_columns(self.support, (*taken, *table))


class PredictedPaths(NamedTuple):
    """A prediction of whole paths.

    Attributes:
        states: ``(Q, H)``, with their band and support.
        members: ``(M, Q, H, D)``, each from its own predictions.
        sd: ``(Q, H, D)``, standard deviation by what is not known of the model and the agent.
        simultaneous: whether the band is calibrated on reserved agents and this far ahead.
    """

    states: Prediction
    members: Floats
    sd: Floats
    simultaneous: bool


def predict(
    model: FittedModel, agent: NDArray[np.integer], start: Floats, codes: NDArray[Any]
) -> PredictedPaths:
    """Return predictions of questions of one length, with band and support.

    Args:
        model: the fitted model.
        agent: ``(Q,)`` indices.
        start: ``(Q, D)`` raw units.
        codes: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
    """
    paths, unknown = predict_paths(model, agent, start, codes)
    horizon = codes.shape[1]
    factor, simultaneous = band_factor(model, horizon)
    middle, low, high, sd = prediction_band(
        model, paths, np.arange(1, horizon + 1), unknown, factor
    )
    before = np.concatenate([start[:, None], middle[:, :-1]], axis=1)
    support = path_support(model, agent, before, codes)
    return PredictedPaths(Prediction(middle, low, high, support), paths, sd, simultaneous)
