"""The policies by name, as pure functions of an agent's covariates, its state and a key.

    random       every action uniform over the levels or between the bounds
    pure         the behaviour policy of the nearest training agent, greedy
    pure-eps-20  pure, but with probability 0.2 a uniform action instead
    pure-eps-40  the same with 0.4
    test         the unseen test policy, greedy; the same for every agent

How near a training agent is, is measured in units of the ranges of the covariates.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from twinfold.errors import UsageError, one_of
from twinfold.policies import POLICY_NAMES
from twinfold.policies.nets import greedy
from twinfold.policies.store import SHIPPED, behaviour_names, load_layers, load_record
from twinfold.tasks.task import Task
from twinfold.utils.text import clipped

# (covariates, state (D,), key) -> action, pure JAX.
AgentPolicy = Callable[[Any, Any, Any], Any]

_EPSILON = {"pure": 0.0, "pure-eps-20": 0.2, "pure-eps-40": 0.4}


@functools.cache
def get_policy(task: Task, name: str) -> AgentPolicy:
    """Return the policy of a task by name, the same object at every call: it compiles once.

    Raises:
        UsageError: if the name is unknown, with the names that exist; if the task has no trained
            policies.
    """
    if name not in POLICY_NAMES:
        raise UsageError(f"unknown policy {name!r}; {one_of(POLICY_NAMES)}")
    if name == "random":
        return lambda covariates, state, key: random_action(task, key)
    if name == "test":
        layers = load_layers(SHIPPED, task.name, "test")
        return lambda covariates, state, key: greedy(task, layers, state)
    return _mixture(_behaviour(task), task, _EPSILON[name])


def random_action(task: Task, key: Array) -> Array:
    """Return one action, uniform over the levels or between the bounds."""
    if task.n_actions is not None:
        return jax.random.randint(key, (), 0, task.n_actions)
    low, high = jnp.asarray(task.action_low), jnp.asarray(task.action_high)
    return jax.random.uniform(key, low.shape, minval=low, maxval=high)


def _behaviour(task: Task) -> AgentPolicy:
    """Return the policy by which each agent acts as the training agent nearest to it."""
    names = behaviour_names(SHIPPED, task.name)
    networks = [load_layers(SHIPPED, task.name, name) for name in names]
    agents = np.array([_trained_on(task, name) for name in names])
    width = task.covariate_high - task.covariate_low

    def policy(covariates: Any, state: Any, key: Any) -> Array:
        del key
        gap = (jnp.stack(list(covariates)) - agents) / width  # (K, C)
        # All K networks are evaluated: they are small, and gathering one's weights costs more.
        actions = jnp.stack([greedy(task, layers, state) for layers in networks])
        # Rounded, so that the first of equally near ones is taken: HalfCheetah's test agent 4 is as
        # far from all four.
        return actions[jnp.argmin(jnp.round(jnp.sum(gap**2, axis=-1), 5))]

    return policy


def _trained_on(task: Task, name: str) -> list[float]:
    """Return the covariates of the agent that a behaviour policy was trained on."""
    agent = load_record(SHIPPED, task.name, name)["agent"]
    if set(agent) != set(task.covariate_names):
        raise UsageError(
            f"policy {name!r} of task {task.name!r} was trained on an agent with "
            f"{clipped(sorted(agent))}; it has {', '.join(task.covariate_names)}"
        )
    return [float(agent[covariate]) for covariate in task.covariate_names]


def _mixture(policy: AgentPolicy, task: Task, epsilon: float) -> AgentPolicy:
    """Return the policy with a uniform action in its place with probability ``epsilon``."""
    if epsilon == 0:
        return policy

    def mixed(covariates: Any, state: Any, key: Any) -> Array:
        key_choice, key_action = jax.random.split(key)
        uniform = random_action(task, key_action)
        own = policy(covariates, state, key).astype(uniform.dtype)
        return jnp.where(jax.random.bernoulli(key_choice, epsilon), uniform, own)

    return mixed
