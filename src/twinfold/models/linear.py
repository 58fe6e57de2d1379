"""Linear models of a panel in closed form: shared by all agents, with own levels and slopes.

With the linear features phi(s, a) = (1, inputs, action) a standardised target is

    y_d = phi^T (beta_d + b_nd) + e,    b_nd ~ N(0, sigma_d^2 T),    e ~ N(0, sigma_d^2)

(a mixed-effects model; Laird and Ware 1982). An additive model has ramps (``ramps``) in place of
inputs and action for what agents share, and the same linear features for their own. T is diagonal:
one variance for levels, one for slopes of the state, one for effects of the action. With it given,
beta is a generalised least squares fit (with a ridge, its strength by leaving agents out) and b_n
its best linear prediction. Static columns may move the mean of b_n (``linear_static``).

Axes: K transitions, N agents, D state columns, q linear features, S own coefficients, C static
columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.config import Kind
from twinfold.models.linear_kinds import ADDITIVE, ALIKE, KINDS, LINEAR, Part, Ratio, ratios
from twinfold.models.linear_static import Effects
from twinfold.models.linear_sums import LinearData, linear_features_of
from twinfold.models.long_steps import in_parts
from twinfold.models.normalizer import Normalizer
from twinfold.models.ramps import Ramps

Floats = NDArray[np.float64]

_RIDGES = 10.0 ** np.arange(-3, 5.5, 0.5)  # strengths that are tried


class Ridges(NamedTuple):
    """Strengths of the ridge of linear models and of additive ones; None for one to be found."""

    linear: float | None = None
    additive: float | None = None


class LinearFit(NamedTuple):
    """A linear model of all agents.

    Attributes:
        shared: ``(q, D)``, beta.
        own: pairs (feature, state column) of the coefficients that agents have of their own.
        variance: ``(S,)``, their variance over agents.
        factors: ``(N, 1 + S)``, 1 and the agents' own coefficients.
        noise: ``(D,)``, sigma.
        static: ``(C, q, D)``, what standardised static columns add to the coefficients of an agent,
            where agents have their own; None for nothing.
        ramps: of an additive model, the last of the features; None for a linear one.
    """

    shared: Floats
    own: tuple[tuple[int, int], ...]
    variance: Floats
    factors: Floats
    noise: Floats
    static: Floats | None = None
    ramps: Ramps | None = None

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
    ramps: Ramps | None = None,
) -> Floats:
    """Open-loop predictions of linear models, ``(S, H, D)`` raw units.

    Args:
        normalizer: float64, on the host.
        coefficients: ``(S, q, D)``.
        state: ``(S, D)`` starts, raw units, or ``(S, W)`` with the steps before.
        action: ``(S, H, A)`` raw units or ``(S, H)`` level indices.
        n_levels: L of a discrete action, 0 for continuous ones.
        known: ``(S, H, E)``, known inputs of each step, raw units; those of the start if None.
        ramps: of additive models, the last of their features.
    """
    parts = in_parts(normalizer, action, known)
    if parts is not None:
        more = parts.action, n_levels, parts.known, ramps
        whole = rollout_linear(normalizer, coefficients, state, *more)
        return parts.ends(whole)
    standard, path = normalizer.carry(state), []
    codes = normalizer.encode_action(action)
    for h in range(action.shape[1]):
        if known is not None:
            standard = normalizer.told(standard, normalizer.encode_known(known[:, h]))
        phi = linear_features_of(normalizer, standard, action[:, h], n_levels, ramps)
        target = np.einsum("sq,sqd->sd", phi, coefficients)
        standard = normalizer.advance(standard, target, codes[:, h])
        path.append(normalizer.decode_state(standard))
    return np.stack(path, axis=1)


def _ridge(gram: Floats, moment: Floats, strength: float) -> Floats:
    """Weights ``(q, D)``; the intercept, first, is free."""
    penalty = np.full(len(gram), strength)
    penalty[0] = LINEAR.free
    return np.asarray(np.linalg.solve(gram + np.diag(penalty), moment), np.float64)


def best_ridge(data: LinearData, effects: Effects | None = None) -> float:
    """The strength with the least squared error of one step on agents left out in turn."""
    return float(_RIDGES[np.argmin(left_out_errors(data, effects))])


def left_out_errors(data: LinearData, effects: Effects | None = None) -> Floats:
    """Return, for every strength of the ridge, the squared error of one step on agents left out.

    Args:
        data: sums over the transitions.
        effects: of static columns, beside what all agents share.

    Returns:
        sums over agents, less those of the squared targets, ``(strengths,)``.
    """
    loss = np.zeros(len(_RIDGES))
    active = np.flatnonzero(data.count > 0)
    if len(active) < 2:
        loss[_RIDGES != 1.0] = np.inf
        return loss
    fold = np.random.default_rng(17).permutation(len(active)) % min(LINEAR.folds, len(active))
    for _, part in data.parts():
        total, moments = _sums(part, active, effects)
        for out in range(fold.max() + 1):
            gram, moment = _sums(part, active[fold == out], effects)
            for k, strength in enumerate(_RIDGES):
                weights = _ridge(total - gram, moments - moment, float(strength))
                # |Y - XW|^2 less |Y|^2, from the sums alone.
                loss[k] += np.sum(weights * (gram @ weights)) - 2 * np.sum(weights * moment)
    return loss


def _sums(
    data: LinearData, agents: NDArray[np.integer], effects: Effects | None
) -> tuple[Floats, Floats]:
    """Return what shared coefficients of some agents, and effects, are found from."""
    gram, moment = data.gram[agents], data.moment[agents]
    if effects is None:
        return gram.sum(axis=0), moment.sum(axis=0)
    return effects.some(agents).sums(gram, moment)


def fit_linear(
    data: LinearData,
    kind: Kind,
    ratio: Ratio = ALIKE,
    ridge: float | None = None,
    memory: bool = True,
    static: Floats | None = None,
) -> LinearFit:
    """Fit one kind of linear model.

    Args:
        data: sums over the transitions.
        kind: of the model.
        ratio: how much agents differ, by ``ratios(kind)``.
        ridge: strength, by ``best_ridge``; found if None, and where static columns are read.
        memory: whether it reads the steps before the state, if the data has any.
        static: ``(N, C)``, standardised static columns that move the agents' own coefficients;
            None for none.
    """
    additive = kind in ADDITIVE
    if additive and data.ramps is None:
        raise ValueError("an additive model needs sums of ramps as well")
    data = data if additive else data.without_ramps()
    _, q, n_state = data.moment.shape
    if kind == "no change":
        return _finished(data, data.still, ALIKE)
    read = data.additive_features() if additive else data.features(memory)
    read = read[:1] if "drift" in kind else read
    variance, chosen = _own(data, ratio)
    effects = None
    if static is not None and len(chosen) and static.shape[1] <= LINEAR.most_static:
        moved = chosen if static.shape[1] * len(chosen) <= LINEAR.most_static else chosen[:1]
        moved = moved[np.isin(moved, read)]  # of an additive model the level alone
        effects = Effects(static, np.flatnonzero(np.isin(read, moved)))
        ridge = strength(data, effects if additive else Effects(static, moved))
    ridge = strength(data) if ridge is None else ridge
    shared = np.zeros((q, n_state))
    gamma = None if effects is None else np.zeros((effects.columns.shape[1], q, n_state))
    for columns, part in data.parts():
        found = _shared(part, read, ridge, variance, chosen, effects)
        shared[read, columns] = found[: len(read)]
        if effects is not None and gamma is not None:
            own = found[len(read) :].reshape(len(gamma), len(effects.features), -1)
            gamma[:, read[effects.features], columns] = own
    return _finished(data, shared, ratio, static, gamma)


def strength(data: LinearData, effects: Effects | None = None) -> float:
    """Return the best ridge of linear models, or of additive ones if the data has ramps."""
    if data.ramps is not None:
        data = data.reading(data.additive_features())
    return best_ridge(data, effects)


def _shared(
    data: LinearData,
    read: NDArray[np.integer],
    ridge: float,
    variance: Floats,
    chosen: NDArray[np.integer],
    effects: Effects | None = None,
) -> Floats:
    """Return the coefficients of some features ``read`` that all agents share, ``(q', D)``.

    Below them stand those of static columns, if there are any.
    """
    gram, moment = data.gram[:, read][:, :, read], data.moment[:, read]
    if len(chosen):
        # With V = I + Z T Z^T: X^T V^-1 X = X^T X - X^T Z (Z^T Z + T^-1)^-1 Z^T X
        cross = data.gram[:, read][:, :, chosen]
        inner = data.gram[:, chosen][:, :, chosen] + np.diag(1 / variance[chosen])
        solved = np.linalg.solve(inner, np.swapaxes(cross, 1, 2))  # (N, o, q)
        gram = gram - cross @ solved
        moment = moment - np.swapaxes(solved, 1, 2) @ data.moment[:, chosen]
    if effects is None:
        return _ridge(gram.sum(axis=0), moment.sum(axis=0), ridge)
    return _ridge(*effects.sums(gram, moment), ridge)


def fit_average(
    data: LinearData,
    parts: Sequence[Part],
    ridges: Ridges | None = None,
    static: Floats | None = None,
) -> LinearFit:
    """Average linear models into one: what agents share, and how much they differ.

    Mean and covariance of the mixture of the models' priors of an agent's coefficients, its mean's
    own scatter left out; with the agents' data the coefficients are then found as in any of them.

    Args:
        data: sums over the transitions.
        parts: models and their weights; all kinds alike if there are none.
        ridges: strengths, by ``best_ridge``; found if None.
        static: ``(N, C)``, standardised static columns, for the parts that read them.
    """
    if not parts:
        kinds: list[Kind] = [
            kind for kind in KINDS if data.ramps is not None or kind not in ADDITIVE
        ]
        parts = [Part(1.0, kind, ratios(kind)[len(ratios(kind)) // 2]) for kind in kinds]
    if not any(part.kind in ADDITIVE for part in parts):
        data = data.without_ramps()
    linear, ridges = data.without_ramps(), ridges or Ridges()
    if ridges.linear is None:
        ridges = ridges._replace(linear=strength(linear))
    if ridges.additive is None and data.ramps is not None:
        ridges = ridges._replace(additive=strength(data))
    fits = [
        fit_linear(
            data if part.kind in ADDITIVE else linear,
            part.kind,
            part.ratio,
            ridges.additive if part.kind in ADDITIVE else ridges.linear,
            part.memory,
            static if part.static else None,
        )
        for part in parts
    ]
    weights, q = [part.weight for part in parts], data.moment.shape[1]
    fits = [_among(fit, q) for fit in fits]
    shared = np.average([fit.shared for fit in fits], axis=0, weights=weights)
    ratio = np.average([part.ratio for part in parts], axis=0, weights=weights)
    moved = [w * fit.static for w, fit in zip(weights, fits, strict=True) if fit.static is not None]
    gamma = np.sum(moved, axis=0) / sum(weights) if moved else None
    return _finished(data, shared, Ratio(*map(float, ratio)), static, gamma)


def _among(fit: LinearFit, q: int) -> LinearFit:
    """Return a fit with coefficients of q features, zero for those that it does not read."""
    more = q - len(fit.shared)
    static = None if fit.static is None else np.pad(fit.static, [(0, 0), (0, more), (0, 0)])
    return fit._replace(shared=np.pad(fit.shared, [(0, more), (0, 0)]), static=static)


def _own(data: LinearData, ratio: Ratio) -> tuple[Floats, NDArray[np.integer]]:
    """Variances ``(q,)`` of own coefficients, and which of them there are."""
    n_state = data.moment.shape[2]
    variance = np.append(ratio, 0.0)[data.kinds]  # ramps are of all agents
    chosen = np.flatnonzero(variance)
    if len(chosen) * n_state > LINEAR.most_own:  # too many to know any of them
        chosen = chosen[:1] if n_state <= LINEAR.most_own else chosen[:0]
    return variance, chosen


def _finished(
    data: LinearData,
    shared: Floats,
    ratio: Ratio,
    static: Floats | None = None,
    gamma: Floats | None = None,
) -> LinearFit:
    """With the agents' own deviations from what is shared, and the noise, from the sums alone.

    Args:
        data: sums over the transitions.
        shared: ``(q, D)``.
        ratio: how much agents differ.
        static: ``(N, C)``, static columns.
        gamma: ``(C, q, D)``, what they add to the coefficients; None for nothing.
    """
    n_agents, q, n_state = data.moment.shape
    variance, chosen = _own(data, ratio)
    moved = np.zeros((1, q, n_state))  # the mean of an agent's own coefficients
    if static is not None and gamma is not None:
        gamma = np.where(np.isin(np.arange(q), chosen)[:, None], gamma, 0.0)
        moved = np.einsum("nc,cqd->nqd", static, gamma)
    deviation, noise = np.zeros_like(data.moment), np.empty(n_state)
    for columns, part in data.parts():
        mean = shared[:, columns] + moved[..., columns]
        own, sigma = _deviations(part, mean, variance, chosen)
        deviation[:, chosen, columns], noise[columns] = own, sigma
    deviation = deviation + moved
    own = tuple((int(i), d) for d in range(n_state) for i in chosen)
    factors = np.ones((n_agents, 1 + len(own)))
    for k, (i, d) in enumerate(own):
        factors[:, 1 + k] = deviation[:, i, d]
    spread = np.array([variance[i] * noise[d] ** 2 for i, d in own])
    return LinearFit(shared, own, spread, factors, noise, gamma, data.ramps)


def _deviations(
    data: LinearData, mean: Floats, variance: Floats, chosen: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Return the agents' own deviations ``(N, o, D)`` in ``chosen`` features, and the noise.

    Args:
        data: sums over the transitions.
        mean: ``(N, q, D)`` or ``(1, q, D)``, coefficients that they deviate from.
        variance: ``(q,)``, of the deviations.
        chosen: ``(o,)``.
    """
    cross, deviation = data.gram[:, chosen], np.zeros_like(data.moment)
    if len(chosen):
        inner = cross[..., chosen] + np.diag(1 / variance[chosen])
        deviation[:, chosen] = np.linalg.solve(inner, data.moment[:, chosen] - cross @ mean)
    whole = mean + deviation
    squared = data.energy.sum(axis=0) - 2 * (data.moment * whole).sum(axis=(0, 1))
    squared += (whole * (data.gram @ whole)).sum(axis=(0, 1))
    count = max(float(data.count.sum()), 1.0)
    noise = np.maximum(np.sqrt(np.maximum(squared, 0.0) / count), LINEAR.floor)
    return deviation[:, chosen], noise
