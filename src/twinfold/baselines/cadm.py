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
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from twinfold.baselines.cadm_settings import CaDMSettings, Variant
from twinfold.data.ids import AgentId
from twinfold.data.roles import Roles
from twinfold.models.dynamics import Dynamics
from twinfold.models.factor_model import Layer
from twinfold.models.normalizer import Normalizer

_BATCH = 256  # rollouts per call of the compiled program


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
    return CaDMNets(*map(_random_layers, keys, (encoder, forward, backward)), bounds)


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

    change: Array
    action: Array
    mask: Array


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


def action_code(normalizer: Normalizer, n_levels: int, action: Array) -> Float[Array, "*b C"]:
    """Return what the nets read of actions: one entry per level, or standardised values."""
    if n_levels:
        return jax.nn.one_hot(action, n_levels)
    return normalizer.encode_action(action)


class CaDMInfo(BaseModel):
    """Where a fitted CaDM comes from.

    Attributes:
        twinfold: version that fitted it; likewise ``jax``.
        created: when, in ISO 8601.
        device: kind of device that it was fitted on.
        fingerprint: of the data.
        source: where that data came from.
        agents: in the data; ``transitions`` likewise.
        steps: of training, per member.
        training_loss: of each member, mean of the last steps.
        seconds: that the fit took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    twinfold: str
    created: str
    jax: str
    device: str
    fingerprint: str
    source: dict[str, Any]
    agents: int
    transitions: int
    steps: int
    training_loss: tuple[float | None, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class CaDM:
    """A fitted CaDM.

    It has no parameters of an agent: any agent is known by its recent steps alone.

    Attributes:
        nets: of all members, with a leading axis.
        normalizer: float64, on the host; without limits.
        config: what it was fitted with; ``variant`` and ``seed`` likewise.
        roles: the user's columns.
        agent_ids: the user's ids of the agents in the data.
        action_levels: the user's discrete actions, or None.
        info: where it comes from.
    """

    nets: CaDMNets
    normalizer: Normalizer
    config: CaDMSettings
    variant: Variant
    seed: int
    roles: Roles
    agent_ids: tuple[AgentId, ...]
    action_levels: NDArray[np.int64] | None
    info: CaDMInfo

    @property
    def n_levels(self) -> int:
        """Levels of a discrete action, 0 for continuous ones."""
        return 0 if self.action_levels is None else len(self.action_levels)

    def dynamics(self, history: History | None = None) -> CaDMDynamics:
        """Return the stack of an agent: the net, or the particles, each with its member.

        Args:
            history: the agent's last K steps; None if nothing is known of it.
        """
        n_members, n_particles = (
            count(self.variant) for count in (self.config.n_members, self.config.n_particles)
        )
        member = np.arange(n_particles) % n_members
        probabilistic = self.variant == "pe-ts"
        keys = jax.random.split(jax.random.key(self.seed), n_particles) if probabilistic else None
        known = self.blank_history() if history is None else history

        def stacked(leaf: Any) -> Array:
            return jnp.repeat(jnp.asarray(leaf)[None], n_particles, axis=0)

        return CaDMDynamics(
            nets=jax.tree.map(lambda leaf: leaf[member], self.nets),
            normalizer=jax.tree.map(stacked, self.normalizer.on_device()),
            history=jax.tree.map(stacked, known),
            key=keys,
            n_levels=self.n_levels,
        )

    def blank_history(self) -> History:
        """Return the history of an agent of which nothing is known."""
        length, columns = self.config.history, len(self.roles.action)
        action = (
            np.zeros(length, np.int32) if self.n_levels else np.zeros((length, columns), np.float32)
        )
        change = np.zeros((length, len(self.roles.state)), np.float32)
        return History(change, action, np.zeros(length, bool))

    def histories(self, states: NDArray[Any], actions: NDArray[Any]) -> History:
        """Return the histories of several trajectories.

        Args:
            states: ``(Q, K + 1, D)``, raw units.
            actions: ``(Q, K)`` indices of levels, or ``(Q, K, A)``.
        """
        change = self.normalizer.difference(states[:, :-1], states[:, 1:])
        mask = np.ones(change.shape[:2], bool)
        kind = np.int32 if self.n_levels else np.float32
        return History(change.astype(np.float32), np.asarray(actions, kind), mask)

    def rollout(
        self, states: NDArray[Any], actions: NDArray[Any], histories: History
    ) -> NDArray[np.float64]:
        """Return open-loop predictions of every particle, ``(P, Q, H, D)``, raw units.

        Args:
            states: ``(Q, D)`` starts, raw units.
            actions: ``(Q, H)`` indices of levels, or ``(Q, H, A)``.
            histories: what each start was reached by.
        """
        stack = self.dynamics()
        kind = np.int32 if self.n_levels else np.float32
        queries = (states.astype(np.float32), actions.astype(kind), histories)
        found = []
        for first in range(0, len(states), _BATCH):
            rows = np.minimum(np.arange(first, first + _BATCH), len(states) - 1)
            part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], queries)
            found.append(np.asarray(_rollouts(stack, *part, rows), np.float64))
        return np.concatenate(found, axis=1)[:, : len(states)]


@eqx.filter_jit
def _rollouts(
    stack: CaDMDynamics, states: Array, actions: Array, histories: History, number: Array
) -> Float[Array, "P Q H D"]:
    """Particles one after the other; the noise of a query is its own."""
    arrays, static = eqx.partition(stack, eqx.is_array)

    def one(particle: CaDMDynamics, state: Array, plan: Array, known: History, n: Array) -> Array:
        key = None if particle.key is None else jax.random.fold_in(particle.key, n)
        here = eqx.tree_at(
            lambda d: (d.history, d.key), particle, (known, key), is_leaf=lambda x: x is None
        )
        codes = jax.vmap(here.encode)(plan)
        return jax.lax.scan(lambda c, code: here.step(c, code), here.init(state), codes)[1]

    def one_particle(leaves: Any) -> Array:
        particle = eqx.combine(leaves, static)
        run = jax.vmap(one, in_axes=(None, 0, 0, 0, 0))
        return run(particle, states, actions, histories, number)

    return jax.lax.map(one_particle, arrays)
