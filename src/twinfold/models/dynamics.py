"""The seam between whatever predicts (a learned member, the true task) and whatever plans."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Dynamics(eqx.Module):
    """One-step dynamics of one agent; pure, single-example, vmapped by the caller.

    An ensemble is a ``Dynamics`` whose array leaves carry a leading member axis; callers map over
    it with ``equinox.filter_vmap``. States are in raw units, ``(D,)``. A continuous action is
    ``(A,)``; a discrete action is an integer scalar, the index of its level (0 .. K-1).

    A model that knows an agent by its recent true steps overrides the last three methods, which
    take an ensemble as well as a member. Whoever acts keeps the history: every step goes into
    ``observed``, and what is planned next begins from ``with_history``.
    """

    @abc.abstractmethod
    def init(self, state: Float[Array, " D"]) -> Any:
        """Return the carry of a rollout from ``state`` (a model with memory adds its lags)."""

    def init_by(self, state: Float[Array, " D"], key: Array) -> Any:
        """Return the carry of a rollout with chances of its own; without noise that of ``init``."""
        del key
        return self.init(state)

    @abc.abstractmethod
    def encode(self, action: Array) -> Any:
        """Return what ``step`` needs of an action; computed for all actions before the scan."""

    @abc.abstractmethod
    def step(self, carry: Any, code: Any) -> tuple[Any, Float[Array, " D"]]:
        """Return the new carry and the next state ``(D,)``."""

    def row(self, carry: Any, state: Float[Array, " D"]) -> Float[Array, "..."]:
        """Return what a reward reads of a row: its state ``(D,)``, and what goes beside it."""
        del carry
        return state

    def known_inputs(self, carry: Any) -> Float[Array, " E"]:
        """Return the known inputs of the row that a rollout has reached, raw units."""
        del carry
        return jnp.zeros(0)

    def at_step(self, step: Array) -> Dynamics:
        """Return the model, or the stack, whose ``init`` begins at a later step of an episode."""
        del step
        return self

    def blank_history(self) -> Any:
        """Return the history of an agent before its first step; None for a model without one."""
        return None

    def observed(self, history: Any, state: Array, action: Array, next_state: Array) -> Any:
        """Return the history after one more true step, in raw units."""
        return history

    def with_history(self, history: Any) -> Dynamics:
        """Return the model whose ``init`` begins after this history."""
        return self
