"""Posterior samples of an agent's simulator, and rollouts of a policy in them.

A sample is one member of the ensemble with one draw of the agent's factors from their posterior in
that member. Two kinds of ignorance meet in a set of samples: which nets are right (the members
differ), and which agent this is (the draws differ). A policy acts closed-loop: what it does depends
on where its own actions have led.

Axes: K samples, S starts, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.models.agent_dynamics import AgentDynamics, fold
from twinfold.models.dynamics import Dynamics
from twinfold.models.factor_model import FactorModel
from twinfold.models.fitted_model import FittedModel
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import factor_draws
from twinfold.ope.controllers import Controller
from twinfold.planning.data_range import DataBox
from twinfold.planning.objective import map_members
from twinfold.tasks.goal_functions import one_number, true_or_false
from twinfold.utils.device import on_device, typed_as


class Outcomes(NamedTuple):
    """The outcomes of a policy, ``(K, S)`` each.

    Attributes:
        returns: discounted sum of rewards; not finite if the rollout diverged.
        steps: number of steps taken.
        ended: whether the episode ended by itself.
        outside: number of steps that led out of the range of the training data.
    """

    returns: Array | NDArray[Any]
    steps: Array | NDArray[Any]
    ended: Array | NDArray[Any]
    outside: Array | NDArray[Any]


def posterior_samples(
    model: FittedModel,
    agent: AgentId,
    n_samples: int,
    seed: int = 0,
    known: NDArray[np.float64] | None = None,
) -> AgentDynamics:
    """Return simulators of an agent, members in turn: a stack with an axis K on every array.

    Args:
        model: a fitted model.
        agent: the user's id.
        n_samples: K.
        seed: of the draws; mirrored pairs within each member.
        known: ``(E,)`` or ``(T, E)``, known inputs, as ``FittedModel.dynamics``.

    Raises:
        UsageError: the agent is unknown, or exogenous columns need values.
    """
    told = model.told_inputs(agent, known)
    index = np.array([model.agent_index(agent)])
    each = -(-n_samples // model.n_members)
    drawn = factor_draws(model.posterior, index, each, seed)[:, 0]  # (M, each, r)
    factors = np.swapaxes(drawn, 0, 1).reshape(-1, drawn.shape[-1])[:n_samples]
    # Without the table of agents, how many there are does not matter to the compiled program.
    nets = eqx.tree_at(lambda m: m.agents, model.members, model.members.agents[:, :1])
    member = jnp.arange(n_samples) % model.n_members
    normalizer = model.normalizer.on_device()
    return _fold(nets, normalizer, member, on_device(factors), told)


@jax.jit
def _fold(
    members: FactorModel,
    normalizer: Normalizer,
    member: Array,
    factors: Array,
    known: Array | None,
) -> AgentDynamics:
    def one(place: Array, own: Array) -> AgentDynamics:
        return fold(jax.tree.map(lambda leaf: leaf[place], members), normalizer, own, known)

    return jax.vmap(one)(member, factors)


@eqx.filter_jit
def rollout_policy(
    samples: Dynamics,
    controller: Controller,
    reward: Callable[[Any, Any, Any], Any],
    terminated: Callable[[Any], Any],
    box: DataBox,
    starts: Array,
    keys: Array,
    horizon: Array,
    discount: Array,
) -> Outcomes:
    """Return the outcomes of every start in every sample, closed-loop.

    A rollout goes on until the episode ends, the horizon is reached or a prediction is not finite.
    Start s has the same random numbers in all samples and under all policies. Nothing is compiled
    anew for another agent, horizon or discount.

    Args:
        samples: a stack of K.
        controller: acts.
        reward: ``(state, action, next_state) -> scalar``.
        terminated: ``(next_state) -> bool``.
        box: where the training data lies.
        starts: ``(S, D)`` raw units.
        keys: ``(S,)``.
        horizon: the most steps, an integer scalar.
        discount: per step, a scalar.
    """
    pairs = jax.vmap(jax.random.split)(keys)  # (S, 2): of the controller's memory, of the steps
    memory = jax.vmap(controller.init)(pairs[:, 0])

    def one_sample(dynamics: Dynamics) -> Outcomes:
        one_step = _step(dynamics, controller, reward, terminated, box)

        def unfinished(now: Any) -> Array:
            step, _, (_, _, _, alive, _) = now
            return (step < horizon) & alive.any()

        def advance(now: Any) -> Any:
            step, weight, here = now
            over_starts = jax.vmap(one_step, in_axes=(0, 0, None, None))
            return step + 1, weight * discount, over_starts(here, pairs[:, 1], step, weight)

        n_starts = len(starts)
        none = jnp.zeros(n_starts, jnp.int32)
        first = Outcomes(jnp.zeros(n_starts), none, jnp.zeros(n_starts, bool), none)
        alive = jnp.ones(n_starts, bool)
        carry = jax.vmap(dynamics.init_by)(starts, keys)
        here = carry, starts, memory, alive, first
        begin = jnp.zeros((), jnp.int32), jnp.ones(()), here
        return jax.lax.while_loop(unfinished, advance, begin)[2][4]

    return map_members(one_sample, samples)


def _step(
    dynamics: Dynamics,
    controller: Controller,
    reward: Callable[[Any, Any, Any], Any],
    terminated: Callable[[Any], Any],
    box: DataBox,
) -> Callable[[Any, Array, Array, Array], Any]:
    """Return one step of one rollout: act, predict, count; what has ended stays as it is."""

    def one_step(now: Any, key: Array, step: Array, weight: Array) -> Any:
        carry, state, memory, alive, (total, steps, ended, outside) = now
        action, memory = controller.act_at(step, memory, state, jax.random.fold_in(key, step))
        row = dynamics.row(carry, state)
        moved = dynamics.step(carry, dynamics.encode(action))
        carry, after = typed_as(moved, (carry, state))
        row_after = dynamics.row(carry, after)
        finite = jnp.isfinite(after).all()
        # Comparisons with NaN are false: such an episode would never end.
        gained = jnp.where(finite, weight * one_number(reward(row, action, row_after)), jnp.nan)
        total = jnp.where(alive, total + gained, total)
        steps = steps + alive
        outside = outside + (alive & (box.excess(after) > 0))
        ended = ended | (alive & finite & true_or_false(terminated(row_after)))
        alive = alive & ~ended & jnp.isfinite(total)
        return carry, after, memory, alive, Outcomes(total, steps, ended, outside)

    return one_step
