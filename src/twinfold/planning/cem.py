"""The cross-entropy method for continuous actions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinfold.planning.planner import Evaluate, PlanInfo, Planner, shift, usable


class CEM(Planner):
    """Cross-entropy method with clipped, correlated Gaussians and a warm start.

    Each of ``rounds`` rounds draws candidates around a mean plan, clips them to the bounds, and
    moves the mean and the spread to those of the best ones (the elites). Every round also holds
    the mean itself and the best plan so far, which wins in the end: its score is one that was
    computed, not that of an average of plans. The next step starts from that plan, shifted.

    Noise along a plan is an autoregressive process with unit variance, because independent noise
    averages out (compare iCEM, Pinneri et al. 2020).

    Attributes:
        low: lower bounds of the action, ``(A,)``, in raw units.
        high: upper bounds, ``(A,)``.
        candidates: number B of sequences per round, at least 4.
        horizon: their length H.
        rounds: rounds per step.
        elite: share of the candidates that the next round is fitted to.
        spread: standard deviation of the first round, as a share of the range of the action.
        smoothness: correlation of the noise of successive actions, in [0, 1).
    """

    low: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    high: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    candidates: int = eqx.field(static=True, default=200)
    horizon: int = eqx.field(static=True, default=25)
    rounds: int = eqx.field(static=True, default=4)
    elite: float = eqx.field(static=True, default=0.1)
    spread: float = eqx.field(static=True, default=0.3)
    smoothness: float = eqx.field(static=True, default=0.5)

    def __check_init__(self) -> None:
        """A planner that cannot form an elite is a mistake."""
        if self.candidates < 4 or self.rounds < 1:
            raise ValueError(
                f"CEM needs at least 4 candidates and 1 round, not {self.candidates} and "
                f"{self.rounds}"
            )

    def init(self, key: Array) -> Float[Array, "H A"]:
        """The middle of the range throughout."""
        del key
        return jnp.broadcast_to((self.low + self.high) / 2, (self.horizon, *self.low.shape))

    def plan(
        self,
        state: Float[Array, "H A"],
        evaluate: Evaluate,
        observation: Float[Array, " D"],
        key: Array,
    ) -> tuple[Float[Array, " A"], Float[Array, "H A"], PlanInfo]:
        """The first action of the best candidate of all rounds."""
        n_elites = max(2, round(self.elite * self.candidates))
        full = self.spread * (self.high - self.low)
        warm = shift(state)

        def one_round(search: _Search, key: Array) -> tuple[_Search, Array]:
            around = search.mean + search.std * self._noise(key)
            actions = jnp.clip(around, self.low, self.high)
            actions = actions.at[0].set(search.mean).at[1].set(search.best)
            scores = usable(evaluate(observation, actions))
            top_scores, top = jax.lax.top_k(scores, n_elites)
            # Elites that are not finite do not count; without any the round changes nothing.
            weight = jnp.isfinite(top_scores).astype(jnp.float32)[:, None, None]
            n = jnp.maximum(weight.sum(), 1.0)
            elites = actions[top]
            mean = (weight * elites).sum(axis=0) / n
            std = jnp.sqrt((weight * (elites - mean) ** 2).sum(axis=0) / n)
            found = weight.sum() > 0
            better = top_scores[0] > search.score
            after = _Search(
                mean=jnp.where(found, mean, search.mean),
                std=jnp.where(found, std, search.std),
                best=jnp.where(better, elites[0], search.best),
                score=jnp.where(better, top_scores[0], search.score),
            )
            return after, jnp.isfinite(scores).mean()

        start = _Search(warm, jnp.broadcast_to(full, warm.shape), warm, jnp.array(-jnp.inf))
        search, valid = jax.lax.scan(one_round, start, jax.random.split(key, self.rounds))
        info = PlanInfo(actions=search.best, score=search.score, valid=valid.mean())
        return search.best[0], search.best, info

    def _noise(self, key: Array) -> Float[Array, "B H A"]:
        """Unit-variance noise ``(B, H, A)``, correlated along the plan."""
        white = jax.random.normal(key, (self.horizon, self.candidates, *self.low.shape))
        if self.smoothness == 0:
            return jnp.swapaxes(white, 0, 1)
        innovation = math.sqrt(1 - self.smoothness**2)

        def correlate(last: Array, new: Array) -> tuple[Array, Array]:
            now = self.smoothness * last + innovation * new
            return now, now

        _, later = jax.lax.scan(correlate, white[0], white[1:])
        return jnp.swapaxes(jnp.concatenate([white[:1], later]), 0, 1)


class _Search(NamedTuple):
    mean: Any
    std: Any
    best: Any
    score: Any
