"""MOReL: a policy trained in a pessimistic model of the recorded data.

Kidambi, Rajeswaran, Netrapalli, Joachims: MOReL: Model-Based Offline Reinforcement Learning,
NeurIPS 2020. An ensemble of deterministic nets, which differ by their initialisation and by the
order of their batches, predicts the standardised difference d of the next state from the state:

    d_m(s, a) = f_m(s, a),          disc(s, a) = max_{i, j} | f_i(s, a) - f_j(s, a) |_2

A pair (s, a) is *unknown* if disc(s, a) exceeds ``threshold`` times the largest discrepancy on the
data. The pessimistic MDP has the actions, rewards and ends of the task, begins where the data
begins, and leads from an unknown pair to HALT, an absorbing state that pays -kappa at every step:

    - kappa = min over the data of R  -  penalty,      paid at once: - gamma kappa / (1 - gamma)

A policy is trained in it; an imagined episode follows one member from beginning to end.

What differs from the published method: the policy is trained by PPO instead of natural policy
gradient (:mod:`twinfold.policy_learning.ppo`); discrepancies are measured in standardised
differences instead of raw next states, so that no coordinate counts by its unit; the default
threshold is three times the largest discrepancy on the data (published example: a third of it);
actions may be discrete; batches are drawn with replacement instead of in epochs; an unknown pair is
never forgiven (published: the first four steps are always kept); halting is paid by the absorbing
state of the paper's definition (published code: an amount per task, 0 for most), because where
rewards are negative an episode that ends for nothing would be the best one; the policy that is kept
is the last one (published: the best in the true task); angles are read as sine and cosine.

Axes: M members, D state coordinates, C entries of an action's code, W members that are followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinfold.baselines.cadm import action_code
from twinfold.models.dynamics import Dynamics
from twinfold.models.factor_model import Layer, hidden_layers, random_layer
from twinfold.models.normalizer import Normalizer

Net = tuple[Layer, ...]
"""Layers of one member."""


def predicted(net: Net, inputs: Float[Array, " x"]) -> Float[Array, " D"]:
    """Return f(s, a), the standardised difference.

    Args:
        net: of one member.
        inputs: what nets read of the state, then the code of the action.
    """
    return net[-1](hidden_layers(net[:-1], inputs, "relu"))


def random_net(key: Array, hidden: Sequence[int], n_inputs: int, n_state: int) -> Net:
    """Return a member's net before training.

    Args:
        key: of the weights.
        hidden: widths.
        n_inputs: what is read of a state and an action.
        n_state: D.
    """
    sizes = (n_inputs, *hidden, n_state)
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(random_layer(k, n, m) for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True))


def discrepancy(predictions: Float[Array, "M D"]) -> Float[Array, ""]:
    """Return the largest distance between two members' predictions."""
    apart = predictions[:, None] - predictions[None]
    return jnp.sqrt(jnp.square(apart).sum(axis=-1).max())


class MOReLDynamics(Dynamics):
    """One member as a planner sees it; the carry is the standardised state.

    Attributes:
        net: of the member.
        normalizer: float32.
        n_levels: of a discrete action; 0 for continuous ones.
    """

    net: Net
    normalizer: Normalizer
    n_levels: int = eqx.field(static=True)

    def init(self, state: Float[Array, " D"]) -> Float[Array, " D"]:
        """Return the standardised state."""
        return self.normalizer.encode_state(state)

    def encode(self, action: Array) -> Float[Array, " C"]:
        """Return one entry per level, or the standardised action."""
        return action_code(self.normalizer, self.n_levels, action)

    def step(self, carry: Float[Array, " D"], code: Array) -> tuple[Array, Array]:
        """Return the standardised next state, and the next state in raw units."""
        inputs = jnp.concatenate([self.normalizer.inputs(carry), code])
        standard = self.normalizer.advance(carry, predicted(self.net, inputs))
        return standard, self.normalizer.decode_state(standard)


class PessimisticDynamics(Dynamics):
    """One member, watched by all: the carry says whether the last pair was unknown.

    Attributes:
        nets: of all members, with a leading axis M.
        normalizer: float32.
        member: that is followed.
        threshold: discrepancy from which on a pair is unknown, in standardised differences.
        n_levels: of a discrete action; 0 for continuous ones.
    """

    nets: Net
    normalizer: Normalizer
    member: Int[Array, ""]
    threshold: Float[Array, ""]
    n_levels: int = eqx.field(static=True)

    def init(self, state: Float[Array, " D"]) -> tuple[Float[Array, " D"], Bool[Array, ""]]:
        """Return the standardised state; a start is never unknown."""
        return self.normalizer.encode_state(state), jnp.zeros((), bool)

    def encode(self, action: Array) -> Float[Array, " C"]:
        """Return one entry per level, or the standardised action."""
        return action_code(self.normalizer, self.n_levels, action)

    def step(self, carry: Any, code: Array) -> tuple[Any, Float[Array, " D"]]:
        """Return the new carry, and the next state of the followed member in raw units."""
        inputs = jnp.concatenate([self.normalizer.inputs(carry[0]), code])
        predictions = jax.vmap(lambda net: predicted(net, inputs))(self.nets)  # (M, D)
        # Not "above", so that a prediction that is no number is unknown.
        unknown = ~(discrepancy(predictions) <= self.threshold)
        standard = self.normalizer.advance(carry[0], predictions[self.member])
        return (standard, unknown), self.normalizer.decode_state(standard)


def is_unknown(carry: tuple[Array, Bool[Array, ""]]) -> Bool[Array, ""]:
    """Return whether the pair that led to a carry of ``PessimisticDynamics`` was unknown."""
    return carry[1]


def pessimistic_stack(
    nets: Net, normalizer: Normalizer, threshold: float, n_levels: int
) -> PessimisticDynamics:
    """Return all members, each watched by all, with a leading axis W = M on every array.

    Args:
        nets: of all members, with a leading axis M.
        normalizer: float64, on the host.
        threshold: discrepancy from which on a pair is unknown, in standardised differences.
        n_levels: of a discrete action; 0 for continuous ones.
    """
    device, limit = normalizer.on_device(), jnp.asarray(threshold, jnp.float32)

    def one(member: Int[Array, ""]) -> PessimisticDynamics:
        return PessimisticDynamics(nets, device, member, limit, n_levels)

    return jax.vmap(one)(jnp.arange(len(nets[0].bias)))
