"""Data of the page of a validation: errors, calibration, worst agents, support, statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.uncertainty.holdout_statistics import STATISTICS
from twinfold.uncertainty.intervals import band_factor, compared_step
from twinfold.uncertainty.support import BASIS, path_support
from twinfold.validation import coverage, model_checks

Floats = NDArray[np.float64]


def pictures(
    model: FittedModel,
    panel: PanelDataset,
    found: HoldoutResult,
    known: NDArray[np.bool_],
    responses: model_checks.Responses,
) -> dict[str, Any]:
    """Return what the page draws: errors by horizon, calibration, worst agents, support."""
    mask, steps = found.ends.mask, found.ends.steps
    reach = int((mask.sum(axis=0) > 0).sum())
    by_horizon = {
        name: [
            _number(np.median(values[steps[:, h], h])) if steps[:, h].any() else None
            for h in range(reach)
        ]
        for name, values in found.by_horizon.items()
        if name not in ("other actions",)
    }
    support = path_support(
        found.model, found.agent, _before(found), found.ends.action, model, found.ends.known
    )
    share = [
        [float((support.basis[mask[:, h], h] == kind).mean()) for h in range(reach)]
        for kind in range(len(BASIS))
    ]
    return {
        "by_horizon": by_horizon,
        "calibration": _calibration(model, found, known),
        "support": dict(zip(BASIS, share, strict=True)),
        "worst": _worst(model, panel, found),
        "statistics": {
            name: {
                "agents": [_number(value) for value in found.statistics[:, k]],
                "reference": []
                if model.calibration is None
                else [_number(value) for value in model.calibration.statistics[:, k]],
            }
            for k, name in enumerate(STATISTICS)
        },
        "ids": [panel.agent_ids[n] for n in found.agent],
        "factor_map": model_checks.factor_map(model, responses),
    }


def _before(found: HoldoutResult) -> Floats:
    """Return the states that actions are taken from, ``(S, H, D)``: the start, then predictions."""
    return np.concatenate([found.ends.state[:, None], found.middle[:, :-1]], axis=1)


def _calibration(
    model: FittedModel, found: HoldoutResult, known: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Return the share of trajectories within the band by nominal coverage."""
    if model.calibration is None:
        return None
    levels = np.arange(0.05, 1.0, 0.05)
    rows, _ = coverage.promised_rows(found, known)
    lengths = found.ends.mask[rows].sum(axis=1)
    horizon = compared_step(lengths, model.calibration.scores, model.config.band)
    own = found.scores[rows, horizon - 1]
    own = own[~np.isnan(own)]
    seen = [
        float((own <= band_factor(_at(model, float(level)), horizon)[0]).mean()) for level in levels
    ]
    return {
        "nominal": levels.round(2).tolist(),
        "observed": seen,
        "horizon": horizon,
        "agents": len(own),
    }


def _at(model: FittedModel, level: float) -> FittedModel:
    return replace(model, config=model.config.model_copy(update={"band": level}))


def _worst(
    model: FittedModel, panel: PanelDataset, found: HoldoutResult, most: int = 6
) -> list[dict[str, Any]]:
    """Return the trajectories of the agents with the largest errors, in units of the band."""
    lengths = found.ends.mask.sum(axis=1)
    last = found.scores[np.arange(len(lengths)), lengths - 1]
    low, high = model.normalizer.limits()
    rows = []
    for s in np.argsort(-np.nan_to_num(last, nan=-np.inf))[:most]:
        part = slice(0, int(lengths[s]))
        factor, _ = band_factor(model, int(lengths[s]))
        wide = factor * found.width[s, part]
        lower = np.clip(found.middle[s, part] - wide, low, high)
        upper = np.clip(found.middle[s, part] + wide, low, high)
        rows.append(
            {
                "agent": panel.agent_ids[found.agent[s]],
                "score": _number(last[s]),
                "columns": list(model.roles.state),
                "truth": _numbers(found.ends.truth[s, part]),
                "predicted": _numbers(found.middle[s, part]),
                "lower": _numbers(lower),
                "upper": _numbers(upper),
            }
        )
    return rows


def _numbers(values: Floats) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values]


def _number(value: Any) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
