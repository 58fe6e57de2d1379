"""Estimates from returns in many worlds, and the records they make.

Axes: K draws, S starts.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.metrics import trimmed_mean

Floats = NDArray[np.float64]

NOTE = (
    "An estimate from a learned model, not from data of this policy: it is as good as the "
    "simulator is where the policy leads."
)


@dataclass(frozen=True)
class ValueSettings:
    """Numbers that decide of a value beside what was asked.

    Attributes:
        starts: starts of the task if none are asked for.
        planned_starts: the same of a planner, which takes a thousand times as long as a policy.
        range_margin: share of the range of the training data by which a state may leave it before
            it counts as outside.
        outside: share of steps outside, from which on the command says so.
    """

    starts: int = 200
    planned_starts: int = 5
    range_margin: float = 0.1
    outside: float = 0.2


VALUE_SETTINGS = ValueSettings()
"""Those of every value."""


@dataclass(frozen=True, eq=False)
class PolicyValue:
    """Value of a policy to an agent, by the model.

    Attributes:
        agent: the user's id.
        policy: its name.
        task: name of what gave the reward.
        value: robust mean over draws of the mean return over starts; -infinity if too many draws
            diverged.
        low: lower end of the interval (see the module).
        high: upper end.
        coverage: nominal.
        model_sd: standard deviation over the finite draws: what is not known of nets and agent.
        start_se: standard error of the value because the starts are S out of many.
        returns: ``(K, S)``; not finite where a rollout diverged.
        mean_steps: mean length of the rollouts.
        ended: share of rollouts that ended by themselves.
        outside: share of steps that led out of the range of the training data, widened by
            ``range_margin``: there the model is a guess.
        diverged: number of draws with a rollout that diverged.
        horizon: the most steps.
        discount: per step.
        seed: of starts, draws and policy.
        settings: what decided beside these.
        noise: whether the noise of the world was in every step.
    """

    agent: AgentId
    policy: str
    task: str
    value: float
    low: float
    high: float
    coverage: float
    model_sd: float
    start_se: float
    returns: Floats = field(repr=False)
    mean_steps: float
    ended: float
    outside: float
    diverged: int
    horizon: int
    discount: float
    seed: int
    settings: ValueSettings = VALUE_SETTINGS
    noise: bool = False

    @property
    def draws(self) -> Floats:
        """V_k, ``(K,)``: the value in each world, -infinity where a rollout diverged."""
        return by_draw(self.returns)

    def record(self) -> dict[str, Any]:
        """Return everything but the single returns as plain values, for JSON."""
        plain = dataclasses.asdict(self)
        n_draws, n_starts = plain.pop("returns").shape
        return {
            "kind": "policy_value",
            "model_based": True,
            **plain,
            "n_draws": n_draws,
            "n_starts": n_starts,
            "note": NOTE,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two policies for one agent, on the same starts, worlds and random numbers.

    Attributes:
        a: the one policy.
        b: the other.
        difference: value of the one less that of the other, the robust mean of paired differences.
        low: lower end of its interval.
        high: upper end.
        probability: that the one is better; a tie counts one half.
        model_sd: standard deviation of the differences over the finite draws.
        start_se: standard error of the difference because the starts are S out of many.
    """

    a: PolicyValue
    b: PolicyValue
    difference: float
    low: float
    high: float
    probability: float
    model_sd: float
    start_se: float

    def record(self) -> dict[str, Any]:
        """Return everything but the single returns as plain values, for JSON."""
        own = ("difference", "low", "high", "probability", "model_sd", "start_se")
        return {
            "kind": "policy_comparison",
            "model_based": True,
            "agent": self.a.agent,
            "task": self.a.task,
            **{name: getattr(self, name) for name in own},
            "coverage": self.a.coverage,
            "a": self.a.record(),
            "b": self.b.record(),
            "note": NOTE,
        }


class Interval(NamedTuple):
    """Interval and standard errors of a value.

    Attributes:
        low: lower end of the interval.
        high: upper end.
        model_sd: standard deviation over the finite draws.
        start_se: standard error because the starts are S out of many.
    """

    low: float
    high: float
    model_sd: float
    start_se: float


def lower_rank(n_draws: int, coverage: float) -> int:
    """Return the rank of the draw that bounds the interval from below; 0 if there are too few."""
    return math.floor((n_draws + 1) * (1 - coverage) / 2 + 1e-9)


def by_draw(returns: Floats) -> Floats:
    """Return V_k, ``(K,)``, of returns ``(K, S)``; -infinity if a rollout of the draw diverged."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(returns).all(axis=1), returns.mean(axis=1), -np.inf)


def robust_mean(values: Floats) -> float:
    """Return the robust mean of draws ``(K,)``."""
    with np.errstate(invalid="ignore"):  # where two policies diverge by turns nothing is known
        return float(trimmed_mean(values[:, None])[0])


def interval(value: float, draws: Floats, returns: Floats, coverage: float) -> Interval:
    """Return the interval about a value, as :mod:`twinfold.ope.policy_value` defines it.

    Args:
        value: centre of the draws.
        draws: ``(K,)``.
        returns: ``(K, S)``, or their differences; rows that are not finite are left out.
        coverage: nominal.
    """
    place = lower_rank(len(draws), coverage)
    ordered = np.sort(draws)
    finite = np.isfinite(returns).all(axis=1)
    sd = float(draws[finite].std(ddof=1)) if finite.sum() > 1 else math.inf
    by_start = returns[finite].mean(axis=0) if finite.any() else np.zeros(1)
    error = float(by_start.std(ddof=1) / len(by_start) ** 0.5) if len(by_start) > 1 else 0.0
    reach = statistics.NormalDist().inv_cdf(0.5 + coverage / 2) * error
    below = float(value - ordered[place - 1]) if value > ordered[place - 1] else 0.0
    above = float(ordered[-place] - value) if ordered[-place] > value else 0.0
    return Interval(value - math.hypot(below, reach), value + math.hypot(above, reach), sd, error)


def compare(a: PolicyValue, b: PolicyValue) -> Comparison:
    """Return the paired comparison of two values with the same starts and worlds."""
    one, other = a.draws, b.draws
    with np.errstate(invalid="ignore"):
        differences = one - other
        returns = a.returns - b.returns
    differences[np.isinf(one) & np.isinf(other)] = 0.0  # neither is better
    difference = robust_mean(differences)
    around = interval(difference, differences, returns, a.coverage)
    chance = probability_positive(differences, around.start_se)
    return Comparison(a, b, difference, probability=chance, **around._asdict())


def probability_positive(differences: Floats, error: float) -> float:
    """Return mean_k Phi(D_k / e); without an error a draw counts 1, 1/2 or 0.

    Args:
        differences: ``(K,)``, infinite where one of the two diverged.
        error: e, the standard error by the starts.
    """
    normal = statistics.NormalDist()
    counts = [
        normal.cdf(d / error) if error > 0 and math.isfinite(d) else (np.sign(d) + 1) / 2
        for d in differences
    ]
    return float(np.mean(counts))
