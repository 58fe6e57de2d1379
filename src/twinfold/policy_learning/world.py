"""The world that a policy is trained in: models, where episodes begin, what they pay, how they end.

A world is a stack of W models behind the seam ``Dynamics``: members of an ensemble, agents, or
members of agents. Every simulated episode stays with one model. Axes: W models, B episodes side by
side in each, S start states, D state coordinates, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinfold.errors import UsageError
from twinfold.models.dynamics import Dynamics
from twinfold.policy_learning.actor_critic import ActionSpace, StateScale
from twinfold.tasks.goal_functions import one_number, true_or_false
from twinfold.utils.device import typed_as

if TYPE_CHECKING:
    from twinfold.tasks.task import Task


class World(eqx.Module):
    """Where a policy is trained. A pytree: other weights or starts trigger no new compilation.

    Attributes:
        dynamics: models with a leading axis W on their array leaves.
        starts: states that episodes of each model begin in, raw units, ``(W, S, D)``.
        scale: what a policy reads of a state.
        actions: what a policy may do.
        reward: ``(state, action, next_state) -> scalar``.
        terminated: ``(next_state) -> bool``, whether the episode ends there.
        max_steps: longest episode; one that is cut off there is worth what its last state is worth.
        unknown: ``(carry) -> bool``, whether the model says that its last step led out of what it
            knows; the episode halts there. None if a model never says so.
        halt_reward: what a step that halts is paid beside its reward.
    """

    dynamics: Dynamics
    starts: Float[Array, "W S D"]
    scale: StateScale
    actions: ActionSpace
    reward: Callable[[Any, Any, Any], Any] = eqx.field(static=True)
    terminated: Callable[[Any], Any] = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    unknown: Callable[[Any], Any] | None = eqx.field(static=True, default=None)
    halt_reward: Any = 0.0

    @classmethod
    def of_task(
        cls,
        task: Task,
        dynamics: Dynamics,
        starts: Any,
        *,
        scale: StateScale | None = None,
        unknown: Callable[[Any], Any] | None = None,
        halt_reward: float = 0.0,
    ) -> World:
        """Return a world with the actions, reward, end and longest episode of a task.

        Args:
            task: the task; its physics are not used.
            dynamics: models with a leading axis W on their array leaves.
            starts: states that episodes begin in, ``(S, D)`` for all models or ``(W, S, D)``.
            scale: what a policy reads of a state; by the task's natural ranges if None.
            unknown: whether a model has left what it knows, of its carry.
            halt_reward: what a step that halts is paid beside its reward.

        Raises:
            UsageError: there is no start, or one does not fit the task.
        """
        states = jnp.asarray(starts, jnp.float32)
        if states.ndim == 2:
            n_models = jax.tree.leaves(eqx.filter(dynamics, eqx.is_array))[0].shape[0]
            states = jnp.broadcast_to(states, (n_models, *states.shape))
        if states.ndim != 3 or not states.size or states.shape[-1] != len(task.state_names):
            raise UsageError(
                f"start states of shape {np.shape(starts)} do not fit {task.name!r}: the last axis "
                f"holds {', '.join(task.state_names)}, and there must be at least one state"
            )
        return cls(
            dynamics=dynamics,
            starts=states,
            scale=StateScale.of_task(task) if scale is None else scale,
            actions=ActionSpace.of_task(task),
            reward=task.reward,
            terminated=task.terminated,
            max_steps=task.max_steps,
            unknown=unknown,
            halt_reward=jnp.asarray(halt_reward, jnp.float32),
        )

    @property
    def n_models(self) -> int:
        """W, the models that episodes are simulated with."""
        return self.starts.shape[0]


class Simulation(NamedTuple):
    """Episodes on their way, all leaves with leading axes ``(W, B)``.

    Attributes:
        carry: of the dynamics.
        state: raw units, ``(D,)``.
        step: steps since the episode began.
    """

    carry: Any
    state: Float[Array, " D"]
    step: Int[Array, ""]


class Outcome(NamedTuple):
    """What a step came to, all leaves with leading axes ``(W, B)``.

    Attributes:
        next_state: state that the step led to, before a new episode begins; raw units, ``(D,)``.
        reward: with the price of halting.
        terminated: whether the episode ended there, by itself or by halting.
        truncated: whether it was cut off there.
        halted: whether it ended because the model left what it knows.
    """

    next_state: Float[Array, " D"]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    halted: Bool[Array, ""]

    @property
    def ended(self) -> Bool[Array, "*axes"]:
        """Whether the episode is over, one way or the other; also of a whole batch."""
        return self.terminated | self.truncated


def begin(world: World, key: Array, n_each: int) -> Simulation:
    """Return episodes at their starts, ``(W, B)``.

    Args:
        world: where they take place.
        key: of the choice of starts.
        n_each: B, the number of episodes in each model.
    """
    keys = jax.random.split(key, (world.n_models, n_each))
    return _in_each_model(world, _begin_one, keys)


def advance(
    world: World, now: Simulation, actions: Array, key: Array
) -> tuple[Simulation, Outcome]:
    """Return all episodes one step later, and what the step came to; ended ones begin anew.

    Args:
        world: where they take place.
        now: episodes on their way.
        actions: ``(W, B)`` indices of levels, or ``(W, B, A)``, raw units.
        key: of the starts of new episodes.
    """
    keys = jax.random.split(key, now.step.shape)

    def one(dynamics: Dynamics, starts: Array, now: Simulation, action: Array, key: Array) -> Any:
        moved, outcome = _advance_one(world, dynamics, now, action)
        fresh = _begin_one(dynamics, starts, key)
        anew = jax.tree.map(lambda a, b: jnp.where(outcome.ended, a, b), fresh, moved)
        return anew, outcome

    return _in_each_model(world, one, now, actions, keys)


def _in_each_model(world: World, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(dynamics, starts, *arguments)`` over the axes W and B of arguments."""
    arrays, static = eqx.partition(world.dynamics, eqx.is_array)

    def one_model(leaves: Any, starts: Array, *rest: Any) -> Any:
        dynamics = eqx.combine(leaves, static)
        return jax.vmap(lambda *own: function(dynamics, starts, *own))(*rest)

    return jax.vmap(one_model)(arrays, world.starts, *arguments)


def _begin_one(dynamics: Dynamics, starts: Float[Array, "S D"], key: Array) -> Simulation:
    state = starts[jax.random.randint(key, (), 0, len(starts))]
    return Simulation(dynamics.init(state), state, jnp.zeros((), jnp.int32))


def _advance_one(
    world: World, dynamics: Dynamics, now: Simulation, action: Array
) -> tuple[Simulation, Outcome]:
    """Return one episode one step later, and what the step came to."""
    row = dynamics.row(now.carry, now.state)
    moved = dynamics.step(now.carry, dynamics.encode(action))
    carry, after = typed_as(moved, (now.carry, now.state))

    # A prediction that is no number is as unknown as can be.
    lost = ~jnp.isfinite(after).all()
    halted = lost if world.unknown is None else lost | world.unknown(carry)
    after = jnp.where(lost, now.state, after)
    row_after = dynamics.row(carry, after)

    earned = one_number(world.reward(row, action, row_after))
    reward = earned + jnp.where(halted, world.halt_reward, 0.0)
    terminated = halted | true_or_false(world.terminated(row_after))
    step = now.step + 1
    truncated = ~terminated & (step >= world.max_steps)
    return Simulation(carry, after, step), Outcome(after, reward, terminated, truncated, halted)
