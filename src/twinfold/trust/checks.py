"""Checks that try to prove a simulator wrong. Each returns a verdict with its figure and advice.

A check compares with a control that ought to do worse, or with what is usual: the statistics of the
agents that were reserved when the model was fitted. Comparisons with the reserved agents hold their
level whatever the errors of the model look like, because agents of the same kind are exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.data.ids import AgentId
from twinfold.models.bands import conformal_factor
from twinfold.models.examine import CONTROLS, STATISTICS, Examined

Floats = NDArray[np.float64]
Status = Literal["pass", "warn", "fail"]

LEVEL = 0.01
"""Of each family of tests, after correction for their number."""

_NEGLIGIBLE = 0.05  # share of the error of predicting no change, below which one does not matter
_LARGE, _LARGE_SIZE = 0.9, 0.75  # shares of the reserved agents that the median must be beyond
_FEWEST = 5  # agents below which no test has any power
_CLEARLY = 0.9  # share of a control's error that a model must stay below to be clearly better
_WORDS = {
    "level": "one-step errors are larger than usual: more noise, another regime or wrong ids",
    "course": "predictions leave the band further than usual",
    "memory": "one-step errors follow each other in time: a cause that the state does not hold",
    "drift": "one-step errors change with time: a drifting sensor, or wear",
    "change": "errors grow within the trajectory: a switch to another regime",
    "reaction": "recorded actions predict hardly better than random ones: misaligned actions",
    "identity": "an agent's own simulator is hardly better than the average one: mixed-up ids",
}


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: what was checked.
        status: pass, warn or fail.
        figure: the figure, as text.
        expected: what it is compared with, as text.
        advice: what it means, and what to do, in a sentence.
        planning: whether it is about planning only: prediction along recorded actions may be fine.
        agents: ids of agents that are concerned, the worst first.
        values: plain numbers behind it.
    """

    name: str
    status: Status
    figure: str
    expected: str
    advice: str
    planning: bool = False
    agents: tuple[AgentId, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "agents": list(self.agents)}


def better(
    name: str, found: Examined, control: str, *, planning: bool, advice: str, worst: Status = "fail"
) -> Check:
    """Whether predictions beat a control, agent by agent (sign test, one-sided).

    Pass: significantly more than half of the agents are predicted better, by a tenth in the median.
    Warn: the median is better, but not clearly. Else ``worst``.
    """
    ratio = found.rmse / found.controls[control]
    ratio = ratio[np.isfinite(ratio)]
    n, wins = len(ratio), int((ratio < 1).sum())
    median = float(np.median(ratio)) if n else math.nan
    p = float(stats.binomtest(wins, n, alternative="greater").pvalue) if n else 1.0
    control_name = _NAMES[control]
    status: Status = worst
    if n < _FEWEST:
        status, advice = "warn", f"Too few agents to tell whether they beat {control_name}."
    elif median < _CLEARLY and p < LEVEL:
        status, advice = "pass", f"Predictions are clearly better than {control_name}."
    elif median < 1:
        status = "warn"
        advice = (
            f"Predictions are better than {control_name} in the median, but not clearly for most "
            "agents: there are few of them, or some are hard to predict."
        )
    return Check(
        name=name,
        status=status,
        figure=f"{median:.2g} times its error, better for {wins} of {n} agents",
        expected=f"below {_CLEARLY:g}, better for most",
        advice=advice,
        planning=planning,
        values={"median_ratio": median, "better": wins, "agents": n, "p": p},
    )


_NAMES = {
    "persistence": "predicting no change",
    "average agent": "those for the average agent",
    "another agent": "those of another agent's simulator",
    "other actions": "those under actions drawn at random",
    "own linear model": "a linear model of each agent by itself",
}
assert set(_NAMES) == set(CONTROLS)


def break_even(found: Examined) -> Check:
    """From which horizon on predicting no change would do as well."""
    mask = found.ends.mask
    reach = int((mask.sum(axis=0) >= min(_FEWEST, len(mask))).sum())
    ours, theirs = (
        np.array([np.median(found.by_horizon[name][mask[:, h], h]) for h in range(reach)])
        for name in ("model", "persistence")
    )
    lost = np.flatnonzero(ours >= theirs)
    step = int(lost[0]) + 1 if len(lost) else None
    good = step is None or step > reach // 2
    return Check(
        name="break-even horizon",
        status="pass" if step is None else ("warn" if good else "fail"),
        figure=f"none within {reach} steps" if step is None else f"step {step} of {reach}",
        expected=f"none within {reach} steps",
        advice="Predictions beat no change as far as the data reaches."
        if step is None
        else f"Do not ask for more than {max(step - 1, 0)} steps at a time.",
        planning=good,
        values={"step": step, "reach": reach},
    )


def coverage(
    found: Examined, scores: Floats | None, nominal: float, fresh: bool, promised: bool = True
) -> Check:
    """Whether the band holds the whole course of as many agents as it says.

    Given the n calibration agents, the number of m new ones that are held is beta-binomial. Agents
    that the run knows from other trajectories are no such agents: the calibration agents are known
    by the beginning of the very trajectory whose end is predicted. Of them the band promises
    nothing, and a band that is too narrow is a warning.

    Args:
        found: of agents that the band was not calibrated on, or of the calibration agents.
        scores: of the calibration agents, ``(n, H)``.
        nominal: coverage.
        fresh: whether the agents are other ones than the calibration agents.
        promised: whether they are new, known as the calibration agents were.
    """
    if scores is None:
        return _unreserved("band")
    horizon = int(np.median(found.ends.mask.sum(axis=1))) if len(found.rmse) else 1
    factor, n_calibration = conformal_factor(scores, nominal, horizon)
    own = found.scores[:, horizon - 1]
    own = own[~np.isnan(own)]
    if not math.isfinite(factor):
        return Check(
            "band",
            "warn",
            f"{n_calibration} agents to calibrate {horizon} steps",
            f"at least {math.ceil(nominal / (1 - nominal) - 1e-9)}",
            "Too few agents were reserved to promise a band this far; reserve more. A shorter one "
            "stands in for it, without a promise.",
            values={"agents": n_calibration, "horizon": horizon, "nominal": nominal},
        )
    if not fresh:  # how many of the calibration agents it holds is no finding
        return Check(
            "band",
            "pass",
            f"{factor:.2g} times as wide, by {n_calibration} whole courses of {horizon} steps",
            f"meant to hold {100 * nominal:.0f} %",
            "The band is calibrated on these agents; only data that the run has not had tests it.",
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
    status: Status = "pass" if p >= LEVEL else "fail" if promised else "warn"
    if m < _FEWEST:
        status = "warn"
    return Check(
        "band",
        status,
        f"{100 * share:.0f} % of {m} whole courses of {horizon} steps",
        f"{100 * nominal:.0f} %, at least {_least(m, rank, n_calibration)} of {m}",
        "Too few agents to tell whether the band holds."
        if m < _FEWEST
        else "The band holds as many whole courses as it says."
        if status == "pass"
        else "The band is too narrow for these agents: they, or their policy, differ from those "
        "that it was calibrated on. Do not rely on it here; recalibrate on agents like these.",
        values={
            "coverage": share,
            "agents": m,
            "horizon": horizon,
            "factor": factor,
            "p": p,
            "nominal": nominal,
        },
    )


def _unreserved(name: str) -> Check:
    return Check(
        name,
        "warn",
        "nothing to compare with",
        "reserved agents",
        "No agents were reserved when the model was fitted: nothing says what is usual, and the "
        "band is meant for single values and not promised. Fit with --reserve.",
    )


def _least(m: int, rank: int, n: int) -> int:
    if not m:
        return 0
    return int(stats.betabinom.ppf(LEVEL, m, rank, n + 1 - rank))


def transforms(found: Examined, scores: Floats | None, promised: bool = True) -> Check:
    """Whether the new agents' scores lie evenly among those of the calibration agents.

    The rank of a score among n others, over n + 1, is the conformal probability integral transform:
    uniform if the agents are of the same kind (two-sample Kolmogorov-Smirnov test). Of agents that
    the run knows from other trajectories nothing is promised: larger errors are then a warning.
    """
    if scores is None:
        return _unreserved("probability integral transform")
    horizon = int(np.median(found.ends.mask.sum(axis=1))) if len(found.rmse) else 1
    usual, own = scores[:, horizon - 1], found.scores[:, horizon - 1]
    usual, own = usual[~np.isnan(usual)], own[~np.isnan(own)]
    if min(len(usual), len(own)) < _FEWEST:
        return Check(
            "probability integral transform",
            "warn",
            f"{len(own)} agents",
            f"at least {_FEWEST}",
            "Too few agents to compare distributions.",
        )
    test: Any = stats.ks_2samp(own, usual)
    rank = (np.searchsorted(np.sort(usual), own, side="right") + 1) / (len(usual) + 1)
    wide = float(np.median(rank)) <= 0.5  # too wide a band is no danger
    mild = wide or not promised
    status: Status = "pass" if test.pvalue >= LEVEL else "warn" if mild else "fail"
    return Check(
        "probability integral transform",
        status,
        f"largest deviation from uniform {test.statistic:.2f}",
        f"p at least {LEVEL:g} (here {test.pvalue:.2g})",
        "Errors are as large, in units of the band, as they were on the calibration agents."
        if status == "pass"
        else "Errors in units of the band are distributed unlike those of the calibration agents: "
        "the band is too " + ("wide here, but safe." if wide else "narrow."),
        values={"statistic": float(test.statistic), "p": float(test.pvalue)},
    )


def shifts(found: Examined, reference: Floats | None, promised: bool = True) -> list[Check]:
    """Whether the agents as a whole differ from what is usual, statistic by statistic.

    Mann-Whitney tests, one-sided, with Holm's correction over the statistics. A shift is a failure
    if the median agent is also worse than three quarters of the reserved ones in the size of its
    errors (level, course), or than nine in ten in the others; a smaller shift, which another
    composition of the same population may bring about, is a warning. So is a shift of the courses
    of agents that the run knows from other trajectories: it is measured in units of the band, which
    promises nothing of them.
    """
    if reference is None:
        return [_unreserved("as usual")]
    pairs = [
        [x[~np.isnan(x[:, k]), k] for x in (found.statistics, reference)]
        for k in range(len(STATISTICS))
    ]
    enough = [min(len(own), len(usual)) >= _FEWEST for own, usual in pairs]
    p_values = [
        float(stats.mannwhitneyu(own, usual, alternative="greater").pvalue) if compared else 1.0
        for (own, usual), compared in zip(pairs, enough, strict=True)
    ]
    rejected = holm(p_values, LEVEL)
    checks = []
    for k, name in enumerate(STATISTICS):
        if not enough[k]:
            few = "Too few agents whose last trajectory is long enough to compare."
            lengths = f"{len(pairs[k][0])} agents, {len(pairs[k][1])} reserved ones"
            checks.append(
                Check(f"as usual: {name}", "warn", lengths, f"at least {_FEWEST} of each", few)
            )
            continue
        own, usual = (float(np.median(x)) for x in pairs[k])
        beyond = _LARGE_SIZE if name in ("level", "course") else _LARGE
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


def outliers(found: Examined, reference: Floats | None, ids: Sequence[AgentId]) -> Check:
    """Agents that fit far worse than any reserved one.

    An agent is flagged if the size of its errors (level or course, on a logarithmic scale) is twice
    as far from the median of the reserved agents as the largest of theirs, and beyond the
    prediction interval of normal numbers with their mean and variance unknown (Student's t), at
    LEVEL / (agents x statistics). Errors that are negligible beside those of predicting no change
    do not count, however unusual.
    That level is LEVEL for statistics with normal tails, and more with heavier ones. The other
    statistics are for agents as a whole: that the average agent's simulator does as well for one
    agent is no fault of it.
    """
    if reference is None:
        return _unreserved("agents that fit badly")
    middle, limit, spread = np.full((3, len(STATISTICS)), np.nan)
    sizes = [STATISTICS.index(name) for name in ("level", "course")]
    for k in sizes:
        usual = reference[~np.isnan(reference[:, k]), k]
        n = len(usual)
        if n >= _FEWEST:
            middle[k], spread[k] = np.median(usual), usual.std(ddof=1) + 1e-9
            z = stats.t.isf(LEVEL / (len(sizes) * len(found.rmse)), n - 1) * math.sqrt(1 + 1 / n)
            limit[k] = middle[k] + max(2 * (usual.max() - middle[k]), z * spread[k])
    excess = (found.statistics - limit) / spread
    excess = np.where(np.isnan(excess), -np.inf, excess)
    worst = excess.max(axis=1)
    matters = found.rmse > _NEGLIGIBLE * found.controls["persistence"]
    bad = np.flatnonzero((worst > 0) & matters)
    bad = bad[np.argsort(-worst[bad])]
    named = tuple(ids[int(found.agent[s])] for s in bad)
    kinds = [STATISTICS[int(k)] for k in excess[bad].argmax(axis=1)]
    return Check(
        "agents that fit badly",
        "fail" if len(bad) else "pass",
        f"{len(bad)} of {len(found.rmse)} agents",
        "none",
        "No agent stands out."
        if not len(bad)
        else f"{named[0]!r}: {_WORDS[kinds[0]]}. Look at these agents' data before using their "
        "simulators.",
        agents=named,
        values={"statistic": kinds, "excess": worst[bad].tolist()},
    )


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses are rejected at a level for all of them together (Holm 1979)."""
    order = np.argsort(p_values)
    rejected = [False] * len(p_values)
    for done, k in enumerate(order):
        if p_values[k] > level / (len(p_values) - done):
            break
        rejected[int(k)] = True
    return rejected
