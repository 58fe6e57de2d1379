"""Proximal policy optimisation: simulate, estimate advantages, climb a clipped objective.

Schulman, Wolski, Dhariwal, Radford, Klimov: Proximal Policy Optimization Algorithms, 2017. With the
ratio rho = pi(c | s) / pi_old(c | s) of a choice's probabilities, the advantage A standardised over
the minibatch, and the target V' = A + V_old(s), a minibatch descends

    - mean min(rho A, clip(rho, 1 - clip, 1 + clip) A)
    + value_weight / 2 mean (V(s) - V')^2  -  entropy_weight mean H(pi(. | s))

Rewards are divided by the standard deviation of the discounted sum of rewards so far, so that one
learning rate serves rewards of any size. Episodes that are cut off keep the worth of their last
state (:mod:`twinfold.policy_learning.advantages`).

rejax 0.1.3 was tried first. It trains in our dynamics (CartPole, MountainCar; 20 to 26 s to
compile), but does not run with gymnax 1.0, which ``pip install rejax`` brings; it adds 27 packages,
a nightly build of TensorFlow Probability among them; it counts an episode that is cut off as one
that ended; and one call trains to the end, so that nothing can be told or interrupted on the way.

Axes: T steps of an update, W models, B episodes in each, N = T W B steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from twinfold.policy_learning.actor_critic import Nets, Policy, random_policy
from twinfold.policy_learning.advantages import advantages
from twinfold.policy_learning.settings import PolicyLearningSettings
from twinfold.policy_learning.world import Outcome, Simulation, World, advance, begin

_TINY = 1e-8  # keeps a division by a standard deviation of zero finite


class ReturnScale(NamedTuple):
    """How much discounted sums of rewards vary.

    Attributes:
        count: sums seen so far.
        mean: of them.
        squares: sum of their squared distances from the mean.
        running: sums of the episodes on their way, ``(W, B)``.
    """

    count: Float[Array, ""]
    mean: Float[Array, ""]
    squares: Float[Array, ""]
    running: Float[Array, "W B"]

    def unit(self) -> Float[Array, ""]:
        """Return the standard deviation, 1 as long as nothing has varied."""
        sd = jnp.sqrt(self.squares / jnp.maximum(self.count, 1.0))
        return jnp.where(sd > _TINY, sd, 1.0)


class Tally(NamedTuple):
    """What episodes that ended were worth, in the world that the policy is trained in.

    Attributes:
        episodes: their number.
        returns: the sum of their returns, without discount, the price of halting included.
        halted: how many halted at what the models do not know.
    """

    episodes: Float[Array, ""]
    returns: Float[Array, ""]
    halted: Float[Array, ""]


class Training(NamedTuple):
    """A policy in training.

    Attributes:
        nets: of the policy.
        adam: what the optimiser remembers.
        simulation: episodes on their way, ``(W, B)``.
        earned: by these episodes so far, ``(W, B)``.
        scale: of rewards.
    """

    nets: Nets
    adam: Any
    simulation: Simulation
    earned: Float[Array, "W B"]
    scale: ReturnScale


class Batch(NamedTuple):
    """Simulated steps to learn from, N of them or a part.

    Attributes:
        state: before the step, raw units, ``(N, D)``.
        choice: of the policy, ``(N,)`` or ``(N, A)``.
        log: logarithm of its probability when it was made, ``(N,)``.
        advantage: of the choice, ``(N,)``.
        target: what the value should be, ``(N,)``.
    """

    state: Array
    choice: Array
    log: Array
    advantage: Array
    target: Array


def n_updates(settings: PolicyLearningSettings, n_models: int) -> int:
    """Return how many updates a training has."""
    return -(-settings.steps // (settings.unroll * n_models * episodes_each(settings, n_models)))


def episodes_each(settings: PolicyLearningSettings, n_models: int) -> int:
    """Return B, how many episodes each of W models simulates side by side."""
    return max(1, settings.environments // n_models)


def optimiser(settings: PolicyLearningSettings, n_models: int) -> optax.GradientTransformation:
    """Return Adam with bounded gradients and a rate that falls to zero at the end of training."""
    n_steps = n_updates(settings, n_models) * settings.epochs * settings.minibatches
    rate = optax.linear_schedule(settings.learning_rate, 0.0, n_steps)
    bounded = optax.clip_by_global_norm(settings.largest_gradient)
    return optax.chain(bounded, optax.adam(rate))


@eqx.filter_jit  # one program instead of thirty
def start(world: World, settings: PolicyLearningSettings, key: Array) -> tuple[Policy, Training]:
    """Return a random policy, and it as it begins its training.

    Args:
        world: where it is trained.
        settings: of the training.
        key: of the weights and of the first starts.
    """
    key_policy, key_world = jax.random.split(key)
    policy = random_policy(key_policy, settings, world.scale, world.actions)
    n_each = episodes_each(settings, world.n_models)
    nothing = jnp.zeros((world.n_models, n_each))
    zero = jnp.zeros(())
    training = Training(
        nets=policy.nets,
        adam=optimiser(settings, world.n_models).init(policy.nets),  # pyright: ignore
        simulation=begin(world, key_world, n_each),
        earned=nothing,
        scale=ReturnScale(zero, zero, zero, nothing),
    )
    return policy, training


def update(
    training: Training, world: World, settings: PolicyLearningSettings, key: Array
) -> tuple[Training, Tally]:
    """Return a policy after one update, and what the episodes that ended on the way were worth.

    Args:
        training: the policy before.
        world: where it is trained.
        settings: of the training.
        key: of choices, starts and minibatches.
    """
    key_simulate, key_learn = jax.random.split(key)
    policy = Policy(training.nets, world.scale, world.actions)

    # Simulate T steps of all episodes with the present policy.
    (simulation, earned), steps = _simulate(
        policy, world, training.simulation, training.earned, settings.unroll, key_simulate
    )
    state, choice, log, outcome, total = steps

    # Estimate how much better each choice was than the policy's average.
    scale = _rescaled(training.scale, outcome, settings.discount)
    values = _everywhere(policy.value, state), _everywhere(policy.value, outcome.next_state)
    advantage = advantages(
        outcome.reward / scale.unit(),
        *values,
        outcome.terminated,
        outcome.ended,
        settings.discount,
        settings.trace,
    )
    batch = Batch(state, choice, log, advantage, advantage + values[0])
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:]), batch)

    # Learn from them.
    nets, adam = _learn(training, policy, flat, settings, key_learn, world.n_models)
    tally = Tally(
        episodes=outcome.ended.sum().astype(jnp.float32),
        returns=jnp.where(outcome.ended, total, 0.0).sum(),
        halted=outcome.halted.sum().astype(jnp.float32),
    )
    return Training(nets, adam, simulation, earned, scale), tally


def loss_of(policy: Policy, batch: Batch, settings: PolicyLearningSettings) -> Float[Array, ""]:
    """Return what a minibatch descends.

    Args:
        policy: the present one.
        batch: a minibatch.
        settings: clip and weights.
    """
    log, entropy = jax.vmap(policy.log_likelihood)(batch.state, batch.choice)
    value = jax.vmap(policy.value)(batch.state)
    standard = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + _TINY)
    ratio = jnp.exp(log - batch.log)
    clipped = jnp.clip(ratio, 1.0 - settings.clip, 1.0 + settings.clip)
    gain = jnp.minimum(ratio * standard, clipped * standard).mean()
    error = jnp.square(value - batch.target).mean()
    return settings.value_weight / 2.0 * error - gain - settings.entropy_weight * entropy.mean()


def _simulate(
    policy: Policy,
    world: World,
    simulation: Simulation,
    earned: Float[Array, "W B"],
    n_steps: int,
    key: Array,
) -> Any:
    """Return the episodes after T steps with what they earned, and the steps ``(T, W, B, ..)``."""
    shape = earned.shape

    def one_step(before: Any, key: Array) -> Any:
        now, earned = before
        key_choice, key_start = jax.random.split(key)
        keys = jax.random.split(key_choice, shape)
        choice = jax.vmap(jax.vmap(policy.choose))(now.state, keys)
        log, _ = jax.vmap(jax.vmap(policy.log_likelihood))(now.state, choice)
        action = jax.vmap(jax.vmap(policy.action))(choice)
        after, outcome = advance(world, now, action, key_start)
        total = earned + outcome.reward
        earned = jnp.where(outcome.ended, 0.0, total)
        return (after, earned), (now.state, choice, log, outcome, total)

    return jax.lax.scan(one_step, (simulation, earned), jax.random.split(key, n_steps))


def _everywhere(value: Any, states: Float[Array, "T W B D"]) -> Float[Array, "T W B"]:
    """Return the values of states, in one batch."""
    flat = jax.vmap(value)(states.reshape(-1, states.shape[-1]))
    return flat.reshape(states.shape[:-1])


def _rescaled(scale: ReturnScale, outcome: Outcome, discount: float) -> ReturnScale:
    """Return the scale of rewards after T more steps."""

    def one_step(running: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, ended = step
        total = discount * running + reward
        return jnp.where(ended, 0.0, total), total

    running, sums = jax.lax.scan(one_step, scale.running, (outcome.reward, outcome.ended))

    # Moments of both parts together (Chan, Golub, LeVeque 1979).
    count = scale.count + sums.size
    apart = sums.mean() - scale.mean
    mean = scale.mean + apart * sums.size / count
    squares = (
        scale.squares
        + jnp.square(sums - sums.mean()).sum()
        + apart**2 * scale.count * sums.size / count
    )
    return ReturnScale(count, mean, squares, running)


def _learn(
    training: Training,
    policy: Policy,
    batch: Batch,
    settings: PolicyLearningSettings,
    key: Array,
    n_models: int,
) -> tuple[Nets, Any]:
    """Return the nets after some passes over N steps, each pass in an order of its own."""
    adam = optimiser(settings, n_models)
    n_steps = len(batch.log)
    n_parts = min(settings.minibatches, n_steps)
    size = n_steps // n_parts

    def loss(nets: Nets, part: Batch) -> Array:
        return loss_of(Policy(nets, policy.scale, policy.actions), part, settings)

    def one_part(now: Any, rows: Int[Array, " b"]) -> Any:
        nets, memory = now
        part = jax.tree.map(lambda leaf: leaf[rows], batch)
        gradient = jax.grad(loss)(nets, part)
        change, memory = adam.update(gradient, memory)
        nets: Any = optax.apply_updates(nets, change)
        if nets.log_sd is not None:
            nets = nets._replace(log_sd=jnp.maximum(nets.log_sd, settings.least_log_sd))
        return (nets, memory), None

    def one_pass(now: Any, key: Array) -> Any:
        rows = jax.random.permutation(key, n_steps)[: n_parts * size].reshape(n_parts, size)
        return jax.lax.scan(one_part, now, rows)

    keys = jax.random.split(key, settings.epochs)
    return jax.lax.scan(one_pass, (training.nets, training.adam), keys)[0]
