"""What a check is, and the checks of the band.

A check compares with a control that ought to do worse (``evidence``), or with what is usual: the
agents that were reserved when the model was fitted. Comparisons with the reserved agents hold their
level whatever the errors of the model look like, because agents of the same kind are exchangeable.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.uncertainty.holdout_evaluation import Examined
from twinfold.uncertainty.intervals import conformal_factor
from twinfold.validation.check import Check, Status
from twinfold.validation.thresholds import CRITERIA, Criteria

Floats = NDArray[np.float64]


def coverage(
    found: Examined,
    scores: Floats | None,
    nominal: float,
    fresh: bool,
    known: NDArray[np.bool_] | None = None,
    rules: Criteria = CRITERIA,
) -> list[Check]:
    """Whether the band holds the whole course of as many agents as it says: new ones, known ones.

    Args:
        found: of agents that the band was not calibrated on, or of the calibration agents.
        scores: of the calibration agents, ``(n, H)``.
        nominal: coverage.
        fresh: whether the agents are other ones than the calibration agents.
        known: ``(S,)``, which agents the run knows from other trajectories; None for none.
        rules: what decides.
    """
    if known is None or not known.any():
        return [_coverage("band", found, scores, nominal, fresh, rules)]
    if known.all():
        return [_coverage("band", found, scores, nominal, fresh, rules, promised=False)]
    both = [
        _coverage("band", found, scores, nominal, fresh, rules, ~known),
        _coverage("band of known agents", found, scores, nominal, fresh, rules, known, False),
    ]
    # Plans rest on the agents of whom something can be said.
    few = (~known).sum() < rules.fewest
    return [
        replace(both[0], needed="" if few else "planning"),
        replace(both[1], needed="planning" if few else ""),
    ]


def _coverage(
    name: str,
    found: Examined,
    scores: Floats | None,
    nominal: float,
    fresh: bool,
    rules: Criteria,
    rows: NDArray[np.bool_] | slice = slice(None),
    promised: bool = True,
) -> Check:
    """Of some agents.

    Given the n calibration agents, the number of m new ones that are held is beta-binomial. Agents
    that the run knows from other trajectories are no such agents: the calibration agents are known
    by the beginning of the very trajectory whose end is predicted. Of them the band promises
    nothing, and a band that is too narrow is a warning. Plans need a band that holds, be it
    promised or not.
    """
    if scores is None:
        return replace(unreserved(name), needed="planning")
    horizon = _horizon(found, rows)
    factor, n_calibration = conformal_factor(scores, nominal, horizon)
    own = found.scores[rows, horizon - 1]
    own = own[~np.isnan(own)]
    if not math.isfinite(factor):
        return Check(
            name,
            "unknown",
            f"{n_calibration} agents to calibrate {horizon} steps",
            f"at least {math.ceil(nominal / (1 - nominal) - 1e-9)}",
            "Too few agents were reserved to promise a band this far; reserve more. A shorter one "
            "stands in for it, without a promise.",
            needed="planning",
            values={"agents": n_calibration, "horizon": horizon, "nominal": nominal},
        )
    if not fresh:  # how many of the calibration agents it holds is no finding
        return Check(
            name,
            "pass",
            f"{factor:.2g} times as wide, by {n_calibration} whole courses of {horizon} steps",
            f"meant to hold {100 * nominal:.0f} %",
            "The band is calibrated on these agents; only data that the run has not had tests it.",
            needed="planning",
            values={
                "agents": n_calibration,
                "horizon": horizon,
                "factor": factor,
                "nominal": nominal,
            },
        )
    m, held = len(own), int((own <= factor).sum())
    rank = math.ceil((n_calibration + 1) * nominal)
    p = float(stats.betabinom.cdf(held, m, rank, n_calibration + 1 - rank)) if m else 1.0
    share = held / m if m else math.nan
    status: Status = "pass" if p >= rules.level else "fail" if promised else "warn"
    if m < rules.fewest:
        status = "unknown"
    return Check(
        name,
        status,
        f"{100 * share:.0f} % of {m} whole courses of {horizon} steps" if m else "no agent",
        f"{100 * nominal:.0f} %, at least {_least(m, rank, n_calibration, rules)} of {m}",
        "Too few agents to tell whether the band holds."
        if m < rules.fewest
        else "The band holds as many whole courses as it says."
        if status == "pass"
        else "The band is too narrow for these agents: they, or their policy, differ from those "
        "that it was calibrated on. Do not rely on it here; recalibrate on agents like these.",
        needed="planning",
        values={
            "coverage": share,
            "agents": m,
            "horizon": horizon,
            "factor": factor,
            "p": p,
            "nominal": nominal,
            "promised": promised,
        },
    )


def promised_rows(
    found: Examined, known: NDArray[np.bool_] | None, rules: Criteria = CRITERIA
) -> tuple[NDArray[np.bool_], bool]:
    """Which agents to compare in units of the band, and whether it promises anything of them.

    New agents, if there are enough of them; else all, of whom it promises nothing.
    """
    everyone = np.ones(len(found.rmse), bool)
    if known is None or not known.any():
        return everyone, True
    return (~known, True) if (~known).sum() >= rules.fewest else (everyone, False)


def _horizon(found: Examined, rows: NDArray[np.bool_] | slice) -> int:
    lengths = found.ends.mask[rows].sum(axis=1)
    return int(np.median(lengths)) if len(lengths) else 1


def unreserved(name: str) -> Check:
    """What a check says of a run without reserved agents."""
    return Check(
        name,
        "unknown",
        "nothing to compare with",
        "reserved agents",
        "No agents were reserved when the model was fitted: nothing says what is usual, and the "
        "band is not promised. Fit with --reserve.",
    )


def _least(m: int, rank: int, n: int, rules: Criteria = CRITERIA) -> int:
    if not m:
        return 0
    return int(stats.betabinom.ppf(rules.level, m, rank, n + 1 - rank))


def transforms(
    found: Examined,
    scores: Floats | None,
    known: NDArray[np.bool_] | None = None,
    rules: Criteria = CRITERIA,
) -> Check:
    """Whether the new agents' scores lie evenly among those of the calibration agents.

    The rank of a score among n others, over n + 1, is the conformal probability integral transform:
    uniform if the agents are of the same kind (two-sample Kolmogorov-Smirnov test). Of agents that
    the run knows from other trajectories nothing is promised (see ``coverage``): larger errors are
    then a warning.
    """
    if scores is None:
        return unreserved("probability integral transform")
    rows, promised = promised_rows(found, known, rules)
    horizon = _horizon(found, rows)
    usual, own = scores[:, horizon - 1], found.scores[rows, horizon - 1]
    usual, own = usual[~np.isnan(usual)], own[~np.isnan(own)]
    if min(len(usual), len(own)) < rules.fewest:
        return Check(
            "probability integral transform",
            "unknown",
            f"{len(own)} agents, {len(usual)} reserved ones",
            f"at least {rules.fewest} of each",
            "Too few agents to compare distributions.",
        )
    test: Any = stats.ks_2samp(own, usual)
    rank = (np.searchsorted(np.sort(usual), own, side="right") + 1) / (len(usual) + 1)
    wide = float(np.median(rank)) <= 0.5  # too wide a band is no danger
    mild = wide or not promised
    status: Status = "pass" if test.pvalue >= rules.level else "warn" if mild else "fail"
    return Check(
        "probability integral transform",
        status,
        f"largest deviation from uniform {test.statistic:.2f}",
        f"p at least {rules.level:g} (here {test.pvalue:.2g})",
        "Errors are as large, in units of the band, as they were on the calibration agents."
        if status == "pass"
        else "Errors in units of the band are distributed unlike those of the calibration agents: "
        "the band is too " + ("wide here, but safe." if wide else "narrow."),
        values={"statistic": float(test.statistic), "p": float(test.pvalue)},
    )
