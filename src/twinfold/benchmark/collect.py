"""Trajectories of many agents in a task's true dynamics, under a policy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array

from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.errors import UsageError
from twinfold.policies import AgentPolicy, get_policy
from twinfold.tasks.goal_functions import check_functions, true_or_false
from twinfold.tasks.task import Task, agent_covariates
from twinfold.utils.seeds import check_seed

if TYPE_CHECKING:
    import pandas as pd

# A policy of the user's: (state (D,), key) -> action, pure JAX.
Policy = Callable[[Any, Any], Any]


class Trajectories(NamedTuple):
    """P trajectories of at most L steps of each of N agents.

    Attributes:
        states: ``(N, P, L+1, D)`` float32, raw units; repeats the last state after the end.
        actions: ``(N, P, L)`` int32 level index if discrete, ``(N, P, L, A)`` float32 otherwise.
        rewards: ``(N, P, L)`` float32; 0 after the end.
        mask: ``(N, P, L)`` bool; True for the steps taken, the one that ends the episode included.
        terminated: ``(N, P)`` bool; False where the L steps were used up.
    """

    states: npt.NDArray[np.float32]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    terminated: npt.NDArray[np.bool_]


def simulate_policy(
    task: Task,
    covariates: npt.ArrayLike,
    policy: str | Policy,
    n_trajectories: int = 1,
    n_steps: int | None = None,
    seed: int = 0,
) -> Trajectories:
    """Return the episodes of a policy in the true task, all in one compiled program.

    Args:
        task: the task.
        covariates: ``(N, C)``, true physics of the agents.
        policy: one of ``twinfold.policies.POLICY_NAMES`` or a pure function ``(state, key) ->
            action``.
        n_trajectories: P, episodes per agent.
        n_steps: L, the steps after which an episode is cut off; None for the task's longest.
        seed: of the starts and of the policy. An agent's randomness depends on the seed and its
            place in ``covariates`` only.

    Raises:
        UsageError: if the policy is unknown, a shape, count or the seed cannot be used, or the
            functions of the task do not fit its columns.
    """
    values = np.asarray(covariates, dtype=np.float64)
    length = task.max_steps if n_steps is None else n_steps
    if values.ndim != 2:
        raise UsageError(f"covariates of shape {values.shape}: one row per agent is needed")
    for name, count in (("trajectories", n_trajectories), ("steps", length)):
        if count < 1:
            raise UsageError(f"the number of {name} must be at least 1, not {count}")
    check_seed(seed)
    own = task.covariates(values)
    check_functions(task, own)
    chosen = get_policy(task, policy) if isinstance(policy, str) else _for_any_agent(policy)
    results = _simulate(task, chosen, n_trajectories, length, own, np.uint32(seed))
    return Trajectories(*(np.asarray(result) for result in results))


def collect(
    task: Task, policy: str | Policy = "random", n_agents: int = 500, seed: int = 0
) -> PanelDataset:
    """Return one trajectory of each of many agents, as a user's own data would come.

    Agents have the integer ids 0 to ``n_agents - 1``; the first five are the test agents. The
    covariates are not part of the data; ``provenance`` gives them.

    Args:
        task: the task.
        policy: one of ``twinfold.policies.POLICY_NAMES`` or a pure function ``(state, key) ->
            action``.
        n_agents: the number of agents.
        seed: of the covariates, the starts and the policy.

    Raises:
        UsageError: if the policy is unknown, or the number of agents or the seed cannot be used.
    """
    covariates = agent_covariates(task, n_agents, seed)
    trajectories = simulate_policy(task, covariates, policy, seed=seed)
    return PanelDataset.from_frame(to_frame(task, trajectories), task_roles(task))


def provenance(task: Task, policy: str | Policy, n_agents: int, seed: int) -> dict[str, Any]:
    """Return where the data of ``collect`` with these arguments comes from; plain JSON values.

    The true covariates are a list per name, entry i belonging to agent i. They are for looking at
    results and for stepping the true task, never for fitting.
    """
    covariates = agent_covariates(task, n_agents, seed)
    return {
        "task": task.name,
        "policy": policy if isinstance(policy, str) else getattr(policy, "__name__", "custom"),
        "n_agents": n_agents,
        "seed": seed,
        "covariates": {
            name: covariates[:, i].tolist() for i, name in enumerate(task.covariate_names)
        },
    }


def task_roles(task: Task) -> Roles:
    """Return the columns of the tables that ``collect`` makes."""
    return Roles(
        agent="agent_id",
        time="t",
        state=task.state_names,
        action=task.action_names,
        action_type=task.action_type,
        reward="reward",
        terminated="terminated",
        truncated="truncated",
        angle=task.angle_names,
    )


def to_frame(task: Task, trajectories: Trajectories) -> pd.DataFrame:
    """Return the long table of one trajectory per agent (P = 1), in columns of ``task_roles``.

    A trajectory of T actions has T + 1 rows; the action and the reward of its last row are null,
    and the last row says how the trajectory ended.

    Raises:
        UsageError: if there is more than one trajectory per agent.
    """
    import pandas as pd

    states, actions, rewards, mask, terminated = trajectories
    _, n_trajectories, length = mask.shape
    if n_trajectories != 1:
        raise UsageError(f"one trajectory per agent is needed, not {n_trajectories}")
    lengths = mask[:, 0].sum(axis=-1)
    agent, time = np.nonzero(np.arange(length + 1) <= lengths[:, None])
    last = time == lengths[agent]
    # A last row has no action: it reads the one before and is then made null.
    step = np.minimum(time, length - 1)
    action = actions[agent, 0, step]
    columns: dict[str, Any] = {"agent_id": agent, "t": time}
    columns |= {
        name: states[agent, 0, time, d].astype(np.float64)
        for d, name in enumerate(task.state_names)
    }
    if task.action_type == "discrete":
        (name,) = task.action_names
        columns[name] = pd.arrays.IntegerArray(action.astype(np.int64), last)
    else:
        columns |= {
            name: np.where(last, np.nan, action[:, a].astype(np.float64))
            for a, name in enumerate(task.action_names)
        }
    columns["reward"] = np.where(last, np.nan, rewards[agent, 0, step].astype(np.float64))
    columns["terminated"] = last & terminated[agent, 0]
    columns["truncated"] = last & ~terminated[agent, 0]
    return pd.DataFrame(columns)


@functools.lru_cache(maxsize=64)
def _for_any_agent(policy: Policy) -> AgentPolicy:
    """Return a policy that knows no agent; cached, so that the same function compiles once."""
    return lambda covariates, state, key: policy(state, key)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _simulate(
    task: Task,
    policy: AgentPolicy,
    n_trajectories: int,
    length: int,
    covariates: Any,
    seed: np.uint32,
) -> tuple[Array, Array, Array, Array, Array]:
    def step(own: Any, state: Array, alive: Array, key: Array) -> tuple[Array, Array, Array, Array]:
        action = policy(own, state, key)
        reached = jnp.where(alive, task.step(own, state, action), state)
        reward = jnp.where(alive, task.reward(state, action, reached), 0.0)
        return reached, action, reward, alive & ~true_or_false(task.terminated(reached))

    def body(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Any]:
        state, alive = carry
        reached, action, reward, on = jax.vmap(step)(flat, state, alive, key)
        return (reached, on), (reached, action, reward, alive)

    # All N * P episodes lie along one axis: a nested vmap takes three times as long to compile.
    n_agents = jax.tree.leaves(covariates)[0].shape[0]
    flat = jax.tree.map(lambda leaf: jnp.repeat(leaf, n_trajectories), covariates)
    agents = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))
    keys = jax.vmap(lambda key: jax.random.split(key, n_trajectories))(agents(jnp.arange(n_agents)))
    keys = jax.vmap(jax.random.split)(keys.reshape(-1))  # (N * P, 2)
    start = jax.vmap(task.reset)(flat, keys[:, 0])
    step_keys = jax.vmap(lambda key: jax.random.split(key, length), out_axes=1)(keys[:, 1])
    first = (start, jnp.ones(len(start), bool))
    (_, alive), (states, actions, rewards, mask) = jax.lax.scan(body, first, step_keys)

    def by_agent(steps: Array) -> Array:
        """Turn ``(L, N * P, ...)`` into ``(N, P, L, ...)``."""
        steps = jnp.moveaxis(steps, 0, 1)
        return steps.reshape(n_agents, n_trajectories, *steps.shape[1:])

    states = by_agent(jnp.concatenate([start[None], states]))
    ended = ~alive.reshape(n_agents, n_trajectories)
    return states, by_agent(actions), by_agent(rewards), by_agent(mask), ended
