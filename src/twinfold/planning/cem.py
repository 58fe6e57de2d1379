"""The cross-entropy method for continuous actions."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinfold.planning.noise import (
    coloured_noise,
    count_elites,
    middle_plan,
    moments,
    select_elites,
    within,
)
from twinfold.planning.planner import Evaluate, PlanInfo, Planner, join, shift, usable


class CEM(Planner):
    """The cross-entropy method, by default as the PerSim paper plans.

    Each of ``rounds`` rounds draws candidates around a mean plan, clips them to the bounds, and
    moves the mean and the spread to those of the best ones (the elites). The search begins anew at
    every control step, at the middle of the range, and the last mean is executed.

    Attributes:
        low: lower bounds of the action, ``(A,)``, in raw units.
        high: upper bounds, ``(A,)``.
        candidates: number B of sequences per round, at least 4.
        horizon: their length H.
        rounds: rounds per step.
        elite: share of the candidates that the next round is fitted to; at least 2.
        momentum: share of the old mean and spread in the new ones, in [0, 1).
        noise_beta: colour of the noise along a plan, see :func:`coloured_noise`; 0 is independent.
        spread: standard deviation of the first round, as a share of the range of the action.
        warm_start: begin at the shifted plan of the last control step instead of the middle.
        execute: ``"mean"``, or ``"best"`` for the best candidate of all rounds.
    """

    low: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    high: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    candidates: int = eqx.field(static=True, default=200)
    horizon: int = eqx.field(static=True, default=30)
    rounds: int = eqx.field(static=True, default=5)
    elite: float = eqx.field(static=True, default=0.1)
    momentum: float = eqx.field(static=True, default=0.1)
    noise_beta: float = eqx.field(static=True, default=0.0)
    spread: float = eqx.field(static=True, default=0.25)
    warm_start: bool = eqx.field(static=True, default=False)
    execute: Literal["best", "mean"] = eqx.field(static=True, default="mean")

    def __check_init__(self) -> None:
        """A planner that cannot form an elite is a mistake."""
        if self.candidates < 4 or self.rounds < 1:
            raise ValueError(
                f"CEM needs at least 4 candidates and 1 round, not {self.candidates} and "
                f"{self.rounds}"
            )

    @property
    def n_elites(self) -> int:
        """K."""
        return count_elites(self.candidates, self.elite)

    def init(self, key: Array) -> Float[Array, "H A"]:
        """The middle of the range throughout."""
        del key
        return middle_plan(self.low, self.high, self.horizon)

    def plan(
        self,
        state: Float[Array, "H A"],
        evaluate: Evaluate,
        observation: Float[Array, " D"],
        key: Array,
        proposals: Array | None = None,
    ) -> tuple[Float[Array, " A"], Float[Array, "H A"], PlanInfo]:
        """The first action of the last mean or of the best candidate; proposals in every round."""
        start = shift(state) if self.warm_start else self.init(key)
        spread = jnp.broadcast_to(self.spread * (self.high - self.low), start.shape)

        def one_round(search: Any, key: Array) -> tuple[Any, Array]:
            mean, std, best, best_score = search
            noise = coloured_noise(key, self.noise_beta, (self.candidates, *mean.shape))
            drawn = jnp.clip(mean + std * noise, self.low, self.high)
            actions = join(drawn, within(proposals, self.low, self.high))
            scores = evaluate(observation, actions)
            elites, top_scores = select_elites(actions, scores, self.n_elites, default=mean)
            new_mean, new_std = moments(elites, top_scores)
            found = jnp.isfinite(top_scores[0])  # without any the round changes nothing
            better = top_scores[0] > best_score
            after = (
                jnp.where(found, self._blend(mean, new_mean), mean),
                jnp.where(found, self._blend(std, new_std), std),
                jnp.where(better, elites[0], best),
                jnp.maximum(top_scores[0], best_score),
            )
            return after, jnp.isfinite(scores).mean()

        begin = (start, spread, start, jnp.array(-jnp.inf))
        keys = jax.random.split(key, self.rounds)
        (plan, _, best, score), valid = jax.lax.scan(one_round, begin, keys)
        if self.execute == "best":
            plan = best
        else:  # costs nothing in an episode, where nobody reads it
            score = usable(evaluate(observation, plan[None]))[0]
        return plan[0], plan, PlanInfo(actions=plan, score=score, valid=valid.mean())

    def _blend(self, old: Array, new: Array) -> Array:
        return self.momentum * old + (1 - self.momentum) * new
