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

from dataclasses import dataclass
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
from twinfold.planning.mpc import MPCController
from twinfold.planning.objective import Objective, member_traces
from twinfold.planning.planner import Planner

_SIDE_BY_SIDE = 16  # plans; of speed only


@dataclass(frozen=True)
class PlanValueSettings:
    """Settings of learning a terminal value by planning.

    Attributes:
        candidates: of a search; there are many, so each is a short one.
        rounds: of a search.
        states: where plans begin, per generation.
        generations: of states: those of the data, the ends of plans from there, and so on.
        discount: of the value where a plan ends, per plan; 0.8 looks about five plans ahead.
        hidden: widths of the net's hidden layers.
        sweeps: rounds of fitted value iteration.
        steps: of training, per sweep.
        batch: states per step.
        learning_rate: at the first step of a sweep; it falls to zero along a cosine.
        limits: percentiles of the targets that the value is kept between.
    """

    candidates: int = 32
    rounds: int = 3
    states: int = 512
    generations: int = 3
    discount: float = 0.8
    hidden: tuple[int, ...] = (64, 64)
    sweeps: int = 6
    steps: int = 1500
    batch: int = 128
    learning_rate: float = 3e-3
    limits: tuple[float, float] = (1.0, 80.0)


class PlanValue(eqx.Module):
    """The worth of planning on from a state, discounted by plan.

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
        """Return the value; NaN if the state is not finite."""
        inputs = self.normalizer.inputs(self.normalizer.encode_state(state))
        value = self.mean + self.scale * _Net(self.layers, self.head)(inputs)
        return jnp.clip(value, self.low, self.high)


def learn_plan_value(
    stack: Dynamics,
    objective: Objective,
    planner: Planner,
    normalizer: Normalizer,
    states: NDArray[np.floating],
    key: Array,
    how: PlanValueSettings = PlanValueSettings(),
) -> PlanValue:
    """Return the value learned for one agent. Nothing is recompiled for another agent.

    Args:
        stack: the agent's ensemble, with a leading member axis on its array leaves.
        objective: what to plan for, without a terminal value.
        planner: how to search; fewer candidates than for acting will do.
        normalizer: float64, on the host.
        states: where to plan from, ``(S, D)`` raw units, at least one; drawn from.
        key: randomness.
        how: settings of the learning; its candidates and rounds are the planner's business.
    """
    key_draw, key_plan, key_net = jax.random.split(key, 3)
    drawn = jax.random.choice(
        key_draw, len(states), (how.states,), replace=len(states) < how.states
    )
    start = jnp.asarray(states[np.asarray(drawn)], jnp.float32)
    device = normalizer.on_device()
    controller = MPCController(planner, stack, objective)
    generations: list[_Plans] = []
    for generation in range(how.generations):
        plans, after = _plan_from(
            controller, device, start, jax.random.fold_in(key_plan, generation)
        )
        generations.append(plans)
        # A plan that ends nowhere is tried from where it began.
        start = jnp.where(plans.usable[:, None], after, start)
    plans = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *generations)
    discount = how.discount * objective.discount**planner.horizon
    net, targets = _iterate(plans, jnp.float32(discount), key_net, how)
    return PlanValue(device, *net, **targets._asdict())


class _Plans(NamedTuple):
    """Plans from K states, by the M members.

    Attributes:
        here: inputs of the net where each begins.
        ends: inputs of the net where each ends, by each member.
        alive: for which members the episode goes on there, ``(K, M)``.
        score: of each, ``(K,)``.
        usable: which count: those with a finite score and finite ends, ``(K,)``.
    """

    here: Float[Array, "K I"]
    ends: Float[Array, "K M I"]
    alive: Array
    score: Float[Array, " K"]
    usable: Array


@eqx.filter_jit
def _plan_from(
    controller: MPCController, normalizer: Normalizer, states: Float[Array, "K D"], key: Array
) -> tuple[_Plans, Float[Array, "K D"]]:
    """Return plans from each state, and where one member says that each ends."""
    stack, objective = controller.stack, controller.objective

    def inputs(state: Array) -> Array:
        return normalizer.inputs(normalizer.encode_state(state))

    def one(state: Array, key: Array) -> tuple[_Plans, Array]:
        # Plan once, as at the first step of an episode.
        key_init, key_plan, key_propose, key_end = jax.random.split(key, 4)
        info = controller.plan(controller.init(key_init), state, key_plan, key_propose)[2]

        # Follow the plan in every member; the last state is where its episode ended, if it did.
        trace = member_traces(stack, objective, state, info.actions[None])[1]
        ends = trace.states[:, -1, 0]  # (M, D)
        alive = trace.alive[:, -1, 0]

        usable = jnp.isfinite(info.score) & jnp.isfinite(ends).all()
        plans = _Plans(inputs(state), jax.vmap(inputs)(ends), alive, info.score, usable)
        return plans, ends[jax.random.randint(key_end, (), 0, len(ends))]

    keys = jax.random.split(key, len(states))
    return jax.lax.map(lambda pair: one(*pair), (states, keys), batch_size=_SIDE_BY_SIDE)


class _Net(NamedTuple):
    """The layers of a value's net."""

    layers: tuple[Layer, ...]
    head: Layer

    def __call__(self, inputs: Float[Array, " I"]) -> Float[Array, ""]:
        """Return the standardised value."""
        return self.head(hidden_layers(self.layers, inputs, "silu"))[0]


class _Targets(NamedTuple):
    """The targets of a sweep in four numbers: mean and scale, and the limits of the value."""

    mean: Array
    scale: Array
    low: Array
    high: Array


@eqx.filter_jit
def _iterate(
    plans: _Plans, discount: Array, key: Array, how: PlanValueSettings
) -> tuple[_Net, _Targets]:
    """Return the net of the last sweep of fitted value iteration, and its targets in numbers."""
    key_init, key_batch = jax.random.split(key)
    optimiser = optax.adam(optax.cosine_decay_schedule(how.learning_rate, how.steps))
    score = jnp.where(plans.usable, plans.score, jnp.nan)
    ends = jnp.where(plans.usable[:, None, None], plans.ends, 0.0)

    def loss(net: _Net, target: Array, rows: Array) -> Array:
        error = optax.huber_loss(jax.vmap(net)(plans.here[rows]), target[rows])
        return jnp.where(plans.usable[rows], error, 0.0).mean()

    def train(net: Any, target: Array, key: Array) -> _Net:
        def step(now: Any, key: Array) -> tuple[Any, None]:
            net, memory = now
            rows = jax.random.randint(key, (how.batch,), 0, len(score))
            update, memory = optimiser.update(jax.grad(loss)(net, target, rows), memory)
            return (optax.apply_updates(net, update), memory), None

        start = net, optimiser.init(net)
        return jax.lax.scan(step, start, jax.random.split(key, how.steps))[0][0]

    def sweep(before: Any, key: Array) -> tuple[Any, None]:
        net, beyond, _ = before

        # Targets: the score of the plan, and what the last sweep thinks its end is worth.
        target = score + discount * beyond
        mean, scale = jnp.nanmean(target), jnp.nanstd(target) + 1e-6
        low, high = jnp.nanpercentile(target, jnp.array(how.limits))

        # Fit the net to them, from where it was.
        net = train(net, jnp.nan_to_num((target - mean) / scale), key)

        # The worth of the ends by the new net: nothing where the episode is over.
        value = mean + scale * jax.vmap(jax.vmap(net))(ends)  # (K, M)
        beyond = jnp.where(plans.alive, jnp.clip(value, low, high), 0.0).mean(axis=1)
        return (net, beyond, _Targets(mean, scale, low, high)), None

    nothing = jnp.zeros(())
    net = _random_net(key_init, plans.here.shape[-1], how.hidden)
    start = net, jnp.zeros_like(plans.score), _Targets(nothing, nothing, nothing, nothing)
    (net, _, targets), _ = jax.lax.scan(sweep, start, jax.random.split(key_batch, how.sweeps))
    # Without a single usable plan there is nothing to tell apart.
    return net, jax.tree.map(jnp.nan_to_num, targets)


def _random_net(key: Array, n_inputs: int, hidden: tuple[int, ...]) -> _Net:
    keys = jax.random.split(key, len(hidden) + 1)
    layers = tuple(map(random_layer, keys[:-1], (n_inputs, *hidden), hidden))
    head = random_layer(keys[-1], hidden[-1], 1)
    return _Net(layers, Layer(head.weight, jnp.zeros_like(head.bias)))
