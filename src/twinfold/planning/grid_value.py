"""A learned terminal value for states of few dimensions: value iteration on a grid.

A planner looks a few dozen steps ahead. Where the reward comes later than that (the hill of
MountainCar), every candidate scores the same. The terminal value tells them apart. It is learned
from the same one-step predictions that the planner uses, so it knows nothing about the task beyond
reward, termination and the range of the states:

    V_0 = 0,    V_{k+1}(s) = max_a R(s, a, s') + gamma [s' not terminal] V_k(s'),    s' = f(s, a)

V_k is the best that k steps can earn. V is interpolated linearly between grid points, and states
outside the grid count as the nearest ones inside.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twinfold.errors import UsageError
from twinfold.models.dynamics import Dynamics
from twinfold.planning.objective import Objective, map_members
from twinfold.tasks.goal_functions import one_number, true_or_false


@dataclass(frozen=True)
class GridValueSettings:
    """Settings of learning a terminal value on a grid.

    Attributes:
        points: grid points along each axis, for states of 1, 2 and 3 coordinates.
        tolerance: value iteration stops when no value changes by more than this, in units of the
            largest reward.
    """

    points: tuple[tuple[int, ...], ...] = ((401,), (141, 101), (41, 41, 41))
    tolerance: float = 1e-3


class GridValue(eqx.Module):
    """A function of the state, linear between the points of a regular grid.

    Attributes:
        values: values at the grid points, ``(n_1, .., n_D)``.
        low: first grid point along each axis, ``(D,)``.
        high: last grid point along each axis, ``(D,)``.
        sweeps: how many sweeps of value iteration made it.
    """

    values: Float[Array, "..."]
    low: Float[Array, " D"]
    high: Float[Array, " D"]
    sweeps: Int[Array, ""]

    def __call__(self, state: Float[Array, " D"]) -> Float[Array, ""]:
        """Return the interpolated value; NaN if the state is not finite."""
        index, weight = _corners(state, self.low, self.high, self.values.shape)
        value = (self.values.reshape(-1)[index] * weight).sum()
        return jnp.where(jnp.isfinite(state).all(), value, jnp.nan)


def _corners(
    state: Float[Array, " D"], low: Array, high: Array, shape: tuple[int, ...]
) -> tuple[Int[Array, " C"], Float[Array, " C"]]:
    """Return flat indices and weights of the 2^D grid points around a state."""
    sizes = np.array(shape)
    position = jnp.clip((state - low) / (high - low), 0.0, 1.0) * (sizes - 1)
    # NaN has no cell; any will do, the caller sees to it.
    cell = jnp.clip(jnp.nan_to_num(jnp.floor(position)).astype(jnp.int32), 0, sizes - 2)
    inside = position - cell
    strides = np.array([int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))])
    corners = np.array(list(itertools.product((0, 1), repeat=len(shape))))  # (2^D, D)
    index = ((cell + corners) * strides).sum(axis=-1)
    weight = jnp.where(corners == 1, inside, 1.0 - inside).prod(axis=-1)
    return index, weight


def solve_grid_value(
    stack: Dynamics,
    objective: Objective,
    low: Any,
    high: Any,
    actions: Any,
    *,
    max_steps: int,
    points: tuple[int, ...] | None = None,
    how: GridValueSettings = GridValueSettings(),
) -> GridValue:
    """Return the result of value iteration with the ensemble's one-step predictions.

    The next state is the median over the members, coordinate by coordinate, so that one member
    that fails in a corner of the grid does not spoil the values there. Nothing is recompiled for
    another agent.

    Args:
        stack: ensemble with a leading member axis on its array leaves.
        objective: reward, termination and discount; its terminal value is not used.
        low: lower end of the grid, ``(D,)``, in raw units.
        high: upper end, ``(D,)``.
        actions: the actions that are tried: ``(K,)`` integer levels or ``(K, A)``.
        max_steps: the longest episode. No more sweeps are made, so a state from which the goal is
            out of reach is worth what that many steps earn and not less.
        points: grid points along each axis, at least 2; those of the settings if None.
        how: settings of the learning.

    Raises:
        UsageError: if D is not 1, 2 or 3 and no points are given.
    """
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    if points is None and low.size <= len(how.points):
        points = how.points[low.size - 1]
    if points is None:
        raise UsageError(
            f"a grid value needs a state of 1 to 3 coordinates, not {low.size}; "
            "plan without a terminal value"
        )
    box = jnp.asarray(low), jnp.asarray(high)
    return _solve(stack, objective, *box, jnp.asarray(actions), points, max_steps, how.tolerance)


@eqx.filter_jit
def _solve(
    stack: Dynamics,
    objective: Objective,
    low: Array,
    high: Array,
    actions: Array,
    points: tuple[int, ...],
    max_steps: int,
    tolerance: float,
) -> GridValue:
    """Return the value; with G grid points, K actions, D coordinates, 2^D corners of a cell."""
    axes = [jnp.linspace(low[i], high[i], n) for i, n in enumerate(points)]
    states = jnp.stack([x.reshape(-1) for x in jnp.meshgrid(*axes, indexing="ij")], axis=-1)

    def predict(dynamics: Dynamics) -> Float[Array, "K G W"]:
        def one(code: Any, state: Array) -> Array:
            return dynamics.row(*dynamics.step(dynamics.init(state), code))

        codes = jax.vmap(dynamics.encode)(actions)
        return jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))(codes, states)

    after = jnp.median(map_members(predict, stack), axis=0)  # (K, G, W)

    def consequence(state: Array, action: Array, next_row: Array) -> Any:
        next_state, beside = next_row[: len(low)], next_row[len(low) :]
        index, weight = _corners(next_state, low, high, points)
        gamma = jnp.where(true_or_false(objective.terminated(next_row)), 0.0, objective.discount)
        # A prediction that is not finite must not win. What is beside the state stays.
        reward = one_number(objective.reward(jnp.concatenate([state, beside]), action, next_row))
        finite = jnp.isfinite(next_state).all() & jnp.isfinite(reward)
        return jnp.where(finite, reward, -jnp.inf), index, jnp.where(finite, gamma * weight, 0.0)

    over_states = jax.vmap(consequence, in_axes=(0, None, 0))
    reward, index, weight = jax.vmap(over_states, in_axes=(None, 0, 0))(states, actions, after)
    scale = jnp.max(jnp.where(jnp.isfinite(reward), jnp.abs(reward), 0.0))
    index, weight = jnp.moveaxis(index, -1, 0), jnp.moveaxis(weight, -1, 0)  # (2^D, K, G)

    def sweep(before: Any) -> Any:
        values, _, count = before
        later = sum(w * values[i] for i, w in zip(index, weight, strict=True))
        new = (reward + later).max(axis=0)
        # No action with a finite prediction: as bad as the worst state there is.
        new = jnp.where(jnp.isfinite(new), new, jnp.min(jnp.where(jnp.isfinite(new), new, 0.0)))
        return new, jnp.max(jnp.abs(new - values)), count + 1

    def unfinished(before: Any) -> Array:
        _, change, count = before
        return (count < max_steps) & (change > tolerance * scale)

    start = (jnp.zeros(states.shape[0]), jnp.inf, jnp.zeros((), jnp.int32))
    values, _, count = jax.lax.while_loop(unfinished, sweep, start)
    return GridValue(values=values.reshape(points), low=low, high=high, sweeps=count)
