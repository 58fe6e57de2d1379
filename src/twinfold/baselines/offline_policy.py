"""Learned policies that act: the nets of BCQ and CQL without what trained them, in JAX.

Training is a library's (``d3rlpy_offline``); acting needs neither it nor PyTorch, and a hundred
episodes run side by side. With a standardised state s the action is

    CQL, discrete      argmax_a Q(s, a)
    BCQ, discrete      argmax_a Q(s, a)  among  a: G(a | s) > threshold * max_b G(b | s)
    CQL, continuous    tanh(m(s))
    BCQ, continuous    argmax_i Q(s, a_i),  a_i = clip(d(s, z_i) + p tanh(x(s, d(s, z_i))), -1, 1)

where d generates an action from a latent z. The published method draws the z_i at every step; here
they are drawn once, with the policy, which makes it a function of the state.

Axes: B states side by side, D state columns, A action columns, K levels, n candidates.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from twinfold.baselines.offline_settings import Algorithm, AugmentationSettings, OfflineSettings
from twinfold.data.ids import AgentId
from twinfold.errors import UsageError
from twinfold.models.factor_model import Layer, hidden_layers

Layers = tuple[Layer, ...]


def net(layers: Layers, x: Float[Array, " i"]) -> Float[Array, " o"]:
    """Return the outputs of a net of dense layers, ReLU between them."""
    return layers[-1](hidden_layers(layers[:-1], x, "relu"))


class BestValue(eqx.Module):
    """CQL, discrete.

    Attributes:
        values: Q, K outputs.
    """

    values: Layers

    def __call__(self, state: Float[Array, " D"]) -> Int[Array, ""]:
        """Return the level of a standardised state."""
        return jnp.argmax(net(self.values, state))


class BestLikelyValue(eqx.Module):
    """BCQ, discrete.

    Attributes:
        values: Q, K outputs.
        imitator: G, K logarithms of probabilities, but for a constant.
        threshold: least probability, as a share of the most probable level's.
    """

    values: Layers
    imitator: Layers
    threshold: float = eqx.field(static=True)

    def __call__(self, state: Float[Array, " D"]) -> Int[Array, ""]:
        """Return the level of a standardised state."""
        logits = net(self.imitator, state)
        likely = jnp.exp(logits - logits.max()) > self.threshold
        return jnp.argmax(jnp.where(likely, net(self.values, state), -jnp.inf))


class MeanAction(eqx.Module):
    """CQL, continuous.

    Attributes:
        mean: m, A outputs before the tanh.
    """

    mean: Layers

    def __call__(self, state: Float[Array, " D"]) -> Float[Array, " A"]:
        """Return the action of a standardised state, in [-1, 1]."""
        return jnp.tanh(net(self.mean, state))


class BestGenerated(eqx.Module):
    """BCQ, continuous.

    Attributes:
        generator: d, of the state and a latent.
        perturbation: x, of the state and an action.
        values: Q, of the state and an action.
        latents: z, ``(n, 2 A)``.
        reach: p, the farthest that an action is moved.
    """

    generator: Layers
    perturbation: Layers
    values: Layers
    latents: Float[Array, "n z"]
    reach: float = eqx.field(static=True)

    def __call__(self, state: Float[Array, " D"]) -> Float[Array, " A"]:
        """Return the action of a standardised state, in [-1, 1]."""

        def candidate(latent: Array) -> tuple[Array, Array]:
            action = net(self.generator, jnp.concatenate([state, latent]))
            moved = net(self.perturbation, jnp.concatenate([state, action]))
            action = jnp.clip(action + self.reach * jnp.tanh(moved), -1.0, 1.0)
            return action, net(self.values, jnp.concatenate([state, action]))[0]

        actions, values = jax.vmap(candidate)(self.latents)
        return actions[jnp.argmax(values)]


Rule = BestValue | BestLikelyValue | MeanAction | BestGenerated


class OfflineActor(eqx.Module):
    """A learned policy as a pure function ``(state, key) -> action``, in raw units.

    It draws nothing: the key is there because policies have one.

    Attributes:
        rule: of standardised states.
        state_mean: ``(D,)``, of the training states; ``state_scale`` likewise.
        action_low: ``(A,)``, what -1 stands for, or None if discrete; ``action_high`` likewise 1.
    """

    rule: Rule
    state_mean: Float[Array, " D"]
    state_scale: Float[Array, " D"]
    action_low: Float[Array, " A"] | None
    action_high: Float[Array, " A"] | None

    def __call__(self, state: Float[Array, " D"], key: Array | None = None) -> Array:
        """Return the task's level, or the action ``(A,)``."""
        del key
        found = self.rule((state - self.state_mean) / self.state_scale)
        if self.action_low is None or self.action_high is None:
            return found
        return self.action_low + (self.action_high - self.action_low) * (found + 1.0) / 2.0


def blank_actor(
    algorithm: Algorithm,
    settings: OfflineSettings,
    n_state: int,
    n_actions: int,
    discrete: bool,
) -> OfflineActor:
    """Return a policy of zeros, which has the shapes of a learned one.

    Args:
        algorithm: ``"bcq"`` or ``"cql"``.
        settings: widths, and what else a rule reads.
        n_state: D.
        n_actions: K, or A if continuous.
        discrete: whether actions are levels.
    """

    def layers(n_inputs: int, n_outputs: int) -> Layers:
        sizes = n_inputs, *settings.hidden, n_outputs
        pairs = itertools.pairwise(sizes)
        return tuple(Layer(jnp.zeros((n, m)), jnp.zeros(m)) for n, m in pairs)

    rule: Rule
    if discrete:
        values = layers(n_state, n_actions)
        if algorithm == "cql":
            rule = BestValue(values)
        else:
            rule = BestLikelyValue(values, layers(n_state, n_actions), settings.bcq_threshold)
    elif algorithm == "cql":
        rule = MeanAction(layers(n_state, n_actions))
    else:
        n_latent = 2 * n_actions  # as the published method has it
        rule = BestGenerated(
            generator=layers(n_state + n_latent, n_actions),
            perturbation=layers(n_state + n_actions, n_actions),
            values=layers(n_state + n_actions, 1),
            latents=jnp.zeros((settings.bcq_candidates, n_latent)),
            reach=settings.bcq_perturbation,
        )
    bound = None if discrete else jnp.zeros(n_actions)
    return OfflineActor(rule, jnp.zeros(n_state), jnp.ones(n_state), bound, bound)


class OfflineInfo(BaseModel):
    """Where a learned policy comes from.

    Attributes:
        twinfold: version that trained it; likewise ``d3rlpy`` and ``torch``.
        created: when, in ISO 8601.
        fingerprint: of the data.
        source: where that data came from.
        agents: ids of the agents whose data it learned from; None for all of the data.
        episodes: number of them; ``transitions`` likewise.
        ends: episodes that the task ended.
        simulated: transitions among them that a simulator made.
        steps: of training.
        losses: by name, mean over the last part of the training; None if not finite.
        seconds: that the training took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    twinfold: str
    d3rlpy: str
    torch: str
    created: str
    fingerprint: str
    source: dict[str, Any]
    agents: tuple[AgentId, ...] | None
    episodes: int
    transitions: int
    ends: int
    simulated: int
    steps: int
    losses: dict[str, float | None]
    seconds: float


@dataclass(frozen=True, eq=False)
class OfflinePolicy:
    """A policy learned by BCQ or CQL.

    Attributes:
        actor: what it does in a state; a pure function for whatever takes one.
        algorithm: that trained it.
        task: name of the task that gave rewards and ends.
        settings: of the training; ``seed`` likewise.
        augmentation: how simulated trajectories were made; None if there were none.
        info: where it comes from.
    """

    actor: OfflineActor
    algorithm: Algorithm
    task: str
    settings: OfflineSettings
    seed: int
    augmentation: AugmentationSettings | None
    info: OfflineInfo

    @property
    def discrete(self) -> bool:
        """True if actions are levels."""
        return self.actor.action_low is None

    @property
    def method(self) -> str:
        """Name of the method in the benchmark."""
        if self.augmentation is not None:
            return f"persim-{self.algorithm}-{self.augmentation.trajectories}"
        alone = self.info.agents is not None and len(self.info.agents) == 1
        return f"{self.algorithm}-{'a' if alone else 'p'}"

    def act(self, states: NDArray[Any] | Sequence[Sequence[float]]) -> NDArray[Any]:
        """Return the actions in some states, always the same ones.

        Args:
            states: ``(B, D)``, raw units.

        Returns:
            The task's levels ``(B,)``, int32, or actions ``(B, A)``, float32.

        Raises:
            UsageError: the states have another shape.
        """
        given, n_state = np.asarray(states, np.float32), len(self.actor.state_mean)
        if given.ndim != 2 or given.shape[1] != n_state:
            raise UsageError(f"states of shape {given.shape}: they must be (B, {n_state})")
        return np.asarray(_act(self.actor, jnp.asarray(given)))

    def record(self) -> dict[str, Any]:
        """Return everything but the nets as plain values, for JSON."""
        made = self.augmentation
        return {
            "algorithm": self.algorithm,
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.seed,
            "augmentation": None if made is None else made.model_dump(mode="json"),
            **self.info.model_dump(mode="json"),
        }


@eqx.filter_jit
def _act(actor: OfflineActor, states: Array) -> Array:
    return jax.vmap(actor)(states)
