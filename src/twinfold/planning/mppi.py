"""Model-predictive path integral control for continuous actions."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from twinfold.planning.config import MPPISettings
from twinfold.planning.noise import coloured_noise, middle_plan, within
from twinfold.planning.planner import Evaluate, PlanInfo, Planner, join, shift, usable
from twinfold.utils.device import typed_as


class MPPI(Planner):
    """MPPI (Williams et al. 2017): the mean of all candidates, weighted by their scores.

    With candidates a_1 .. a_B around the mean plan and scores G_k, a round moves the mean to

        sum_k w_k a_k,    w_k = exp(G_k / T) / sum_j exp(G_j / T)

    where T is ``temperature``, by default in units of the standard deviation of the scores of the
    round. The spread of the candidates does not change. The mean itself is the first candidate of
    every round; the last mean is executed, and shifted by one step it is the first of the next
    control step.

    Attributes:
        low: lower bounds of the action, ``(A,)``, in raw units.
        high: upper bounds, ``(A,)``.
        settings: how to search.
    """

    low: Float[Array, " A"]
    high: Float[Array, " A"]
    settings: MPPISettings = eqx.field(static=True)

    def __init__(
        self, low: ArrayLike, high: ArrayLike, settings: MPPISettings | None = None, **changes: Any
    ) -> None:
        self.low, self.high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
        self.settings = (settings or MPPISettings()).replace(**changes)

    @property
    def horizon(self) -> int:
        """The length H of a plan."""
        return self.settings.horizon

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
        """Return the first action of the weighted mean of the last round, and the mean."""
        how = self.settings
        spread = how.spread * (self.high - self.low)

        def one_round(mean: Array, key: Array) -> tuple[Array, Array]:
            noise = coloured_noise(key, how.noise_beta, (how.candidates, *mean.shape))
            around = jnp.clip(mean + spread * noise.at[0].set(0.0), self.low, self.high)
            actions = join(around, within(proposals, self.low, self.high))
            scores = evaluate(observation, actions)
            weights = self.weights(scores)
            new = jnp.einsum("b,bha->ha", weights, actions)
            # Rounding must not carry a mean of values within the bounds beyond them.
            new = jnp.where(weights.sum() > 0, jnp.clip(new, self.low, self.high), mean)
            return typed_as(new, mean), jnp.isfinite(scores).mean()

        keys = jax.random.split(key, how.rounds)
        plan, valid = jax.lax.scan(one_round, shift(state), keys)
        # Costs nothing in an episode, where nobody reads it.
        score = usable(evaluate(observation, plan[None]))[0]
        return plan[0], plan, PlanInfo(actions=plan, score=score, valid=valid.mean())

    def weights(self, scores: Float[Array, " B"]) -> Float[Array, " B"]:
        """Return w_k: 0 for a candidate without a finite score, for all if none has one."""
        finite = jnp.isfinite(scores)
        n = jnp.maximum(finite.sum(), 1)
        top = usable(scores).max()
        # Differences to the best one: large scores lose no digits, and exp cannot overflow.
        below = jnp.where(finite, scores - jnp.where(jnp.isfinite(top), top, 0.0), 0.0)
        unit = jnp.ones(())
        if self.settings.temperature_unit == "spread":
            deviation = jnp.where(finite, below - below.sum() / n, 0.0)
            unit = jnp.sqrt((deviation**2).sum() / n)
        # Equal scores have no spread: all count the same.
        logits = below / (self.settings.temperature * jnp.where(unit > 0, unit, 1.0))
        raw = jnp.where(finite, jnp.exp(logits), 0.0)
        return raw / jnp.maximum(raw.sum(), 1e-30)
