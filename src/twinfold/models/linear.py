"""Linear models of a panel in closed form: shared by all agents, with own levels and slopes.

With the linear features phi(s, a) = (1, inputs, action) a standardised target is

    y_d = phi^T (beta_d + b_nd) + e,    b_nd ~ N(0, sigma_d^2 T),    e ~ N(0, sigma_d^2)

(a mixed-effects model; Laird and Ware 1982). T is diagonal: one variance for levels, one for slopes
of the state, one for effects of the action. With it given, beta is a generalised least squares fit
(with a ridge, its strength by leaving agents out) and b_n its best linear prediction.

Axes: K transitions, N agents, D state columns, q linear features, S own coefficients.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.config import Kind
from twinfold.models.linear_sums import LinearData, linear_features_of
from twinfold.models.long_steps import in_parts
from twinfold.models.normalizer import Normalizer

Floats = NDArray[np.float64]

KINDS: tuple[Kind, ...] = ("no change", "drift", "own drift", "pooled", "levels", "slopes")
"""From the simplest to the richest.

no change: the state stays as it is.
drift: it changes by the same amount in every step, for all agents.
own drift: every agent has an amount of its own.
pooled: a linear model of state and action, the same for all agents.
levels: the same with a level of each agent's own.
slopes: every agent has coefficients of its own.

An average of those is the kind "average" (``fit_average``).
"""

WORDS: dict[Kind, str] = {
    "no change": "no change at all",
    "drift": "the same change in every step",
    "own drift": "a constant change of each agent's own",
    "pooled": "one linear model for all agents",
    "levels": "a linear model with levels of the agents' own",
    "slopes": "a linear model with levels and slopes of the agents' own",
    "average": "an average of simple models",
}
"""The kinds as a sentence names them."""

_RIDGES = 10.0 ** np.arange(-3, 5.5, 0.5)  # strengths that are tried


@dataclass(frozen=True)
class LinearSettings:
    """Numbers that decide how much agents may differ in a linear model.

    Attributes:
        own: variances of own levels and state slopes that are tried.
        own_action: variances of own effects of the action that are tried.
        apart: times the variance of the levels, that slopes may have.
        wide: variances of levels and state slopes that are tried besides, beyond those of ``own``.
        wide_action: the same of effects of the action.
        further: times the largest of these, tried next where the largest are the best.
        widest: variance at which that ends.
        free: ridge of the intercept.
        folds: of agents, left out in turn.
        most_own: own coefficients of an agent, beyond which it has none but levels.
        floor: smallest noise, in standard deviations of the target.
    """

    own: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    own_action: tuple[float, ...] = (0.0, 0.03, 0.3)
    apart: float = 30.0
    wide: tuple[float, ...] = (0.3, 3.0, 30.0, 300.0)
    wide_action: tuple[float, ...] = (0.0, 0.3, 3.0, 30.0)
    further: float = 10.0
    widest: float = 1e9
    free: float = 1e-6
    folds: int = 5
    most_own: int = 48
    floor: float = 1e-6


LINEAR = LinearSettings()
"""Those of every fit."""


class Ratio(NamedTuple):
    """Differences of agents: variances of own coefficients, in units of the noise's."""

    level: float = 0.0
    state: float = 0.0
    action: float = 0.0
    memory: float = 0.0


ALIKE = Ratio()
"""Agents that do not differ."""


class Part(NamedTuple):
    """One of the models of an average.

    Attributes:
        weight: share of the average; all of them sum to 1.
        kind: of the model.
        ratio: how much agents differ in it.
        memory: whether it reads the steps before the state.
    """

    weight: float
    kind: Kind
    ratio: Ratio
    memory: bool = False


WITH_MEMORY: tuple[Kind, ...] = ("pooled", "levels", "slopes")
"""The kinds that may read the steps before the state as well."""


def ratios(kind: Kind, coarse: bool = False, memory: bool = False) -> list[Ratio]:
    """Return what may be tried for a kind, those that make agents most alike first.

    Args:
        kind: of the linear model.
        coarse: whether a few will do, as where there is much data.
        memory: whether the model reads the steps before the state: what agents make of these
            then differs as much as what they make of the state.
    """
    own = LINEAR.own[1::2] if coarse else LINEAR.own
    if kind in ("own drift", "levels"):
        return [Ratio(level) for level in own]
    if kind == "slopes":
        action = LINEAR.own_action[::2] if coarse else LINEAR.own_action
        every = itertools.product(own, own, action)
        found = [Ratio(*each) for each in every if max(each[1:]) <= LINEAR.apart * each[0]]
        found = [each._replace(memory=each.state if memory else 0.0) for each in found]
        return sorted(found, key=sum)
    return [ALIKE]


def wide_ratios(kind: Kind, memory: bool = False) -> list[Ratio]:
    """Return what may be tried where agents differ by more than ``ratios`` says.

    Args:
        kind: of the linear model.
        memory: whether the model reads the steps before the state.
    """
    own = LINEAR.wide
    if kind in ("own drift", "levels"):
        return [Ratio(level) for level in own if level > LINEAR.own[-1]]
    if kind != "slopes":
        return []
    every = [Ratio(*each) for each in itertools.product(own, own, LINEAR.wide_action)]
    ends = LINEAR.own[-1], LINEAR.own[-1], LINEAR.own_action[-1]
    found = [each for each in every if any(v > end for v, end in zip(each, ends, strict=False))]
    found = [each for each in found if max(each[1:]) <= LINEAR.apart * each[0]]
    found = [each._replace(memory=each.state if memory else 0.0) for each in found]
    return sorted(found, key=sum)


def at_the_end(ratio: Ratio) -> bool:
    """Return whether one of the variances is the largest that ``ratios`` has."""
    return (
        ratio.level >= LINEAR.own[-1]
        or ratio.state >= LINEAR.own[-1]
        or ratio.action >= LINEAR.own_action[-1]
    )


def wider(ratio: Ratio) -> list[Ratio]:
    """Return what may be tried where variances are the largest of ``wide_ratios``: larger ones.

    They are raised one by one and all together, what makes agents most alike first. Where there is
    next to no noise, agents differ by any number of times the noise.

    Args:
        ratio: what was the best so far.
    """
    ends = Ratio(LINEAR.wide[-1], LINEAR.wide[-1], LINEAR.wide_action[-1])
    largest = [
        name
        for name in ("level", "state", "action")
        if getattr(ends, name) <= getattr(ratio, name) < LINEAR.widest
    ]
    found = set()
    for names in [*([name] for name in largest), largest]:
        raised = {name: LINEAR.further * getattr(ratio, name) for name in names}
        each = ratio._replace(**raised)
        level = max(each.level, max(each.state, each.action) / LINEAR.apart)
        found.add(each._replace(level=level, memory=each.state if ratio.memory else 0.0))
    return sorted(found - {ratio}, key=sum)


class LinearFit(NamedTuple):
    """A linear model of all agents.

    Attributes:
        shared: ``(q, D)``, beta.
        own: pairs (feature, state column) of the coefficients that agents have of their own.
        variance: ``(S,)``, their variance over agents.
        factors: ``(N, 1 + S)``, 1 and the agents' own coefficients.
        noise: ``(D,)``, sigma.
    """

    shared: Floats
    own: tuple[tuple[int, int], ...]
    variance: Floats
    factors: Floats
    noise: Floats

    def coefficients(self, agent: NDArray[np.integer]) -> Floats:
        """Return the coefficients of some agents, ``(S, q, D)``: shared and own together."""
        found = np.repeat(self.shared[None], len(agent), axis=0)
        for k, (feature, column) in enumerate(self.own):
            found[:, feature, column] += self.factors[agent, 1 + k]
        return found


def rollout_linear(
    normalizer: Normalizer,
    coefficients: Floats,
    state: Floats,
    action: NDArray[Any],
    n_levels: int,
    known: Floats | None = None,
) -> Floats:
    """Open-loop predictions of linear models, ``(S, H, D)`` raw units.

    Args:
        normalizer: float64, on the host.
        coefficients: ``(S, q, D)``.
        state: ``(S, D)`` starts, raw units, or ``(S, W)`` with the steps before.
        action: ``(S, H, A)`` raw units or ``(S, H)`` level indices.
        n_levels: L of a discrete action, 0 for continuous ones.
        known: ``(S, H, E)``, known inputs of each step, raw units; those of the start if None.
    """
    parts = in_parts(normalizer, action, known)
    if parts is not None:
        whole = rollout_linear(normalizer, coefficients, state, parts.action, n_levels, parts.known)
        return parts.ends(whole)
    standard, path = normalizer.carry(state), []
    codes = normalizer.encode_action(action)
    for h in range(action.shape[1]):
        if known is not None:
            standard = normalizer.told(standard, normalizer.encode_known(known[:, h]))
        phi = linear_features_of(normalizer, standard, action[:, h], n_levels)
        target = np.einsum("sq,sqd->sd", phi, coefficients)
        standard = normalizer.advance(standard, target, codes[:, h])
        path.append(normalizer.decode_state(standard))
    return np.stack(path, axis=1)


def _ridge(gram: Floats, moment: Floats, strength: float) -> Floats:
    """Weights ``(q, D)``; the intercept, first, is free."""
    penalty = np.full(len(gram), strength)
    penalty[0] = LINEAR.free
    return np.asarray(np.linalg.solve(gram + np.diag(penalty), moment), np.float64)


def best_ridge(data: LinearData) -> float:
    """The strength with the least squared error of one step on agents left out in turn."""
    active = np.flatnonzero(data.count > 0)
    if len(active) < 2:
        return 1.0
    fold = np.random.default_rng(17).permutation(len(active)) % min(LINEAR.folds, len(active))
    loss = np.zeros(len(_RIDGES))
    for _, part in data.parts():
        total, moments = part.gram[active].sum(axis=0), part.moment[active].sum(axis=0)
        for out in range(fold.max() + 1):
            left = active[fold == out]
            gram, moment = part.gram[left].sum(axis=0), part.moment[left].sum(axis=0)
            for k, strength in enumerate(_RIDGES):
                weights = _ridge(total - gram, moments - moment, float(strength))
                # |Y - XW|^2 less |Y|^2, from the sums alone.
                loss[k] += np.sum(weights * (gram @ weights)) - 2 * np.sum(weights * moment)
    return float(_RIDGES[np.argmin(loss)])


def fit_linear(
    data: LinearData,
    kind: Kind,
    ratio: Ratio = ALIKE,
    ridge: float | None = None,
    memory: bool = True,
) -> LinearFit:
    """Fit one kind of linear model.

    Args:
        data: sums over the transitions.
        kind: of the model.
        ratio: how much agents differ, by ``ratios(kind)``.
        ridge: strength, by ``best_ridge``; found if None.
        memory: whether it reads the steps before the state, if the data has any.
    """
    _, q, n_state = data.moment.shape
    if kind == "no change":
        return _finished(data, data.still, ALIKE)
    read = data.features(memory)[: 1 if "drift" in kind else None]
    ridge = best_ridge(data) if ridge is None else ridge
    shared = np.zeros((q, n_state))
    for columns, part in data.parts():
        shared[read, columns] = _shared(part, read, ridge, *_own(data, ratio))
    return _finished(data, shared, ratio)


def _shared(
    data: LinearData,
    read: NDArray[np.integer],
    ridge: float,
    variance: Floats,
    chosen: NDArray[np.integer],
) -> Floats:
    """Return the coefficients of some features ``read`` that all agents share, ``(q', D)``."""
    gram, moment = data.gram[:, read][:, :, read], data.moment[:, read]
    if not len(chosen):
        return _ridge(gram.sum(axis=0), moment.sum(axis=0), ridge)
    # With V = I + Z T Z^T: X^T V^-1 X = X^T X - X^T Z (Z^T Z + T^-1)^-1 Z^T X
    cross = data.gram[:, read][:, :, chosen]
    inner = data.gram[:, chosen][:, :, chosen] + np.diag(1 / variance[chosen])
    solved = np.linalg.solve(inner, np.swapaxes(cross, 1, 2))  # (N, o, q)
    whole = (gram - cross @ solved).sum(axis=0)
    right = (moment - np.swapaxes(solved, 1, 2) @ data.moment[:, chosen]).sum(axis=0)
    return _ridge(whole, right, ridge)


def fit_average(data: LinearData, parts: Sequence[Part], ridge: float | None = None) -> LinearFit:
    """Average linear models into one: what agents share, and how much they differ.

    Mean and covariance of the mixture of the models' priors of an agent's coefficients, its mean's
    own scatter left out; with the agents' data the coefficients are then found as in any of them.

    Args:
        data: sums over the transitions.
        parts: models and their weights; all kinds alike if there are none.
        ridge: strength, by ``best_ridge``; found if None.
    """
    ridge = best_ridge(data) if ridge is None else ridge
    if not parts:
        parts = [Part(1.0, kind, ratios(kind)[len(ratios(kind)) // 2]) for kind in KINDS]
    fits = [fit_linear(data, part.kind, part.ratio, ridge, part.memory) for part in parts]
    weights = [part.weight for part in parts]
    shared = np.average([fit.shared for fit in fits], axis=0, weights=weights)
    ratio = np.average([part.ratio for part in parts], axis=0, weights=weights)
    return _finished(data, shared, Ratio(*map(float, ratio)))


def _own(data: LinearData, ratio: Ratio) -> tuple[Floats, NDArray[np.integer]]:
    """Variances ``(q,)`` of own coefficients, and which of them there are."""
    n_state = data.moment.shape[2]
    variance = np.asarray(ratio)[data.kinds]
    chosen = np.flatnonzero(variance)
    if len(chosen) * n_state > LINEAR.most_own:  # too many to know any of them
        chosen = chosen[:1] if n_state <= LINEAR.most_own else chosen[:0]
    return variance, chosen


def _finished(data: LinearData, shared: Floats, ratio: Ratio) -> LinearFit:
    """With the agents' own deviations from what is shared, and the noise, from the sums alone."""
    n_agents, _, n_state = data.moment.shape
    variance, chosen = _own(data, ratio)
    deviation, noise = np.zeros_like(data.moment), np.empty(n_state)
    for columns, part in data.parts():
        own, sigma = _deviations(part, shared[:, columns], variance, chosen)
        deviation[:, chosen, columns], noise[columns] = own, sigma
    own = tuple((int(i), d) for d in range(n_state) for i in chosen)
    factors = np.ones((n_agents, 1 + len(own)))
    for k, (i, d) in enumerate(own):
        factors[:, 1 + k] = deviation[:, i, d]
    spread = np.array([variance[i] * noise[d] ** 2 for i, d in own])
    return LinearFit(shared, own, spread, factors, noise)


def _deviations(
    data: LinearData, shared: Floats, variance: Floats, chosen: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Return the agents' own deviations ``(N, o, D)`` in ``chosen`` features, and the noise."""
    cross, deviation = data.gram[:, chosen], np.zeros_like(data.moment)
    if len(chosen):
        inner = cross[..., chosen] + np.diag(1 / variance[chosen])
        deviation[:, chosen] = np.linalg.solve(inner, data.moment[:, chosen] - cross @ shared)
    whole = shared + deviation
    squared = data.energy.sum(axis=0) - 2 * (data.moment * whole).sum(axis=(0, 1))
    squared += (whole * (data.gram @ whole)).sum(axis=(0, 1))
    count = max(float(data.count.sum()), 1.0)
    noise = np.maximum(np.sqrt(np.maximum(squared, 0.0) / count), LINEAR.floor)
    return deviation[:, chosen], noise
