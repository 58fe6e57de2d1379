"""A policy and a value as small nets of the state; single-example, vmapped by the caller.

With x the standardised state (an angle as sine and cosine) the policy is, for K levels of a
discrete action, a categorical distribution with the logits f(x); for A continuous columns

    c ~ N(f(x), diag(exp(2 log_sd))),      a = low + (high - low) (clip(c, -1, 1) + 1) / 2

so that densities are those of the choice c before it is clipped. Without a key a policy acts by the
most likely level, or by the mean.

Axes: D state coordinates, J of them angles, A action columns, K levels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinfold.models.factor_model import Layer, hidden_layers
from twinfold.policy_learning.settings import PolicyLearningSettings

if TYPE_CHECKING:
    from twinfold.tasks.task import Task

_LOG_2PI = math.log(2.0 * math.pi)


class ActionSpace(eqx.Module):
    """What a policy may do.

    Attributes:
        n_levels: K of a discrete action; 0 for continuous ones.
        low: lower bounds of continuous columns, raw units, ``(A,)``; empty if discrete.
        high: upper bounds, ``(A,)``.
    """

    n_levels: int = eqx.field(static=True)
    low: Any = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32), default=())
    high: Any = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32), default=())

    @classmethod
    def of_task(cls, task: Task) -> ActionSpace:
        """Return the actions of a task."""
        if task.n_actions is not None:
            return cls(task.n_actions)
        return cls(0, task.action_low, task.action_high)

    @property
    def size(self) -> int:
        """Numbers that a policy's net gives: K or A."""
        return self.n_levels or self.low.shape[-1]


class StateScale(eqx.Module):
    """What a policy reads of a state: standardised columns, angles as sines and cosines.

    Attributes:
        mean: of the columns, raw units, ``(D,)``.
        scale: of the columns, raw units, ``(D,)``.
        angles: columns that are angles in radians, J of them.
    """

    mean: Any = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    scale: Any = eqx.field(converter=lambda x: jnp.asarray(x, jnp.float32))
    angles: tuple[int, ...] = eqx.field(static=True, default=())

    @classmethod
    def of_task(cls, task: Task) -> StateScale:
        """Return the scale of a task's natural ranges: they become [-1, 1]."""
        low, high = np.asarray(task.state_low), np.asarray(task.state_high)
        angles = tuple(task.state_names.index(name) for name in task.angle_names)
        return cls((low + high) / 2, (high - low) / 2, angles)

    @property
    def size(self) -> int:
        """Numbers that a policy reads: D + J."""
        return self.mean.shape[-1] + len(self.angles)

    def __call__(self, state: Float[Array, " D"]) -> Float[Array, " x"]:
        """Return what is read of a state in raw units: plain columns, sines, cosines."""
        standard = (state - self.mean) / self.scale
        if not self.angles:
            return standard
        turning = np.array(self.angles)
        plain = np.setdiff1d(np.arange(standard.shape[-1]), turning)
        return jnp.concatenate([standard[plain], jnp.sin(state[turning]), jnp.cos(state[turning])])


class Nets(NamedTuple):
    """Whatever training moves.

    Attributes:
        actor: layers of the policy's net; K logits or A means.
        log_sd: logarithm of the standard deviations of continuous choices, ``(A,)``; None if
            discrete.
        critic: layers of the value's net; one number.
    """

    actor: tuple[Layer, ...]
    log_sd: Float[Array, " A"] | None
    critic: tuple[Layer, ...]


class Policy(eqx.Module):
    """A policy with the value that it was trained with.

    A *choice* is a level, or a continuous action before it is clipped, in half-widths of the bounds
    from their middle.

    Attributes:
        nets: what was trained.
        scale: what is read of a state.
        actions: what may be done.
    """

    nets: Nets
    scale: StateScale
    actions: ActionSpace

    def act(self, state: Float[Array, " D"], key: Array | None = None) -> Array:
        """Return an action: the index of a level ``()``, or ``(A,)`` within the bounds, raw units.

        Args:
            state: raw units, ``(D,)``.
            key: of a random action; None for the most likely level or the mean.
        """
        if key is not None:
            return self.action(self.choose(state, key))
        out = self._outputs(state)
        return self.action(jnp.argmax(out) if self.actions.n_levels else out)

    def choose(self, state: Float[Array, " D"], key: Array) -> Array:
        """Return a random choice, ``()`` or ``(A,)``."""
        out = self._outputs(state)
        if self.nets.log_sd is None:
            return jax.random.categorical(key, out)
        return out + jnp.exp(self.nets.log_sd) * jax.random.normal(key, out.shape)

    def action(self, choice: Array) -> Array:
        """Return the action of a choice, ``()`` or ``(A,)``, raw units."""
        if self.actions.n_levels:
            return choice
        low, high = self.actions.low, self.actions.high
        return low + (high - low) * (jnp.clip(choice, -1.0, 1.0) + 1.0) / 2.0

    def choice(self, action: Array) -> Array:
        """Return the choice that an action within the bounds comes from, ``()`` or ``(A,)``."""
        if self.actions.n_levels:
            return action
        low, high = self.actions.low, self.actions.high
        return 2.0 * (action - low) / (high - low) - 1.0

    def log_likelihood(
        self, state: Float[Array, " D"], choice: Array
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return the logarithm of a choice's probability (density), and the policy's entropy."""
        out = self._outputs(state)
        if self.nets.log_sd is None:
            logs = jax.nn.log_softmax(out)
            return logs[choice], -jnp.sum(jnp.exp(logs) * logs)
        log_sd = self.nets.log_sd
        away = (choice - out) * jnp.exp(-log_sd)
        log = -0.5 * jnp.sum(away**2 + _LOG_2PI) - jnp.sum(log_sd)
        return log, jnp.sum(log_sd) + 0.5 * (1.0 + _LOG_2PI) * len(log_sd)

    def value(self, state: Float[Array, " D"]) -> Float[Array, ""]:
        """Return what the critic expects from a state on, in units of its training."""
        return _net(self.nets.critic, self.scale(state))[0]

    def _outputs(self, state: Float[Array, " D"]) -> Array:
        return _net(self.nets.actor, self.scale(state))


def _net(layers: tuple[Layer, ...], x: Array) -> Array:
    return layers[-1](hidden_layers(layers[:-1], x, "tanh"))


def random_policy(
    key: Array, settings: PolicyLearningSettings, scale: StateScale, actions: ActionSpace
) -> Policy:
    """Return a policy before training: all actions are about as likely, all values about zero.

    Args:
        key: of the weights.
        settings: widths and the spread of continuous actions.
        scale: what is read of a state.
        actions: what may be done.
    """
    key_actor, key_critic = jax.random.split(key)
    log_sd = None if actions.n_levels else jnp.full((actions.size,), settings.log_sd)
    nets = Nets(
        actor=_random_layers(key_actor, (scale.size, *settings.hidden, actions.size), 0.01),
        log_sd=log_sd,
        critic=_random_layers(key_critic, (scale.size, *settings.hidden, 1), 1.0),
    )
    return Policy(nets, scale, actions)


def _random_layers(key: Array, sizes: tuple[int, ...], last_gain: float) -> tuple[Layer, ...]:
    """Return layers that keep the spread of their inputs, the last one times ``last_gain``."""
    n_layers = len(sizes) - 1
    gains = [1.0] * (n_layers - 1) + [last_gain]
    keys = jax.random.split(key, n_layers)
    return tuple(
        Layer(gain / math.sqrt(n) * jax.random.normal(k, (n, m)), jnp.zeros(m))
        for k, gain, n, m in zip(keys, gains, sizes[:-1], sizes[1:], strict=True)
    )
