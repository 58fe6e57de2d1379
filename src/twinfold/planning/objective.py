"""What a plan is worth: reward until the predicted episode ends, terminal value, risk.

For member m of the ensemble and the candidate a_0 .. a_{H-1}, with s_0 the observation,

    G_m   = sum_{t < T_m} gamma^t R(s_t, a_t, s_{t+1})  +  [T_m = H] gamma^H V(s_H)
    score = mean_m G_m - risk * std_m G_m

where s_{t+1} is the member's own prediction from its own s_t, so that disagreement between members
propagates along the plan, and T_m counts the steps up to the one that ends the episode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinfold.models.dynamics import Dynamics
from twinfold.planning.planner import Evaluate

if TYPE_CHECKING:
    from twinfold.tasks.task import Task


class Objective(eqx.Module):
    """What to plan for. A pytree: a new terminal value does not trigger a new compilation.

    Attributes:
        reward: ``(state, action, next_state) -> scalar``.
        terminated: ``(next_state) -> bool``, whether the episode ends there.
        terminal_value: ``(state) -> scalar``, the reward to be expected beyond the horizon if the
            episode has not ended by then; None counts as zero. A callable pytree such as
            :class:`twinfold.planning.value.GridValue`, or a plain function.
        discount: gamma, per step, in (0, 1].
        risk: standard deviations over the members that are subtracted from the mean.
    """

    reward: Callable[[Any, Any, Any], Any] = eqx.field(static=True)
    terminated: Callable[[Any], Any] = eqx.field(static=True)
    terminal_value: Callable[[Any], Any] | None = None
    discount: float = eqx.field(static=True, default=1.0)
    risk: float = eqx.field(static=True, default=0.0)

    @classmethod
    def of_task(cls, task: Task, **fields: Any) -> Objective:
        """The reward and termination of a task; ``fields`` are the other attributes."""
        return cls(reward=task.reward, terminated=task.terminated, **fields)


def stack_of_one(dynamics: Dynamics) -> Dynamics:
    """A single model as an ensemble of one: a leading axis of length 1 on every array leaf."""
    return jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, dynamics)


def map_members(function: Callable[[Dynamics], Any], stack: Dynamics) -> Any:
    """``function`` of every member, results stacked on a leading axis.

    Members run one after the other. Mapping them with ``vmap`` turns the products with the weights
    into batched ones, which take twice as long on a CPU; one member keeps a core busy.
    """
    arrays, static = eqx.partition(stack, eqx.is_array)
    return jax.lax.map(lambda member: function(eqx.combine(member, static)), arrays)


def member_returns(
    stack: Dynamics, objective: Objective, observation: Float[Array, " D"], actions: Array
) -> Float[Array, "M B"]:
    """The returns G_m of all candidates.

    A member whose prediction stops being finite before the episode ends returns NaN: comparisons
    with NaN are false, so such an episode would otherwise never end.

    Args:
        stack: ensemble with a leading member axis on its array leaves.
        objective: what counts.
        observation: the state now, ``(D,)``.
        actions: candidates, ``(B, H)`` integer levels or ``(B, H, A)``.
    """
    n_candidates, horizon = actions.shape[:2]

    def one_member(dynamics: Dynamics) -> Float[Array, " B"]:
        # All encodings in one batch; the scan wants time first.
        codes = jax.vmap(jax.vmap(dynamics.encode))(jnp.swapaxes(actions, 0, 1))
        carry = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (n_candidates, *jnp.shape(leaf))),
            dynamics.init(observation),
        )

        def one_candidate(before: Any, code: Any, action: Array, weight: Array) -> Any:
            carry, state, alive, total = before
            carry, next_state = dynamics.step(carry, code, None)
            gained = weight * objective.reward(state, action, next_state)
            gained = jnp.where(jnp.isfinite(next_state).all(), gained, jnp.nan)
            total = jnp.where(alive, total + gained, total)
            return carry, next_state, alive & ~objective.terminated(next_state), total

        def one_step(before: Any, inputs: Any) -> tuple[Any, None]:
            return jax.vmap(one_candidate, in_axes=(0, 0, 0, None))(before, *inputs), None

        start = (
            carry,
            jnp.broadcast_to(observation, (n_candidates, *observation.shape)),
            jnp.ones(n_candidates, bool),
            jnp.zeros(n_candidates),
        )
        weights = objective.discount ** jnp.arange(horizon, dtype=jnp.float32)
        inputs = (codes, jnp.swapaxes(actions, 0, 1), weights)
        (_, state, alive, total), _ = jax.lax.scan(one_step, start, inputs)
        if objective.terminal_value is None:
            return total
        beyond = objective.discount**horizon * jax.vmap(objective.terminal_value)(state)
        return jnp.where(alive, total + beyond, total)

    return map_members(one_member, stack)


def make_evaluate(stack: Dynamics, objective: Objective) -> Evaluate:
    """The function that scores candidates: ``(observation (D,), actions (B, H[, A])) -> (B,)``.

    Args:
        stack: ensemble with a leading member axis on its array leaves (one model:
            :func:`stack_of_one`).
        objective: what counts.
    """

    def evaluate(observation: Float[Array, " D"], actions: Array) -> Float[Array, " B"]:
        returns = member_returns(stack, objective, observation, actions)
        score = returns.mean(axis=0)
        if objective.risk:
            score = score - objective.risk * returns.std(axis=0)
        return score

    return evaluate
