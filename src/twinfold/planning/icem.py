"""The improved cross-entropy method for continuous actions."""

from __future__ import annotations

from typing import NamedTuple

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
from twinfold.planning.planner import Evaluate, PlanInfo, Planner, join, shift


class ICEMState(NamedTuple):
    """What is kept from one control step to the next.

    Attributes:
        mean: centre of the search, ``(H, A)``.
        elites: best plans of the last round, best first, ``(K, H, A)``.
    """

    mean: Array
    elites: Array


class ICEM(Planner):
    """iCEM (Pinneri et al. 2020): the cross-entropy method for few candidates.

    A round draws candidates around a mean plan with coloured noise, clips them to the bounds, adds
    a share of the elites of the round before (in the first round those of the last control step,
    shifted, with a new last action), and moves mean and spread to those of the best candidates.
    Later rounds are smaller, the last one also holds the mean itself. The best plan of the last
    round is executed: it is the best of all rounds, because the best elite is always among those
    that are added. The next control step begins at the shifted mean with the first spread.

    Attributes:
        low: lower bounds of the action, ``(A,)``, in raw units.
        high: upper bounds, ``(A,)``.
        candidates: number B of sequences in the first round, at least 4.
        horizon: their length H.
        rounds: rounds per step.
        elite: share of the candidates of the first round that are elites; at least 2.
        keep: share of the elites that are added to the next round; at least 1.
        decay: size of a round over that of the one before, at most 1; no round has fewer than two
            candidates per elite.
        momentum: share of the old mean and spread in the new ones, in [0, 1).
        noise_beta: colour of the noise along a plan, see :func:`coloured_noise`.
        spread: standard deviation of the first round, as a share of the range of the action.
    """

    low: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    high: Float[Array, " A"] = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    candidates: int = eqx.field(static=True, default=100)
    horizon: int = eqx.field(static=True, default=25)
    rounds: int = eqx.field(static=True, default=4)
    elite: float = eqx.field(static=True, default=0.1)
    keep: float = eqx.field(static=True, default=0.3)
    decay: float = eqx.field(static=True, default=0.8)
    momentum: float = eqx.field(static=True, default=0.1)
    noise_beta: float = eqx.field(static=True, default=2.0)
    spread: float = eqx.field(static=True, default=0.25)

    def __check_init__(self) -> None:
        """A planner that cannot form an elite is a mistake."""
        if self.candidates < 4 or self.rounds < 1:
            raise ValueError(
                f"iCEM needs at least 4 candidates and 1 round, not {self.candidates} and "
                f"{self.rounds}"
            )

    @property
    def n_elites(self) -> int:
        """K."""
        return count_elites(self.candidates, self.elite)

    @property
    def n_kept(self) -> int:
        """Elites that are added to the next round."""
        return min(self.n_elites, max(1, round(self.keep * self.n_elites)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of each round, what is added included."""
        decayed = (round(self.candidates * self.decay**i) for i in range(self.rounds))
        return tuple(max(size, 2 * self.n_elites) for size in decayed)

    def init(self, key: Array) -> ICEMState:
        """The middle of the range throughout."""
        del key
        middle = middle_plan(self.low, self.high, self.horizon)
        return ICEMState(middle, jnp.broadcast_to(middle, (self.n_elites, *middle.shape)))

    def plan(
        self,
        state: ICEMState,
        evaluate: Evaluate,
        observation: Float[Array, " D"],
        key: Array,
        proposals: Array | None = None,
    ) -> tuple[Float[Array, " A"], ICEMState, PlanInfo]:
        """The first action of the best candidate of the last round."""
        first = jnp.broadcast_to(self.spread * (self.high - self.low), state.mean.shape)
        mean, std = shift(state.mean), first
        key, key_last = jax.random.split(key)
        kept = self._shifted(state.elites[: self.n_kept], key_last)
        n_valid = n_tried = jnp.zeros(())
        elites, scores = state.elites, jnp.zeros(self.n_elites)
        # Rounds differ in size, so they are written out one after the other and not scanned.
        for i, (size, key_round) in enumerate(
            zip(self.sizes, jax.random.split(key, self.rounds), strict=True)
        ):
            added = [kept]
            if i == self.rounds - 1:
                added.append(mean[None])
            n_new = max(0, size - sum(map(len, added)))
            noise = coloured_noise(key_round, self.noise_beta, (n_new, *mean.shape))
            actions = join(jnp.clip(mean + std * noise, self.low, self.high), *added)
            if i == 0:
                actions = join(actions, within(proposals, self.low, self.high))
            found = evaluate(observation, actions)
            n_valid, n_tried = n_valid + jnp.isfinite(found).sum(), n_tried + len(actions)
            elites, scores = select_elites(actions, found, self.n_elites, default=mean)
            kept = elites[: self.n_kept]
            any_found = jnp.isfinite(scores[0])
            new_mean, new_std = moments(elites, scores)
            # Without any valid candidate the round changes nothing.
            mean = jnp.where(any_found, self._blend(mean, new_mean), mean)
            std = jnp.where(any_found, self._blend(std, new_std), std)
        info = PlanInfo(actions=elites[0], score=scores[0], valid=n_valid / n_tried)
        return elites[0][0], ICEMState(mean, elites), info

    def _blend(self, old: Array, new: Array) -> Array:
        return self.momentum * old + (1 - self.momentum) * new

    def _shifted(self, elites: Float[Array, "K H A"], key: Array) -> Float[Array, "K H A"]:
        """Elites one step later; the last action is drawn anew."""
        last = jax.random.uniform(
            key, (len(elites), 1, *self.low.shape), minval=self.low, maxval=self.high
        )
        return jnp.concatenate([elites[:, 1:], last], axis=1)
