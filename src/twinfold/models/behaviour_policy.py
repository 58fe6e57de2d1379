"""The policy that the data followed, learned from its own actions.

A simulator knows the world where the data has been. A plan that does what the data's policy would
have done stays there; a plan that does something else may be better, or may only look better
because nothing in the data contradicts it. Planning can therefore begin at this policy and ask a
price for leaving it, as in MBOP (Argenson and Dulac-Arnold, 2021).

The policy is a small net of the state and the agent's factors, fitted to the median action, which
an occasional random action does not move. How much of the actions it explains is measured: under
random data it explains nothing, and leaving it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.data.transitions import Transitions
from twinfold.models.factor_model import Layer, hidden_layers, random_layer, without_bias
from twinfold.models.normalizer import Normalizer
from twinfold.models.random_arrays import split
from twinfold.utils.device import on_device, zeros_like

_CHUNK = 500  # steps of one call of the compiled program


@dataclass(frozen=True)
class BehaviourSettings:
    """Numbers of the net of the behaviour policy and of how it is fitted.

    Attributes:
        hidden: widths of its hidden layers.
        batch: transitions of a step.
        rate: of Adam, at the beginning.
        least_noise: noise of the policy however well it is known, in standard deviations of the
            action.
        unseen: most transitions by which it is measured what the policy explains.
    """

    hidden: tuple[int, ...] = (64, 64)
    batch: int = 256
    rate: float = 3e-3
    least_noise: float = 0.2
    unseen: int = 2**16


BEHAVIOUR = BehaviourSettings()
"""Those of every fit."""


class Behaviour(eqx.Module):
    """pi(s, u), in standardised units. I inputs of the state, r factors, A action columns.

    Attributes:
        layers: hidden layers, of which the first reads I + r numbers.
        head: last layer.
        factors: ``(N, r)``, of the agents, standardised.
        low, high: ``(A,)``, least and largest action of the data.
        noise: ``(A,)``, standard deviation of what the policy leaves unexplained.
        explained: share of the variance of the actions that the policy explains, in [0, 1].
    """

    layers: tuple[Layer, ...]
    head: Layer
    factors: Float[Array, "N r"]
    low: Float[Array, " A"]
    high: Float[Array, " A"]
    noise: Float[Array, " A"]
    explained: Float[Array, ""]

    def __call__(self, inputs: Float[Array, " I"], factors: Float[Array, " r"]) -> Array:
        """Standardised action ``(A,)``."""
        x = jnp.concatenate([inputs, factors])
        return self.head(hidden_layers(self.layers, x, "relu"))

    def of_agent(self, normalizer: Normalizer, agent: Any) -> AgentBehaviour:
        """The policy of one agent; its factors become a part of the first bias."""
        first, *others = self.layers
        n_inputs = len(first.weight) - self.factors.shape[1]  # of the state: no exogenous ones
        bias = first.bias + self.factors[agent] @ first.weight[n_inputs:]
        return AgentBehaviour(
            normalizer=normalizer,
            layers=(Layer(first.weight[:n_inputs], bias), *others),
            head=self.head,
            low=self.low,
            high=self.high,
            noise=self.noise,
            explained=self.explained,
        )


class AgentBehaviour(eqx.Module):
    """The policy of one agent, in raw units. Attributes as of :class:`Behaviour`."""

    normalizer: Normalizer
    layers: tuple[Layer, ...]
    head: Layer
    low: Float[Array, " A"]
    high: Float[Array, " A"]
    noise: Float[Array, " A"]
    explained: Float[Array, ""]

    def __call__(
        self, state: Float[Array, " D"], noise: Float[Array, " A"] | float = 0.0
    ) -> Float[Array, " A"]:
        """The action in a state, raw units, with standardised noise; within the data's range."""
        norm = self.normalizer
        action = jnp.clip(self._standard(state) + noise, self.low, self.high)
        return action * norm.action_scale + norm.action_mean

    def departure(self, state: Float[Array, " D"], action: Float[Array, " A"]) -> Array:
        """Squared distance of an action from the policy's, in units of its noise, times its share.

        The mean over the A columns; 0 where the policy explains nothing.
        """
        away = (self.normalizer.encode_action(action) - self._standard(state)) / self.noise
        return self.explained * jnp.mean(away**2)

    def _standard(self, state: Float[Array, " D"]) -> Array:
        inputs = self.normalizer.inputs(self.normalizer.encode_state(state))
        return self.head(hidden_layers(self.layers, inputs, "relu"))


def init_behaviour(key: Any, n_inputs: int, factors: Array, action_size: int) -> Behaviour:
    """A random policy for the given standardised factors ``(N, r)``."""
    size, layers = n_inputs + factors.shape[1], []
    for width in BEHAVIOUR.hidden:
        key, own = split(key)
        layers.append(random_layer(own, size, width))
        size = width
    ones = np.ones(action_size)
    return Behaviour(
        layers=tuple(layers),
        head=without_bias(random_layer(key, size, action_size)),
        factors=factors,
        low=on_device(-ones),
        high=on_device(ones),
        noise=on_device(ones),
        explained=on_device(0.0),
    )


def fit_behaviour(
    data: Transitions, normalizer: Normalizer, factors: NDArray[Any], steps: int, seed: int
) -> Behaviour:
    """Learn what the agents did, from continuous actions.

    Args:
        data: all transitions.
        normalizer: float64, on the host.
        factors: ``(N, r)``, of one member of the ensemble.
        steps: of Adam.
        seed: of initialisation and batches.
    """
    spread = np.maximum(factors.std(axis=0), 1e-6)
    standard = on_device((factors - factors.mean(axis=0)) / spread)
    inputs = normalizer.inputs(normalizer.encode_state(data.state)).astype(np.float32)
    actions = normalizer.encode_action(data.action).astype(np.float32)
    batch = (on_device(data.agent, np.int32), on_device(inputs), on_device(actions))
    policy = init_behaviour(jax.random.key(seed), inputs.shape[1], standard, actions.shape[1])
    rng = np.random.default_rng((seed, 77))
    # What it explains of rows that it has not seen: of random actions, nothing.
    order = rng.permutation(len(data))
    n_unseen = min(BEHAVIOUR.unseen, len(data) // 10)
    seen, some = order[n_unseen:], order[:n_unseen] if n_unseen else order
    n_chunks = -(-steps // _CHUNK)
    state = zeros_like(_OPTIMISER.init, policy)
    for chunk in range(n_chunks):
        rows = seen[rng.integers(0, len(seen), (_CHUNK, BEHAVIOUR.batch))].astype(np.int32)
        policy, state = _train(policy, state, batch, rows, chunk * _CHUNK, n_chunks * _CHUNK)
    away = np.asarray(_predict(policy, batch, some)) - actions[some]
    left = np.square(away).mean(axis=0)
    explained = 1.0 - left.mean() / np.maximum(np.square(actions[some]).mean(), 1e-12)
    return eqx.tree_at(
        lambda p: (p.low, p.high, p.noise, p.explained),
        policy,
        (
            on_device(actions.min(axis=0)),
            on_device(actions.max(axis=0)),
            on_device(np.sqrt(left + BEHAVIOUR.least_noise**2)),
            on_device(np.clip(explained, 0.0, 1.0)),
        ),
    )


_OPTIMISER = optax.scale_by_adam()


@jax.jit
def _train(
    policy: Behaviour, state: Any, data: Any, rows: Array, start: Any, total: Any
) -> tuple[Behaviour, Any]:
    agent, inputs, actions = data

    def loss(nets: Any, batch: Array) -> Array:
        now = eqx.tree_at(lambda p: (p.layers, p.head), policy, nets)
        return jnp.abs(
            jax.vmap(now)(inputs[batch], policy.factors[agent[batch]]) - actions[batch]
        ).mean()

    def one_step(before: Any, given: Any) -> Any:
        policy, state = before
        batch, step = given
        nets = policy.layers, policy.head
        gradient = jax.grad(loss)(nets, batch)
        # Only the nets move.
        full = eqx.tree_at(
            lambda p: (p.layers, p.head), jax.tree.map(jnp.zeros_like, policy), gradient
        )
        update, state = _OPTIMISER.update(full, state)
        rate = BEHAVIOUR.rate * 0.5 * (1 + jnp.cos(jnp.pi * step / total))
        return (jax.tree.map(lambda p, u: p - rate * u, policy, update), state), None

    steps = start + jnp.arange(len(rows), dtype=jnp.float32)
    return jax.lax.scan(one_step, (policy, state), (rows, steps))[0]


@jax.jit
def _predict(policy: Behaviour, data: Any, rows: Array) -> Float[Array, "K A"]:
    agent, inputs, _ = data
    return jax.vmap(policy)(inputs[rows], policy.factors[agent[rows]])
