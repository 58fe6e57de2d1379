"""CaDM: a dynamics model that tells agents apart by a context, read from their recent steps.

Lee, Seo, Lee, Lee, Shin: Context-aware Dynamics Model for Generalization in Model-Based
Reinforcement Learning, ICML 2020. With the standardised difference d_t of s_{t+1} from s_t,

    c_t          = g(d_{t-K}, a_{t-K}, .., d_{t-1}, a_{t-1})
    d_{t+i}      ~ f(s_{t+i}, a_{t+i}, c_t)
    - d_{t+i}    ~ b(s_{t+i+1}, a_{t+i}, c_t)              for i = 0 .. M-1

where f predicts forward and b backward. All three are trained together on the errors of f, plus
``backward_weight`` times the squared errors of b; b is not used afterwards. In the variant
*vanilla* f is deterministic and one net; in *PE-TS* it gives a Gaussian for an ensemble, trained on
the negative log-likelihood, and a prediction follows particles that stay with their member.

What differs from the published training: the data is one recorded trajectory per agent and nothing
is collected on the way; batches are drawn with replacement, by each member for itself, instead of
epochs over a bootstrap sample; weights do not decay; states and actions are always standardised,
and angles are read as sine and cosine by f and b; a history that is short is padded with zeros
after the standardisation, so that missing steps add nothing.

Axes: K steps of history, D state columns, C entries of an action's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinfold.baselines.cadm_settings import CaDMSettings, Variant
from twinfold.models.dynamics import Dynamics
from twinfold.models.factor_model import Layer
from twinfold.models.normalizer import Normalizer


class CaDMNets(eqx.Module):
    """The nets of one member; single-example, vmapped by the caller.

    Attributes:
        encoder: g, layers.
        forward: f; its last layer gives D means and, of PE-TS, D logarithms of variances.
        backward: b; it gives D means.
        bounds: ``(2, D)``, lower and upper bounds of these logarithms; None if deterministic.
    """

    encoder: tuple[Layer, ...]
    forward: tuple[Layer, ...]
    backward: tuple[Layer, ...]
    bounds: Float[Array, "2 D"] | None = None

    def context(self, steps: Float[Array, "K s"], mask: Bool[Array, " K"]) -> Float[Array, " c"]:
        """Return the context of the last K steps, the latest last; a masked step is as zero."""
        known = jnp.where(mask[:, None], steps, 0.0)
        return _net(self.encoder, known.reshape(-1), jax.nn.relu)

    def ahead(
        self, inputs: Array, action: Array, context: Array
    ) -> tuple[Float[Array, " D"], Float[Array, " D"] | None]:
        """Return mean and, of PE-TS, logarithm of the variance of the standardised difference."""
        out = _net(self.forward, jnp.concatenate([inputs, action, context]), jax.nn.silu)
        if self.bounds is None:
            return out, None
        mean, raw = jnp.split(out, 2)
        low, high = self.bounds
        below = high - jax.nn.softplus(high - raw)
        return mean, low + jax.nn.softplus(below - low)

    def back(self, inputs: Array, action: Array, context: Array) -> Float[Array, " D"]:
        """Return what leads back from the next state: minus the standardised difference."""
        return _net(self.backward, jnp.concatenate([inputs, action, context]), jax.nn.silu)


def _net(layers: Sequence[Layer], x: Array, activate: Any) -> Array:
    for layer in layers[:-1]:
        x = activate(layer(x))
    return layers[-1](x)


def random_nets(
    key: Array, settings: CaDMSettings, variant: Variant, n_inputs: int, n_code: int, n_state: int
) -> CaDMNets:
    """Return the nets of one member before training.

    Args:
        key: of their weights.
        settings: widths.
        variant: whether the forward net gives variances.
        n_inputs: what nets read of a state (an angle as sine and cosine).
        n_code: C.
        n_state: D.
    """
    keys = jax.random.split(key, 3)
    probabilistic = variant == "pe-ts"
    read = n_inputs + n_code + settings.context
    encoder = (settings.history * (n_state + n_code), *settings.encoder, settings.context)
    forward = (read, *settings.hidden, 2 * n_state if probabilistic else n_state)
    backward = (read, *settings.hidden, n_state)
    bounds = None
    if probabilistic:
        bounds = jnp.tile(jnp.asarray(settings.log_variance, jnp.float32)[:, None], (1, n_state))
    widths = (encoder, forward, backward)
    nets = [_random_layers(k, sizes) for k, sizes in zip(keys, widths, strict=True)]
    return CaDMNets(nets[0], nets[1], nets[2], bounds)


def _random_layers(key: Array, sizes: Sequence[int]) -> tuple[Layer, ...]:
    """Return layers as the published ones begin: truncated normal, half the usual spread."""
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(
        Layer(
            jax.random.truncated_normal(k, -2.0, 2.0, (n, m)) / (2.0 * jnp.sqrt(n)),
            jnp.zeros(m),
        )
        for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
    )


class Batch(NamedTuple):
    """B steps to predict, each with the history that its context is read from.

    Attributes:
        steps: ``(B, K, D + C)``, standardised differences and codes of actions before.
        mask: ``(B, K)``, False for what is before the beginning.
        inputs: ``(B, n_inputs)``, what the nets read of the state.
        after: ``(B, n_inputs)``, of the next state.
        action: ``(B, C)``, codes.
        target: ``(B, D)``, standardised differences.
    """

    steps: Array
    mask: Array
    inputs: Array
    after: Array
    action: Array
    target: Array


def loss_of(nets: CaDMNets, batch: Batch, settings: CaDMSettings) -> Float[Array, ""]:
    """Return the loss of one member: forward errors, backward errors, bounds of variances."""
    context = jax.vmap(nets.context)(batch.steps, batch.mask)
    mean, log_variance = jax.vmap(nets.ahead)(batch.inputs, batch.action, context)
    total = jnp.square(mean - batch.target)
    if log_variance is not None:
        total = total * jnp.exp(-log_variance) + log_variance  # twice the negative log-likelihood
    back = jax.vmap(nets.back)(batch.after, batch.action, context)
    loss = total.mean() + settings.backward_weight * jnp.square(back + batch.target).mean()
    if nets.bounds is not None:
        low, high = nets.bounds
        loss = loss + settings.bound_weight * (high - low).sum()
    return loss


class History(NamedTuple):
    """The last K true steps of an agent in raw units, the latest last.

    Attributes:
        change: ``(K, D)``, differences of the states.
        action: ``(K,)`` indices of levels, or ``(K, A)``.
        mask: ``(K,)``, False for what has not happened yet.
    """

    change: Any
    action: Any
    mask: Any


class CaDMDynamics(Dynamics):
    """A member as the planner sees it: the context is read once, when a rollout begins.

    The carry is the standardised state, the context and, of PE-TS, the key of the particle.

    Attributes:
        nets: of the member.
        normalizer: float32.
        history: what the agent has just done; all masked where nothing is known.
        key: of the particle's noise; None if deterministic.
        n_levels: of a discrete action; 0 for continuous ones.
    """

    nets: CaDMNets
    normalizer: Normalizer
    history: History
    key: Array | None
    n_levels: int = eqx.field(static=True)

    def init(self, state: Float[Array, " D"]) -> Any:
        """Return the standardised state, the context of the history, and the key."""
        change = (self.history.change - self.normalizer.target_mean) / self.normalizer.target_scale
        code = jax.vmap(self.encode)(self.history.action)
        context = self.nets.context(jnp.concatenate([change, code], axis=-1), self.history.mask)
        return self.normalizer.encode_state(state), context, self.key

    def blank_history(self) -> History:
        """Return the history that the model was made with, all masked unless it was given one."""
        n_axes = self.normalizer.state_mean.ndim - 1
        return jax.tree.map(lambda leaf: leaf[(0,) * n_axes], self.history)

    def observed(self, history: History, state: Array, action: Array, next_state: Array) -> History:
        """Return the history with one more step at its end, and without its first."""
        change = jnp.asarray(next_state) - state
        for d in self.normalizer.angles:  # the short way
            change = change.at[d].set(jnp.arctan2(jnp.sin(change[d]), jnp.cos(change[d])))

        def pushed(old: Array, new: Any) -> Array:
            return jnp.concatenate([old[1:], jnp.asarray(new, old.dtype)[None]])

        return History(*map(pushed, history, (change, action, True)))

    def with_history(self, history: History) -> CaDMDynamics:
        """Return the member, or the stack, that begins after a history."""
        axes = self.normalizer.state_mean.shape[:-1]
        known = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*axes, *leaf.shape)), history)
        return eqx.tree_at(lambda member: member.history, self, known)

    def encode(self, action: Array) -> Float[Array, " C"]:
        """Return one entry per level, or the standardised action."""
        return action_code(self.normalizer, self.n_levels, action)

    def step(self, carry: Any, code: Array) -> tuple[Any, Array]:
        """Return the new carry and the next state in raw units; PE-TS draws it."""
        standard, context, key = carry
        target, log_variance = self.nets.ahead(self.normalizer.inputs(standard), code, context)
        if key is not None and log_variance is not None:
            key, now = jax.random.split(key)
            target += jnp.exp(0.5 * log_variance) * jax.random.normal(now, target.shape)
        standard = self.normalizer.advance(standard, target)
        return (standard, context, key), self.normalizer.decode_state(standard)


def action_code(normalizer: Normalizer, n_levels: int, action: Any) -> Any:
    """Return what the nets read of actions, ``(..., C)``: a 1 per level, or standardised values."""
    if n_levels:
        return jax.nn.one_hot(action, n_levels)
    return normalizer.encode_action(action)
