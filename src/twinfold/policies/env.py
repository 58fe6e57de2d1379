"""A built-in task as a Gymnasium environment, for training on the host.

Needs the extra ``policies``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces

from twinfold.tasks.task import Task

# (state, action) -> (next state, reward, terminated)
HostStep = Callable[[np.ndarray, Any], tuple[np.ndarray, float, bool]]


def host_step(task: Task, covariates: tuple[float, ...]) -> HostStep:
    """Return the dynamics of one agent, called from Python one step at a time.

    These are the task's own functions, compiled. Only HalfCheetah's step goes straight to MuJoCo:
    the way there through a compiled function takes six times as long.
    """
    own = task.covariates(np.asarray(covariates))
    if task.name == "half_cheetah":
        from twinfold.tasks import half_cheetah

        model = half_cheetah.make_model(float(own.mass), float(own.damping))

        def advance(state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
            reached = half_cheetah.rollout([model], state[None], action[None, None])[0, 0]
            reward = reached[0] - half_cheetah.CONTROL_COST * np.sum(action**2)
            return reached.astype(np.float32), float(reward), False

        return advance

    @jax.jit
    def compiled(state: Any, action: Any) -> tuple[Any, Any, Any]:
        reached = task.step(own, state, action)
        return reached, task.reward(state, action, reached), task.terminated(reached)

    def step(state: np.ndarray, action: Any) -> tuple[np.ndarray, float, bool]:
        reached, reward, end = compiled(state, action)
        return np.asarray(reached), float(reward), bool(end)

    return step


class TaskEnv(gymnasium.Env[np.ndarray, Any]):
    """One agent of a task; an episode is cut off after the task's longest one."""

    def __init__(self, task: Task, covariates: tuple[float, ...]) -> None:
        self.task = task
        size = len(task.state_names)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        if task.n_actions is not None:
            self.action_space = spaces.Discrete(task.n_actions)
        else:
            low, high = np.asarray(task.action_low), np.asarray(task.action_high)
            self.action_space = spaces.Box(
                low.astype(np.float32), high.astype(np.float32), dtype=np.float32
            )
        own = task.covariates(np.asarray(covariates))
        self._start = jax.jit(lambda seed: task.reset(own, jax.random.key(seed)))
        self._advance = host_step(task, covariates)
        self._state = np.zeros(size, np.float32)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; without a seed the start follows from the ones before."""
        super().reset(seed=seed)
        self._state = np.asarray(self._start(self.np_random.integers(2**31)))
        self._steps = 0
        return self._state, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step of the task."""
        self._state, reward, end = self._advance(self._state, action)
        self._steps += 1
        cut = not end and self._steps >= self.task.max_steps
        return self._state, reward, end, cut, {}
