"""Checks of the band: does it hold as many agents as it says?

Comparisons with the agents that were reserved when the model was fitted hold their level whatever
the errors of the model look like, because agents of the same kind are exchangeable.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.uncertainty.intervals import compared_step, conformal_factor
from twinfold.validation.check import Check, said
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def coverage(
    found: HoldoutResult,
    scores: Floats | None,
    nominal: float,
    fresh: bool,
    known: Bools | None = None,
    rules: ValidationThresholds = THRESHOLDS,
) -> list[Check]:
    """Check that the band holds whole trajectories of as many agents as it says: new, known ones.

    Args:
        found: of agents that the band was not calibrated on, or of the calibration agents.
        scores: of the calibration agents, ``(n, H)``.
        nominal: coverage.
        fresh: whether the agents are other ones than the calibration agents.
        known: ``(S,)``, which agents the run knows from other trajectories; None for none.
        rules: what decides.
    """
    known = np.zeros(len(found.scores), bool) if known is None else known

    def check(name: str, rows: Bools, promised: bool) -> Check:
        if scores is None:
            return replace(unreserved(name, rules), needed="planning")
        horizon = compared_step(found.ends.mask[rows].sum(axis=1), scores, nominal)
        if not fresh:
            return _calibrated(name, scores, horizon, nominal, rules)
        own = _numbers(found.scores[rows, horizon - 1])
        return _tested(name, own, scores, horizon, nominal, promised, rules)

    if known.all() or not known.any():
        return [check("band", np.ones(len(known), bool), not known.any())]
    both = check("band", ~known, True), check("band of known agents", known, False)
    # Plans rest on the agents of whom something can be said.
    few = (~known).sum() < rules.fewest
    return [
        replace(both[0], needed="" if few else "planning"),
        replace(both[1], needed="planning" if few else ""),
    ]


def _calibrated(
    name: str, scores: Floats, horizon: int, nominal: float, rules: ValidationThresholds
) -> Check:
    """Say how wide the band is; how many of the calibration agents it holds is no finding."""
    factor, n = conformal_factor(scores, nominal, horizon)
    values = {"agents": n, "horizon": horizon, "factor": factor, "nominal": nominal}
    if math.isfinite(factor):
        return said("band", "calibrated", rules, values, name=name, needed="planning")
    del values["factor"]
    least = math.ceil(nominal / (1 - nominal) - 1e-9)
    return said("band", "short", rules, values, name=name, needed="planning", least=least)


def _tested(
    name: str,
    own: Floats,
    scores: Floats,
    horizon: int,
    nominal: float,
    promised: bool,
    rules: ValidationThresholds,
) -> Check:
    """Check that a band holds as many of m agents as it says, by their scores ``(m,)``.

    Given the n calibration agents, the number of m new ones that are held is beta-binomial,

        held ~ BetaBinomial(m, k, n + 1 - k),    k = ceil((n + 1) nominal)

    Agents that the run knows from other trajectories are no such agents: the calibration agents are
    known by the beginning of the very trajectory whose end is predicted. Of them the band promises
    nothing, and a band that is too narrow is a warning. Plans need a band that holds, be it
    promised or not.
    """
    factor, n = conformal_factor(scores, nominal, horizon)
    if not math.isfinite(factor):
        return _calibrated(name, scores, horizon, nominal, rules)
    m, held = len(own), int((own <= factor).sum())
    rank = math.ceil((n + 1) * nominal)
    number_held: Any = stats.betabinom(m, rank, n + 1 - rank) if m else None
    p = float(number_held.cdf(held)) if m else 1.0
    values = {
        "coverage": held / m if m else math.nan,
        "agents": m,
        "horizon": horizon,
        "factor": factor,
        "p": p,
        "nominal": nominal,
        "promised": promised,
    }
    outcome = "pass" if p >= rules.level else "fail" if promised else "warn"
    if m < rules.fewest:
        outcome = "few" if m else "nothing"
    least = int(number_held.ppf(rules.level)) if m else 0
    return said("band", outcome, rules, values, name=name, needed="planning", least=least)


def promised_rows(
    found: HoldoutResult, known: Bools | None, rules: ValidationThresholds = THRESHOLDS
) -> tuple[Bools, bool]:
    """Return the agents to compare in units of the band, and if it promises anything of them.

    New agents, if there are enough of them; else all, of whom it promises nothing.
    """
    everyone = np.ones(len(found.rmse), bool)
    if known is None or not known.any():
        return everyone, True
    return (~known, True) if (~known).sum() >= rules.fewest else (everyone, False)


def unreserved(name: str, rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Return a check that could not be made, for want of reserved agents."""
    return said("unreserved", "nothing", rules, name=name)


def transforms(
    found: HoldoutResult,
    scores: Floats | None,
    known: Bools | None = None,
    rules: ValidationThresholds = THRESHOLDS,
) -> Check:
    """Check that the new agents' scores lie evenly among those of the calibration agents.

    The rank of a score among n others, over n + 1, is the conformal probability integral transform:
    uniform if the agents are of the same kind (two-sample Kolmogorov-Smirnov test). Of agents that
    the run knows from other trajectories nothing is promised (see ``coverage``): larger errors are
    then a warning.
    """
    name = "probability integral transform"
    if scores is None:
        return unreserved(name, rules)
    rows, promised = promised_rows(found, known, rules)
    # As far ahead as there are enough reserved agents to compare with.
    share = 1 - 1 / (rules.fewest + 1)
    horizon = compared_step(found.ends.mask[rows].sum(axis=1), scores, share)
    reference, own = (_numbers(x[:, horizon - 1]) for x in (scores, found.scores[rows]))
    if min(len(reference), len(own)) < rules.fewest:
        return said(name, "few", rules, agents=len(own), reserved=len(reference))
    test: Any = stats.ks_2samp(own, reference)
    rank = (np.searchsorted(np.sort(reference), own, side="right") + 1) / (len(reference) + 1)
    narrow = float(np.median(rank)) > 0.5  # too wide a band is no danger
    return said(
        name,
        "pass" if test.pvalue >= rules.level else "narrow" if narrow else "wide",
        rules,
        {"statistic": float(test.statistic), "p": float(test.pvalue)},
        status="warn" if narrow and not promised and test.pvalue < rules.level else None,
    )


def _numbers(values: Floats) -> Floats:
    return values[~np.isnan(values)]
