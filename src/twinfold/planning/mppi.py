"""Model-predictive path integral control for continuous actions."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinfold.planning.noise import coloured_noise, middle_plan, within
from twinfold.planning.planner import Evaluate, PlanInfo, Planner, join, shift, usable


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
        candidates: number B of sequences per round, at least 2.
        horizon: their length H.
        rounds: rounds per step.
        temperature: T, positive; the smaller, the more the best candidates count.
        temperature_unit: ``"spread"`` (standard deviations of the scores) or ``"reward"``.
        noise_beta: colour of the noise along a plan, see :func:`coloured_noise`.
        spread: standard deviation of the noise, as a share of the range of the action.
    """

    low: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    high: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    candidates: int = eqx.field(static=True, default=100)
    horizon: int = eqx.field(static=True, default=25)
    rounds: int = eqx.field(static=True, default=4)
    temperature: float = eqx.field(static=True, default=0.3)
    temperature_unit: Literal["spread", "reward"] = eqx.field(static=True, default="spread")
    noise_beta: float = eqx.field(static=True, default=2.0)
    spread: float = eqx.field(static=True, default=0.25)

    def __check_init__(self) -> None:
        """A planner without a choice, or that divides by zero, is a mistake."""
        if self.candidates < 2 or self.rounds < 1 or not self.temperature > 0:
            raise ValueError(
                "MPPI needs at least 2 candidates, 1 round and a positive temperature, not "
                f"{self.candidates}, {self.rounds} and {self.temperature}"
            )

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
        """The first action of the weighted mean of the last round."""
        spread = self.spread * (self.high - self.low)

        def one_round(mean: Array, key: Array) -> tuple[Array, Array]:
            noise = coloured_noise(key, self.noise_beta, (self.candidates, *mean.shape))
            around = jnp.clip(mean + spread * noise.at[0].set(0.0), self.low, self.high)
            actions = join(around, within(proposals, self.low, self.high))
            scores = evaluate(observation, actions)
            weights = self.weights(scores)
            new = jnp.einsum("b,bha->ha", weights, actions)
            # Rounding must not carry a mean of values within the bounds beyond them.
            new = jnp.where(weights.sum() > 0, jnp.clip(new, self.low, self.high), mean)
            return new, jnp.isfinite(scores).mean()

        keys = jax.random.split(key, self.rounds)
        plan, valid = jax.lax.scan(one_round, shift(state), keys)
        # Costs nothing in an episode, where nobody reads it.
        score = usable(evaluate(observation, plan[None]))[0]
        return plan[0], plan, PlanInfo(actions=plan, score=score, valid=valid.mean())

    def weights(self, scores: Float[Array, " B"]) -> Float[Array, " B"]:
        """w_k; 0 for a candidate without a finite score, and 0 for all if none has one."""
        finite = jnp.isfinite(scores)
        n = jnp.maximum(finite.sum(), 1)
        top = usable(scores).max()
        # Differences to the best one: large scores lose no digits, and exp cannot overflow.
        below = jnp.where(finite, scores - jnp.where(jnp.isfinite(top), top, 0.0), 0.0)
        unit = jnp.ones(())
        if self.temperature_unit == "spread":
            deviation = jnp.where(finite, below - below.sum() / n, 0.0)
            unit = jnp.sqrt((deviation**2).sum() / n)
        # Equal scores have no spread: all count the same.
        logits = below / (self.temperature * jnp.where(unit > 0, unit, 1.0))
        raw = jnp.where(finite, jnp.exp(logits), 0.0)
        return raw / jnp.maximum(raw.sum(), 1e-30)
