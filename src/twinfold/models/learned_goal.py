"""What a step earns and where an episode ends, learned from the reward and terminated columns.

With z the standardised numbers that are read (for the reward: state, action, next state; for the
end: the state that is reached),

    f(z) = weights . [1, z, products of z, max(0, [1, z] random)]

by ridge regression for the reward, and for the end the logarithm of its odds by ridge logistic
regression. All agents share them: what is wanted is the same for all. This is used where nobody
gives an expression.

Axes: K transitions, V numbers read, Q products, R random features, F = 1 + V + Q + R.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.panel import PanelDataset
from twinfold.utils.text import counted

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GoalSettings:
    """Numbers that decide how reward and end are learned.

    Attributes:
        rows: most transitions that are looked at.
        random: R, random features.
        most_squared: V up to which all products of two numbers are read; beyond, squares alone.
        penalties: weights of the ridge that are tried, per transition.
        folds: parts of the agents; each is predicted by the others.
        sweeps: Newton steps of the logistic regression.
        fewest_ends: ends below which nothing is learned of them.
        same_length: trajectories that ended after the same number of steps, all of them, from which
            on that is a limit of time and no end.
        explained: share of the variance of held-out rewards below which a reward is doubtful.
    """

    rows: int = 5000
    random: int = 64
    most_squared: int = 12
    penalties: tuple[float, ...] = (1e-6, 1e-4, 1e-2)
    folds: int = 4
    sweeps: int = 12
    fewest_ends: int = 5
    same_length: int = 3
    explained: float = 0.9


GOAL = GoalSettings()
"""Those of every fit."""


class SmoothFunction(NamedTuple):
    """f(z); see the module.

    Attributes:
        mean: ``(V,)``, raw units.
        scale: ``(V,)``.
        random: ``(1 + V, R)``.
        weights: ``(F,)``.
    """

    mean: Floats
    scale: Floats
    random: Floats
    weights: Floats

    def features(self, values: Any, xp: Any = np) -> Any:
        """Return the features ``(..., F)`` of raw numbers ``(..., V)``."""
        z = (values - self.mean) / self.scale
        one = xp.ones((*z.shape[:-1], 1), z.dtype)
        first, second = _pairs(z.shape[-1])
        net = xp.maximum(xp.concatenate([one, z], axis=-1) @ self.random, 0.0)
        return xp.concatenate([one, z, z[..., first] * z[..., second], net], axis=-1)

    def __call__(self, values: Any, xp: Any = np) -> Any:
        """Return f ``(...)``."""
        return self.features(values, xp) @ self.weights


class LearnedGoal(NamedTuple):
    """Reward and end of a run, learned from its columns.

    Attributes:
        reward: of state, action as the model takes it (levels as 0 and 1) and next state; None if
            the table has no reward column.
        explained: share of the variance of the rewards of agents that were left out; 1 for a
            reward that never varies.
        end: logarithm of the odds that an episode ends, of the state reached; None if it never
            does, or nothing is known of that.
    """

    reward: SmoothFunction | None
    explained: float
    end: SmoothFunction | None


def fit_goal(dataset: PanelDataset) -> tuple[LearnedGoal | None, list[str]]:
    """Return reward and end as the columns of a panel have them, and what is to be said of them.

    Columns for which the roles have an expression are passed over.
    """
    roles, lines = dataset.roles, []
    rewarded = dataset.reward is not None and roles.reward_expression is None
    ended = dataset.terminated is not None and roles.terminated_expression is None
    if not (rewarded or ended) or not roles.action:
        return None, lines  # without actions nothing is planned
    first = np.flatnonzero(dataset.segment[1:] == dataset.segment[:-1])
    whole = np.asarray(np.isfinite(dataset.state).all(axis=1))
    first = first[whole[first] & whole[first + 1]]
    rows = np.random.default_rng(5).permutation(len(first))
    first = np.sort(first[rows[: GOAL.rows]])
    reward, end, explained = None, None, 0.0
    if rewarded and dataset.reward is not None and len(first):
        inputs = np.concatenate(
            [dataset.whole[first], _codes(dataset, first), dataset.whole[first + 1]], axis=1
        )
        reward, explained = _fit_reward(inputs, dataset.reward[first], dataset.agent[first])
        share = 100 * explained
        lines.append(
            f"the reward is learned from column {roles.reward!r}: of agents left out in turn it "
            f"explains {share:.0f} %"
            + ("; better say it by an expression" if explained < GOAL.explained else "")
        )
    if ended and dataset.terminated is not None:
        end, line = _fit_end(dataset)
        lines += [line]
    return LearnedGoal(reward, explained, end), lines


def _codes(dataset: PanelDataset, rows: NDArray[np.intp]) -> Floats:
    """Return actions as numbers ``(K, V)``: levels as 0 and 1."""
    action = dataset.action[rows]
    if dataset.action_levels is None:
        return action.astype(np.float64)
    return np.eye(len(dataset.action_levels))[action.astype(np.int32)]


def _pairs(n_inputs: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which numbers are multiplied."""
    if n_inputs > GOAL.most_squared:
        return np.arange(n_inputs), np.arange(n_inputs)
    return np.triu_indices(n_inputs)


def _blank(values: Floats) -> SmoothFunction:
    """Return the function 0 of numbers such as these ``(K, V)``."""
    scale = values.std(axis=0)
    scale = np.where(scale > 1e-12 * np.abs(values).max(axis=0, initial=0), scale, 1.0)
    rng = np.random.default_rng(7)
    random = rng.normal(size=(1 + values.shape[1], GOAL.random)) / values.shape[1] ** 0.5
    empty = SmoothFunction(values.mean(axis=0), scale, random, np.zeros(0))
    return empty._replace(weights=np.zeros(empty.features(values[:1]).shape[1]))


def _fit_reward(inputs: Floats, y: Floats, agent: NDArray[Any]) -> tuple[SmoothFunction, float]:
    """Return the reward as a function of the inputs ``(K, V)``, and the share that it explains."""
    blank = _blank(inputs)
    mean, sd = float(y.mean()), float(y.std())
    if sd <= 1e-9 * max(abs(mean), 1e-30):
        blank.weights[0] = mean
        return blank, 1.0
    phi, target = blank.features(inputs), (y - mean) / sd
    fold = np.unique(agent, return_inverse=True)[1] % GOAL.folds
    errors = []
    for penalty in GOAL.penalties:
        left = np.empty(len(y))
        for k in range(GOAL.folds):
            out = fold == k
            left[out] = phi[out] @ _ridge(phi[~out], target[~out], penalty)
        errors.append(np.mean((left - target) ** 2))
    weights = _ridge(phi, target, GOAL.penalties[int(np.argmin(errors))]) * sd
    weights[0] += mean
    return blank._replace(weights=weights), float(max(0.0, 1.0 - min(errors)))


def _ridge(phi: Floats, y: Floats, penalty: float, weight: Floats | None = None) -> Floats:
    """Return ridge weights ``(F,)``, the first one free; ``penalty`` is per row."""
    if not len(phi):
        return np.zeros(phi.shape[1])
    free = np.r_[1e-9, np.ones(phi.shape[1] - 1)] * penalty * len(phi)
    weighted = phi if weight is None else phi * weight[:, None]
    return np.asarray(np.linalg.solve(weighted.T @ phi + np.diag(free), weighted.T @ y), np.float64)


def _fit_end(dataset: PanelDataset) -> tuple[SmoothFunction | None, str]:
    """Return the logarithm of the odds of an end, and a sentence on it."""
    assert dataset.terminated is not None
    name = dataset.roles.terminated
    reached = np.flatnonzero(dataset.segment[1:] == dataset.segment[:-1]) + 1
    reached = reached[np.isfinite(dataset.state[reached]).all(axis=1)]
    ends = dataset.terminated[reached]
    count = int(ends.sum())
    if count < GOAL.fewest_ends:  # of states without holes
        return None, (
            f"column {name!r} has {counted(count, 'end')}, too few to learn where an episode "
            "ends: plans take it that none does"
        )
    starts = np.searchsorted(dataset.segment, dataset.segment[reached[ends]])
    lengths = reached[ends] - starts
    if count >= GOAL.same_length and np.all(lengths == lengths[0]):
        return None, (
            f"every trajectory that column {name!r} ends has {lengths[0]} steps: taken for a limit "
            "of time, and no end that plans should mind"
        )
    others = np.flatnonzero(~ends)
    drawn = np.random.default_rng(6).permutation(others)[: GOAL.rows]
    rows = np.concatenate([reached[ends][: GOAL.rows], reached[drawn]])
    y = np.r_[np.ones(min(count, GOAL.rows)), np.zeros(len(drawn))]
    state = dataset.whole[rows]
    blank = _blank(state)
    phi, weights = blank.features(state), blank.weights
    for _ in range(GOAL.sweeps):  # Newton steps, as weighted least squares
        odds = np.clip(phi @ weights, -15, 15)
        p = 1 / (1 + np.exp(-odds))
        slope = np.maximum(p * (1 - p), 1e-4)
        weights = _ridge(phi, odds + (y - p) / slope, 1e-5, slope)
    hit = (phi @ weights > 0) == (y > 0)
    return blank._replace(weights=weights), (
        f"where an episode ends is learned from column {name!r}: {counted(count, 'end')}, "
        f"{100 * hit[y > 0].mean():.0f} % of them and {100 * hit[y == 0].mean():.0f} % of the "
        "other states recognised"
    )
