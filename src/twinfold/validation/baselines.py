"""Evidence for and against a run: its held-out errors beside those of controls, agent by agent.

Windows of one agent depend on each other, so agents are counted, never rows. A comparison is of the
logarithms of the ratio of two errors, by Wilcoxon's signed-rank test, one-sided; what it asks for
stands in :class:`twinfold.validation.thresholds.Criteria`. Too few agents are no
evidence: ``unknown``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.uncertainty.controls import SIMPLE
from twinfold.uncertainty.holdout_evaluation import Examined
from twinfold.validation.check import Check, Needed, Status
from twinfold.validation.thresholds import CRITERIA, Criteria

Floats = NDArray[np.float64]

NAMES = {
    "persistence": "predicting no change",
    "own mean": "predicting each agent's mean so far",
    "mean of all": "predicting the mean of all agents",
    "drift": "going on as before on average",
    "pooled linear model": "a linear model of all agents together",
    "own linear model": "a linear model with deviations of each agent",
    "average agent": "predictions for the average agent",
    "another agent": "predictions by another agent's simulator",
    "other actions": "predictions under actions drawn at random",
}
"""Controls, in words."""

_MOST_AGENTS = 5000  # that are said to do
_DRAWS = 1000  # of the bootstrap over agents


class Comparison(NamedTuple):
    """Errors of a run beside those of a control.

    Attributes:
        agents: how many can be compared.
        better: of how many the run's error is smaller.
        median: of the ratio of the two errors.
        overall: ratio of the root mean square errors over all agents.
        overall_low: of it, in one of twenty samples of such agents it would be smaller.
        log_ratio: of each agent.
    """

    agents: int
    better: int
    median: float
    overall: float
    overall_low: float
    log_ratio: Floats

    def p_below(self, ratio: float) -> float:
        """Level of the test that the typical ratio is below one."""
        return signed_rank(self.log_ratio - math.log(ratio))

    def p_above(self, ratio: float) -> float:
        """Level of the test that the typical ratio is above one."""
        return signed_rank(math.log(ratio) - self.log_ratio)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "median_ratio": self.median,
            "overall_ratio": self.overall,
            "better": self.better,
            "agents": self.agents,
        }


def signed_rank(values: Floats) -> float:
    """Level at which values are typically below 0 (Wilcoxon's signed-rank test); 1 of none."""
    values = values[values != 0]
    if not len(values):
        return 1.0
    # Ties are the rule where errors reach their limits; the exact distribution knows none, but is
    # what a handful of agents asks for.
    method = "exact" if len(values) <= 20 else "auto"
    found: Any = stats.wilcoxon(values, alternative="less", method=method)
    return float(found.pvalue)


def compare(found: Examined, control: str) -> Comparison:
    """Errors beside those of a control, of the agents of whom both are numbers."""
    ours, theirs = found.rmse, found.controls[control]
    ratio = ours / theirs
    there = np.isfinite(ratio) & (ratio > 0)
    ours, theirs, ratio = ours[there], theirs[there], ratio[there]
    n = len(ratio)
    if not n:
        return Comparison(0, 0, math.nan, math.nan, math.nan, ratio)
    squared = np.stack([ours**2, theirs**2])
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), _DRAWS)
    over = np.sqrt(np.divide(*(squared @ draws.T)))
    return Comparison(
        agents=n,
        better=int((ratio < 1).sum()),
        median=float(np.median(ratio)),
        overall=float(np.sqrt(np.divide(*squared.sum(axis=1)))),
        overall_low=float(np.quantile(over, 0.05)),
        log_ratio=np.log(ratio),
    )


def enough_agents(better: int, agents: int, rules: Criteria = CRITERIA) -> int | None:
    """How many agents a sign test would need, were as large a share better; None if none do."""
    share = (better + 0.5) / (agents + 1)
    sizes = np.arange(max(rules.fewest_agents, agents + 1), _MOST_AGENTS)
    wins = np.floor(share * sizes + 0.5)
    there = np.flatnonzero(stats.binom.sf(wins - 1, sizes, 0.5) < rules.level)
    return int(sizes[there[0]]) if share > 0.5 and len(there) else None


def better(
    name: str,
    found: Examined,
    control: str,
    *,
    advice: str,
    planning: bool = False,
    needed: Needed = "",
    worst: Status = "fail",
    rules: Criteria = CRITERIA,
) -> Check:
    """Whether predictions are clearly better than a control's, agent by agent.

    Pass: typically better (signed-rank test), by a tenth in the median, and not worse over all.
    ``worst``: the test says that the typical error is not a tenth smaller, and cannot say that it
    is smaller at all; or, of too few agents for a test, each is predicted many times worse. Else
    there is a warning, or of too few agents nothing is known.
    """
    c, words = compare(found, control), NAMES[control]
    gained = c.p_below(1) < rules.level
    enough: int | None = None
    status: Status = "warn"
    if c.agents < rules.fewest_agents:
        enough = enough_agents(c.better, c.agents, rules) if c.agents else rules.fewest_agents
        status, text = (
            "unknown",
            f"{n_agents(c.agents)} are too few to tell whether {_they(words)}.",
        )
        if c.agents and c.log_ratio.min() > math.log(rules.grossly):
            status, enough = worst, None
            text = f"Every agent is predicted more than {rules.grossly:g} times worse. {advice}"
    elif c.median < rules.clearly and gained and c.overall < 1:
        status, text = "pass", f"Predictions are clearly better than {words}."
    elif c.median >= rules.clearly and not gained and c.p_above(rules.clearly) < rules.level:
        status, text = worst, advice
    elif c.median < 1 and gained and c.overall < 1:
        text = f"Predictions are better than {words}, but by less than a tenth in the median."
    elif c.median < 1 and c.overall >= 1:
        text = (
            f"Most agents are predicted better than by {words}, but some so badly that the error "
            "over all is no smaller. Look at these agents first."
        )
    else:
        enough = enough_agents(c.better, c.agents, rules)
        text = f"{n_agents(c.agents)} do not show whether {_they(words)}."
    return Check(
        name=name,
        status=status,
        figure=_figure(c),
        expected=f"below {rules.clearly:g}, better for most",
        advice=text,
        planning=planning,
        needed=needed,
        values={**c.to_dict(), "p": c.p_below(1), "control": control, "enough_agents": enough},
    )


def n_agents(n: int) -> str:
    """So many agents, in words."""
    return "1 agent" if n == 1 else f"{n} agents"


def _they(control: str) -> str:
    return f"they are predicted better than by {control}"


def _figure(c: Comparison) -> str:
    if not c.agents:
        return "no agent to compare"
    return f"{c.median:.2g} times its error, better for {c.better} of {c.agents} agents"


def best_simple(found: Examined) -> str:
    """The simple control with the smallest error over all agents."""
    return min(SIMPLE, key=lambda name: float(np.square(found.controls[name]).mean()))


def not_worse(found: Examined, rules: Criteria = CRITERIA) -> Check:
    """Whether predictions are as good as those of the best simple control, but for a margin.

    Which one is best is settled by the errors over all agents of the very data: no easy opponent.
    Where both are far better than no change, what they differ by may be negligible beside it.
    """
    control = best_simple(found)
    c, words, limit = compare(found, control), NAMES[control], 1 + rules.margin
    excess = np.median((found.rmse - found.controls[control]) / found.controls["persistence"])
    status: Status = "warn"
    enough: int | None = None
    if c.agents < rules.fewest_agents:
        status, enough = "unknown", rules.fewest_agents
        text = f"{n_agents(c.agents)} are too few to tell whether {words} does better."
    elif c.median > limit and excess < rules.negligible_loss:
        status = "pass"
        text = (
            f"{words.capitalize()} predicts still better, by less than "
            f"{100 * rules.negligible_loss:.0f} % of the error of no change."
        )
    elif c.median > limit and c.p_above(limit) < rules.level:
        status = "fail"
        text = (
            f"{words.capitalize()} predicts better: it is the fit that falls short here, not the "
            "data. For predictions prefer the simpler model."
        )
    elif c.median <= limit and c.overall_low <= limit:
        status, text = "pass", f"Nothing simpler predicts better; the best was {words}."
    elif c.median > limit:
        enough = enough_agents(c.agents - c.better, c.agents, rules)
        text = f"{words.capitalize()} seems to predict better; there are too few agents to tell."
    else:
        text = (
            f"For most agents nothing simpler predicts better, but over all {words} has the "
            "smaller error: some agents are predicted badly. Look at these first."
        )
    return Check(
        name="against the best simple control",
        status=status,
        figure=f"{control}: {_figure(c)}",
        expected=f"at most {limit:g}",
        advice=text,
        needed="prediction",
        values={**c.to_dict(), "p": c.p_above(limit), "control": control, "enough_agents": enough},
    )


def as_promised(found: Examined, own: Mapping[str, Any], rules: Criteria = CRITERIA) -> Check:
    """Whether errors are of the size of those on what the fit held out, relative to no change."""
    name = "against the run's own error"
    error, base = own.get("rmse"), own.get("persistence_rmse")
    n = len(found.rmse)
    if not error or not base or n < 3:
        return Check(
            name,
            "unknown",
            f"{n_agents(n)}" if error and base else "nothing was held out in the fit",
            "3 agents, and a held-out error",
            "Nothing to compare with.",
        )
    # No further ahead than the fit looked: errors grow with the horizon.
    reach = min(len(own.get("rmse_by_horizon") or found.ends.mask[0]), found.ends.mask.shape[1])
    mask = found.ends.mask[:, :reach]
    ours, still = (
        np.median(
            np.sqrt(
                np.where(mask, found.by_horizon[key][:, :reach] ** 2, 0).sum(axis=1)
                / np.maximum(mask.sum(axis=1), 1)
            )
        )
        for key in ("model", "persistence")
    )
    here, there = float(ours / still), float(error / base)
    times = here / max(there, 1e-12)
    matters = here > rules.promised_share
    status: Status = "pass"
    if matters and times > rules.promised_times / 3:
        status = "fail" if times > rules.promised_times else "warn"
    return Check(
        name,
        status,
        f"{here:.2g} of the error of no change",
        f"{there:.2g} on what the fit held out",
        "Errors are of the size that the fit saw."
        if status == "pass"
        else f"Errors are {times:.3g} times as large as on what the fit held out: this data is not "
        "of the kind that the run was made for, or what was held out was too much like the rest.",
        values={"share": here, "own_share": there, "times": times},
    )


def fitted_on(found_known: NDArray[np.integer], rules: Criteria = CRITERIA) -> Check:
    """Whether the run was fitted on more than a handful of rows.

    Args:
        found_known: transitions of each agent that the nets were trained on.
        rules: what decides.
    """
    total = int(np.sum(found_known))
    fine = total >= rules.least_transitions
    return Check(
        "data of the fit",
        "pass" if fine else "unknown",
        f"{total} transitions of {n_agents(len(found_known))}",
        f"at least {rules.least_transitions} transitions",
        "There was something to learn from."
        if fine
        else "So few rows determine nothing: whatever the run predicts is a guess. Fit again with "
        "more rows of each agent, or with more agents.",
        needed="prediction",
        values={"transitions": total, "agents": len(found_known)},
    )


def trained_counts(found: Any) -> NDArray[np.integer]:
    """Transitions of the agents of a model that its nets were trained on."""
    known = found.posterior
    return known.evidence.count[known.trained]


def break_even(found: Examined, rules: Criteria = CRITERIA) -> Check:
    """From which horizon on the best simple control does as well, to the end.

    Errors are averaged over the last week of steps or quarter of the reach, so that a single step
    at which tomorrow resembles yesterday is no end of what can be predicted. It limits how far to
    ask, and is no verdict.
    """
    mask = found.ends.mask
    control = best_simple(found) if len(mask) else "persistence"
    reach = int((mask.sum(axis=0) >= min(rules.fewest, len(mask))).sum())
    width = max(rules.season, reach // 4)
    ours, theirs = (
        np.array(
            [np.median(np.square(found.by_horizon[name][mask[:, h], h])) for h in range(reach)]
        )
        for name in ("model", control)
    )
    smooth = [
        np.array([x[max(0, h + 1 - width) : h + 1].mean() for h in range(reach)])
        for x in (ours, theirs)
    ]
    good = np.flatnonzero(smooth[0] < smooth[1])
    first = int(good[-1]) + 2 if len(good) else 1  # 1-based, the first step from which none is good
    step = first if first <= reach else None
    return Check(
        name="break-even horizon",
        status="pass" if step is None else "warn",
        figure=f"none within {reach} steps" if step is None else f"step {step} of {reach}",
        expected=f"none within {reach} steps",
        advice=f"Predictions beat the best simple control ({control}) as far as the data reaches."
        if step is None
        else f"From step {step} on {NAMES[control]} does as well: "
        + (
            f"do not ask for more than {step - 1} steps at a time."
            if step > 1
            else "no horizon favours the run."
        ),
        values={"step": step, "reach": reach, "control": control},
    )
