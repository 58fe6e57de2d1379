"""Data of the studies: populations of a task, with or without what is hidden as static columns.

True covariates are columns here alone, where the question is what knowing them would be worth.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from twinfold.benchmark.collect import simulate_policy, task_roles, to_frame
from twinfold.benchmark.studies.study_settings import UNCLIPPED
from twinfold.data.panel import PanelDataset
from twinfold.tasks import get_task
from twinfold.tasks.mountain_car import PUSH
from twinfold.tasks.task import Task, agent_covariates

Floats = NDArray[np.float64]


def described_panel(task: Task, policy: str, n_agents: int, seed: int) -> PanelDataset:
    """Return what ``collect`` gives, with each agent's true covariates as static columns.

    Args:
        task: the task.
        policy: of the data.
        n_agents: N; ids are 0 to N - 1, the first five are the test agents.
        seed: of covariates, starts and policy.
    """
    covariates = agent_covariates(task, n_agents, seed)
    frame = to_frame(task, simulate_policy(task, covariates, policy, seed=seed))
    roles = task_roles(task).model_copy(update={"static": task.covariate_names})
    agent = frame[roles.agent].to_numpy()
    described = frame.assign(
        **{name: covariates[agent, c] for c, name in enumerate(task.covariate_names)}
    )
    return PanelDataset.from_frame(described, roles)


def without_static(panel: PanelDataset) -> PanelDataset:
    """Return a panel that says nothing of its agents but their trajectories."""
    roles = panel.roles.model_copy(update={"static": ()})
    return replace(panel, roles=roles, static=None)


def study_task(name: str) -> Task:
    """Return a task by name, MountainCar without its limits among them.

    Args:
        name: of the task.

    Raises:
        UsageError: there is none.
    """
    return _unclipped() if name == UNCLIPPED else get_task(name)


@functools.cache
def _unclipped() -> Task:
    """Return the unclipped task, the same object at every call: it compiles once."""
    return unclipped_mountain_car(get_task("mountain_car"))


def unclipped_mountain_car(task: Task) -> Task:
    """Return MountainCar without clipping and walls: Proposition 1 of the paper.

        v' = v + 0.001 (a - 1) - g cos(3 x),    x' = x + v'

    Starts are uniform in the middle half of the natural range of the states, so that few steps
    cover it, and no episode ends by itself.

    Args:
        task: MountainCar.
    """
    middle, half = (task.state_low + task.state_high) / 2, (task.state_high - task.state_low) / 4
    low, high = jnp.asarray(middle - half), jnp.asarray(middle + half)

    def reset(own: Any, key: Array) -> Array:
        del own
        return jax.random.uniform(key, (2,), minval=low, maxval=high)

    def step(own: Any, state: Array, action: Array) -> Array:
        velocity = state[1] + (action - 1) * PUSH - own.gravity * jnp.cos(3.0 * state[0])
        return jnp.stack([state[0] + velocity, velocity])

    def terminated(next_state: Array) -> Array:
        return jnp.isnan(next_state[0])  # never

    return replace(
        task,
        name=UNCLIPPED,
        reset=reset,
        step=step,
        terminated=terminated,
        progress=None,
    )
