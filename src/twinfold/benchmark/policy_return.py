"""Returns of policies in the true task: whatever acts on a state, without a model or a plan.

The true dynamics are used here and nowhere else: nothing is chosen by these figures.

Axes: B episodes side by side, D state columns, A action columns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from twinfold import __version__, metrics
from twinfold.benchmark.episodes import agent_label, recorded_covariates
from twinfold.benchmark.paper import paper_figures
from twinfold.errors import UsageError
from twinfold.tasks import Task

Record = dict[str, Any]


class Acting(Protocol):
    """A policy without memory.

    The name of its task (``task``) and of its method (``method``), where its data comes from
    (``info.source``) and what its record should hold (``record()``) are read if it has them.
    """

    def act(self, states: NDArray[Any]) -> NDArray[Any]:
        """Return the actions in some states.

        Args:
            states: ``(B, D)``, raw units.

        Returns:
            Indices of levels ``(B,)`` if discrete, else ``(B, A)``.
        """
        ...


def evaluate_policy(
    policy: Acting,
    task: Task,
    agents: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    episodes: int = 100,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Record:
    """Return what a policy earns in the true task (Table 2), as a record.

    The starts are the same for every agent, whichever others are asked for, and the first of them
    are those of ``evaluate_return`` for one agent with the same seed. Figures of an agent whose
    simulation broke down are NaN.

    Args:
        policy: what acts.
        task: the true task.
        agents: ids of agents.
        episodes: number per agent.
        seed: of the starts.
        progress: receives (what, steps done, steps of the longest episode).

    Raises:
        UsageError: the policy is of another task, an agent's true physics are not known, there
            are no episodes, or the actions are not those of the task.
    """
    if episodes < 1:
        raise UsageError(f"the number of episodes must be at least 1, not {episodes}")
    trained = getattr(policy, "task", task.name)
    if trained != task.name:
        raise UsageError(f"the policy was trained for task {trained!r}, not for {task.name!r}")
    source = dict(getattr(getattr(policy, "info", None), "source", {}))
    covariates = recorded_covariates(task, source, agents)
    returns, lengths = play_policy(policy, task, covariates, episodes, seed, progress)
    method = getattr(policy, "method", None)
    found: Record = {
        "kind": "return",
        "twinfold": __version__,
        "task": task.name,
        "dataset": source.get("policy"),
        "data_seed": source.get("seed"),
        "method": method,
        "seed": seed,
        "episodes": episodes,
        "agents": [
            {
                "agent": int(agent),
                "label": agent_label(task, int(agent)),
                **metrics.summarise(returns[n]),
                "mean_length": float(np.mean(lengths[n])),
            }
            for n, agent in enumerate(agents)
        ],
        "paper": _paper(task, source.get("policy"), method),
    }
    record = getattr(policy, "record", None)
    return found if record is None else {**found, "policy": record()}


def play_policy(
    policy: Acting,
    task: Task,
    covariates: NDArray[np.float64],
    episodes: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the returns and lengths of episodes in the true task, ``(N, episodes)`` each.

    Args:
        policy: what acts.
        task: the true task.
        covariates: ``(N, C)``, true physics of the agents.
        episodes: number per agent.
        seed: of the starts.
        progress: as in :func:`evaluate_policy`.

    Raises:
        UsageError: the actions are not those of the task.
    """
    own = task.covariates(np.repeat(covariates, episodes, axis=0))
    keys = jax.random.split(jax.random.key(seed), (1, episodes))[0]
    states = _starts(task, own, jnp.tile(keys, len(covariates)))
    n_rows = len(states)
    totals, lengths = np.zeros(n_rows), np.zeros(n_rows, np.int64)
    alive = np.ones(n_rows, bool)
    for step in range(task.max_steps):
        actions = _checked(np.asarray(policy.act(np.asarray(states))), task, n_rows)
        states, rewards, ended = _advance(task, own, states, actions, alive)
        totals += np.where(alive, np.asarray(rewards, np.float64), 0.0)
        lengths += alive
        alive &= ~np.asarray(ended) & np.isfinite(totals)
        if progress is not None:
            progress("steps of the episodes", step + 1, task.max_steps)
        if not alive.any():
            break
    shape = len(covariates), episodes
    return totals.reshape(shape), lengths.reshape(shape)


@functools.partial(jax.jit, static_argnums=0)
def _starts(task: Task, own: Any, keys: Array) -> Array:
    # The second of three keys, as planned episodes have it.
    resets = jax.vmap(lambda key: jax.random.split(key, 3)[1])(keys)
    return jax.vmap(task.reset)(own, resets)


@functools.partial(jax.jit, static_argnums=0)
def _advance(
    task: Task, own: Any, states: Array, actions: Any, alive: Any
) -> tuple[Array, Array, Array]:
    """Return the next states (of what has ended, the same), the rewards, and which end there."""
    reached = jax.vmap(task.step)(own, states, actions)
    rewards = jax.vmap(task.reward)(states, actions, reached)
    ended = jax.vmap(task.terminated)(reached)
    return jnp.where(alive[:, None], reached, states), rewards, ended


def _checked(actions: NDArray[Any], task: Task, n_rows: int) -> NDArray[Any]:
    """Return actions as the task takes them.

    Raises:
        UsageError: they have another shape or kind, or one is no level.
    """
    discrete = task.n_actions is not None
    shape = (n_rows,) if discrete else (n_rows, len(task.action_names))
    kinds = "iu" if discrete else "f"
    if actions.shape != shape or actions.dtype.kind not in kinds:
        kind = "integers" if discrete else "numbers"
        raise UsageError(
            f"the policy gives actions of shape {actions.shape} and type {actions.dtype}; task "
            f"{task.name!r} takes {kind} of shape {shape}"
        )
    if task.n_actions is not None:
        strange = actions[(actions < 0) | (actions >= task.n_actions)]
        if strange.size:
            raise UsageError(
                f"the policy gives the action {strange[0]}; task {task.name!r} has 0 to "
                f"{task.n_actions - 1}"
            )
        return actions.astype(np.int32)
    return actions.astype(np.float32)


def _paper(task: Task, dataset: str | None, method: str | None) -> Record:
    """Return the paper's figures for a method on the same kind of data, by agent; {} if none."""
    if method is None or dataset is None:
        return {}
    try:
        figures = paper_figures("table2", task.name, dataset, method)
    except UsageError:
        return {}
    return {str(agent): row for agent, row in figures.items()}
