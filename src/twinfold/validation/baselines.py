"""Evidence for and against a run: its held-out errors beside those of controls, agent by agent.

Windows of one agent depend on each other, so agents are counted, never rows. A comparison is of the
logarithms of the ratio of two errors, by Wilcoxon's signed-rank test, one-sided; what it asks for
stands in :class:`twinfold.validation.thresholds.ValidationThresholds`. Too few agents are no
evidence: ``unknown``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.controls import SIMPLE
from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.validation.check import Check, Needed, said
from twinfold.validation.sentences import CONTROL_NAMES, NO_BETTER, Status
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """Errors of a run beside those of a control.

    Attributes:
        agents: how many can be compared.
        better: of how many the run's error is smaller.
        median: of the ratio of the two errors.
        overall: ratio of the root mean square errors over all agents.
        overall_low: of it, in one of twenty samples of such agents it would be smaller.
        log_ratio: of each agent.
        difference: of the two errors, of each agent.
    """

    agents: int
    better: int
    median: float
    overall: float
    overall_low: float
    log_ratio: Floats
    difference: Floats

    def p_below(self, ratio: float) -> float:
        """Return the level of the test that the typical ratio is below one."""
        return signed_rank(self.log_ratio - math.log(ratio))

    def p_above(self, ratio: float) -> float:
        """Return the level of the test that the typical ratio is above one."""
        return signed_rank(math.log(ratio) - self.log_ratio)

    def p_smaller(self) -> float:
        """Return the level of the test that the error is typically smaller, by differences.

        Where outcomes are levels or counts, a control predicts some agents exactly: ratios then say
        that these are the greatest losses, and differences what they come to.
        """
        return signed_rank(self.difference)

    def p_mean(self) -> float:
        """Return the level of Student's test that the mean error of agents is smaller.

        Where most agents hardly change, and are predicted as well by anything, what is gained is
        gained with the others, of whom ranks say little.
        """
        found: Any = stats.ttest_1samp(self.difference, 0, alternative="less")
        return float(found.pvalue)

    def __str__(self) -> str:
        """Return the median ratio and the count, as a figure."""
        if not self.agents:
            return "no agent to compare"
        # Near 1 two decimals tell better from worse; of nothing the digits are rounding.
        times = "less than 0.01" if self.median < 0.005 else f"{self.median:.2f}"
        times = times if self.median < 10 else f"{self.median:.3g}"
        return f"{times} times its error, better for {self.better} of {self.agents} agents"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "median_ratio": self.median,
            "overall_ratio": self.overall,
            "better": self.better,
            "agents": self.agents,
        }


def signed_rank(values: Floats) -> float:
    """Return the level at which values are below 0 (Wilcoxon's signed-rank test); 1 of none."""
    values = values[values != 0]
    if not len(values):
        return 1.0
    # Ties are the rule where errors reach their limits; the exact distribution knows none, but is
    # what a handful of agents asks for.
    method = "exact" if len(values) <= 20 else "auto"
    found: Any = stats.wilcoxon(values, alternative="less", method=method)
    return float(found.pvalue)


def compare(
    found: HoldoutResult, control: str, rules: ValidationThresholds = THRESHOLDS
) -> Comparison:
    """Return the errors beside those of a control, of the agents of whom both are numbers."""
    ours, theirs = found.rmse, found.controls[control]
    ratio = ours / theirs
    comparable = np.isfinite(ratio) & (ratio > 0)
    ours, theirs, ratio = ours[comparable], theirs[comparable], ratio[comparable]
    n = len(ratio)
    if not n:
        return Comparison(0, 0, math.nan, math.nan, math.nan, ratio, ratio)
    squared = np.stack([ours**2, theirs**2])
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), rules.bootstrap_draws)
    over = np.sqrt(np.divide(*(squared @ draws.T)))
    return Comparison(
        agents=n,
        better=int((ratio < 1).sum()),
        median=float(np.median(ratio)),
        overall=float(np.sqrt(np.divide(*squared.sum(axis=1)))),
        overall_low=float(np.quantile(over, rules.bootstrap_low)),
        log_ratio=np.log(ratio),
        difference=ours - theirs,
    )


def enough_agents(better: int, agents: int, rules: ValidationThresholds = THRESHOLDS) -> int | None:
    """Return the agents that a sign test needs at this share of better ones; None if none do."""
    share = (better + 0.5) / (agents + 1)
    sizes = np.arange(max(rules.fewest_agents, agents + 1), rules.most_agents)
    wins = np.floor(share * sizes + 0.5)
    enough = np.flatnonzero(stats.binom.sf(wins - 1, sizes, 0.5) < rules.level)
    return int(sizes[enough[0]]) if share > 0.5 and len(enough) else None


def better(
    found: HoldoutResult,
    control: str,
    *,
    remedy: str = "",
    planning: bool = False,
    needed: Needed = "",
    worst: Status = "fail",
    rules: ValidationThresholds = THRESHOLDS,
) -> Check:
    """Check that predictions are clearly better than a control's, agent by agent.

    Pass: typically better (signed-rank test), by enough in the median, and not worse over all. For
    predictions a twentieth is enough; where it tells what the model has learned, it is a tenth.
    ``worst``: the test says that the typical error is not a tenth smaller, and cannot say that it
    is smaller at all, nor by differences, nor in the mean; or, of too few agents for a test, each
    is predicted many times worse. Else there is a warning, or of too few agents nothing is known.

    Args:
        found: what was examined.
        control: its name.
        remedy: what may help if predictions are no better.
        planning: whether it is about planning only.
        needed: the verdict that needs it to pass.
        worst: status of predictions that are no better.
        rules: what decides.
    """
    c = compare(found, control, rules)
    below = rules.worthwhile if needed == "prediction" else rules.clearly
    outcome = _better(c, below, rules)
    enough: int | None = None
    if outcome == "few" and not c.agents:
        enough = rules.fewest_agents
    elif outcome in ("few", "open", "with some"):
        enough = enough_agents(c.better, c.agents, rules)
    return said(
        "against a control",
        outcome,
        rules,
        {**c.to_dict(), "p": c.p_below(1), "control": control, "enough_agents": enough},
        name=f"against {control}",
        status=worst if outcome in ("worse", "far worse") else None,
        planning=planning,
        needed=needed,
        comparison=c,
        below=below,
        least=1 - below,
        theirs=CONTROL_NAMES[control],
        no_better=f"{NO_BETTER[control]} {remedy}".strip(),
    )


def _better(c: Comparison, below: float, rules: ValidationThresholds) -> str:
    """Return the outcome of ``better``; ``below`` is what the median must be to pass."""
    gained, smaller = c.p_below(1) < rules.level, c.median < 1
    if c.agents < rules.fewest_agents:
        far = c.agents and c.log_ratio.min() > math.log(rules.grossly)
        return "far worse" if far else "few"
    if c.median < below and gained and c.overall < 1:
        return "pass"
    if c.median >= rules.clearly and not gained and c.p_above(rules.clearly) < rules.level:
        if c.overall < 1 and c.p_smaller() < rules.level:
            return "open"
        return "with some" if c.overall < 1 and c.p_mean() < rules.level else "worse"
    if smaller and gained and c.overall < 1:
        return "hardly"
    return "some badly" if smaller and c.overall >= 1 else "open"


def best_simple(found: HoldoutResult) -> str:
    """Return the simple control with the smallest error over all agents."""
    return min(SIMPLE, key=lambda name: float(np.square(found.controls[name]).mean()))


def not_worse(found: HoldoutResult, rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Check that predictions are as good as the best simple control's, but for a margin.

    Which one is best is settled by the errors over all agents of the very data: no easy opponent.
    Where both are far better than no change, what they differ by may be negligible beside it.
    """
    control = best_simple(found)
    c, limit = compare(found, control, rules), 1 + rules.margin
    excess = np.median((found.rmse - found.controls[control]) / found.controls["persistence"])
    outcome = _not_worse(c, limit, float(excess), rules)
    enough = against = None
    if outcome == "open" or (outcome == "few" and c.median > limit):
        against = enough_agents(c.agents - c.better, c.agents, rules)
    elif outcome == "few":
        enough = rules.fewest_agents
    numbers = {"enough_agents": enough, "agents_against": against}
    return said(
        "against the best simple control",
        outcome,
        rules,
        {**c.to_dict(), "p": c.p_above(limit), "control": control, **numbers},
        needed="prediction",
        comparison=c,
        theirs=CONTROL_NAMES[control],
        limit=limit,
    )


def _not_worse(c: Comparison, limit: float, excess: float, rules: ValidationThresholds) -> str:
    """Return the outcome of ``not_worse``; ``excess`` is of the error of no change."""
    if c.agents < rules.fewest_agents:
        return "few"
    if c.median > limit:
        if excess < rules.negligible_loss:
            return "negligible"
        return "worse" if c.p_above(limit) < rules.level else "open"
    return "pass" if c.overall_low <= limit else "some badly"


def as_promised(
    found: HoldoutResult, validation: Mapping[str, Any], rules: ValidationThresholds = THRESHOLDS
) -> Check:
    """Check that errors, relative to no change, are of the size of those that the fit held out."""
    name, own, n = "against the run's own error", validation, len(found.rmse)
    error, base = own.get("rmse"), own.get("persistence_rmse")
    if not error or not base:
        return said(name, "nothing", rules)
    if n < rules.promised_agents:
        return said(name, "few", rules, agents=n)

    # No further ahead than the fit looked: errors grow with the horizon.
    reach = len(own.get("rmse_by_horizon") or found.ends.mask[0])
    mask = found.ends.steps[:, :reach]
    count = np.maximum(mask.sum(axis=1), 1)
    ours, still = (
        np.median(np.sqrt(np.where(mask, squares[:, :reach], 0).sum(axis=1) / count))
        for squares in (found.by_horizon[key] ** 2 for key in ("model", "persistence"))
    )
    here, in_fit = float(ours / still), float(error / base)
    times = here / max(in_fit, 1e-12)
    status: Status = "pass"
    if here > rules.promised_share and times > rules.promised_times / 3:
        status = "fail" if times > rules.promised_times else "warn"
    return said(name, status, rules, {"share": here, "own_share": in_fit, "times": times})


def fitted_on(counts: NDArray[np.integer], rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Check that the run was fitted on more than a handful of rows.

    Args:
        counts: transitions of each agent that the nets were trained on.
        rules: what decides.
    """
    total = int(np.sum(counts))
    return said(
        "data of the fit",
        "pass" if total >= rules.least_transitions else "unknown",
        rules,
        {"transitions": total, "agents": len(counts)},
        needed="prediction",
    )


def trained_counts(model: FittedModel) -> NDArray[np.integer]:
    """Return the transitions of each agent that the nets were trained on."""
    known = model.posterior
    return known.evidence.count[known.trained]


def break_even(found: HoldoutResult, rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Find from which horizon on the best simple control does as well, to the end.

    Errors are averaged over the last week of steps or quarter of the reach, so that a single step
    at which tomorrow resembles yesterday is no end of what can be predicted. It limits how far to
    ask, and is no verdict.
    """
    mask = found.ends.steps
    control = best_simple(found) if len(mask) else "persistence"
    reach = int((mask.sum(axis=0) >= min(rules.fewest, len(mask))).sum())
    width = max(rules.season, reach // 4)

    def smooth(name: str) -> Floats:
        squares = np.square(found.by_horizon[name])
        median = np.array([np.median(squares[mask[:, h], h]) for h in range(reach)])
        return np.array([median[max(0, h + 1 - width) : h + 1].mean() for h in range(reach)])

    good = np.flatnonzero(smooth("model") < smooth(control))
    first = int(good[-1]) + 2 if len(good) else 1  # 1-based, the first step from which none is good
    step = first if first <= reach else None
    return said(
        "break-even horizon",
        "pass" if step is None else "warn" if step > 1 else "never",
        rules,
        {"step": step, "reach": reach, "control": control},
        theirs=CONTROL_NAMES[control],
        before=first - 1,
    )
