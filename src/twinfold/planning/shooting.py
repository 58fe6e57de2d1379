"""Random shooting, plain and sticky, for discrete actions."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinfold.planning.config import ShootingSettings, StickySettings
from twinfold.planning.planner import Evaluate, PlanInfo, Planner, best, join, shift, usable


class RandomShooting(Planner):
    """Independent uniform actions; the best of ``candidates`` sequences (Agarwal et al. 2021).

    Attributes:
        n_actions: number K of action levels.
        settings: how to search.
    """

    n_actions: int = eqx.field(static=True)
    settings: ShootingSettings = eqx.field(static=True)

    def __init__(
        self, n_actions: int, settings: ShootingSettings | None = None, **changes: Any
    ) -> None:
        self.n_actions = n_actions
        self.settings = (settings or ShootingSettings()).replace(**changes)

    @property
    def horizon(self) -> int:
        """The length H of a plan."""
        return self.settings.horizon

    def init(self, key: Array) -> None:
        """Return nothing: nothing is kept from one step to the next."""

    def plan(
        self,
        state: None,
        evaluate: Evaluate,
        observation: Float[Array, " D"],
        key: Array,
        proposals: Array | None = None,
    ) -> tuple[Int[Array, ""], None, PlanInfo]:
        """Return the first action of the best of the random sequences, and its plan."""
        shape = (self.settings.candidates, self.horizon)
        actions = join(jax.random.randint(key, shape, 0, self.n_actions), proposals)
        _, info = best(actions, evaluate(observation, actions))
        return info.actions[0], None, info


class StickyShooting(Planner):
    """Random shooting with held actions, warm-started with the previous plan.

    A sequence of independent actions averages out over a few steps, so it explores little. Here
    every candidate draws its own probability of repeating the last action, uniform between 0 and
    ``max_repeat``. The candidates are, in this order: the previous plan shifted by one step; the K
    constant sequences, so that every first action is tried; copies of the shifted plan in which one
    random stretch is replaced by a sticky sequence; and new sticky sequences.

    Attributes:
        n_actions: number K of action levels.
        settings: how to search; with at least K + 1 candidates.
    """

    n_actions: int = eqx.field(static=True)
    settings: StickySettings = eqx.field(static=True)

    def __init__(
        self, n_actions: int, settings: StickySettings | None = None, **changes: Any
    ) -> None:
        self.n_actions = n_actions
        self.settings = (settings or StickySettings()).replace(**changes)

    def __check_init__(self) -> None:
        """Refuse a planner without room for every first action."""
        if self.settings.candidates <= self.n_actions:
            raise ValueError(
                f"{self.settings.candidates} candidates are too few: with {self.n_actions} actions "
                f"at least {self.n_actions + 1} are needed"
            )

    @property
    def horizon(self) -> int:
        """The length H of a plan."""
        return self.settings.horizon

    @property
    def first_new(self) -> int:
        """The index of the first candidate that owes nothing to the previous plan."""
        n, copies = self.settings.candidates, int(self.settings.mutated * self.settings.candidates)
        return min(n, self.n_actions + 1 + copies)

    def init(self, key: Array) -> Int[Array, " H"]:
        """Return a constant plan: the first candidates do not depend on chance."""
        del key
        return jnp.zeros(self.horizon, jnp.int32)

    def propose(self, previous: Int[Array, " H"], key: Array) -> Int[Array, "B H"]:
        """Return the candidates, given the plan of the previous step."""
        # One draw for everything: random numbers take time to make and even more to compile.
        bits = jax.random.bits(key, (self.horizon + 2, self.settings.candidates), jnp.uint32)
        high, low = bits >> 16, bits & 0xFFFF
        actions = self._sticky(high[2:], low[2:], high[0] * self.settings.max_repeat)
        kept = shift(previous)
        actions = actions.at[0].set(kept)
        constant = jnp.arange(self.n_actions, dtype=actions.dtype)
        actions = actions.at[1 : self.n_actions + 1].set(constant[:, None])
        # These rows keep the previous plan outside a stretch between two random cuts.
        rows = slice(self.n_actions + 1, self.first_new)
        cuts = jnp.stack([_below(self.horizon + 1, words[rows]) for words in (low[1], high[1])])
        time = jnp.arange(self.horizon)
        inside = (time >= cuts.min(axis=0)[:, None]) & (time < cuts.max(axis=0)[:, None])
        return actions.at[rows].set(jnp.where(inside, actions[rows], kept))

    def _sticky(self, chance: Array, level: Array, repeat: Array) -> Int[Array, "B H"]:
        """Return sequences that hold an action while ``chance (H, B)`` is below ``repeat (B,)``."""
        again = chance.astype(jnp.float32) < repeat
        fresh = _below(self.n_actions, level)

        def hold(action: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            repeated, drawn = inputs
            action = jnp.where(repeated, action, drawn)
            return action, action

        _, actions = jax.lax.scan(hold, fresh[0], (again, fresh))
        return actions.T

    def plan(
        self,
        state: Int[Array, " H"],
        evaluate: Evaluate,
        observation: Float[Array, " D"],
        key: Array,
        proposals: Array | None = None,
    ) -> tuple[Int[Array, ""], Int[Array, " H"], PlanInfo]:
        """Return the first action of the best candidate, and its plan, kept for the next step."""
        actions = join(self.propose(state, key), proposals)
        scores = usable(evaluate(observation, actions))
        index = self.choose(actions[:, 0], scores)
        info = PlanInfo(actions[index], scores[index], jnp.isfinite(scores).mean())
        return info.actions[0], info.actions, info

    def choose(self, first: Int[Array, " B"], scores: Float[Array, " B"]) -> Int[Array, ""]:
        """Return the best candidate; of equals one that begins with the most room for error."""
        top = scores.max()
        equal = scores >= top - self.settings.tie * jnp.abs(top)
        # New sequences only: copies of the previous plan would vote for its own first action.
        new = jnp.arange(len(first)) >= self.first_new
        starts = (first[:, None] == jnp.arange(self.n_actions)) & new[:, None]  # (B, K)
        # A sequence without a score counts as the worst of those that have one.
        worst = jnp.min(jnp.where(jnp.isfinite(scores), scores, jnp.inf))
        total = jnp.where(starts, jnp.maximum(scores, worst)[:, None], 0.0).sum(axis=0)
        room = total / starts.sum(axis=0)  # (K,), mean score of what may follow the action
        lowest = jnp.finfo(room.dtype).min
        room = jnp.where(jnp.isfinite(room), room, lowest)
        return jnp.argmax(jnp.where(equal, room[first], -jnp.inf))


def _below(limit: int, words: Array) -> Int[Array, "..."]:
    """Return integers 0 .. limit - 1, for a limit below 2^16, from 16 random bits each."""
    return ((words * limit) >> 16).astype(jnp.int32)
