"""What the checks add up to: one of four answers, why, what would do, and the likely remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.holdout_evaluation import STATISTICS, Examined
from twinfold.validation.baselines import trained_counts
from twinfold.validation.check import Check, Needed
from twinfold.validation.thresholds import CRITERIA, Criteria

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
    """The answer: evidence against, no evidence, or evidence for one use or for both.

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
    """The checks that kept the verdict from being better, with what they say."""
    if verdict == "not usable":
        chosen = [c for c in checks if c.status == "fail" and not c.planning]
    elif verdict == "cannot tell":
        chosen = _open(checks, "prediction")
    else:
        chosen = [c for c in checks if c.planning and c.status == "fail" and not c.needed]
        chosen += _open(checks, "planning")
    return [{"check": c.name, "status": c.status, "advice": c.advice} for c in chosen]


def would_do(
    checks: Sequence[Check], verdict: Verdict, rules: Criteria = CRITERIA
) -> dict[str, Any]:
    """How many agents would settle it, as numbers and a sentence; empty if that is no question.

    The sign test's number of agents, if as many of a hundred were predicted better as here.
    """
    if verdict != "cannot tell":
        return {}
    left = _open(checks, "prediction")
    numbers = [c.values["enough_agents"] for c in left if c.values.get("enough_agents")]
    lost = [c for c in left if "enough_agents" in c.values and not c.values["enough_agents"]]
    found: dict[str, Any] = {"agents": max(numbers, default=None)}
    if any(c.name == "data of the fit" for c in left):
        found["transitions"] = rules.least_transitions
        text = f"Fit on {rules.least_transitions} transitions at the least."
        if numbers:
            text += f" Then try it on {max(numbers)} agents."
    elif numbers:
        text = (
            "If agents were predicted better as often as here, about "
            f"{max(numbers)} of them would show it; fewer than {rules.fewest_agents} never do."
        )
    elif any(c.status == "unknown" for c in lost):
        text = (
            f"At least {rules.fewest_agents} agents are needed. Of those there are, too few are "
            "predicted better for a number to be named."
        )
        found["agents"] = rules.fewest_agents
    else:
        text = "More agents alone would hardly change it: what is gained is too little."
    return {**found, "text": text}


def remedy(model: FittedModel, found: Examined, rules: Criteria = CRITERIA) -> str:
    """What is most likely to help with this table, in a sentence.

    In this order: earlier values if one-step errors follow each other; more rows if an agent has
    hardly more of them than a linear model has weights; more agents if there are few; else an input
    that is missing.
    """
    counts = trained_counts(model)
    memory = found.statistics[:, STATISTICS.index("memory")]
    memory = memory[~np.isnan(memory)]
    levels = model.action_levels
    weights = len(model.roles.state) + (len(model.roles.action) if levels is None else len(levels))
    if len(memory) >= rules.fewest and np.median(memory) > rules.remembered:
        return (
            "One-step errors follow each other: give earlier values (lags) as state columns, or "
            "the input whose effect lasts."
        )
    rows = int(np.median(counts)) if len(counts) else 0
    if rows < 3 * weights:
        return (
            f"Agents have {rows} transitions in the median, hardly more than a linear model of "
            f"theirs has weights ({weights + 1} per column): more rows of each are the likely "
            "remedy."
        )
    if len(counts) < 3 * weights:
        return (
            f"The run knows {len(counts)} agents: more agents are the likely remedy, since what "
            "they have in common is learned from all."
        )
    return (
        "There are rows and agents enough: an input that is missing is the likely cause, or a time "
        "step within which little changes."
    )
