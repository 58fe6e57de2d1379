"""A member of the ensemble seen from one agent: the agent's factors are folded into the last layer.

What is the same at every step of a rollout is computed once, before it. Axes as in
:mod:`twinfold.models.factor_model`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinfold.models.dynamics import Dynamics
from twinfold.models.factor_model import ACTIVATIONS, FactorModel, Layer, action_code, within
from twinfold.models.linear_terms import linear_features
from twinfold.models.normalizer import Normalizer
from twinfold.models.ramps import Ramps


class StepCode(NamedTuple):
    """What an action does in a step, computed before the steps are taken.

    Attributes:
        net: w(a), or what it adds to the first layer; if w is folded too, the level's index.
        linear: ``(D,)``, what it adds to the change by the linear terms; None without these, or
            where times are uneven: then it is a matter of the step.
        action: the standardised action, or the level's index, where a step or a memory reads it;
            else None.
    """

    net: Array
    linear: Array | None = None
    action: Any = None


class AgentDynamics(Dynamics):
    """A member folded for one agent: u (and w of few discrete levels) sit in the last layer.

    The carry is the standardised state, with the steps before it if the model has a memory, and the
    known inputs; beside it, where these are told step by step, the number of the step. ``step``
    returns the raw state.

    Attributes:
        normalizer: standardisation, float32.
        state_layers: hidden layers of v.
        head: last layer with u folded in, in units of standardised states: ``(h, D * r)``, still
            to be contracted with w(a); or the differences, ``(h, D)`` for joint features; or, if
            ``action_head`` is None, the differences under all levels side by side, ``(h, L * D)``.
        offset: ``(D,)``, mean target in units of standardised states.
        low, high: ``(D,)``, limits of what the head may give.
        action_layers: hidden layers of w.
        action_head: last layer of w, or the levels' free vectors, or None.
        activation: name of the nonlinearity.
        joint: kind of the features.
        linear: ``(q, D)``, the agent's linear model, in units of standardised states, or None.
        memory: ``((k - 1) B,)``, the standardised steps that led to where a rollout begins, the
            latest first; None for a model without memory.
        known: ``(E,)``, standardised known inputs, which stay as they are, or ``(T, E)``, those of
            every step, of which the last stay; None without any.
        edge: ``(2, I)``, of the inputs that the nets read, as ``FactorModel.edge``.
        ramps: of an additive model, among the features of ``linear``; None for a linear one.
    """

    normalizer: Normalizer
    state_layers: tuple[Layer, ...]
    head: Layer
    offset: Float[Array, " D"]
    low: Float[Array, " D"]
    high: Float[Array, " D"]
    action_layers: tuple[Layer, ...]
    action_head: Layer | Float[Array, "L k"] | None
    activation: str = eqx.field(static=True)
    joint: bool = eqx.field(static=True, default=False)
    linear: Float[Array, "q D"] | None = None
    memory: Float[Array, " m"] | None = None
    known: Float[Array, "... E"] | None = None
    edge: Float[Array, "2 I"] | None = None
    ramps: Ramps | None = None

    def init(self, state: Float[Array, " D"]) -> Any:
        """The standardised state, the steps before it, and the known inputs."""
        first = self.known if self.known is None or self.known.ndim == 1 else self.known[0]
        parts = (self.normalizer.encode_state(state), self.memory, first)
        parts = [part for part in parts if part is not None]
        carry = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
        return carry if first is self.known else (carry, jnp.zeros((), jnp.int32))

    def known_inputs(self, carry: Any) -> Float[Array, " E"]:
        """Return the known inputs of the row that a rollout has reached, raw units."""
        if self.known is None:
            return jnp.zeros(0)
        if self.known.ndim == 1:
            return self.normalizer.decode_known(self.normalizer.known_of(carry))
        return self.normalizer.decode_known(self.known[jnp.minimum(carry[1], len(self.known) - 1)])

    def at_step(self, step: Array) -> AgentDynamics:
        """Return the member, or the stack, told the known inputs from a later step on."""
        first = self.normalizer.known_mean.ndim - 1  # of a stack 1
        if self.known is None or self.known.ndim == 1 + first:
            return self
        n_steps = self.known.shape[first]
        later = jnp.minimum(step + jnp.arange(n_steps), n_steps - 1)
        return eqx.tree_at(lambda member: member.known, self, jnp.take(self.known, later, first))

    def blank_history(self) -> Array | None:
        """Return steps that are not known, ``((k - 1) B,)``; None for a model without memory."""
        return None if self.memory is None else jnp.zeros(self.memory.shape[-1:])

    def observed(self, history: Any, state: Array, action: Array, next_state: Array) -> Any:
        """Return the steps before the next state, standardised, the latest first."""
        if self.memory is None:
            return history
        first = (0,) * (self.memory.ndim - 1)  # of a stack; members share normalizer and inputs
        norm = jax.tree.map(lambda leaf: leaf[first], self.normalizer)
        change = jnp.asarray(next_state) - state
        for d in norm.angles:  # the short way
            change = change.at[d].set(jnp.arctan2(jnp.sin(change[d]), jnp.cos(change[d])))
        parts = [norm.encode_state(state), history]
        if self.known is not None:
            known = self.known[first]
            parts.append(known if known.ndim == 1 else known[0])
        carry = jnp.concatenate(parts)
        after = carry[: len(change)] + change / norm.state_scale
        return norm.moved(carry, after, norm.encode_action(action))[len(change) :][: len(history)]

    def with_history(self, history: Any) -> AgentDynamics:
        """Return the member, or the stack, that begins after these steps."""
        if self.memory is None:
            return self
        known = jnp.broadcast_to(history, self.memory.shape)
        return eqx.tree_at(lambda member: member.memory, self, known)

    def encode(self, action: Array) -> StepCode:
        """Return what an action does in a step, :class:`StepCode`."""
        standard, linear = self.normalizer.encode_action(action), None
        by_step = self.linear is not None and (self.normalizer.uneven or self.ramps is not None)
        if self.linear is not None and not by_step:
            nothing = jnp.zeros(self.normalizer.n_inputs)
            linear = linear_features(self.linear.shape[-2], nothing, standard) @ self.linear
        read = by_step or self.memory is not None
        return StepCode(self._net_code(action), linear, standard if read else None)

    def _net_code(self, action: Array) -> Array:
        if self.action_head is None:
            return action
        return action_code(
            self.action_layers,
            self.action_head,
            self.normalizer.encode_action(action),
            self.activation,
        )

    def step(self, carry: Any, code: StepCode) -> tuple[Any, Array]:
        """Return the new carry and the next state in raw units."""
        if self.known is None or self.known.ndim == 1:
            return self._step(carry, code)
        carry, step = carry
        told = self.known[jnp.minimum(step, len(self.known) - 1)]
        carry, state = self._step(self.normalizer.told(carry, told), code)
        return (carry, step + 1), state

    def _step(self, carry: Array, code: StepCode) -> tuple[Array, Array]:
        change: Any = 0.0
        inputs = self.normalizer.inputs(carry)
        if self.linear is not None and code.linear is not None:
            state_part = Layer(self.linear[1 : 1 + inputs.shape[-1]], code.linear)
            change = state_part.unrolled(inputs)
        elif self.linear is not None:  # a matter of the step
            size, uneven = self.linear.shape[-2], self.normalizer.uneven
            features = linear_features(size, inputs, code.action, uneven, self.ramps)
            change = features @ self.linear
        if self.state_layers:
            net = self._net_change(inputs, code.net, len(self.offset))
            change = change + (net * inputs[-1] if self.normalizer.uneven else net)
        change = jnp.clip(change, self.low, self.high)
        standard = self.normalizer.keep * carry[: len(self.offset)] + change + self.offset
        standard = jnp.clip(standard, self.normalizer.low, self.normalizer.high)
        carry = self.normalizer.moved(carry, standard, code.action)
        return carry, self.normalizer.decode_state(standard)

    def _net_change(self, inputs: Array, code: Array, n_state: int) -> Array:
        activate = ACTIVATIONS[self.activation]
        first, *others = self.state_layers
        before = first.unrolled(within(inputs, self.edge))
        hidden = activate(before + code if self.joint else before)
        for layer in others:
            hidden = activate(layer(hidden))
        change = self.head(hidden)  # (D,) if joint
        if self.action_head is None:
            return change.reshape(-1, n_state)[code]  # (L, D) -> (D,)
        return change if self.joint else change.reshape(n_state, -1) @ code  # (D, k) @ (k,)


def fold(
    member: FactorModel,
    normalizer: Normalizer,
    factors: Float[Array, " r"],
    known: Float[Array, "... E"] | None = None,
) -> AgentDynamics:
    """Fold an agent's factors (and the scale of the targets) into the last layer of a member.

    Args:
        member: one member.
        normalizer: the float32 one.
        factors: u, ``(r,)``.
        known: ``(E,)``, standardised known inputs that are held, or ``(T, E)``, those of every
            step; None without any.
    """
    n_state, n_fixed = normalizer.state_mean.shape[-1], member.n_fixed
    rank = member.rank - n_fixed
    unit = normalizer.target_scale / normalizer.state_scale  # (D,)
    linear = None
    if member.linear is not None:
        linear = member.linear.of_agent(factors[:n_fixed]) * unit
    factors = factors[n_fixed:]
    weight = member.head.weight.reshape(len(member.head.weight), n_state, rank)
    weight = weight * unit[:, None] * factors
    bias = member.head.bias.reshape(n_state, rank) * unit[:, None] * factors
    action_head: Any = member.action_head
    if member.joint:
        weight, bias = weight.sum(axis=-1), bias.sum(axis=-1)
    elif not rank:
        action_head = None
    elif not isinstance(action_head, Layer) and len(action_head) <= rank:
        # Fewer levels than terms: contract over the terms once, here, instead of at every step.
        weight = jnp.einsum("hdr,lr->hld", weight, action_head)
        bias = jnp.einsum("dr,lr->ld", bias, action_head)
        action_head = None
    origin = (1 - normalizer.keep) * normalizer.state_mean
    return AgentDynamics(
        normalizer=normalizer,
        state_layers=member.state_layers,
        head=Layer(weight.reshape(len(weight), bias.size), bias.reshape(-1)),
        offset=(normalizer.target_mean - origin) / normalizer.state_scale,
        low=normalizer.target_low * unit,
        high=normalizer.target_high * unit,
        action_layers=member.action_layers,
        action_head=action_head,
        activation=member.activation,
        joint=member.joint,
        linear=linear,
        memory=jnp.zeros(normalizer.n_memory) if normalizer.history > 1 else None,
        known=known,
        edge=member.edge,
        ramps=None if member.linear is None else member.linear.ramps,
    )
