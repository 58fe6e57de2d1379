"""The true task behind the same interface as a learned model: for checks and upper bounds."""

from __future__ import annotations

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from twinfold.models.dynamics import Dynamics
from twinfold.tasks.task import Task


class TaskDynamics(Dynamics):
    """The true dynamics of one agent of a task.

    Args:
        task: the task.
        covariates: the agent's true covariates, from ``task.covariates``. With a leading axis on
            its leaves this is a stack, to be mapped over like the members of an ensemble.
    """

    task: Task = eqx.field(static=True)
    covariates: Any

    def init(self, state: Float[Array, " D"]) -> Float[Array, " D"]:
        """Return the state: the true dynamics have no memory."""
        return state

    def encode(self, action: Array) -> Array:
        """Return the action itself."""
        return action

    def step(
        self, carry: Float[Array, " D"], code: Array
    ) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """Return the next true state, twice: it is the new carry too."""
        state = self.task.step(self.covariates, carry, code)
        return state, state
