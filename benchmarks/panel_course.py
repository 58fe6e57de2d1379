"""Trajectories of a panel in standardised units, the features of simple models, and their error.

Axes: N agents, T known rows of an agent, H steps to be predicted, P features, D state columns, A
action columns (one per level of a discrete action), C static columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from panel_data import Window, held_rows
from panel_frame import Panel

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Move = Callable[[Floats, Floats, Floats, Floats], Floats]
"""How a state changes: of the state, the state before, the mean so far ``(D,)``, the action."""

CLIP = 10.0  # standard deviations: the most that one value counts
FAR = 20.0  # standard deviations: open-loop states are kept within this


@dataclass(frozen=True, eq=False)
class Course:
    """One trajectory in standardised units, with the actions ahead if its end is to be predicted.

    Attributes:
        state: ``(T, D)`` known states.
        action: ``(T - 1, A)`` actions between them.
        static: ``(C,)``.
        ahead: ``(H, A)`` actions from the last known state on.
    """

    state: Floats
    action: Floats
    static: Floats
    ahead: Floats


@dataclass(frozen=True, eq=False)
class Units:
    """Means and standard deviations of the training rows, and the levels of a discrete action."""

    state_mean: Floats
    state_sd: Floats
    action_mean: Floats
    action_sd: Floats
    static_mean: Floats
    static_sd: Floats
    levels: Floats | None

    @classmethod
    def of(cls, train: pd.DataFrame, panel: Panel) -> Units:
        """Return the units of the training table; a constant column keeps its own."""
        state = train[list(panel.state)].to_numpy(float)
        action = train[list(panel.action)].astype(float).to_numpy()
        action = action[~np.isnan(action).any(axis=1)]
        static = train.drop_duplicates(panel.agent)[list(panel.static)].to_numpy(float)
        levels = np.unique(action) if panel.action_type == "discrete" else None
        if levels is not None:
            action = (action == levels).astype(float)
        return cls(*_moments(state), *_moments(action), *_moments(static), levels)

    def action(self, values: Floats) -> Floats:
        """Return actions ``(n, A)`` in standard deviations, or one column per level."""
        if self.levels is not None:
            values = (values == self.levels).astype(float)
        return (values - self.action_mean) / self.action_sd

    def course(self, window: Window) -> Course:
        """Return the known rows of a window and the actions ahead, standardised."""
        return Course(
            (window.prefix - self.state_mean) / self.state_sd,
            self.action(window.prefix_action),
            (window.static - self.static_mean) / self.static_sd,
            self.action(window.action),
        )

    def courses(self, train: pd.DataFrame, panel: Panel) -> list[Course]:
        """Return the trajectories of the training table, standardised."""
        found = []
        for _, rows in train.groupby(panel.agent, sort=True):
            action = rows[list(panel.action)].astype(float).to_numpy()[:-1]
            static = rows[list(panel.static)].iloc[0].to_numpy(float)
            found.append(
                Course(
                    (rows[list(panel.state)].to_numpy(float) - self.state_mean) / self.state_sd,
                    self.action(action),
                    (static - self.static_mean) / self.static_sd,
                    np.zeros((0, len(self.action_mean))),
                )
            )
        return found


def _moments(values: Floats) -> tuple[Floats, Floats]:
    if not values.size:
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    sd = values.std(axis=0)
    return values.mean(axis=0), np.where(sd > 1e-9 * np.abs(values).max(axis=0), sd, 1.0)


@dataclass(frozen=True, eq=False)
class Constant:
    """The same change at every step."""

    change: Floats

    def __call__(self, state: Floats, lag: Floats, mean: Floats, action: Floats) -> Floats:
        """Return the change ``(D,)``."""
        return self.change


@dataclass(frozen=True, eq=False)
class Linear:
    """A change linear in the features; ``weights`` is ``(P, D)``."""

    weights: Floats
    static: Floats
    memory: bool

    def __call__(self, state: Floats, lag: Floats, mean: Floats, action: Floats) -> Floats:
        """Return the change ``(D,)``; the features are those of ``features_of``."""
        past = (lag, mean) if self.memory else ()
        return np.concatenate([[1.0], state, action, self.static, *past]) @ self.weights


def rollout(move: Move, course: Course) -> Floats:
    """Return the states ``(H, D)`` that follow a course, open loop."""
    state, mean, count = course.state[-1], course.state.mean(axis=0), len(course.state)
    lag = course.state[-2] if count > 1 else state
    found = np.empty((len(course.ahead), len(state)))
    for step, action in enumerate(course.ahead):
        after = np.clip(state + move(state, lag, mean, action), -FAR, FAR)
        lag, state, count = state, after, count + 1
        mean = mean + (state - mean) / count
        found[step] = state
    return found


def features_of(course: Course, memory: bool) -> Floats:
    """Return the features ``(T - 1, P)`` of a course's transitions."""
    state, rows = course.state[:-1], len(course.state) - 1
    parts = [np.ones((rows, 1)), state, course.action, np.tile(course.static, (rows, 1))]
    if memory:
        lag = np.concatenate([state[:1], state[:-1]])
        parts += [lag, np.cumsum(state, axis=0) / np.arange(1, rows + 1)[:, None]]
    return np.concatenate(parts, axis=1)


def changes_of(course: Course) -> Floats:
    """Return the changes ``(T - 1, D)`` of a course's states."""
    return np.diff(course.state, axis=0)


def split_course(course: Course, most: int) -> tuple[Course, Floats]:
    """Return a course without its end, which becomes the actions ahead, and the end's states."""
    split = len(course.state) - held_rows(len(course.state), most)
    action = course.action
    early = Course(course.state[:split], action[: split - 1], course.static, action[split - 1 :])
    return early, course.state[split:]


def rms_error(predicted: Floats, truth: Floats) -> float:
    """Return the RMSE over steps and columns, in standard deviations; a value counts at most 10."""
    off = np.abs(predicted - truth)
    off = np.where(np.isnan(off), CLIP, np.minimum(off, CLIP))
    return float(np.sqrt(np.mean(off**2)))


def window_errors(
    windows: Sequence[Window], predicted: Sequence[Floats], state_sd: Floats
) -> Floats:
    """Return the error of every window ``(n,)``, one per agent.

    Args:
        windows: windows with their truth.
        predicted: predicted states ``(H, D)`` of each, raw units.
        state_sd: standard deviations of the states' training rows ``(D,)``.
    """
    pairs = zip(windows, predicted, strict=True)
    return np.array([rms_error(values / state_sd, w.truth / state_sd) for w, values in pairs])
