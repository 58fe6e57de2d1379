"""Simple models that a simulator of a panel must not be worse than, and the error they share.

    controls = fit_controls(train, panel)
    for name, predict in controls.items():
        print(name, panel_error(windows, predict(windows), train, panel))

All predict the ends of agents open loop, from the prefix, the static columns and the actions. In
standardised units, with s the state, a the action (one column per level if it is discrete) and c
the static columns:

    persistence    s' = s
    drift          s' = s + mean change of all agents
    own trend      s' = s + mean change of the agent itself
    pooled ARX     s' = s + B (1, s, a, c), ridge
    mixed ARX      s' = s + B (1, s, a, c) + B_n (1, s, a), B_n shrunk to 0
    memory ridge   s' = s + B (1, s, lag, mean so far, a, c), ridge
    boosting       s' = s + gradient boosted trees of the same

Axes: N agents, T rows of an agent, P features, D state columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_data import Window, held_rows
from panel_frame import Panel

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Predict = Callable[[Sequence[Window]], list[Floats]]

FOLDS = 5
STRENGTHS = 10.0 ** np.arange(-3, 5.5, 0.5)
OWN_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e9)  # the last: all agents alike
OWN_ACTION_STRENGTHS = (3.0, 30.0, 1e9)
TREES = 200
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
        """Actions in standard deviations; a discrete one as one column per level."""
        if self.levels is not None:
            values = (values == self.levels).astype(float)
        return (values - self.action_mean) / self.action_sd

    def course(self, window: Window) -> Course:
        """The known rows of a window and the actions ahead, standardised."""
        return Course(
            (window.prefix - self.state_mean) / self.state_sd,
            self.action(window.prefix_action),
            (window.static - self.static_mean) / self.static_sd,
            self.action(window.action),
        )

    def courses(self, train: pd.DataFrame, panel: Panel) -> list[Course]:
        """The trajectories of the training table, standardised."""
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


def panel_error(
    windows: Sequence[Window], predicted: Sequence[Floats], train: pd.DataFrame, panel: Panel
) -> float:
    """Return the mean over agents of the RMSE of their windows, in standard deviations."""
    return float(np.mean(window_errors(windows, predicted, Units.of(train, panel).state_sd)))


def window_errors(
    windows: Sequence[Window], predicted: Sequence[Floats], state_sd: Floats
) -> Floats:
    """Return the RMSE over steps and columns of every window ``(n,)``; a value counts at most 10.

    Args:
        windows: windows with their truth, one per agent.
        predicted: predicted states ``(H, D)`` of each.
        state_sd: standard deviations of the states' training rows ``(D,)``.
    """
    errors = []
    for window, values in zip(windows, predicted, strict=True):
        off = np.abs(values - window.truth) / state_sd
        off = np.where(np.isnan(off), CLIP, np.minimum(off, CLIP))
        errors.append(np.sqrt(np.mean(off**2)))
    return np.array(errors)


def fit_controls(train: pd.DataFrame, panel: Panel) -> dict[str, Predict]:
    """Return the seven controls by name, fitted to a training table.

    Args:
        train: training table of ``panel_data.cut``.
        panel: what its columns are.
    """
    units = Units.of(train, panel)
    courses = units.courses(train, panel)
    moves = {
        "persistence": lambda course: _Constant(np.zeros(course.state.shape[1])),
        "drift": _fit_drift(courses),
        "own trend": _fit_trend(courses),
        "pooled ARX": _fit_ridge(courses, memory=False),
        "mixed ARX": _fit_mixed(courses, panel.held_steps),
        "memory ridge": _fit_ridge(courses, memory=True),
        "boosting": _fit_boosting(courses),
    }
    return {name: _predictor(units, start) for name, start in moves.items()}


# A control is a function of a course that returns how its state moves: (features) -> change.


@dataclass(frozen=True, eq=False)
class _Constant:
    """The same change at every step."""

    change: Floats

    def __call__(self, state: Floats, lag: Floats, mean: Floats, action: Floats) -> Floats:
        return self.change


@dataclass(frozen=True, eq=False)
class _Linear:
    """A change linear in the features; ``weights`` is ``(P, D)``."""

    weights: Floats
    static: Floats
    memory: bool

    def __call__(self, state: Floats, lag: Floats, mean: Floats, action: Floats) -> Floats:
        past = (lag, mean) if self.memory else ()
        return np.concatenate([[1.0], state, action, self.static, *past]) @ self.weights


def _predictor(units: Units, start: Callable[[Course], Any]) -> Predict:
    """Return the control in the units of the table."""

    def predict(windows: Sequence[Window]) -> list[Floats]:
        courses = [units.course(window) for window in windows]
        if isinstance(start, _Boosting):
            found = start.rollouts(courses)
        else:
            found = [rollout(start(course), course) for course in courses]
        return [units.state_mean + units.state_sd * values for values in found]

    return predict


def rollout(move: Any, course: Course) -> Floats:
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


def _features(course: Course, memory: bool) -> Floats:
    """Return the features ``(T - 1, P)`` of a course's transitions."""
    state, rows = course.state[:-1], len(course.state) - 1
    parts = [np.ones((rows, 1)), state, course.action, np.tile(course.static, (rows, 1))]
    if memory:
        lag = np.concatenate([state[:1], state[:-1]])
        parts += [lag, np.cumsum(state, axis=0) / np.arange(1, rows + 1)[:, None]]
    return np.concatenate(parts, axis=1)


def _changes(course: Course) -> Floats:
    return np.diff(course.state, axis=0)


def _fit_drift(courses: list[Course]) -> Callable[[Course], _Constant]:
    change = np.concatenate([_changes(course) for course in courses]).mean(axis=0)
    return lambda course: _Constant(change)


def _fit_trend(courses: list[Course]) -> Callable[[Course], _Constant]:
    drift = np.concatenate([_changes(course) for course in courses]).mean(axis=0)

    def start(course: Course) -> _Constant:
        return _Constant(_changes(course).mean(axis=0) if len(course.state) > 1 else drift)

    return start


def _folds(count: int) -> NDArray[np.int64]:
    """Return the fold of each agent ``(N,)``."""
    return np.random.default_rng(17).permutation(count) % min(FOLDS, count)


def _grams(courses: list[Course], memory: bool) -> tuple[Floats, Floats]:
    """Return X'X ``(N, P, P)`` and X'Y ``(N, P, D)`` of every agent."""
    pairs = [(_features(course, memory), _changes(course)) for course in courses]
    return np.array([x.T @ x for x, _ in pairs]), np.array([x.T @ y for x, y in pairs])


def _ridge(gram: Floats, moment: Floats, strength: float) -> Floats:
    """Return the ridge weights ``(P, D)``; the intercept, first, is free."""
    penalty = np.full(len(gram), strength)
    penalty[0] = 1e-6
    return np.linalg.solve(gram + np.diag(penalty), moment)


def _best_strength(courses: list[Course], memory: bool) -> float:
    """Return the strength with the least squared one-step error on agents left out in turn."""
    gram, moment = _grams(courses, memory)
    fold = _folds(len(courses))
    loss = np.zeros(len(STRENGTHS))
    for out in range(fold.max() + 1 if len(courses) > 1 else 0):
        seen = fold != out
        for k, strength in enumerate(STRENGTHS):
            weights = _ridge(gram[seen].sum(axis=0), moment[seen].sum(axis=0), strength)
            # |Y - XW|^2 less |Y|^2, from the moments alone.
            loss[k] += np.sum(weights * (gram[~seen].sum(axis=0) @ weights))
            loss[k] -= 2 * np.sum(weights * moment[~seen].sum(axis=0))
    return float(STRENGTHS[np.argmin(loss)])


def _fit_ridge(courses: list[Course], *, memory: bool) -> Callable[[Course], _Linear]:
    gram, moment = _grams(courses, memory)
    weights = _ridge(gram.sum(axis=0), moment.sum(axis=0), _best_strength(courses, memory=memory))
    return lambda course: _Linear(weights, course.static, memory)


def _fit_mixed(courses: list[Course], most: int) -> Callable[[Course], _Linear]:
    """Choose how much agents differ on the ends of the training rows, then fit to all of them."""
    shared = _best_strength(courses, memory=False)
    size, actions = courses[0].state.shape[1], courses[0].action.shape[1]
    long = [course for course in courses if len(course.state) > 2]
    best, least, alike = (1e9, 1e9, 1e9), np.inf, np.zeros(0)
    if long:
        early, late = zip(*(_split(course, most) for course in long), strict=True)
        rest = [course for course in courses if len(course.state) <= 2]
        # Deviations of all agents alike first: of equals the simplest is kept.
        grid = product(OWN_STRENGTHS[::-1], OWN_STRENGTHS[::-1], OWN_ACTION_STRENGTHS[::-1])
        for strengths in grid:
            if min(strengths[1:]) < strengths[0] / 30:  # own slopes go with own levels
                continue
            prior = _own_penalty(strengths, size, actions)
            weights = _mixed_weights([*early, *rest], prior, shared)
            error = np.array(
                [
                    _end_error(rollout(_own(course, weights, prior), course), truth)
                    for course, truth in zip(early, late, strict=True)
                ]
            )
            if not len(alike):
                alike = error
            # Differences between agents must be worth more than a standard error.
            gain = alike - error
            doubt = gain.std() / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
            if error.mean() < least and (strengths == best or gain.mean() > doubt):
                best, least = strengths, float(error.mean())
    prior = _own_penalty(best, size, actions)
    weights = _mixed_weights(courses, prior, shared)
    return lambda course: _own(course, weights, prior)


def _end_error(predicted: Floats, truth: Floats) -> float:
    return float(np.sqrt(np.mean(np.minimum(np.abs(predicted - truth), CLIP) ** 2)))


def _split(course: Course, most: int) -> tuple[Course, Floats]:
    """Return a course without its end, which becomes the actions ahead, and the end's states."""
    split = len(course.state) - held_rows(len(course.state), most)
    action = course.action
    early = Course(course.state[:split], action[: split - 1], course.static, action[split - 1 :])
    return early, course.state[split:]


def _own_penalty(strengths: tuple[float, ...], size: int, actions: int) -> Floats:
    """Return the penalties of an agent's deviations ``(1 + D + A,)``."""
    return np.repeat(np.array(strengths), [1, size, actions])


def _mixed_weights(courses: list[Course], prior: Floats, shared: float) -> Floats:
    """Return the shared weights ``(P, D)`` by generalised least squares.

    With V_n = I + Z_n diag(prior)^-1 Z_n' and Z_n the first features of X_n:
    X'V^-1 X = X'X - X'Z (Z'Z + diag(prior))^-1 Z'X.
    """
    gram, moment = _grams(courses, memory=False)
    own = len(prior)
    cross = gram[:, :, :own]  # (N, P, own)
    inner = gram[:, :own, :own] + np.diag(prior)
    solved = np.linalg.solve(inner, np.swapaxes(cross, 1, 2))  # (N, own, P)
    gram = gram - cross @ solved
    moment = moment - np.swapaxes(solved, 1, 2) @ moment[:, :own]
    return _ridge(gram.sum(axis=0), moment.sum(axis=0), shared)


def _own(course: Course, weights: Floats, prior: Floats) -> _Linear:
    """Return the shared weights with the agent's own deviations added."""
    features = _features(course, memory=False)
    own, z = weights.copy(), features[:, : len(prior)]
    residual = _changes(course) - features @ weights
    own[: len(prior)] += np.linalg.solve(z.T @ z + np.diag(prior), z.T @ residual)
    return _Linear(own, course.static, memory=False)


@dataclass(frozen=True, eq=False)
class _Boosting:
    """Boosted trees, one ensemble per state column; all courses move together."""

    trees: list[Any]

    def rollouts(self, courses: list[Course]) -> list[Floats]:
        """Return the states ``(H, D)`` that follow each course, open loop."""
        state = np.array([course.state[-1] for course in courses])
        lag = np.array([course.state[-2:][0] for course in courses])
        mean = np.array([course.state.mean(axis=0) for course in courses])
        count = np.array([[len(course.state)] for course in courses])
        static = np.array([course.static for course in courses])
        found: list[list[Floats]] = [[] for _ in courses]
        for step in range(max(len(course.ahead) for course in courses)):
            on = np.array([n for n, course in enumerate(courses) if step < len(course.ahead)])
            action = np.array([courses[n].ahead[step] for n in on])
            parts = [np.ones((len(on), 1)), state[on], action, static[on], lag[on], mean[on]]
            features = np.concatenate(parts, axis=1)
            change = np.stack([tree.predict(features) for tree in self.trees], axis=1)
            lag[on] = state[on]
            state[on] = np.clip(state[on] + change, -FAR, FAR)
            count[on] += 1
            mean[on] += (state[on] - mean[on]) / count[on]
            for n in on:
                found[n].append(state[n].copy())
        return [np.array(values) for values in found]

    def __call__(self, course: Course) -> Any:
        raise TypeError("boosted trees move all courses together: use rollouts")


def _fit_boosting(courses: list[Course]) -> _Boosting:
    """Choose the number of trees on agents left out in turn, then fit to all."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    features = np.concatenate([_features(course, memory=True) for course in courses])
    changes = np.concatenate([_changes(course) for course in courses])
    rows = [len(course.state) - 1 for course in courses]
    fold = np.repeat(_folds(len(courses)), rows)

    def model(trees: int) -> HistGradientBoostingRegressor:
        return HistGradientBoostingRegressor(
            learning_rate=0.05, max_iter=trees, max_leaf_nodes=8, early_stopping=False
        )

    found = []
    for change in changes.T:
        loss = np.zeros(TREES)
        for out in range(fold.max() + 1 if len(courses) > 1 else 0):
            part = model(TREES).fit(features[fold != out], change[fold != out])
            stages = part.staged_predict(features[fold == out])
            loss += [np.sum((values - change[fold == out]) ** 2) for values in stages]
        found.append(model(int(np.argmin(loss)) + 1).fit(features, change))
    return _Boosting(found)
