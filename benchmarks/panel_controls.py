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
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from panel_course import (
    FAR,
    Constant,
    Course,
    Linear,
    Move,
    Units,
    changes_of,
    features_of,
    rms_error,
    rollout,
    split_course,
    window_errors,
)
from panel_data import Window
from panel_frame import Panel

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Predict = Callable[[Sequence[Window]], list[Floats]]

Rollouts = Callable[[Sequence[Course]], list[Floats]]

CONTROLS = (
    "persistence",
    "drift",
    "own trend",
    "pooled ARX",
    "mixed ARX",
    "memory ridge",
    "boosting",
)
FOLDS = 5
STRENGTHS = 10.0 ** np.arange(-3, 5.5, 0.5)
OWN_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e9)  # the last: all agents alike
OWN_ACTION_STRENGTHS = (3.0, 30.0, 1e9)
TREES = 200


def panel_error(
    windows: Sequence[Window], predicted: Sequence[Floats], train: pd.DataFrame, panel: Panel
) -> float:
    """Return the mean over agents of the RMSE of their windows, in standard deviations."""
    return float(np.mean(window_errors(windows, predicted, Units.of(train, panel).state_sd)))


def fit_controls(
    train: pd.DataFrame, panel: Panel, only: Sequence[str] = CONTROLS
) -> dict[str, Predict]:
    """Return the controls by name, fitted to a training table.

    Args:
        train: training table of ``panel_data.cut``.
        panel: what its columns are.
        only: names of those to fit; all seven if left out.
    """
    units = Units.of(train, panel)
    courses = units.courses(train, panel)
    size = len(panel.state)
    controls: dict[str, Callable[[], Rollouts]] = {
        "persistence": lambda: one_by_one(lambda course: Constant(np.zeros(size))),
        "drift": lambda: one_by_one(_fit_drift(courses)),
        "own trend": lambda: one_by_one(_fit_trend(courses)),
        "pooled ARX": lambda: one_by_one(_fit_ridge(courses, memory=False)),
        "mixed ARX": lambda: one_by_one(_fit_mixed(courses, panel.held_steps)),
        "memory ridge": lambda: one_by_one(_fit_ridge(courses, memory=True)),
        "boosting": lambda: _fit_boosting(courses),
    }
    return {name: _in_raw_units(units, controls[name]()) for name in only}


def one_by_one(start: Callable[[Course], Move]) -> Rollouts:
    """Return the open-loop predictions of a control that is a move for each course."""
    return lambda courses: [rollout(start(course), course) for course in courses]


def _in_raw_units(units: Units, control: Rollouts) -> Predict:
    def predict(windows: Sequence[Window]) -> list[Floats]:
        found = control([units.course(window) for window in windows])
        return [units.state_mean + units.state_sd * values for values in found]

    return predict


def _fit_drift(courses: list[Course]) -> Callable[[Course], Move]:
    change = np.concatenate([changes_of(course) for course in courses]).mean(axis=0)
    return lambda course: Constant(change)


def _fit_trend(courses: list[Course]) -> Callable[[Course], Move]:
    drift = np.concatenate([changes_of(course) for course in courses]).mean(axis=0)

    def start(course: Course) -> Constant:
        return Constant(changes_of(course).mean(axis=0) if len(course.state) > 1 else drift)

    return start


def _folds(count: int) -> NDArray[np.int64]:
    """Return the fold of each agent ``(N,)``."""
    return np.random.default_rng(17).permutation(count) % min(FOLDS, count)


def _grams(courses: list[Course], memory: bool) -> tuple[Floats, Floats]:
    """Return X'X ``(N, P, P)`` and X'Y ``(N, P, D)`` of every agent."""
    pairs = [(features_of(course, memory), changes_of(course)) for course in courses]
    return np.array([x.T @ x for x, _ in pairs]), np.array([x.T @ y for x, y in pairs])


def _ridge(gram: Floats, moment: Floats, strength: float) -> Floats:
    """Return the ridge weights ``(P, D)``; the intercept, first, is free."""
    penalty = np.full(len(gram), strength)
    penalty[0] = 1e-6
    return np.asarray(np.linalg.solve(gram + np.diag(penalty), moment), float)


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


def _fit_ridge(courses: list[Course], *, memory: bool) -> Callable[[Course], Move]:
    gram, moment = _grams(courses, memory)
    weights = _ridge(gram.sum(axis=0), moment.sum(axis=0), _best_strength(courses, memory=memory))
    return lambda course: Linear(weights, course.static, memory)


def _fit_mixed(courses: list[Course], most: int) -> Callable[[Course], Move]:
    """Choose how much agents differ on the ends of the training rows, then fit to all of them."""
    shared = _best_strength(courses, memory=False)
    size, actions = courses[0].state.shape[1], courses[0].action.shape[1]
    long = [course for course in courses if len(course.state) > 2]
    best, least, alike = (1e9, 1e9, 1e9), np.inf, np.zeros(0)
    if long:
        early, late = zip(*(split_course(course, most) for course in long), strict=True)
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
                    rms_error(rollout(_own(course, weights, prior), course), truth)
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


def _own(course: Course, weights: Floats, prior: Floats) -> Linear:
    """Return the shared weights with the agent's own deviations added."""
    features = features_of(course, memory=False)
    own, z = weights.copy(), features[:, : len(prior)]
    residual = changes_of(course) - features @ weights
    own[: len(prior)] += np.linalg.solve(z.T @ z + np.diag(prior), z.T @ residual)
    return Linear(own, course.static, memory=False)


def _fit_boosting(courses: list[Course]) -> Rollouts:
    """Choose the number of trees on agents left out in turn, then fit to all."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    features = np.concatenate([features_of(course, memory=True) for course in courses])
    changes = np.concatenate([changes_of(course) for course in courses])
    rows = [len(course.state) - 1 for course in courses]
    fold = np.repeat(_folds(len(courses)), rows)

    def model(trees: int) -> Any:
        stop: Any = False  # annotated as text, and a flag in the documentation
        return HistGradientBoostingRegressor(
            learning_rate=0.05, max_iter=trees, max_leaf_nodes=8, early_stopping=stop
        )

    found = []
    for change in changes.T:
        loss = np.zeros(TREES)
        for out in range(fold.max() + 1 if len(courses) > 1 else 0):
            part = model(TREES).fit(features[fold != out], change[fold != out])
            stages = part.staged_predict(features[fold == out])
            loss += [np.sum((values - change[fold == out]) ** 2) for values in stages]
        found.append(model(int(np.argmin(loss)) + 1).fit(features, change))
    return lambda ahead: _boosted(found, ahead)


def _boosted(trees: Sequence[Any], courses: Sequence[Course]) -> list[Floats]:
    """Return the states ``(H, D)`` that follow each course; all courses move together.

    Args:
        trees: boosted trees of each state column's change.
        courses: courses with the actions ahead.
    """
    state = np.array([course.state[-1] for course in courses])
    lag = np.array([course.state[-2:][0] for course in courses])
    mean = np.array([course.state.mean(axis=0) for course in courses])
    count = np.array([[float(len(course.state))] for course in courses])
    static = np.array([course.static for course in courses])
    found = [np.empty((len(course.ahead), state.shape[1])) for course in courses]
    for step in range(max(map(len, found))):
        on = np.array([n for n, values in enumerate(found) if step < len(values)])
        action = np.array([courses[n].ahead[step] for n in on])
        parts = [np.ones((len(on), 1)), state[on], action, static[on], lag[on], mean[on]]
        features = np.concatenate(parts, axis=1)
        change = np.stack([tree.predict(features) for tree in trees], axis=1)
        lag[on] = state[on]
        state[on] = np.clip(state[on] + change, -FAR, FAR)
        count[on] += 1
        mean[on] += (state[on] - mean[on]) / count[on]
        for n in on:
            found[n][step] = state[n]
    return found
