"""Episodes in the true task: plan, act, repeat, as one compiled program."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinfold.models.dynamics import Dynamics
from twinfold.planning.objective import Objective, make_evaluate
from twinfold.planning.planner import Planner
from twinfold.tasks.task import Task


class Episodes(NamedTuple):
    """Outcomes of E episodes of one agent.

    Attributes:
        returns: sum of the true rewards, ``(E,)``.
        lengths: steps until the episode ended, ``(E,)``.
    """

    returns: Float[Array, " E"]
    lengths: Int[Array, " E"]


@eqx.filter_jit
def run_episodes(
    task: Task,
    covariates: Any,
    stack: Dynamics,
    planner: Planner,
    objective: Objective,
    keys: Array,
    *,
    batch_size: int | None = None,
) -> Episodes:
    """Model-predictive control of one agent in the true task.

    Agents that share task, planner and model structure share one program: weights, covariates and
    a terminal value are arguments.

    Args:
        task: the true task; it steps the episode and pays the reward.
        covariates: the agent's true covariates, ``task.covariates(row)``; the planner sees only
            what ``stack`` predicts.
        stack: ensemble for this agent, with a leading member axis on its array leaves.
        planner: how to search.
        objective: what to plan for.
        keys: one key per episode, ``(E,)`` typed keys or ``(E, 2)``.
        batch_size: episodes that run side by side (default: all); fewer take less memory.
    """
    evaluate = make_evaluate(stack, objective)

    def unfinished(now: Any) -> Array:
        _, _, _, ended, step, _ = now
        return ~ended & (step < task.max_steps)

    def advance(now: Any) -> Any:
        key, state, memory, _, step, total = now
        key, key_plan = jax.random.split(key)
        action, memory, _ = planner.plan(memory, evaluate, state, key_plan)
        next_state = task.step(covariates, state, action)
        total = total + task.reward(state, action, next_state)
        return key, next_state, memory, task.terminated(next_state), step + 1, total

    def one(key: Array) -> Episodes:
        key, key_reset, key_init = jax.random.split(key, 3)
        state = task.reset(covariates, key_reset)
        start = (
            key,
            state,
            planner.init(key_init),
            jnp.zeros((), bool),
            jnp.zeros((), jnp.int32),
            jnp.zeros(()),
        )
        _, _, _, _, length, total = jax.lax.while_loop(unfinished, advance, start)
        return Episodes(returns=total, lengths=length)

    n_episodes = keys.shape[0]
    if batch_size is None or batch_size >= n_episodes:
        return jax.vmap(one)(keys)
    return jax.lax.map(one, keys, batch_size=batch_size)
