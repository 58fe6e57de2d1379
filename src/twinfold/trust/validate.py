"""Trying to prove a run wrong, and what is left of it: checks, verdict, record.

1. examine the ends of agents that the nets have not seen (``models.examine``)
2. run every check (``trust.checks``, ``trust.structure``)
3. the verdict: not usable if a check of prediction fails; usable for prediction if only checks
of planning do; else usable for planning within support
"""

from __future__ import annotations

import datetime
import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.data.ids import AgentId, match_ids
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.bands import band_factor
from twinfold.models.doubts import Warn, step_doubts
from twinfold.models.ensemble import FittedModel
from twinfold.models.examine import CONTROLS, STATISTICS, Examined, examine
from twinfold.models.fold_in import known_posterior, panel_transitions
from twinfold.models.posterior import gather
from twinfold.models.support import BASIS, path_support
from twinfold.trust import checks, structure, usual
from twinfold.trust.checks import Check
from twinfold.trust.fresh import already_had
from twinfold.trust.groups import coverage_by_group, groups_of
from twinfold.trust.identity import mistaken

Floats = NDArray[np.float64]
Verdict = Literal["not usable", "usable for prediction", "usable for planning within support"]

VERDICTS: tuple[Verdict, ...] = (
    "not usable",
    "usable for prediction",
    "usable for planning within support",
)
"""From worst to best."""

_WORST_SHOWN = 6  # agents whose trajectories a record holds


@dataclass(frozen=True, eq=False)
class Validation:
    """What came out.

    Attributes:
        verdict: one of ``VERDICTS``.
        checks: in the order of the report.
        record: plain values: all of the above, and what pictures are drawn from.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    record: dict[str, Any]


def validate(
    model: FittedModel,
    panel: PanelDataset,
    *,
    seen: bool = False,
    groups: Mapping[AgentId, Any] | None = None,
    seed: int = 0,
    warn: Warn | None = None,
) -> Validation:
    """Check a run on the data of agents that its nets have not seen, or on fresh data.

    Args:
        model: a fitted model with a posterior.
        panel: fresh data of known or new agents; or the data that the run was made from.
        seen: whether it is the latter: only the agents that were reserved are examined then, each
            known by what comes before its end.
        groups: of agents, for the coverage of the band by group; thirds by the amount of data that
            is known of an agent if None.
        seed: of the random controls.
        warn: receives what is doubtful about the data; None for ``warnings.warn``.

    Raises:
        RunError: the run is from before there was a posterior.
        UsageError: columns differ from those of the model; there is nothing to examine; or an agent
            has no group.
    """
    known = known_posterior(model)
    if seen:
        panel = _reserved(model, panel)
    step_doubts(model, panel, warn or functools.partial(warnings.warn, stacklevel=2))
    found = examine(model, panel, anew=seen, seed=seed)
    if not len(found.rmse):
        raise UsageError("no agent has two transitions in a row: there is no end to predict")
    by_group = coverage_by_group(
        found,
        model.conformal,
        model.config.band,
        not seen,
        groups_of(found, panel.agent_ids, groups),
    )
    results = [
        *panel_checks(model, panel, found, seen),
        *([] if by_group is None else [by_group]),
        *model_checks(model, found, seed),
    ]
    verdict = _verdict(results)
    record: dict[str, Any] = {
        "format": "twinfold-validation",
        "version": 1,
        "twinfold": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "verdict": verdict,
        "fresh": not seen,
        "nominal": model.config.band,
        "agents": len(found.rmse),
        "trained_agents": int(known.trained.sum()),
        "checks": [check.to_dict() for check in results],
        "pictures": _pictures(model, panel, found, _known(model, panel, found, seen)),
    }
    return Validation(verdict, tuple(results), _plain(record))


def panel_checks(
    model: FittedModel, panel: PanelDataset, found: Examined, seen: bool
) -> list[Check]:
    """The checks of how the panel's agents fit; arguments as of ``validate``."""
    known = _known(model, panel, found, seen)
    results = [
        *(
            checks.better(
                f"against {control}",
                found,
                control,
                planning=control == "other actions",
                advice=_ADVICE[control],
                worst="warn" if control in ("own linear model", "average agent") else "fail",
            )
            for control in CONTROLS
        ),
        checks.break_even(found),
        *checks.coverage(found, model.conformal, model.config.band, not seen, known),
    ]
    if seen:
        return results
    results += [
        *already_had(model, panel),
        *_described(model, panel, found),
        checks.transforms(found, model.conformal, known),
        *usual.shifts(found, model.reference, known),
        usual.outliers(found, model.reference, panel.agent_ids, known),
    ]
    identity = _identity(model, panel)
    return results if identity is None else [*results, identity]


def model_checks(model: FittedModel, found: Examined, seed: int) -> list[Check]:
    """The checks of the model by itself; arguments as of ``validate``."""
    return [
        structure.misfits(model),
        structure.residual_structure(found),
        structure.members_agree(model, seed),
        structure.numerical_rank(model, seed),
        structure.own_data(model),
    ]


_ADVICE = {
    "persistence": "Predictions are no better than no change. Do not use them; look for missing "
    "columns, a time step that is too short, or too little data.",
    "average agent": "An agent's own simulator is hardly better than the average one: agents are "
    "alike, ids are mixed up, or there is too little data per agent. One model for all would do.",
    "another agent": "Another agent's simulator does as well: either agents are alike, or ids are "
    "mixed up. Do not read anything into differences between agents.",
    "other actions": "The recorded actions predict no better than random ones: the model does not "
    "react to the action, or actions are misaligned with states. Do not plan with it.",
    "own linear model": "A linear model of each agent by itself does as well. Where agents have "
    "that much data of their own, it is the simpler choice.",
}


def _verdict(results: list[Check]) -> Verdict:
    failed = [check for check in results if check.status == "fail"]
    if any(not check.planning for check in failed):
        return VERDICTS[0]
    return VERDICTS[1] if failed else VERDICTS[2]


def _reserved(model: FittedModel, panel: PanelDataset) -> PanelDataset:
    """Those agents of the run's own data that the nets have not seen."""
    place = match_ids(model.agent_ids, list(panel.agent_ids))
    trained = known_posterior(model).trained
    names = [
        name for name, n in zip(panel.agent_ids, place, strict=True) if n >= 0 and not trained[n]
    ]
    if not names:
        raise UsageError(
            "the nets have seen every agent of this data: nothing about it can be checked "
            "honestly. Fit with --reserve, or give data that the run has not had"
        )
    return panel.select_agents(names)


def _described(model: FittedModel, panel: PanelDataset, found: Examined) -> list[Check]:
    """Whether new agents are known by their static columns, as the reserved agents were."""
    values = known_posterior(found.model).values
    if values is None:
        return []
    new = match_ids(model.agent_ids, list(panel.agent_ids)) < 0
    bare = np.flatnonzero(new & np.isnan(values).any(axis=1))
    columns = ", ".join(model.roles.static)
    return [
        Check(
            "static columns",
            "warn" if len(bare) else "pass",
            f"{len(bare)} of {int(new.sum())} new agents lack some",
            "none",
            f"Give {columns} of these agents: without them they begin as average ones, are "
            "predicted worse, and are no match for the reserved agents."
            if len(bare)
            else "New agents are known by their static columns, as the reserved agents are.",
            agents=tuple(panel.agent_ids[int(n)] for n in bare),
        )
    ]


def _identity(model: FittedModel, panel: PanelDataset) -> Check | None:
    """Whose simulator explains the fresh data of known agents best."""
    place = match_ids(model.agent_ids, list(panel.agent_ids))
    known = np.flatnonzero(place >= 0)
    if not len(known) or len(model.agent_ids) < 2:
        return None
    prior = known_posterior(model).prior
    evidence = gather(
        model.members,
        model.normalizer,
        prior,
        panel_transitions(model, panel),
        panel.n_agents,
    ).take(known)
    shift = np.asarray(model.members.agents, np.float64) - prior.mean[:, None]  # (M, N, r)
    energy = evidence.energy[..., None] - 2 * np.einsum("msr,mnr->msn", evidence.moment, shift)
    for m in range(len(shift)):
        turned = np.einsum("srq,nq->snr", evidence.gram[m], shift[m])
        energy[m] += np.einsum("snr,nr->sn", turned, shift[m])
    size = np.maximum(evidence.count * prior.noise.shape[1], 1)
    mean = np.median(np.maximum(energy, 0.0), axis=0) / size[:, None]
    names = [panel.agent_ids[int(n)] for n in known]
    return mistaken(mean, place[known], names, model.agent_ids, size)


def _known(
    model: FittedModel, panel: PanelDataset, found: Examined, seen: bool
) -> NDArray[np.bool_]:
    """Which of the S agents the run knows from other trajectories, ``(S,)``."""
    if seen:
        return np.zeros(len(found.agent), bool)
    return match_ids(model.agent_ids, list(panel.agent_ids))[found.agent] >= 0


def _pictures(
    model: FittedModel, panel: PanelDataset, found: Examined, known: NDArray[np.bool_]
) -> dict[str, Any]:
    """What the page draws: errors by horizon, calibration, worst agents, support."""
    mask = found.ends.mask
    reach = int((mask.sum(axis=0) > 0).sum())
    by_horizon = {
        name: [float(np.median(values[mask[:, h], h])) for h in range(reach)]
        for name, values in found.by_horizon.items()
        if name not in ("other actions",)
    }
    support = path_support(found.model, found.agent, _before(found), found.ends.action, usual=model)
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
                if model.reference is None
                else [_number(value) for value in model.reference[:, k]],
            }
            for k, name in enumerate(STATISTICS)
        },
        "ids": [panel.agent_ids[n] for n in found.agent],
        "factor_map": structure.factor_map(model),
    }


def _before(found: Examined) -> Floats:
    """The states that actions are taken from, ``(S, H, D)``: the start, then predictions."""
    return np.concatenate([found.ends.state[:, None], found.middle[:, :-1]], axis=1)


def _calibration(
    model: FittedModel, found: Examined, known: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Share of whole courses within the band, by nominal coverage; of new agents if enough."""
    if model.conformal is None:
        return None
    levels = np.arange(0.05, 1.0, 0.05)
    rows, _ = checks.promised_rows(found, known)
    horizon = int(np.median(found.ends.mask[rows].sum(axis=1)))
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


def _worst(model: FittedModel, panel: PanelDataset, found: Examined) -> list[dict[str, Any]]:
    """Trajectories of the agents with the largest errors, in units of the band."""
    lengths = found.ends.mask.sum(axis=1)
    last = found.scores[np.arange(len(lengths)), lengths - 1]
    norm = model.normalizer
    low, high = norm.decode_state(norm.low), norm.decode_state(norm.high)
    rows = []
    for s in np.argsort(-np.nan_to_num(last, nan=-np.inf))[:_WORST_SHOWN]:
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
                "truth": found.ends.next_state[s, part].tolist(),
                "predicted": _numbers(found.middle[s, part]),
                "lower": _numbers(lower),
                "upper": _numbers(upper),
            }
        )
    return rows


def _plain(value: Any) -> Any:
    """As JSON has it: what is no finite number is None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _numbers(values: Floats) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values]


def _number(value: Any) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
