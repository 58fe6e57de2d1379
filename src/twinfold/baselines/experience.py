"""What an agent has lived through, as reinforcement learning reads it: rewards and true ends.

A recorded trajectory stops for one of two reasons. Either the task ended it: from the state that it
reached on, nothing is earned (*terminal*). Or the recording stopped, or the episode was as long as
the task allows (*time-out*): the state that it reached is worth what any such state is. Values that
take one for the other are wrong everywhere before it.

Axes: K transitions, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Experience:
    """Transitions with their rewards, in the order in which they happened.

    Attributes:
        state: ``(K, D)`` float32, raw units.
        action: ``(K,)`` int32, the task's level if discrete, else ``(K, A)`` float32.
        reward: ``(K,)`` float32, the task's.
        next_state: ``(K, D)`` float32.
        terminal: ``(K,)`` bool, whether the task ended the episode there.
        episode: ``(K,)`` int32, the episode that a transition belongs to, from 0.
    """

    state: NDArray[np.float32]
    action: NDArray[Any]
    reward: NDArray[np.float32]
    next_state: NDArray[np.float32]
    terminal: NDArray[np.bool_]
    episode: NDArray[np.int32]

    def __len__(self) -> int:
        """K, the number of transitions."""
        return len(self.reward)

    @property
    def timeout(self) -> NDArray[np.bool_]:
        """``(K,)``, whether an episode stops there without being at its end."""
        last = np.r_[self.episode[1:] != self.episode[:-1], np.ones(1, bool)]
        return last & ~self.terminal


def experience_of(dataset: PanelDataset, task: Task) -> Experience:
    """Return the transitions of a panel with the task's rewards and ends.

    What the table itself says of rewards and ends is not read: like a planner, these methods learn
    the task's. A trajectory that goes on behind the task's end is two episodes.

    Args:
        dataset: recorded trajectories, with the states and actions of the task.
        task: gives reward and end; its dynamics are not used.

    Raises:
        UsageError: states or actions are not those of the task, or there are other inputs.
    """
    _check(dataset, task)
    dataset.refuse_known_inputs()
    found = dataset.transitions()
    state, next_state = found.state.astype(np.float32), found.next_state.astype(np.float32)
    levels = dataset.action_levels
    if levels is not None:
        action = levels[found.action.astype(np.intp)].astype(np.int32)
    else:
        action = found.action.astype(np.float32)
    reward = np.asarray(jax.vmap(task.reward)(state, action, next_state), np.float32)
    terminal = np.asarray(jax.vmap(task.terminated)(next_state), bool)
    new = (found.segment[1:] != found.segment[:-1]) | terminal[:-1]
    episode = np.cumsum(np.r_[False, new], dtype=np.int32)
    return Experience(state, action, reward, next_state, terminal, episode)


def joined(parts: Sequence[Experience]) -> Experience:
    """Return the transitions of several parts, one after the other; none shares an episode."""
    shifts = np.cumsum([0, *(part.episode[-1] + 1 for part in parts[:-1])])
    episodes = [part.episode + n for part, n in zip(parts, shifts, strict=True)]
    return Experience(
        state=np.concatenate([part.state for part in parts]),
        action=np.concatenate([part.action for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        next_state=np.concatenate([part.next_state for part in parts]),
        terminal=np.concatenate([part.terminal for part in parts]),
        episode=np.concatenate(episodes).astype(np.int32),
    )


def _check(dataset: PanelDataset, task: Task) -> None:
    roles = dataset.roles
    if roles.state != task.state_names or roles.action_type != task.action_type:
        raise UsageError(
            f"the data does not fit task {task.name!r}: its state is {list(roles.state)} with a "
            f"{roles.action_type} action, the task's is {list(task.state_names)} with a "
            f"{task.action_type} one"
        )
    if task.n_actions is None:
        if len(roles.action) != len(task.action_names):
            raise UsageError(
                f"the data has {len(roles.action)} action columns, task {task.name!r} has "
                f"{len(task.action_names)}"
            )
        return
    levels = dataset.action_levels
    strange = [] if levels is None else [n for n in levels if not 0 <= n < task.n_actions]
    if strange:
        raise UsageError(
            f"the data has the action {strange[0]}; task {task.name!r} has 0 to "
            f"{task.n_actions - 1}"
        )
