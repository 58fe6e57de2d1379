"""The improved cross-entropy method for continuous actions."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from twinfold.planning.config import ICEMSettings
from twinfold.planning.noise import (
    blend,
    coloured_noise,
    count_elites,
    middle_plan,
    moments,
    select_elites,
    within,
)
from twinfold.planning.planner import Evaluate, PlanInfo, Planner, join, shift


class ICEMState(NamedTuple):
    """The search as it is kept from one control step to the next.

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
        settings: how to search.
    """

    low: Float[Array, " A"]
    high: Float[Array, " A"]
    settings: ICEMSettings = eqx.field(static=True)

    def __init__(
        self, low: ArrayLike, high: ArrayLike, settings: ICEMSettings | None = None, **changes: Any
    ) -> None:
        self.low, self.high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
        self.settings = (settings or ICEMSettings()).replace(**changes)

    @property
    def horizon(self) -> int:
        """The length H of a plan."""
        return self.settings.horizon

    @property
    def n_elites(self) -> int:
        """The number K of elites."""
        return count_elites(self.settings.candidates, self.settings.elite)

    @property
    def n_kept(self) -> int:
        """The number of elites that are added to the next round."""
        return min(self.n_elites, max(1, round(self.settings.keep * self.n_elites)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of candidates of each round, what is added included."""
        how = self.settings
        decayed = (round(how.candidates * how.decay**i) for i in range(how.rounds))
        return tuple(max(size, 2 * self.n_elites) for size in decayed)

    def init(self, key: Array) -> ICEMState:
        """Return the middle of the range throughout."""
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
        """Return the first action of the best candidate of the last round, and its plan."""
        how = self.settings
        first = jnp.broadcast_to(how.spread * (self.high - self.low), state.mean.shape)
        mean, std = shift(state.mean), first
        key, key_last = jax.random.split(key)
        kept = self._shifted(state.elites[: self.n_kept], key_last)
        n_valid = n_tried = jnp.zeros(())
        elites, scores = state.elites, jnp.zeros(self.n_elites)
        # Rounds differ in size, so they are written out one after the other and not scanned.
        for i, (size, key_round) in enumerate(
            zip(self.sizes, jax.random.split(key, how.rounds), strict=True)
        ):
            added = [kept]
            if i == how.rounds - 1:
                added.append(mean[None])
            n_new = max(0, size - sum(map(len, added)))
            noise = coloured_noise(key_round, how.noise_beta, (n_new, *mean.shape))
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
            mean = jnp.where(any_found, blend(mean, new_mean, how.momentum), mean)
            std = jnp.where(any_found, blend(std, new_std, how.momentum), std)
        info = PlanInfo(actions=elites[0], score=scores[0], valid=n_valid / n_tried)
        return elites[0][0], ICEMState(mean, elites), info

    def _shifted(self, elites: Float[Array, "K H A"], key: Array) -> Float[Array, "K H A"]:
        """Return the elites one step later; the last action is drawn anew."""
        last = jax.random.uniform(
            key, (len(elites), 1, *self.low.shape), minval=self.low, maxval=self.high
        )
        return jnp.concatenate([elites[:, 1:], last], axis=1)
