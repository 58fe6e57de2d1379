"""What a planner chooses among, and what the model takes of it.

A planner knows levels, by number, and bounded numbers. Where a run's actions are more than that,
something stands between:

    discrete   the number of a level among those that are allowed
    mixed      a preference from 0 to 1 for each allowed level, of which the largest wins, and the
               amounts; each is kept to the range that the data has at that level

Axes: K allowed levels, A continuous columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinfold.data.actions import ActionCode
from twinfold.models.dynamics import Dynamics

if TYPE_CHECKING:
    from twinfold.models.fitted_model import FittedModel


@dataclass(frozen=True)
class ActionChoice:
    """From what a planner chooses to what a model takes; hashable, a part of compiled code.

    Attributes:
        code: of the model's actions.
        allowed: the K levels, by index; empty without discrete columns.
        low: least amounts, ``(K, A)``, at each allowed level; ``(1, A)`` without levels.
        high: largest ones.
    """

    code: ActionCode
    allowed: tuple[int, ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]

    @classmethod
    def of_model(cls, model: FittedModel, allowed: Sequence[int]) -> ActionChoice:
        """Return the choice among some levels of a model, with the amounts of its data."""
        code = model.action_code
        low, high = _amounts(model, code, allowed)
        as_rows = (tuple(map(tuple, values.tolist())) for values in (low, high))
        return cls(code, tuple(map(int, allowed)), *as_rows)

    def without(self, forbidden: Callable[[Any, Any], Any], points: int) -> ActionChoice | None:
        """Return the choice without levels, and ends of amounts, that are forbidden altogether.

        What is left of an amount's range may have forbidden parts within. None if nothing is left.

        Args:
            forbidden: from levels ``(P,)``, None without any, and amounts ``(P, A)`` to whether
                each is forbidden.
            points: P, amounts that are tried of each level, evenly if there is one column of them.
        """
        kept, low, high = [], [], []
        for k in range(max(len(self.allowed), 1)):
            row = min(k, len(self.low) - 1)  # of a discrete action there is one, without amounts

            def free(amount: Any, k: int = k) -> Any:
                level = np.full(len(amount), self.allowed[k]) if self.allowed else None
                single = amount.astype(np.float32)  # as plans are made of, read in either precision
                told = (np.asarray(forbidden(level, x)) for x in (single, single.astype(float)))
                return np.logical_and.reduce([np.broadcast_to(x == 0, len(amount)) for x in told])

            amount = np.linspace(self.low[row], self.high[row], points)
            if amount.shape[1] > 1:  # beside the ends anything between them
                share = np.random.default_rng(k).random((points - 2, amount.shape[1]))
                amount[1:-1] = amount[0] + share * (amount[-1] - amount[0])
            fine = np.flatnonzero(free(amount))
            if not len(fine):
                continue
            least, most = amount[fine].min(axis=0), amount[fine].max(axis=0)
            if amount.shape[1] == 1:
                least = _up_to(free, least, amount[max(fine[0] - 1, 0)])
                most = _up_to(free, most, amount[min(fine[-1] + 1, points - 1)])
            kept.append(k)
            low.append(tuple(least.tolist()))
            high.append(tuple(most.tolist()))
        if not kept:
            return None
        allowed = tuple(self.allowed[k] for k in kept) if self.allowed else ()
        return replace(self, allowed=allowed, low=tuple(low), high=tuple(high))

    @property
    def n_actions(self) -> int | None:
        """Number of levels of a discrete action; None of others."""
        return len(self.allowed) if self.code.roles.discrete else None

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Least and largest of the numbers that a planner chooses; None of a discrete action."""
        if self.code.roles.discrete:
            return None
        share = len(self.allowed)
        low, high = np.min(self.low, axis=0), np.max(self.high, axis=0)
        return np.r_[np.zeros(share), low], np.r_[np.ones(share), high]

    def parts(self, action: Any, xp: Any = jnp) -> tuple[Any, Any]:
        """Return the level ``(...)`` and the amounts ``(..., A)`` of a choice; None for none."""
        roles = self.code.roles
        if not roles.mixed:
            level = xp.asarray(self.allowed, xp.int32)[action] if roles.discrete else None
            return level, None if roles.discrete else action
        share = len(self.allowed)
        chosen = xp.argmax(action[..., :share], axis=-1)
        low, high = xp.asarray(self.low)[chosen], xp.asarray(self.high)[chosen]
        level = xp.asarray(self.allowed, xp.int32)[chosen]
        return level, xp.minimum(xp.maximum(action[..., share:], low), high)

    def taken(self, action: Any, xp: Any = jnp) -> Any:
        """Return what the model takes of a choice, ``(...)`` or ``(..., A)``."""
        level, amount = self.parts(action, xp)
        if self.code.roles.mixed:
            return self.code.pack(level, amount, xp)
        return amount if level is None else level


def _up_to(free: Callable[[Any], Any], inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return the last free amount ``(1,)`` on the way to one that is not, in single precision."""
    if np.array_equal(inside, outside):
        return inside
    for _ in range(40):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if free(middle[None])[0] else (inside, middle)
    return inside.astype(np.float32).astype(np.float64)


def _amounts(
    model: FittedModel, code: ActionCode, allowed: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the range of the data's amounts at each level, ``(K, A)``."""
    if code.roles.discrete:
        return np.zeros((1, 0)), np.zeros((1, 0))
    if not code.roles.mixed:
        return model.ranges.action_low[None], model.ranges.action_high[None]
    level, amount = code.unpack(model.sample.action)
    low, high = [], []
    for each in allowed:
        at_level = amount[level == each]
        own = at_level if len(at_level) else amount  # the sample lacks what is rare
        low.append(own.min(axis=0))
        high.append(own.max(axis=0))
    return np.array(low), np.array(high)


class ChosenDynamics(Dynamics):
    """A model, or a stack of them, as a planner sees it.

    Attributes:
        inner: the model.
        choice: what its actions are made of.
        beside: ``(C,)``, the agent's static columns, coded, raw units, where expressions read what
            goes beside the state: ``row`` has them, and the known inputs. None where none does.
    """

    inner: Dynamics
    choice: ActionChoice = eqx.field(static=True)
    beside: Float[Array, "... C"] | None = None

    def init(self, state: Float[Array, " D"]) -> Any:
        """Return the carry of a rollout from ``state``."""
        return self.inner.init(state)

    def init_by(self, state: Float[Array, " D"], key: Array) -> Any:
        """Return the carry of a rollout with chances of its own."""
        return self.inner.init_by(state, key)

    def encode(self, action: Array) -> Any:
        """Return what ``step`` needs of a choice."""
        return self.inner.encode(self.choice.taken(action))

    def step(self, carry: Any, code: Any) -> tuple[Any, Float[Array, " D"]]:
        """Return the new carry and the next state ``(D,)``."""
        return self.inner.step(carry, code)

    def row(self, carry: Any, state: Float[Array, " D"]) -> Float[Array, "..."]:
        """Return the state, the static columns and the known inputs ``(D + C + E,)``, if read."""
        if self.beside is None:
            return state
        return jnp.concatenate([state, self.beside, self.inner.known_inputs(carry)])

    def at_step(self, step: Array) -> ChosenDynamics:
        """Return the model, or the stack, whose ``init`` begins at a later step of an episode."""
        return ChosenDynamics(self.inner.at_step(step), self.choice, self.beside)

    def blank_history(self) -> Any:
        """Return the history of an agent before its first step."""
        return self.inner.blank_history()

    def observed(self, history: Any, state: Array, action: Array, next_state: Array) -> Any:
        """Return the history after one more true step."""
        return self.inner.observed(history, state, self.choice.taken(action), next_state)

    def with_history(self, history: Any) -> Dynamics:
        """Return the model whose ``init`` begins after this history."""
        return ChosenDynamics(self.inner.with_history(history), self.choice, self.beside)
