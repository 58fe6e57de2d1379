"""What the functions of a goal or a task return: states, one number for a step, and its end.

They may be a user's own. A mistake in one would otherwise show as an error of a compiled loop, far
from the function, or not at all. Shapes and types are known when a program is traced, so that
nothing of these checks is left in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.tasks.task import Task

_NO_NUMBERS = "OUSMmc"  # kinds of NumPy: objects, texts, times, complex numbers


def one_number(value: Any) -> Any:
    """Return what a reward function returned.

    Raises:
        UsageError: it is not one real number.
    """
    shape, kind = _shape(value), _type(value)
    if shape != () or kind.kind in _NO_NUMBERS:
        raise UsageError(
            f"the reward function returns {_said(value)}; it must return one number for a state "
            "(D,), an action and a next state (D,), such as -next_state[0] ** 2"
        )
    return value


def true_or_false(value: Any) -> Any:
    """Return what a function of the end returned, as a boolean of NumPy's or JAX's.

    Raises:
        UsageError: it is neither one boolean nor one integer.
    """
    shape, kind = _shape(value), _type(value)
    if shape != () or kind.kind not in "biu":
        raise UsageError(
            f"the function of the end returns {_said(value)}; it must return whether an episode "
            "ends in a state (D,), such as next_state[0] > 1"
        )
    # Python's own `~False` is -1, and an integer's `~` is no negation either.
    return (value != 0 if kind.kind != "b" else value) if _traced(value) else np.bool_(value)


def check_functions(task: Task, covariates: Any) -> None:
    """Refuse a task whose functions do not fit its columns; nothing is computed.

    Args:
        task: the task.
        covariates: of agents, with a leading axis on every array.

    Raises:
        UsageError: a state does not have a number for each state column, a reward is not one
            number, or an end is not one boolean.
    """
    import jax
    import jax.numpy as jnp

    action = jnp.int32(0) if task.n_actions is not None else jnp.zeros(len(task.action_names))

    def outcome(own: Any, key: Any) -> tuple[Any, Any]:
        state = task.reset(own, key)
        _check_state(task, "reset", state)
        reached = task.step(own, state, action)
        _check_state(task, "step", reached)
        return one_number(task.reward(state, action, reached)), true_or_false(
            task.terminated(reached)
        )

    jax.eval_shape(jax.vmap(outcome, in_axes=(0, None)), covariates, jax.random.key(0))


def _check_state(task: Task, name: str, state: Any) -> None:
    wanted = (len(task.state_names),)
    if _shape(state) != wanted:
        raise UsageError(
            f"{name} of task {task.name!r} returns a state of shape {_shape(state)}; its columns "
            f"{', '.join(task.state_names)} make {wanted}"
        )


def _traced(value: Any) -> bool:
    return hasattr(value, "dtype")


def _shape(value: Any) -> tuple[int, ...]:
    return np.shape(value)


def _type(value: Any) -> np.dtype[Any]:
    return np.dtype(value.dtype) if _traced(value) else np.asarray(value).dtype


def _said(value: Any) -> str:
    """Return what a value is, in words."""
    if not _traced(value):
        return "nothing" if value is None else f"a {type(value).__name__}"
    return f"{value.dtype} of shape {_shape(value)}"
