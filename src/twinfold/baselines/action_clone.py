"""The policy that recorded discrete actions followed: a net that gives each level a probability.

For continuous actions a fit learns one beside its simulators (``models/behaviour_policy.py``). This
one is fitted when it is asked for, by the likelihood of the actions of all agents,

    max  sum_k log softmax(g(s_k, u_n(k)))[a_k]

where the factors u_n let agents with different policies differ, as far as who they are tells it.

Axes: D state columns, K levels, r factors.
"""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict

from twinfold.baselines.experience import Experience
from twinfold.models.factor_model import Layer, hidden_layers, random_layer
from twinfold.models.fitted_model import FittedModel
from twinfold.models.normalizer import Normalizer


class CloneSettings(BaseModel):
    """Numbers of the cloned policy.

    Attributes:
        hidden: widths of its hidden layers.
        batch: transitions of a step.
        steps: of Adam, whose rate falls to zero along a cosine.
        rate: at the beginning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: tuple[int, ...] = (64, 64)
    batch: int = 256
    steps: int = 3000
    rate: float = 3e-3


class ActionClone(eqx.Module):
    """The cloned policy of one agent: a callable ``(state, key) -> level``, drawn at random.

    Attributes:
        normalizer: of the simulator that it is used in.
        layers: hidden layers, of which the first reads the state and the factors.
        head: last layer, K outputs.
        factors: ``(r,)``, of the agent, standardised over agents.
    """

    normalizer: Normalizer
    layers: tuple[Layer, ...]
    head: Layer
    factors: Float[Array, " r"]

    def logits(self, inputs: Array, factors: Array) -> Float[Array, " K"]:
        """Return the logarithms of the probabilities, but for a constant.

        Args:
            inputs: of a state, ``(I,)``, as the simulator's nets read it.
            factors: ``(r,)``.
        """
        return self.head(hidden_layers(self.layers, jnp.concatenate([inputs, factors]), "relu"))

    def __call__(self, state: Float[Array, " D"], key: Array) -> Int[Array, ""]:
        """Return a level, drawn."""
        inputs = self.normalizer.inputs(self.normalizer.encode_state(state))
        return jax.random.categorical(key, self.logits(inputs, self.factors))


def clone_actions(
    model: FittedModel,
    agent: int,
    experience: Experience,
    agents: Int[np.ndarray, " K"],
    n_levels: int,
    settings: CloneSettings,
    seed: int,
) -> ActionClone:
    """Return the policy that an agent followed, learned from the actions of all agents.

    Args:
        model: gives the agents' factors and how its nets read a state.
        agent: index of the agent in the model.
        experience: what all agents did, ``K`` transitions.
        agents: index in the model of the agent of each transition, ``(K,)``.
        n_levels: of the action.
        settings: sizes and length of training.
        seed: of the weights and the batches.
    """
    factors = np.asarray(model.members.agents[0], np.float64)
    standard = (factors - factors.mean(axis=0)) / np.maximum(factors.std(axis=0), 1e-6)
    inputs = model.normalizer.inputs(model.normalizer.encode_state(experience.state))
    read = np.concatenate([inputs, standard[agents]], axis=1).astype(np.float32)
    widths = (read.shape[1], *settings.hidden)
    keys = jax.random.split(jax.random.key(seed), len(widths) + 1)
    layers = tuple(
        random_layer(key, n, m) for key, n, m in zip(keys, widths[:-1], widths[1:], strict=False)
    )
    head = random_layer(keys[-2], widths[-1], n_levels)
    start = layers, Layer(head.weight, jnp.zeros_like(head.bias))
    layers, head = _train(
        start, jnp.asarray(read), jnp.asarray(experience.action), keys[-1], settings
    )
    return ActionClone(
        normalizer=model.normalizer.on_device(),
        layers=layers,
        head=head,
        factors=jnp.asarray(standard[agent], jnp.float32),
    )


@functools.partial(jax.jit, static_argnames="settings")
def _train(start: Any, read: Array, actions: Array, key: Array, settings: CloneSettings) -> Any:
    adam = optax.adam(optax.cosine_decay_schedule(settings.rate, settings.steps))

    def loss(nets: Any, rows: Array) -> Array:
        layers, head = nets
        logits = jax.vmap(lambda x: head(hidden_layers(layers, x, "relu")))(read[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, actions[rows]).mean()

    def one_step(now: Any, number: Array) -> tuple[Any, None]:
        nets, memory = now
        drawn = jax.random.fold_in(key, number)
        rows = jax.random.randint(drawn, (settings.batch,), 0, len(actions))
        update, memory = adam.update(jax.grad(loss)(nets, rows), memory)
        return (optax.apply_updates(nets, update), memory), None

    first = start, adam.init(start)
    return jax.lax.scan(one_step, first, jnp.arange(settings.steps))[0][0]
