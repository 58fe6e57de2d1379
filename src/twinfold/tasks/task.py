"""Tasks: data about their spaces, and pure functions of (covariates, state, action)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from twinfold.errors import UsageError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Task:
    """A simulated task whose agents differ by covariates, which are data and not subclasses.

    The functions are pure JAX, single-example and meant for ``jax.vmap``. A state is ``(D,)``
    float32 in raw units. A discrete action is an integer scalar, the index of its level
    (0 .. K-1); a continuous one is ``(A,)``. Covariates are the task's own ``NamedTuple`` of
    scalars: the true hidden physics of one agent, never an input of a learned model.

    Tasks compare and hash by identity, so that one can be a static argument of ``jax.jit``.

    Attributes:
        name: the name in the registry.
        state_names: names of the D state coordinates.
        action_names: names of the action columns (one if discrete).
        action_type: ``"discrete"`` or ``"continuous"``.
        n_actions: the number K of levels, or None if continuous.
        action_low: lower bounds ``(A,)``, or None if discrete.
        action_high: upper bounds ``(A,)``, or None if discrete.
        covariate_names: names of the C covariates.
        covariate_low: lower ends ``(C,)`` of their uniform distribution over agents.
        covariate_high: upper ends ``(C,)``.
        test_agents: covariates ``(5, C)`` of the agents with ids 0 to 4.
        max_steps: the longest episode, in steps.
        state_low: lower ends ``(D,)`` of the natural range, for grids and pictures.
        state_high: upper ends ``(D,)``.
        make_covariates: the ``NamedTuple`` class of the covariates.
        reset: ``(covariates, key) -> state``.
        step: ``(covariates, state, action) -> next_state``.
        reward: ``(state, action, next_state) -> scalar``.
        terminated: ``(next_state) -> bool``, whether the episode ends there.
        angle_names: those states that are angles, in radians.
        progress: ``(state) -> scalar``, how near a distant goal a state is, for planners whose
            plans do not reach it; None if the task has no such goal.
        choice: what stands between a planner's action and a run's, of a task that is made of a run
            (:mod:`twinfold.planning.run_task`); None for a task with physics of its own.
    """

    name: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    action_type: Literal["discrete", "continuous"]
    n_actions: int | None
    action_low: FloatArray | None
    action_high: FloatArray | None
    covariate_names: tuple[str, ...]
    covariate_low: FloatArray
    covariate_high: FloatArray
    test_agents: FloatArray
    max_steps: int
    state_low: FloatArray
    state_high: FloatArray
    make_covariates: Callable[..., Any]
    reset: Callable[[Any, Any], Any]
    step: Callable[[Any, Any, Any], Any]
    reward: Callable[[Any, Any, Any], Any]
    terminated: Callable[[Any], Any]
    angle_names: tuple[str, ...] = ()
    progress: Callable[[Any], Any] | None = None
    choice: Any = None

    @property
    def simulated(self) -> bool:
        """Whether the task has true dynamics; one that is made of a run has none."""
        return self.choice is None

    def covariates(self, values: Any) -> Any:
        """The covariates pytree of one agent or of many.

        Args:
            values: ``(..., C)``, in the order of ``covariate_names``.

        Returns:
            The task's ``NamedTuple`` with float32 JAX leaves ``(...)``.

        Raises:
            UsageError: if the last axis does not have length C.
        """
        import jax.numpy as jnp  # the spaces of a task must not load JAX

        array = np.asarray(values, dtype=np.float32)
        if array.ndim == 0 or array.shape[-1] != len(self.covariate_names):
            raise UsageError(
                f"covariates of shape {array.shape} do not fit {self.name!r}: the last axis holds "
                + ", ".join(self.covariate_names)
            )
        return self.make_covariates(*(jnp.asarray(array[..., i]) for i in range(array.shape[-1])))


def agent_covariates(task: Task, n_agents: int, seed: int) -> FloatArray:
    """True covariates ``(n_agents, C)`` of a population; row i belongs to agent i.

    Agents 0 to 4 are the task's test agents, the others are uniform in the covariate box. A larger
    population with the same seed begins with the smaller one.

    Raises:
        UsageError: if ``n_agents`` is not positive or ``seed`` is negative.
    """
    if n_agents < 1:
        raise UsageError(f"the number of agents must be at least 1, not {n_agents}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or larger, not {seed}")
    n_drawn = max(0, n_agents - len(task.test_agents))
    drawn = np.random.default_rng(seed).uniform(
        task.covariate_low, task.covariate_high, size=(n_drawn, len(task.covariate_names))
    )
    return np.concatenate([task.test_agents, drawn])[:n_agents]
