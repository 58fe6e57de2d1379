"""The latent-factor model of one ensemble member (PerSim, NeurIPS 2021, section 4).

The standardised difference of coordinate d from a state to the next is

    E[y_d | n, s, a] = sum_l u_l(n) v_l(s, d) w_l(a)

with u a free vector per agent, v a net of the state, w a free vector per level of a discrete action
or a net of a continuous one. With Z(s, a)[d, l] = v_l(s, d) w_l(a) the prediction is Z(s, a) @ u.

Beside the terms of the nets Z may have fixed columns (``LinearTerms``): a linear model that all
agents share, and levels and slopes that agents have of their own. The simple models of a panel (no
change, drift, a pooled linear model, a mixed-effects one) are those without nets.

Axes: N agents, r rank (fixed columns and terms of the nets together), D state coordinates, I inputs
of the state net, A action columns, L action levels, h hidden width, k length of an action's code
(the number of terms of the nets, or h for joint features), q = 1 + I + A (or L) linear features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.models.linear_terms import LinearTerms, linear_features
from twinfold.models.random_arrays import normal, split, uniform
from twinfold.utils.device import on_device

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "hard_swish": jax.nn.hard_swish,
    "tanh": jnp.tanh,
}
_UNROLL = 6  # most inputs of a layer for which Layer.unrolled is the faster form


class Structure(NamedTuple):
    """Kind and number of the nets' features.

    Attributes:
        joint: whether state and action enter one net together; else separable (the paper's).
        rank: number of terms of the nets; 0 for no nets.
    """

    joint: bool
    rank: int

    def __str__(self) -> str:
        """Return the words of messages."""
        if not self.rank:
            return "no nets"
        return f"{'joint' if self.joint else 'separable'} features of rank {self.rank}"


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


def random_layer(
    key: Any, size_in: int, size_out: int, gain: float = 1.0, *further: float
) -> Layer:
    """A layer that keeps the spread of its inputs, times ``gain``; weights times ``further``, too.

    The key may be of ``random_arrays`` or of JAX.
    """
    key_weight, key_bias = split(key)
    share = np.float32(1) / np.sqrt(np.float32(max(size_in, 1)))
    weight = normal(key_weight, (size_in, size_out), gain, share, *further)
    # Spread biases put the kinks of the units where the data is.
    return Layer(weight, uniform(key_bias, (size_out,), gain))


class FactorModel(eqx.Module):
    """One member. Works on standardised values; single-example, vmapped by the caller.

    The features Z come in two kinds. Separable ones (the paper's) are v_l(s, d) w_l(a). Joint ones
    drop the factorisation of state and action: Z(s, a)[d, l] is a net of both, in which the action
    is added to the first hidden layer.

    Attributes:
        agents: ``(N, r)``, u: the factors of the fixed columns, then of the nets' terms.
        state_layers: hidden layers of v, of widths h.
        head: last layer of v, ``(h, D * k)`` for k terms, coordinate-major.
        action_layers: hidden layers of w (separable, continuous), else empty.
        action_head: ``(L, k)`` free vectors of the levels, or the last layer of w; for joint
            features ``(L, h)`` or a layer ``(A, h)``, what the action adds to the first layer.
        activation: name of the nonlinearity.
        joint: kind of the features.
        linear: the fixed columns; None for none.
        uneven: whether times are uneven: the last of the inputs is then the length of the step, and
            Z goes to zero with it, but for what an action does at once.
        edge: ``(2, I)``, the least and the largest inputs of the training data: beyond them the
            nets say what they say at the edge, and the linear terms alone go on. None for nets
            that go on by themselves: without linear terms, or where times are even.
    """

    agents: Float[Array, "N r"]
    state_layers: tuple[Layer, ...]
    head: Layer
    action_layers: tuple[Layer, ...]
    action_head: Layer | Float[Array, "L k"]
    activation: str = eqx.field(static=True)
    joint: bool = eqx.field(static=True, default=False)
    linear: LinearTerms | None = None
    uneven: bool = eqx.field(static=True, default=False)
    edge: Float[Array, "2 I"] | None = None

    @property
    def rank(self) -> int:
        """The length r of an agent's factors (also under a leading member axis)."""
        return self.agents.shape[-1]

    @property
    def n_fixed(self) -> int:
        """Number of fixed columns of Z: those before the nets' terms."""
        return 0 if self.linear is None else self.linear.size

    @property
    def alike(self) -> bool:
        """Whether all agents are predicted alike: no nets, and no coefficients of their own."""
        return self.n_fixed == self.rank == 1

    @property
    def reacts(self) -> bool:
        """Whether changes depend on anything: nets, or more of a linear model than constants."""
        linear = self.linear
        if linear is None or self.n_fixed < self.rank:
            return True
        return any(row for row, _ in linear.own) or bool(jnp.any(linear.shared[..., 1:, :] != 0))

    def action_factors(self, action: Array) -> Array:
        """Return w(a), ``(r,)``, of a level's index or a standardised continuous action ``(A,)``.

        For joint features what the action adds to the first layer, ``(h,)``.
        """
        return action_code(self.action_layers, self.action_head, action, self.activation)

    def features(self, inputs: Float[Array, " I"], action: Array) -> Float[Array, "D r"]:
        """Z(s, a), such that a prediction is ``Z @ u``; ``inputs`` by ``Normalizer.inputs``."""
        if self.linear is None:
            return self.net_features(inputs, action)
        fixed = self.linear.columns(self.linear_features(inputs, action))
        if self.rank == self.n_fixed:
            return fixed
        return jnp.concatenate([fixed, self.net_features(inputs, action)], axis=1)

    def net_features(self, inputs: Float[Array, " I"], action: Array) -> Float[Array, "D k"]:
        """The nets' terms alone."""
        code = self.action_factors(action)
        shift = code if self.joint else 0.0
        read = within(inputs, self.edge)
        z = self.head(hidden_layers(self.state_layers, read, self.activation, shift))
        z = z.reshape(-1, self.rank - self.n_fixed)
        z = z if self.joint else z * code
        return z * inputs[-1] if self.uneven else z

    def linear_features(self, inputs: Float[Array, " I"], action: Array) -> Float[Array, " q"]:
        """phi(s, a), what the fixed columns are linear in."""
        assert self.linear is not None
        size, ramps = self.linear.shared.shape[-2], self.linear.ramps
        return linear_features(size, inputs, action, self.uneven, ramps)

    def __call__(
        self, factors: Float[Array, " r"], inputs: Float[Array, " I"], action: Array
    ) -> Float[Array, " D"]:
        """Predicted standardised target for an agent with the given factors u."""
        return self.features(inputs, action) @ factors


def within(inputs: Array, edge: Array | None) -> Array:
    """Return the inputs that nets read, ``(I,)``: none beyond the ``edge``, ``(2, I)``."""
    return inputs if edge is None else jnp.clip(inputs, edge[0], edge[1])


def hidden_layers(
    layers: tuple[Layer, ...], x: Array, activation: str, shift: Array | float = 0.0
) -> Array:
    """The hidden layers of a net; ``shift`` is added before the first nonlinearity."""
    activate = ACTIVATIONS[activation]
    if not layers:
        return x
    x = activate(layers[0](x) + shift)
    for layer in layers[1:]:
        x = activate(layer(x))
    return x


def action_code(
    layers: tuple[Layer, ...], head: Layer | Array, action: Array, activation: str
) -> Float[Array, " k"]:
    """Return w(a), of a level's index or by a net: see ``FactorModel.action_factors``."""
    if isinstance(head, Layer):
        return head(hidden_layers(layers, action, activation))
    return head[action]


def default_rank(joint: bool, action_size: int, discrete: bool) -> int:
    """The rank to begin with for a kind of features and of action.

    Separable: dynamics s' = F_n s + B_n a with K hidden parameters need (1 + A)(1 + K) terms: the
    terms that go with one action column cannot serve another. Levels of a discrete action need
    fewer: their free vectors are not tied to a shape. Joint: 1 + K terms.
    """
    if joint:
        return 8
    return min(max(8, 2 * action_size) if discrete else 6 * (1 + action_size), 48)


def structures(config: FitConfig, action_size: int, discrete: bool) -> list[Structure]:
    """The structures that a config leaves open, the simplest one first."""
    if config.rank == 0:
        return [Structure(False, 0)]
    found = []
    for joint in (False, True):
        if config.features not in ("auto", "joint" if joint else "separable"):
            continue
        default = default_rank(joint, action_size, discrete)
        ranks = [default // 2, default, 2 * default] if joint else [default]
        if config.rank != "auto":
            ranks = [config.rank]
        found += [Structure(joint, rank) for rank in ranks]
    return found


def init_factor_model(
    key: Any,
    config: FitConfig,
    n_agents: int,
    n_state: int,
    action_size: int,
    discrete: bool,
    structure: Structure | None = None,
    n_inputs: int | None = None,
    linear: LinearTerms | None = None,
    uneven: bool = False,
) -> FactorModel:
    """A random member; predictions of fresh nets have a spread of about one.

    Args:
        key: randomness, of ``random_arrays`` or of JAX.
        config: nets, activation.
        n_agents: N.
        n_state: D.
        action_size: L levels if discrete, else A columns.
        discrete: kind of action.
        structure: what the features are; the simplest that the config allows if None.
        n_inputs: what the state net reads (``Normalizer.n_inputs``); D if None.
        linear: fixed columns, with agents' own factors at zero; None for none.
        uneven: whether times are uneven.
    """
    joint, rank = structure = structure or structures(config, action_size, discrete)[0]
    n_inputs = n_inputs or n_state
    fixed = np.zeros((n_agents, 0 if linear is None else linear.size), np.float32)
    fixed[:, :1] = 1.0
    if not rank:
        return _without_nets(fixed, config.activation, linear, uneven)
    # All inputs together, state and action, have a spread of about one in the first layer.
    share = action_size / (n_inputs + action_size)
    keys = split(key, 4)
    layers, size = [], n_inputs
    for width in config.state_net:
        keys = split(keys[0], 4)
        further = [(1 - share) ** 0.5] if joint and not layers else []
        layers.append(random_layer(keys[1], size, width, 1.0, *further))
        size = width
    head = random_layer(keys[2], size, n_state * rank, rank**-0.5)
    key_agents, key_action = split(keys[3])
    action_layers, action_head = _random_action_net(
        key_action, config, structure, action_size, discrete, share
    )
    agents = normal(key_agents, (n_agents, rank))
    if linear is not None:
        agents = _beside(fixed, agents)
    return FactorModel(
        agents=agents,
        state_layers=tuple(layers),
        head=without_bias(head),
        action_layers=action_layers,
        action_head=action_head,
        activation=config.activation,
        joint=joint,
        linear=linear,
        uneven=uneven,
    )


def _without_nets(
    fixed: NDArray[np.float32], activation: str, linear: LinearTerms | None, uneven: bool
) -> FactorModel:
    """Return a member that is a linear model, given the factors of its fixed columns."""
    if linear is None:
        raise ValueError("a model without nets needs linear terms")
    none, heads = Layer(on_device(np.zeros((0, 0))), on_device([])), on_device(np.zeros((0, 0)))
    return FactorModel(on_device(fixed), (), none, (), heads, activation, False, linear, uneven)


# A run directory is checked against shapes alone, for which JAX traces how a member is made.


def without_bias(layer: Layer) -> Layer:
    """Return a layer with biases of zero."""
    traced = isinstance(layer.bias, Tracer)
    zeros = jnp.zeros_like(layer.bias) if traced else on_device(np.zeros(layer.bias.shape))
    return Layer(layer.weight, zeros)


def _beside(fixed: NDArray[np.float32], drawn: Array) -> Array:
    if isinstance(drawn, Tracer):
        return jnp.concatenate([fixed, drawn], axis=1)
    return on_device(np.concatenate([fixed, np.asarray(drawn)], axis=1))


def _random_action_net(
    key: Any,
    config: FitConfig,
    structure: Structure,
    action_size: int,
    discrete: bool,
    share: float,
) -> tuple[tuple[Layer, ...], Any]:
    """Return the hidden layers of w and its last one, or the free vectors of the levels.

    For joint features these say what an action adds to the first layer of the state net, a
    ``share`` of its variance.
    """
    width = config.state_net[0] if structure.joint else structure.rank
    if discrete:
        return (), normal(key, (action_size, width), 0.5 if structure.joint else 1.0)
    if structure.joint:
        head = random_layer(key, action_size, width, share**0.5)
        return (), without_bias(head)
    layers = []
    for hidden in config.action_net:
        key, own = split(key)
        layers.append(random_layer(own, action_size, hidden))
        action_size = hidden
    return tuple(layers), random_layer(key, action_size, width)
