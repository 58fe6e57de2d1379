"""Checks against what is usual: the statistics of the agents that were reserved for calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.data.ids import AgentId
from twinfold.uncertainty.holdout_evaluation import STATISTICS, Examined
from twinfold.validation.check import Check, Status, holm
from twinfold.validation.coverage import Floats, promised_rows, unreserved
from twinfold.validation.thresholds import CRITERIA, Criteria

_WORDS = {
    "level": "one-step errors are larger than usual: more noise, another regime or wrong ids",
    "course": "predictions leave the band further than usual",
    "memory": "one-step errors follow each other in time: a cause that the state does not hold",
    "drift": "one-step errors change with time: a drifting sensor, or wear",
    "change": "errors grow within the trajectory: a switch to another regime",
    "reaction": "recorded actions predict hardly better than random ones: misaligned actions",
    "identity": "an agent's own simulator is hardly better than the average one: mixed-up ids",
}


def shifts(
    found: Examined,
    reference: Floats | None,
    known: NDArray[np.bool_] | None = None,
    rules: Criteria = CRITERIA,
) -> list[Check]:
    """Whether the agents as a whole differ from what is usual, statistic by statistic.

    Mann-Whitney tests, one-sided, with Holm's correction over the statistics. A shift is a failure
    if the median agent is also worse than three quarters of the reserved ones in the size of its
    errors (level, course), or than nine in ten in the others; a smaller shift, which another
    composition of the same population may bring about, is a warning. So is a shift of the courses
    of agents that the run knows from other trajectories: it is measured in units of the band, which
    promises nothing of them (see ``coverage``).
    """
    if reference is None:
        return [unreserved("as usual")]
    rows, promised = promised_rows(found, known, rules)
    judged = [
        found.statistics[rows] if name == "course" else found.statistics for name in STATISTICS
    ]
    pairs = [
        [x[~np.isnan(x[:, k]), k] for x in (judged[k], reference)] for k in range(len(STATISTICS))
    ]
    enough = [min(len(own), len(usual)) >= rules.fewest for own, usual in pairs]
    p_values = [
        float(stats.mannwhitneyu(own, usual, alternative="greater").pvalue) if compared else 1.0
        for (own, usual), compared in zip(pairs, enough, strict=True)
    ]
    rejected = holm(p_values, rules.level)
    checks = []
    for k, name in enumerate(STATISTICS):
        if not enough[k]:
            few = "Too few agents whose last trajectory is long enough to compare."
            lengths = f"{len(pairs[k][0])} agents, {len(pairs[k][1])} reserved ones"
            checks.append(
                Check(
                    f"as usual: {name}", "unknown", lengths, f"at least {rules.fewest} of each", few
                )
            )
            continue
        own, usual = (float(np.median(x)) for x in pairs[k])
        beyond = rules.large_size if name in ("level", "course") else rules.large
        large = own > float(np.quantile(pairs[k][1], beyond))
        large &= promised or name != "course"
        status: Status = "pass" if not rejected[k] else "fail" if large else "warn"
        checks.append(
            Check(
                f"as usual: {name}",
                status,
                f"median {own:.2f}",
                f"{usual:.2f} on the reserved agents (p {p_values[k]:.2g})",
                _WORDS[name].capitalize() + "." if rejected[k] else "As on the reserved agents.",
                values={"median": own, "usual": usual, "p": p_values[k]},
            )
        )
    return checks


def _many(excess: Floats, agents: int, rules: Criteria) -> bool:
    """Whether outliers are so many, or so far out, that the run fails by them."""
    far = bool((excess > rules.outlying).any())
    return far or len(excess) > rules.outlying_share * agents


def outliers(
    found: Examined,
    reference: Floats | None,
    ids: Sequence[AgentId],
    known: NDArray[np.bool_] | None = None,
    rules: Criteria = CRITERIA,
) -> Check:
    """Agents that fit far worse than any reserved one.

    An agent is flagged if the size of its errors (level or course, on a logarithmic scale) is twice
    as far from the median of the reserved agents as the largest of theirs, and beyond the
    prediction interval of normal numbers with their mean and variance unknown (Student's t), at
    level / (agents x statistics). Errors that are negligible beside those of predicting no change
    do not count, however unusual.
    That holds the level for statistics with normal tails, and more with heavier ones. The other
    statistics are for agents as a whole: that the average agent's simulator does as well for one
    agent is no fault of it. Of agents that the run knows from other trajectories the course, which
    is in units of the band, only warns: see ``coverage``.
    """
    if reference is None:
        return unreserved("agents that fit badly")
    middle, limit, spread = np.full((3, len(STATISTICS)), np.nan)
    sizes = [STATISTICS.index(name) for name in ("level", "course")]
    for k in sizes:
        usual = reference[~np.isnan(reference[:, k]), k]
        n = len(usual)
        if n >= rules.fewest:
            middle[k], spread[k] = np.median(usual), usual.std(ddof=1) + 1e-9
            z = stats.t.isf(rules.level / (len(sizes) * len(found.rmse)), n - 1) * math.sqrt(
                1 + 1 / n
            )
            limit[k] = middle[k] + max(2 * (usual.max() - middle[k]), z * spread[k])
    excess = (found.statistics - limit) / spread
    excess = np.where(np.isnan(excess), -np.inf, excess)
    level, course = (excess[:, k] for k in sizes)  # views
    mild = np.zeros(len(excess), bool) if known is None else known & ~(level > 0)
    if known is not None:  # of one that fails by its level, the course is not the reason
        course[known & ~mild] = -np.inf
    worst = excess.max(axis=1)
    matters = found.rmse > rules.negligible * found.controls["persistence"]
    bad = np.flatnonzero((worst > 0) & matters)
    bad = bad[np.lexsort((-worst[bad], mild[bad]))]  # those that only warn come last
    named = tuple(ids[int(found.agent[s])] for s in bad)
    kinds = [STATISTICS[int(k)] for k in excess[bad].argmax(axis=1)]
    return Check(
        "agents that fit badly",
        "fail"
        if _many(worst[bad][~mild[bad]], len(worst), rules)
        else "warn"
        if len(bad)
        else "pass",
        f"{len(bad)} of {len(found.rmse)} agents",
        "none",
        "No agent stands out."
        if not len(bad)
        else f"{named[0]!r}: {_WORDS[kinds[0]]}. Look at these agents' data before using their "
        "simulators.",
        agents=named,
        values={
            "statistic": kinds,
            "excess": worst[bad].tolist(),
        },
    )
