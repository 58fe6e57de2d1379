"""Behaviour policies as small networks in plain JAX.

With the layers (W_1, b_1), ..., (W_L, b_L) and h_0 = s,

    h_i = relu(h_{i-1} W_i + b_i)   for i < L,      o = h_{L-1} W_L + b_L

A discrete task reads o as the values of the K actions and takes the best one (DQN). A continuous
task takes tanh(o), moved from [-1, 1] to the bounds of the actions (the actor of TD3).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinfold.tasks.task import Task

# Per layer the weights (inputs, outputs) and the biases (outputs,).
Layers = tuple[tuple[Array | np.ndarray, Array | np.ndarray], ...]


def forward(layers: Layers, state: Float[Array, " D"]) -> Float[Array, " O"]:
    """Return the network's outputs, before the tanh of a continuous task."""
    hidden = state
    for weight, bias in layers[:-1]:
        hidden = jax.nn.relu(hidden @ weight + bias)
    weight, bias = layers[-1]
    return hidden @ weight + bias


def greedy(task: Task, layers: Layers, state: Float[Array, " D"]) -> Array:
    """Return the action without noise: a level ``()``, or ``(A,)`` within the bounds."""
    outputs = forward(layers, state)
    if task.n_actions is not None:
        return jnp.argmax(outputs)
    low, high = jnp.asarray(task.action_low), jnp.asarray(task.action_high)
    return low + (high - low) * (jnp.tanh(outputs) + 1.0) / 2.0
