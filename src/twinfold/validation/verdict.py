"""The verdict of all checks: one of four answers, why, what would do, and the likely remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.uncertainty.holdout_statistics import STATISTICS
from twinfold.validation.baselines import trained_counts
from twinfold.validation.check import Check, Needed, worded
from twinfold.validation.sentences import REMEDIES, WOULD_DO
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds

Verdict = Literal[
    "not usable",
    "cannot tell",
    "usable for prediction",
    "usable for planning within support",
]

VERDICTS: tuple[Verdict, ...] = (
    "not usable",
    "cannot tell",
    "usable for prediction",
    "usable for planning within support",
)
"""From worst to best."""


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Return the verdict: evidence against, no evidence, or evidence for one use or for both.

    A check that fails is evidence against: of planning alone if that is all it is about. What is
    needed must have passed; that something could not be checked is no pass. Warnings, and checks
    that are not needed, change nothing.
    """
    if any(check.status == "fail" and not check.planning for check in checks):
        return "not usable"
    if not _shown(checks, "prediction"):
        return "cannot tell"
    if any(check.status == "fail" for check in checks) or not _shown(checks, "planning"):
        return "usable for prediction"
    return "usable for planning within support"


def _shown(checks: Sequence[Check], use: Needed) -> bool:
    needed = [check for check in checks if check.needed == use]
    return bool(needed) and all(check.status == "pass" for check in needed)


def _open(checks: Sequence[Check], use: Needed) -> list[Check]:
    return [check for check in checks if check.needed == use and check.status != "pass"]


def reasons(checks: Sequence[Check], verdict: Verdict) -> list[dict[str, Any]]:
    """Return the checks that kept the verdict from being better, with what they say."""
    if verdict == "not usable":
        chosen = [c for c in checks if c.status == "fail" and not c.planning]
    elif verdict == "cannot tell":
        chosen = _open(checks, "prediction")
    else:
        chosen = [c for c in checks if c.planning and c.status == "fail" and not c.needed]
        chosen += _open(checks, "planning")
    return [{"check": c.name, "status": c.status, "advice": c.advice} for c in chosen]


def would_do(
    checks: Sequence[Check], verdict: Verdict, rules: ValidationThresholds = THRESHOLDS
) -> dict[str, Any]:
    """Return how many agents would settle it, with a sentence; empty if that is no question.

    The sign test's number of agents, if as many of a hundred were predicted better as here; or
    worse, where a simpler model seems to be better. No number of agents makes up for one
    comparison in which no more than half are predicted better.
    """
    if verdict != "cannot tell":
        return {}
    left = _open(checks, "prediction")
    numbers, against = (
        [c.values[key] for c in left if c.values.get(key)]
        for key in ("enough_agents", "agents_against")
    )
    hopeless = [
        c
        for c in left
        if "enough_agents" in c.values
        and not (c.values["enough_agents"] or c.values.get("agents_against"))
    ]
    enough: int | None = max(numbers, default=None)
    found: dict[str, Any] = {}
    if any(c.name == "data of the fit" for c in left):
        found["transitions"] = rules.least_transitions
        kind = "more rows and agents" if numbers else "more rows"
    elif any(c.status == "unknown" for c in hopeless):
        kind, enough = "some agents", rules.fewest_agents
    elif hopeless:
        kind, enough = "nothing", None
    elif against:
        kind, enough = "against", max(against)
    else:
        kind = "more agents" if numbers else "nothing"
    text = worded(WOULD_DO[kind], rules=rules, enough=enough)
    return {"agents": enough, **found, "text": text}


def remedy(
    model: FittedModel, found: HoldoutResult, rules: ValidationThresholds = THRESHOLDS
) -> str:
    """Return what is most likely to help with this table, in a sentence.

    In this order: earlier values if one-step errors follow each other; more rows if an agent has
    hardly more of them than a linear model has weights; more agents if there are few; else an input
    that is missing.
    """
    counts, levels = trained_counts(model), model.action_levels
    memory = found.statistics[:, STATISTICS.index("residual autocorrelation")]
    memory = memory[~np.isnan(memory)]
    weights = len(model.roles.state) + (
        len(model.ranges.action_low) if levels is None else len(levels)
    )
    rows = int(np.median(counts)) if len(counts) else 0
    if len(memory) >= rules.fewest and np.median(memory) > rules.remembered:
        kind = "earlier values"
    elif rows < rules.rows_per_weight * weights:
        kind = "more rows"
    elif len(counts) < rules.rows_per_weight * weights:
        kind = "more agents"
    else:
        kind = "another input"
    return worded(REMEDIES[kind], rows=rows, weights=weights + 1, agents=len(counts))
