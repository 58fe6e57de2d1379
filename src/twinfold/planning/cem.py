"""The cross-entropy method for continuous actions."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from twinfold.planning.config import CEMSettings
from twinfold.planning.noise import (
    blend,
    coloured_noise,
    count_elites,
    middle_plan,
    moments,
    select_elites,
    within,
)
from twinfold.planning.planner import Evaluate, PlanInfo, Planner, join, shift, usable
from twinfold.utils.device import typed_as


class CEM(Planner):
    """The cross-entropy method.

    Each of ``rounds`` rounds draws candidates around a mean plan, clips them to the bounds, and
    moves the mean and the spread to those of the best ones (the elites). As the
    PerSim paper plans, the search begins anew at every control step, at the middle of the range,
    and the last mean is executed; by default it begins at the last plan, shifted by a step, and the
    best candidate of all rounds is executed.

    Attributes:
        low: lower bounds of the action, ``(A,)``, in raw units.
        high: upper bounds, ``(A,)``.
        settings: how to search.
    """

    low: Float[Array, " A"]
    high: Float[Array, " A"]
    settings: CEMSettings = eqx.field(static=True)

    def __init__(
        self, low: ArrayLike, high: ArrayLike, settings: CEMSettings | None = None, **changes: Any
    ) -> None:
        self.low, self.high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
        self.settings = (settings or CEMSettings()).replace(**changes)

    @property
    def horizon(self) -> int:
        """The length H of a plan."""
        return self.settings.horizon

    @property
    def n_elites(self) -> int:
        """The number K of elites."""
        return count_elites(self.settings.candidates, self.settings.elite)

    def init(self, key: Array) -> Float[Array, "H A"]:
        """Return the middle of the range throughout."""
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
        """Return the first action of the last mean or of the best candidate, and its plan.

        Proposals are tried in every round.
        """
        how = self.settings
        start = shift(state) if how.warm_start else self.init(key)
        spread = jnp.broadcast_to(how.spread * (self.high - self.low), start.shape)

        def one_round(search: Any, key: Array) -> tuple[Any, Array]:
            mean, std, best, best_score = search
            noise = coloured_noise(key, how.noise_beta, (how.candidates, *mean.shape))
            drawn = jnp.clip(mean + std * noise, self.low, self.high)
            actions = join(drawn, within(proposals, self.low, self.high))
            scores = evaluate(observation, actions)
            elites, top_scores = select_elites(actions, scores, self.n_elites, default=mean)
            new_mean, new_std = moments(elites, top_scores)
            found = jnp.isfinite(top_scores[0])  # without any the round changes nothing
            better = top_scores[0] > best_score
            after = (
                jnp.where(found, blend(mean, new_mean, how.momentum), mean),
                jnp.where(found, blend(std, new_std, how.momentum), std),
                jnp.where(better, elites[0], best),
                jnp.maximum(top_scores[0], best_score),
            )
            return typed_as(after, search), jnp.isfinite(scores).mean()

        begin = (start, spread, start, jnp.array(-jnp.inf))
        keys = jax.random.split(key, how.rounds)
        (plan, _, best, score), valid = jax.lax.scan(one_round, begin, keys)
        if how.execute == "best":
            plan = best
        else:  # costs nothing in an episode, where nobody reads it
            score = usable(evaluate(observation, plan[None]))[0]
        return plan[0], plan, PlanInfo(actions=plan, score=score, valid=valid.mean())
