"""The seam between a planner and whatever scores its candidate plans.

A planner sees an ``evaluate`` function and nothing else: no network, no task, no environment
flag. What is worth planning for (reward, termination, terminal value, risk) is in
:mod:`twinfold.planning.objective`; how to search is in the planner.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Evaluate = Callable[[Float[Array, " D"], Array], Float[Array, " B"]]
"""``(observation (D,), actions (B, H) integer or (B, H, A)) -> scores (B,)``, larger is better."""


class PlanInfo(NamedTuple):
    """The plan that a planner found.

    Attributes:
        actions: the chosen plan, ``(H,)`` integer levels or ``(H, A)``; its first entry is the
            action to take now.
        score: the score of that plan, in units of the reward; ``-inf`` if no candidate was valid.
        valid: share of candidates with a finite score, between 0 and 1.
    """

    actions: Array
    score: Float[Array, ""]
    valid: Float[Array, ""]


class Planner(eqx.Module):
    """Searches for the action sequence with the best score; pure and vmappable over episodes.

    A plan is within the bounds of the actions whatever ``evaluate`` returns, and a candidate whose
    score is NaN never wins against one with a finite score.

    Those of the package are made with a frozen object of :mod:`twinfold.planning.config`, or with
    its fields by name.
    """

    @property
    @abc.abstractmethod
    def horizon(self) -> int:
        """The length H of a plan."""

    @abc.abstractmethod
    def init(self, key: Array) -> Any:
        """Return the state before the first step of an episode."""

    @abc.abstractmethod
    def plan(
        self,
        state: Any,
        evaluate: Evaluate,
        observation: Float[Array, " D"],
        key: Array,
        proposals: Array | None = None,
    ) -> tuple[Array, Any, PlanInfo]:
        """Return the action to take now, the state for the next step, and the plan behind it.

        Args:
            state: from :meth:`init`, or from the step before.
            evaluate: scores candidates.
            observation: the state of the task now, ``(D,)``.
            key: randomness.
            proposals: plans from elsewhere that are scored too, ``(P, H)`` or ``(P, H, A)``, such
                as those of a policy.
        """


def usable(scores: Float[Array, " B"]) -> Float[Array, " B"]:
    """Return the scores with NaN and +inf, signs of a broken prediction, turned to ``-inf``."""
    return jnp.where(jnp.isfinite(scores), scores, -jnp.inf)


def best(actions: Array, scores: Float[Array, " B"]) -> tuple[Int[Array, ""], PlanInfo]:
    """Return the index of the best candidate (the first one of equals) and its plan."""
    scores = usable(scores)
    index = jnp.argmax(scores)
    valid = jnp.isfinite(scores).mean()
    return index, PlanInfo(actions=actions[index], score=scores[index], valid=valid)


def shift(plan: Array) -> Array:
    """Return the plan ``(H, ...)`` one step later; its last action is repeated."""
    return jnp.concatenate([plan[1:], plan[-1:]])


def join(actions: Array, *more: Array | None) -> Array:
    """Return the candidates, and more candidates below them where there are any."""
    return jnp.concatenate([actions, *(extra for extra in more if extra is not None)])
