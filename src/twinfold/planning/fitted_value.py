"""A learned terminal value for states of many dimensions: what planning on from there would earn.

A plan of H steps does not see what comes after it. On HalfCheetah the best second from standing is
a somersault that lands on the back, from where nothing more is earned. The terminal value tells
such an end from a good one. It is learned in the agent's simulator, by planning from many states:

    1. plan from states of the training data, and from where those plans end, and so on
    2. G(s) = score of the plan from s,  e_m(s) = where member m says that it ends
    3. fit a net V to  G(s) + gamma mean_m V(e_m(s)),  several times over, V = 0 after the end of an
       episode

which is fitted value iteration with a planner in the place of the maximum over actions (as in
POLO: Lowrey et al. 2019). Scores include whatever the objective charges for leaving the data, so
the value does as well.

V is there to tell bad ends from ordinary ones. Its highest fifth is cut off: the best that a
simulator promises is where it errs most in its own favour, and plans would be drawn to end there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.models.dynamics import Dynamics
from twinfold.models.factor_model import Layer, hidden_layers, random_layer
from twinfold.models.normalizer import Normalizer
from twinfold.planning.objective import Objective, make_evaluate, map_members, proposals
from twinfold.planning.planner import Planner

N_STATES = 512  # per generation
GENERATIONS = 3  # of states: of the data, ends of plans from there, and so on
DISCOUNT = 0.8  # per plan: the value looks about five plans ahead
HIDDEN = (64, 64)
_SWEEPS, _STEPS, _BATCH, _RATE = 6, 1500, 128, 3e-3
_LIMITS = 1.0, 80.0  # percentiles of the targets that V is kept between
_SIDE_BY_SIDE = 16  # plans


class PlanValue(eqx.Module):
    """What planning on from a state would earn, discounted by plan.

    Attributes:
        normalizer: reads the state.
        layers: hidden layers.
        head: last layer, one output.
        mean, scale: of the targets.
        low, high: limits of the value.
    """

    normalizer: Normalizer
    layers: tuple[Layer, ...]
    head: Layer
    mean: Float[Array, ""]
    scale: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]

    def __call__(self, state: Float[Array, " D"]) -> Float[Array, ""]:
        """The value; NaN if the state is not finite."""
        inputs = self.normalizer.inputs(self.normalizer.encode_state(state))
        value = self.mean + self.scale * _net((self.layers, self.head), inputs)
        return jnp.clip(value, self.low, self.high)


def learn_plan_value(
    stack: Dynamics,
    objective: Objective,
    planner: Planner,
    normalizer: Normalizer,
    states: NDArray[np.floating],
    key: Array,
) -> PlanValue:
    """Learn the value for one agent. Nothing is recompiled for another agent.

    Args:
        stack: the agent's ensemble, with a leading member axis on its array leaves.
        objective: what to plan for, without a terminal value.
        planner: how to search; fewer candidates than for acting will do.
        normalizer: float64, on the host.
        states: where to plan from, ``(S, D)`` raw units, at least one; drawn from.
        key: randomness.
    """
    key_draw, key_plan, key_net = jax.random.split(key, 3)
    drawn = jax.random.choice(key_draw, len(states), (N_STATES,), replace=len(states) < N_STATES)
    found: list[_Plans] = []
    start = jnp.asarray(states[np.asarray(drawn)], jnp.float32)
    device = normalizer.on_device()
    for generation in range(GENERATIONS):
        key_now = jax.random.fold_in(key_plan, generation)
        plans, after = _plan_from(stack, objective, planner, device, start, key_now)
        found.append(plans)
        # A plan that ends nowhere is tried from where it began.
        start = jnp.where(plans.usable[:, None], after, start)
    plans = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
    horizon: int = planner.horizon  # pyright: ignore[reportAttributeAccessIssue]
    discount = DISCOUNT * objective.discount**horizon
    net, (mean, scale, low, high) = _iterate(plans, jnp.float32(discount), key_net)
    return PlanValue(device, *net, mean=mean, scale=scale, low=low, high=high)


class _Plans(NamedTuple):
    """Plans from K states: inputs of the net there and at their ends, scores, and which count.

    ``alive`` tells for which members the episode goes on where the plan ends.
    """

    here: Float[Array, "K I"]
    ends: Float[Array, "K M I"]
    alive: Array
    score: Float[Array, " K"]
    usable: Array


@eqx.filter_jit
def _plan_from(
    stack: Dynamics,
    objective: Objective,
    planner: Planner,
    normalizer: Normalizer,
    states: Float[Array, "K D"],
    key: Array,
) -> tuple[_Plans, Float[Array, "K D"]]:
    """Plans from each state, and where one member says that each ends."""
    evaluate = make_evaluate(stack, objective)
    horizon: int = planner.horizon  # pyright: ignore[reportAttributeAccessIssue]

    def inputs(state: Array) -> Array:
        return normalizer.inputs(normalizer.encode_state(state))

    def one(given: tuple[Array, Array]) -> tuple[_Plans, Array]:
        state, key = given
        key_init, key_plan, key_propose, key_end = jax.random.split(key, 4)
        proposed = proposals(stack, objective, state, horizon, key_propose)
        memory = planner.init(key_init)
        info = planner.plan(memory, evaluate, state, key_plan, proposed)[2]

        def end(dynamics: Dynamics) -> tuple[Float[Array, " D"], Array]:
            def step(now: Any, action: Array) -> tuple[Any, None]:
                carry, before, alive = now
                carry, after = dynamics.step(carry, dynamics.encode(action), None)
                after = jnp.where(alive, after, before)  # it stays where its episode ended
                return (carry, after, alive & ~objective.terminated(after)), None

            start = dynamics.init(state), state, jnp.ones((), bool)
            _, last, alive = jax.lax.scan(step, start, info.actions)[0]
            return last, alive

        ends, alive = map_members(end, stack)  # (M, D), (M,)
        usable = jnp.isfinite(info.score) & jnp.isfinite(ends).all()
        plans = _Plans(inputs(state), jax.vmap(inputs)(ends), alive, info.score, usable)
        return plans, ends[jax.random.randint(key_end, (), 0, len(ends))]

    return jax.lax.map(one, (states, jax.random.split(key, len(states))), batch_size=_SIDE_BY_SIDE)


def _net(net: Any, inputs: Float[Array, " I"]) -> Float[Array, ""]:
    layers, head = net
    return head(hidden_layers(layers, inputs, "silu"))[0]


@jax.jit
def _iterate(
    plans: _Plans, discount: Array, key: Array
) -> tuple[Any, tuple[Array, Array, Array, Array]]:
    """The net of the last sweep, and mean, scale and limits of its targets."""
    key_init, key_batch = jax.random.split(key)
    keys = jax.random.split(key_init, len(HIDDEN) + 1)
    sizes = (plans.here.shape[-1], *HIDDEN)
    layers = tuple(map(random_layer, keys[:-1], sizes, HIDDEN))
    head = random_layer(keys[-1], HIDDEN[-1], 1)
    net = layers, Layer(head.weight, jnp.zeros_like(head.bias))
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS))
    score = jnp.where(plans.usable, plans.score, jnp.nan)

    def loss(net: Any, target: Array, rows: Array) -> Array:
        error = optax.huber_loss(jax.vmap(_net, (None, 0))(net, plans.here[rows]), target[rows])
        return jnp.where(plans.usable[rows], error, 0.0).mean()

    def sweep(before: Any, key: Array) -> tuple[Any, None]:
        net, beyond, _ = before
        target = score + discount * beyond
        mean, scale = jnp.nanmean(target), jnp.nanstd(target) + 1e-6
        limits = jnp.nanpercentile(target, jnp.array(_LIMITS))
        standard = jnp.nan_to_num((target - mean) / scale)

        def step(now: Any, key: Array) -> tuple[Any, None]:
            net, memory = now
            rows = jax.random.randint(key, (_BATCH,), 0, len(score))
            update, memory = optimiser.update(jax.grad(loss)(net, standard, rows), memory)
            return (optax.apply_updates(net, update), memory), None

        start = net, optimiser.init(net)
        net = jax.lax.scan(step, start, jax.random.split(key, _STEPS))[0][0]
        ends = jnp.where(plans.usable[:, None, None], plans.ends, 0.0)
        value = mean + scale * jax.vmap(jax.vmap(_net, (None, 0)), (None, 0))(net, ends)
        beyond = jnp.where(plans.alive, jnp.clip(value, *limits), 0.0).mean(axis=1)
        return (net, beyond, (mean, scale, *limits)), None

    nothing = jnp.zeros(())
    start = net, jnp.zeros_like(plans.score), (nothing, nothing, nothing, nothing)
    (net, _, numbers), _ = jax.lax.scan(sweep, start, jax.random.split(key_batch, _SWEEPS))
    # Without a single usable plan there is nothing to tell apart.
    return net, jax.tree.map(jnp.nan_to_num, numbers)
