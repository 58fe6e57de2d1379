"""The separable latent-factor model of one ensemble member (PerSim, NeurIPS 2021, section 4).

The standardised difference of coordinate d from a state to the next is

    E[y_d | n, s, a] = sum_l u_l(n) v_l(s, d) w_l(a)

with u a free vector per agent, v a net of the state, w a free vector per level of a discrete action
or a net of a continuous one. With Z(s, a)[d, l] = v_l(s, d) w_l(a) the prediction is Z(s, a) @ u.

Axes: N agents, r rank, D state coordinates, A action columns, L action levels, h hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinfold.config import FitConfig
from twinfold.models.dynamics import Dynamics
from twinfold.models.normalizer import Normalizer

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "hard_swish": jax.nn.hard_swish,
    "tanh": jnp.tanh,
}
_UNROLL = 6  # most inputs of a layer for which Layer.unrolled is the faster form


class Layer(eqx.Module):
    """A dense layer, weights row-major: ``x @ weight + bias``."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """``(i,) -> (o,)``."""
        return x @ self.weight + self.bias

    def unrolled(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        """The same as a sum over few inputs, which the compiler fuses with what follows.

        In a rollout on a CPU this beats a thin matrix product (measured: a fifth of the whole).
        """
        if x.shape[-1] > _UNROLL:
            return self(x)
        total = self.bias
        for k in range(x.shape[-1]):
            total = total + x[k] * self.weight[k]
        return total


def _layer(key: Array, size_in: int, size_out: int, gain: float = 1.0) -> Layer:
    key_weight, key_bias = jax.random.split(key)
    weight = jax.random.normal(key_weight, (size_in, size_out)) * gain / jnp.sqrt(size_in)
    # Spread biases put the kinks of the units where the data is.
    return Layer(weight, jax.random.uniform(key_bias, (size_out,), minval=-1.0, maxval=1.0) * gain)


class FactorModel(eqx.Module):
    """One member. Works on standardised values; single-example, vmapped by the caller.

    Attributes:
        agents: ``(N, r)``, u.
        state_layers: hidden layers of v.
        head: last layer of v, ``(h, D * r)``, coordinate-major.
        action_layers: hidden layers of w (continuous), empty for discrete actions.
        action_head: ``(L, r)`` free vectors of the levels, or the last layer of w.
        activation: name of the nonlinearity.
    """

    agents: Float[Array, "N r"]
    state_layers: tuple[Layer, ...]
    head: Layer
    action_layers: tuple[Layer, ...]
    action_head: Layer | Float[Array, "L r"]
    activation: str = eqx.field(static=True)

    @property
    def rank(self) -> int:
        """The length r of an agent's factors (also under a leading member axis)."""
        return self.agents.shape[-1]

    def hidden(self, state: Float[Array, " D"]) -> Float[Array, " h"]:
        """Last hidden layer of the state net."""
        return _hidden(self.state_layers, state, self.activation)

    def action_factors(self, action: Array) -> Float[Array, " r"]:
        """w(a): of a level's index, or of a standardised continuous action ``(A,)``."""
        return _action_factors(self.action_layers, self.action_head, action, self.activation)

    def features(self, state: Float[Array, " D"], action: Array) -> Float[Array, "D r"]:
        """Z(s, a), such that a prediction is ``Z @ u``."""
        v = self.head(self.hidden(state)).reshape(-1, self.rank)  # (D, r)
        return v * self.action_factors(action)

    def __call__(
        self, factors: Float[Array, " r"], state: Float[Array, " D"], action: Array
    ) -> Float[Array, " D"]:
        """Predicted standardised difference for an agent with the given factors u."""
        return self.features(state, action) @ factors


def _hidden(layers: tuple[Layer, ...], x: Array, activation: str) -> Array:
    for layer in layers:
        x = ACTIVATIONS[activation](layer(x))
    return x


def _action_factors(
    layers: tuple[Layer, ...], head: Layer | Array, action: Array, activation: str
) -> Float[Array, " r"]:
    if isinstance(head, Layer):
        return head(_hidden(layers, action, activation))
    return head[action]


def resolve_rank(config: FitConfig, action_size: int, discrete: bool) -> int:
    """The rank that a config means for a kind of action.

    Dynamics s' = F_n s + B_n a with K hidden parameters need (1 + A)(1 + K) separable terms: the
    terms that go with one action column cannot serve another. Levels of a discrete action need
    fewer: their free vectors are not tied to a shape.
    """
    if config.rank != "auto":
        return config.rank
    return min(max(8, 2 * action_size) if discrete else 6 * (1 + action_size), 48)


def init_factor_model(
    key: Array, config: FitConfig, n_agents: int, n_state: int, action_size: int, discrete: bool
) -> FactorModel:
    """A random member; predictions of a fresh model have a spread of about one.

    Args:
        key: randomness.
        config: rank, nets, activation.
        n_agents: N.
        n_state: D.
        action_size: L levels if discrete, else A columns.
        discrete: kind of action.
    """
    keys = jax.random.split(key, 4)
    rank = resolve_rank(config, action_size, discrete)
    layers, size = [], n_state
    for width in config.state_net:
        keys = jax.random.split(keys[0], 4)
        layers.append(_layer(keys[1], size, width))
        size = width
    head = _layer(keys[2], size, n_state * rank, gain=rank**-0.5)
    action_layers: list[Layer] = []
    key_agents, key_action = jax.random.split(keys[3])
    if discrete:
        action_head: Any = jax.random.normal(key_action, (action_size, rank))
    else:
        for width in config.action_net:
            key_action, key_layer = jax.random.split(key_action)
            action_layers.append(_layer(key_layer, action_size, width))
            action_size = width
        action_head = _layer(key_action, action_size, rank)
    return FactorModel(
        agents=jax.random.normal(key_agents, (n_agents, rank)),
        state_layers=tuple(layers),
        head=Layer(head.weight, jnp.zeros_like(head.bias)),
        action_layers=tuple(action_layers),
        action_head=action_head,
        activation=config.activation,
    )


class AgentDynamics(Dynamics):
    """A member folded for one agent: u (and w of few discrete levels) sit in the last layer.

    The carry is the standardised state; ``step`` returns the raw one.

    Attributes:
        normalizer: standardisation, float32.
        state_layers: hidden layers of v.
        head: last layer with u folded in, in units of standardised states: ``(h, D * r)``, still
            to be contracted with w(a); or, if ``action_head`` is None, the differences under all
            levels side by side, ``(h, L * D)``.
        offset: ``(D,)``, mean difference in units of standardised states.
        action_layers: hidden layers of w.
        action_head: last layer of w, or the levels' free vectors, or None.
        activation: name of the nonlinearity.
    """

    normalizer: Normalizer
    state_layers: tuple[Layer, ...]
    head: Layer
    offset: Float[Array, " D"]
    action_layers: tuple[Layer, ...]
    action_head: Layer | Float[Array, "L r"] | None
    activation: str = eqx.field(static=True)

    def init(self, state: Float[Array, " D"]) -> Array:
        """The standardised state."""
        return self.normalizer.encode_state(state)

    def encode(self, action: Array) -> Array:
        """w(a); if w is folded too, the level's index as it is."""
        if self.action_head is None:
            return action
        return _action_factors(
            self.action_layers,
            self.action_head,
            self.normalizer.encode_action(action),
            self.activation,
        )

    def step(self, carry: Array, code: Array, key: Array | None) -> tuple[Array, Array]:
        """One step; deterministic, the key is not used."""
        activate = ACTIVATIONS[self.activation]
        first, *others = self.state_layers
        hidden = activate(first.unrolled(carry))
        for layer in others:
            hidden = activate(layer(hidden))
        out = self.head(hidden)
        if self.action_head is None:
            change = out.reshape(-1, carry.shape[-1])[code]  # (L, D) -> (D,)
        else:
            change = out.reshape(carry.shape[-1], -1) @ code  # (D, r) @ (r,)
        carry = carry + change + self.offset
        carry = jnp.clip(carry, self.normalizer.low, self.normalizer.high)
        return carry, self.normalizer.decode_state(carry)


def fold(member: FactorModel, normalizer: Normalizer, factors: Float[Array, " r"]) -> AgentDynamics:
    """Fold an agent's factors (and the scale of the targets) into the last layer of a member.

    Args:
        member: one member.
        normalizer: the float32 one.
        factors: u, ``(r,)``.
    """
    n_state, rank = normalizer.state_mean.shape[-1], member.rank
    unit = normalizer.target_scale / normalizer.state_scale  # (D,)
    weight = member.head.weight.reshape(-1, n_state, rank) * unit[:, None] * factors
    bias = member.head.bias.reshape(n_state, rank) * unit[:, None] * factors
    action_head: Any = member.action_head
    if not isinstance(action_head, Layer) and len(action_head) <= rank:
        # Fewer levels than terms: contract over the terms once, here, instead of at every step.
        weight = jnp.einsum("hdr,lr->hld", weight, action_head)
        bias = jnp.einsum("dr,lr->ld", bias, action_head)
        action_head = None
    return AgentDynamics(
        normalizer=normalizer,
        state_layers=member.state_layers,
        head=Layer(weight.reshape(len(weight), -1), bias.reshape(-1)),
        offset=normalizer.target_mean / normalizer.state_scale,
        action_layers=member.action_layers,
        action_head=action_head,
        activation=member.activation,
    )
