"""Trying to prove a run wrong, and what is left of it: checks, verdict, record.

1. examine the ends of agents that the nets have not seen (``uncertainty.holdout_evaluation``)
2. run every check (``baselines``, ``coverage``, ``reference_shift``, ``model_checks``, ...)
3. the verdict: what is the evidence for and against (``verdict``)
"""

from __future__ import annotations

import datetime
import functools
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.adaptation.input_checks import Warn, step_doubts
from twinfold.data.ids import AgentId, match_ids
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.controls import CONSTANT, CONTROLS
from twinfold.uncertainty.holdout_evaluation import ALIKE, Examined, examine
from twinfold.validation import (
    action_sensitivity,
    baselines,
    coverage,
    model_checks,
    reference_shift,
)
from twinfold.validation.check import Check
from twinfold.validation.data_overlap import already_had
from twinfold.validation.group_coverage import coverage_by_group, groups_of
from twinfold.validation.identity_swap import same_agents
from twinfold.validation.page_data import pictures
from twinfold.validation.thresholds import CRITERIA, Criteria
from twinfold.validation.verdict import VERDICTS, Verdict, reasons, remedy, verdict_of, would_do

__all__ = [
    "VERDICTS",
    "Validation",
    "Verdict",
    "check_evidence",
    "check_model",
    "check_panel",
    "validate",
]


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
    rules: Criteria = CRITERIA,
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
        rules: the numbers that decide.

    Raises:
        UsageError: columns differ from those of the model; there is nothing to examine; or an agent
            has no group.
    """
    if seen:
        panel = _reserved(model, panel)
    step_doubts(model, panel, warn or functools.partial(warnings.warn, stacklevel=2))
    found = examine(model, panel, anew=seen, seed=seed, columns=True)
    if not len(found.rmse):
        raise UsageError(
            "there is nothing to predict: no agent is known to the run, and a new one needs three "
            "rows in a row, to be known by the first transition and predicted in the second"
        )
    own_groups = groups_of(found, panel.agent_ids, groups)
    band, fresh = model.config.band, not seen
    scores = None if model.calibration is None else model.calibration.scores
    by_group = coverage_by_group(found, scores, band, fresh, own_groups, rules)
    results = [
        *check_evidence(model, found, rules),
        *check_panel(model, panel, found, seen, rules),
        *([] if by_group is None else [by_group]),
        *check_model(model, found, seed, rules),
    ]
    verdict = verdict_of(results)
    record: dict[str, Any] = {
        "format": "twinfold-validation",
        "version": 2,
        "twinfold": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "verdict": verdict,
        "reasons": reasons(results, verdict),
        "would_do": would_do(results, verdict, rules),
        "fresh": fresh,
        "nominal": band,
        "agents": len(found.rmse),
        "trained_agents": int(model.posterior.trained.sum()),
        "controls": {name: baselines.compare(found, name).to_dict() for name in CONTROLS},
        "best_control": baselines.best_simple(found),
        "criteria": {**asdict(rules), "action_step": ALIKE},
        "checks": [check.to_dict() for check in results],
        "pictures": pictures(model, panel, found, _known(model, panel, found, seen)),
    }
    return Validation(verdict, tuple(results), _plain(record))


def check_evidence(model: FittedModel, found: Examined, rules: Criteria = CRITERIA) -> list[Check]:
    """Whether there was anything to learn from, and whether something simpler predicts as well.

    These are about the model; data without any fault may make them fail.
    """
    by_column = action_sensitivity.reacts_by_column(found, model.roles.action, rules)
    return [
        baselines.fitted_on(baselines.trained_counts(model), rules),
        baselines.not_worse(found, rules),
        *([] if by_column is None else [by_column]),
    ]


def check_panel(
    model: FittedModel,
    panel: PanelDataset,
    found: Examined,
    seen: bool,
    rules: Criteria = CRITERIA,
) -> list[Check]:
    """The checks of how the panel's agents fit; arguments as of ``validate``."""
    known = _known(model, panel, found, seen)
    help_ = remedy(model, found, rules)
    scores, reference = (None, None) if model.calibration is None else model.calibration[:2]
    scores, reference = (None, None) if model.calibration is None else model.calibration[:2]
    scores, reference = (None, None) if model.calibration is None else model.calibration[:2]
    scores, reference = (None, None) if model.calibration is None else model.calibration[:2]
    results = [
        *(
            baselines.better(
                f"against {control}",
                found,
                control,
                advice=f"{_NO_USE[control]} {help_}",
                needed="prediction",
                rules=rules,
            )
            for control in CONSTANT
        ),
        baselines.as_promised(found, model.info.validation, rules),
        *(
            baselines.better(
                f"against {control}", found, control, advice=advice, worst="warn", rules=rules
            )
            for control, advice in _PERSONAL.items()
        ),
        action_sensitivity.reacts(found, rules),
        baselines.break_even(found, rules),
        *coverage.coverage(found, scores, model.config.band, not seen, known, rules),
    ]
    if seen:
        return results
    results += [
        *already_had(model, panel, rules),
        *_described(model, panel, found),
        coverage.transforms(found, scores, known, rules),
        *reference_shift.shifts(found, reference, known, rules),
        reference_shift.outliers(found, reference, panel.agent_ids, known, rules),
    ]
    identity = same_agents(model, panel, rules)
    return results if identity is None else [*results, identity]


def check_model(
    model: FittedModel, found: Examined, seed: int, rules: Criteria = CRITERIA
) -> list[Check]:
    """The checks of the model by itself; arguments as of ``validate``."""
    return [
        model_checks.misfits(model),
        model_checks.residual_structure(found, rules),
        model_checks.members_agree(model, found, seed, rules),
        model_checks.numerical_rank(model, seed, rules),
        model_checks.own_data(model, rules),
    ]


_NO_USE = {
    "persistence": "Predictions are no better than no change; do not use them.",
    "own mean": "Each agent's mean so far predicts as well: there is nothing here that the run "
    "could follow, as in noise, or it does not.",
    "mean of all": "The mean of all agents predicts as well: there is nothing here that the run "
    "could follow, as in noise, or it does not.",
}
_PERSONAL = {
    "average agent": "An agent's own simulator is hardly better than the average one: agents are "
    "alike, ids are mixed up, or there is too little data per agent. One model for all would do.",
    "another agent": "Another agent's simulator does as well: either agents are alike, or ids are "
    "mixed up. Do not read anything into differences between agents.",
}


def _reserved(model: FittedModel, panel: PanelDataset) -> PanelDataset:
    """Those agents of the run's own data that the nets have not seen."""
    place = match_ids(model.agent_ids, list(panel.agent_ids))
    trained = model.posterior.trained
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
    values = found.model.posterior.values
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


def _known(
    model: FittedModel, panel: PanelDataset, found: Examined, seen: bool
) -> NDArray[np.bool_]:
    """Which of the S agents the run knows from other trajectories, ``(S,)``."""
    if seen:
        return np.zeros(len(found.agent), bool)
    return match_ids(model.agent_ids, list(panel.agent_ids))[found.agent] >= 0


def _plain(value: Any) -> Any:
    """As JSON has it: what is no finite number is None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
