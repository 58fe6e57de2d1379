"""Reference shift: statistics of agents beside those of the agents reserved for calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.data.ids import AgentId
from twinfold.metrics import mad_std
from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.uncertainty.holdout_statistics import STATISTICS
from twinfold.validation.check import Check, holm, said
from twinfold.validation.coverage import Bools, Floats, promised_rows, unreserved
from twinfold.validation.sentences import STATISTIC_NAMES, Status
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds

SIZES = ("residual scale", "trajectory error")
"""Statistics that are the size of errors."""

RATIOS = ("action sensitivity", "personalisation gain")
"""Statistics that are the logarithm of an error over a control's."""


def shifts(
    found: HoldoutResult,
    reference: Floats | None,
    known: Bools | None = None,
    rules: ValidationThresholds = THRESHOLDS,
) -> list[Check]:
    """Check that the agents as a whole are as the reserved ones, statistic by statistic.

    Mann-Whitney tests, one-sided, with Holm's correction over the statistics. A shift is a failure
    if the median agent is also worse than three quarters of the reserved ones in the size of its
    errors (residual scale, trajectory error), or than nine in ten in the others, and if what is
    lost beside a control (action sensitivity, personalisation gain) is a tenth of the error at the
    least. A smaller shift, which another composition of the same population may bring about, is a
    warning. So is a shift of the trajectory errors of agents that the run knows from other
    trajectories: they are measured in units of the band, which promises nothing of them (see
    ``coverage``).
    """
    if reference is None:
        return [unreserved("reference shift", rules)]
    rows, promised = promised_rows(found, known, rules)
    statistics = [
        found.statistics[rows] if name == "trajectory error" else found.statistics
        for name in STATISTICS
    ]
    pairs = [
        [x[~np.isnan(x[:, k]), k] for x in (statistics[k], reference)]
        for k in range(len(STATISTICS))
    ]
    enough = [min(map(len, pair)) >= rules.fewest for pair in pairs]
    p_values = [
        float(stats.mannwhitneyu(pair[0], pair[1], alternative="greater").pvalue)
        if compared
        else 1.0
        for pair, compared in zip(pairs, enough, strict=True)
    ]
    rejected = holm(p_values, rules.level)
    checks = []
    for k, name in enumerate(STATISTICS):
        outcome, values = "few", {}
        words: dict[str, Any] = {}
        if enough[k]:
            own, reserved = (float(np.median(x)) for x in pairs[k])
            beyond = rules.large_size if name in SIZES else rules.large
            large = own > float(np.quantile(pairs[k][1], beyond))
            large &= promised or name != "trajectory error"
            large &= name not in RATIOS or own - reserved > -math.log(rules.clearly)
            outcome = "pass" if not rejected[k] else "fail" if large else "warn"
            values = {"median": own, "usual": reserved, "p": p_values[k]}
            words = {"meaning": STATISTIC_NAMES[name]}
        else:
            words = dict(zip(("agents", "reserved"), map(len, pairs[k]), strict=True))
        checks.append(
            said(
                "reference shift", outcome, rules, values, name=f"reference shift: {name}", **words
            )
        )
    return checks


def outliers(
    found: HoldoutResult,
    reference: Floats | None,
    ids: Sequence[AgentId],
    known: Bools | None = None,
    rules: ValidationThresholds = THRESHOLDS,
) -> Check:
    """Find agents that fit far worse than any reserved one.

    An agent is flagged if the size of its errors (residual scale or trajectory error, both
    logarithms) is beyond the limit that the reserved agents set (``_limits``). Errors that are
    negligible beside those of predicting no change do not count, however unusual. The other
    statistics are for agents as a whole: that the average agent's simulator does as well for one
    agent is no fault of it. Of agents that the run knows from other trajectories the trajectory
    error, which is in units of the band, only warns: see ``coverage``. Without reserved agents the
    agents of the data are compared with each other, and those that stand out are named.
    """
    name = "agents that fit badly"
    if reference is None:
        return _beside_each_other(name, found, ids, rules)
    columns = [STATISTICS.index(size) for size in SIZES]
    limit, sd = _limits(reference[:, columns], len(found.rmse), rules)
    excess = (found.statistics[:, columns] - limit) / sd  # (S, 2)
    excess = np.where(np.isnan(excess), -np.inf, excess)

    # A known agent that fails by its residual scale fails by that alone; else it only warns.
    known = np.zeros(len(excess), bool) if known is None else known
    by_scale = excess[:, SIZES.index("residual scale")] > 0
    mild = known & ~by_scale
    excess[known & by_scale, SIZES.index("trajectory error")] = -np.inf

    worst = excess.max(axis=1)
    matters = found.rmse > rules.negligible * found.controls["persistence"]
    bad = np.flatnonzero((worst > 0) & matters)
    bad = bad[np.lexsort((-worst[bad], mild[bad]))]  # those that only warn come last
    failing = worst[bad][~mild[bad]]
    many = len(failing) > rules.outlying_share * len(worst)
    status: Status = "warn" if len(bad) else "pass"
    if many or (failing > rules.outlying).any():
        status = "fail"
    kinds = [SIZES[int(k)] for k in excess[bad].argmax(axis=1)]
    named = tuple(ids[int(found.agent[s])] for s in bad)
    first: dict[str, Any] = {}
    if named:
        first = {"agent": named[0], "meaning": STATISTIC_NAMES[kinds[0]]}
    return said(
        name,
        status,
        rules,
        {"statistic": kinds, "excess": worst[bad].tolist()},
        concerned=named,
        bad=len(bad),
        all=len(found.rmse),
        **first,
    )


def _beside_each_other(
    name: str, found: HoldoutResult, ids: Sequence[AgentId], rules: ValidationThresholds
) -> Check:
    """Find agents whose one-step errors are far larger than those of most others.

    Beyond the normal quantile for one in a hundred sets of agents, by the median and the median
    absolute deviation, which a third of odd agents does not move far; and by twice the median
    agent's errors at the least. That nobody stands out is no pass: all may be odd.
    """
    scale = found.statistics[:, STATISTICS.index("residual scale")]  # (S,), a logarithm
    if np.isfinite(scale).sum() < rules.fewest_agents:
        return unreserved(name, rules)
    median, sd = np.nanmedian(scale), float(mad_std(scale[~np.isnan(scale)]))
    quantile: Any = stats.norm.isf(rules.level / len(scale))
    excess = scale - median - max(sd * quantile, math.log(rules.outlying_times))
    matters = found.rmse > rules.negligible * found.controls["persistence"]
    bad = np.flatnonzero((np.nan_to_num(excess, nan=-1) > 0) & matters)
    bad = bad[np.argsort(-excess[bad])]
    if not len(bad):
        return unreserved(name, rules)
    named = tuple(ids[int(found.agent[s])] for s in bad)
    return said(
        name,
        "odd",
        rules,
        {"statistic": ["residual scale"] * len(bad), "excess": excess[bad].tolist()},
        concerned=named,
        bad=len(bad),
        all=len(scale),
        agent=named[0],
        times=math.exp(scale[bad[0]] - median),
    )


def _limits(
    reference: NDArray[np.floating], n_agents: int, rules: ValidationThresholds
) -> tuple[Floats, Floats]:
    """Return the limits of statistics of single agents, and their standard deviations, ``(K,)``.

    The limit is twice as far from the median of the reserved agents as the largest of theirs, and
    beyond the prediction interval of one more normal number, their mean and variance unknown:

        limit = median + max( 2 (largest - median), t sd sqrt(1 + 1 / n) )

    with t the quantile of Student's t at level / (agents x statistics). That holds the level for
    statistics with normal tails, and more with heavier ones. NaN where too few agents have one.

    Args:
        reference: ``(n, K)``, of the reserved agents.
        n_agents: agents that are compared with them.
        rules: what decides.
    """
    limit, sd = np.full((2, reference.shape[1]), np.nan)
    for k, column in enumerate(reference.T):
        values = column[~np.isnan(column)]
        n = len(values)
        if n < rules.fewest:
            continue
        median, sd[k] = np.median(values), values.std(ddof=1) + 1e-9
        t: Any = stats.t.isf(rules.level / (len(limit) * n_agents), n - 1)
        farthest = rules.outlying_times * (values.max() - median)
        limit[k] = median + max(farthest, t * math.sqrt(1 + 1 / n) * sd[k])
    return limit, sd
