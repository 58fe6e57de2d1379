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
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.adaptation.input_checks import Warn, step_doubts
from twinfold.adaptation.known_columns import in_even_steps
from twinfold.data.ids import AgentId, match_ids
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.controls import CONSTANT, CONTROL_SETTINGS, CONTROLS
from twinfold.uncertainty.holdout_evaluation import HOLDOUT, HoldoutResult, evaluate_holdout
from twinfold.uncertainty.support import SUPPORT
from twinfold.utils.plain import plain
from twinfold.validation import (
    action_sensitivity,
    baselines,
    coverage,
    model_checks,
    reference_shift,
)
from twinfold.validation.check import Check, said
from twinfold.validation.data_overlap import already_had
from twinfold.validation.group_coverage import coverage_by_group, groups_of
from twinfold.validation.identity_swap import same_agents
from twinfold.validation.page_data import pictures
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds
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
    """Verdict, checks and record of a validation.

    Attributes:
        verdict: one of ``VERDICTS``.
        checks: in the order of the report.
        record: plain values: all of the above, and what pictures are drawn from.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    record: dict[str, Any] = field(repr=False)


def validate(
    model: FittedModel,
    panel: PanelDataset,
    *,
    seen: bool = False,
    groups: Mapping[AgentId, Any] | None = None,
    seed: int = 0,
    warn: Warn | None = None,
    rules: ValidationThresholds = THRESHOLDS,
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
    warn = warn or functools.partial(warnings.warn, stacklevel=2)
    panel = in_even_steps(model, panel, warn)
    if seen:
        panel = _reserved(model, panel)
    step_doubts(model, panel, warn)
    found = evaluate_holdout(model, panel, refit_from_prefix=seen, seed=seed, columns=True)
    if not len(found.rmse):
        raise UsageError(
            "there is nothing to predict: no agent is known to the run, and a new one needs three "
            "rows in a row, to be known by the first transition and predicted in the second"
        )
    known, responses = _known(found, seen), model_checks.responses_of(model, seed)
    own_groups = groups_of(found, panel.agent_ids, groups)
    scores = None if model.calibration is None else model.calibration.scores
    by_group = coverage_by_group(found, scores, model.config.band, not seen, own_groups, rules)
    results = [
        *check_evidence(model, found, rules),
        *check_panel(model, panel, found, seen, rules, known),
        *([] if by_group is None else [by_group]),
        *check_model(model, found, responses, rules),
    ]
    verdict = verdict_of(results)
    record = {
        **_provenance(model, found, seen, rules),
        "verdict": verdict,
        "reasons": reasons(results, verdict),
        "would_do": would_do(results, verdict, rules),
        "checks": [check.to_dict() for check in results],
        "pictures": pictures(model, panel, found, known, responses),
    }
    return Validation(verdict, tuple(results), plain(record))


def _provenance(
    model: FittedModel, found: HoldoutResult, seen: bool, rules: ValidationThresholds
) -> dict[str, Any]:
    """Return what the verdict was made from, and by which numbers."""
    return {
        "format": "twinfold-validation",
        "version": 2,
        "twinfold": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "fresh": not seen,
        "nominal": model.config.band,
        "agents": len(found.rmse),
        "trained_agents": int(model.posterior.trained.sum()),
        "controls": {name: baselines.compare(found, name, rules).to_dict() for name in CONTROLS},
        "best_control": baselines.best_simple(found),
        "criteria": {
            **asdict(rules),
            "action_step": HOLDOUT.alike,
            "support": asdict(SUPPORT),
            "controls": asdict(CONTROL_SETTINGS),
        },
    }


def check_evidence(
    model: FittedModel, found: HoldoutResult, rules: ValidationThresholds = THRESHOLDS
) -> list[Check]:
    """Check that there was something to learn from, and that nothing simpler predicts as well.

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
    found: HoldoutResult,
    seen: bool,
    rules: ValidationThresholds = THRESHOLDS,
    known: NDArray[np.bool_] | None = None,
) -> list[Check]:
    """Check how the panel's agents fit; arguments are those of ``validate``.

    ``known`` says of the S agents which ones the run knows from other trajectories.
    """
    known = _known(found, seen) if known is None else known
    help_ = remedy(model, found, rules)
    scores, reference = (None, None) if model.calibration is None else model.calibration[:2]
    results: list[Check] = []
    for control in CONSTANT:
        told = any(check.status == "fail" for check in results)  # what may help is said once
        words = "" if told else help_
        results.append(
            baselines.better(found, control, remedy=words, needed="prediction", rules=rules)
        )
    results += [
        baselines.as_promised(found, model.info.validation, rules),
        *(
            said("against a control", "same", rules, name=f"against {control}")
            if model.members.alike
            else baselines.better(found, control, worst="warn", rules=rules)
            for control in ("average agent", "another agent")
        ),
        action_sensitivity.reacts(found, rules),
        baselines.break_even(found, rules),
        *coverage.coverage(found, scores, model.config.band, not seen, known, rules),
    ]
    if seen:
        return results
    results += [
        *already_had(model, found, rules),
        *_described(model, panel, found, rules),
        coverage.transforms(found, scores, known, rules),
        *reference_shift.shifts(found, reference, known, rules),
        reference_shift.outliers(found, reference, panel.agent_ids, known, rules),
    ]
    identity = same_agents(model, panel.agent_ids, found.match.in_model, found.data, rules)
    return results if identity is None else [*results, identity]


def check_model(
    model: FittedModel,
    found: HoldoutResult,
    responses: model_checks.Responses,
    rules: ValidationThresholds = THRESHOLDS,
) -> list[Check]:
    """Check the model by itself, by its errors and by the responses of its agents."""
    return [
        model_checks.misfits(model, rules),
        model_checks.residual_structure(found, rules),
        model_checks.members_agree(model, found, responses, rules),
        model_checks.numerical_rank(model, responses, rules),
        model_checks.own_data(model, rules),
    ]


def _reserved(model: FittedModel, panel: PanelDataset) -> PanelDataset:
    """Return those agents of the run's own data that the nets have not seen."""
    place = match_ids(model.agent_ids, panel.agent_ids)
    trained = model.posterior.trained
    names = [
        name for name, n in zip(panel.agent_ids, place, strict=True) if n >= 0 and not trained[n]
    ]
    if not names:
        raise UsageError(
            "the run was fitted on every agent of this data: nothing about it can be checked "
            "honestly. Give data that the run has not had, or fit with --reserve"
        )
    return panel.select_agents(names)


def _described(
    model: FittedModel, panel: PanelDataset, found: HoldoutResult, rules: ValidationThresholds
) -> list[Check]:
    """Check that new agents are known by their static columns, as the reserved agents were."""
    values = found.model.posterior.values
    if values is None or found.model.posterior.static is None:
        return []
    new = ~found.match.known
    bare = np.flatnonzero(new & np.isnan(values).all(axis=1))
    return [
        said(
            "static columns",
            "warn" if len(bare) else "pass",
            rules,
            concerned=tuple(panel.agent_ids[int(n)] for n in bare),
            bad=len(bare),
            all=int(new.sum()),
            columns=", ".join(model.roles.static),
        )
    ]


def _known(found: HoldoutResult, seen: bool) -> NDArray[np.bool_]:
    """Return which of the S agents the run knows from other trajectories, ``(S,)``."""
    if seen:
        return np.zeros(len(found.agent), bool)
    return found.match.known[found.agent]
