"""Controls: what one would predict without the model, from what comes before the same ends.

    constants       no change; the agent's mean so far; the mean of all
    drift           no change but the agent's average change per step
    pooled linear   x' - x = W [x, a, 1], ridge, one W for all agents
    own linear      W_n = W + D_n, ridge on what the pooled one leaves of the agent's own rows

Means and drifts of single agents are drawn to those of all by as much as the rows within agents
differ more than the agents do (a random effect, by the method of moments). Penalties are chosen by
one-step errors: the pooled one on agents left out, that of deviations on rows left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.panel import Transitions
from twinfold.models.ends import Ends
from twinfold.models.ensemble import FittedModel

Floats = NDArray[np.float64]

CONSTANT = ("persistence", "own mean", "mean of all")
"""Predictions that do not move."""

SIMPLE = (*CONSTANT, "drift", "pooled linear model", "own linear model")
"""What needs no more than a spreadsheet; a model has to be as good as the best of them."""

CONTROLS = (*SIMPLE, "average agent", "another agent", "other actions")
"""All, the last ones by the model itself, of which something was taken away."""

_PENALTIES = 10.0 ** np.arange(-3, 7)
_FOLDS = 10
_TINY = 1e-12
_RECENT = 10  # rows from which a mean needs no help of older ones


class States(NamedTuple):
    """States of agents that the model has had before, raw units.

    Attributes:
        agent: ``(K,)``, index into the panel's agents.
        state: ``(K, D)``.
    """

    agent: NDArray[np.integer]
    state: Floats


def simple_controls(
    model: FittedModel,
    before: Transitions,
    ends: Ends,
    kept: States,
    pool: Transitions | None = None,
) -> dict[str, Floats]:
    """What the simple controls predict, ``(S, H, D)`` each, raw units.

    Args:
        model: of the panel's agents, for scales and limits.
        before: what comes before the ends.
        ends: what is predicted.
        kept: further states of the same agents, from the run.
        pool: transitions of further agents, for the pooled linear model; None for none.
    """
    norm, n_agents, horizon = model.normalizer, len(model.agent_ids), ends.mask.shape[1]
    start = _standard(model, ends.state)
    states = _standard(model, np.concatenate([before.state, ends.state, kept.state]))
    agent = np.concatenate([before.agent, ends.agent, kept.agent]).astype(np.int64)
    own, _ = shrunk_means(states, agent, n_agents)
    # What the run keeps may be of another time: of all agents, what came just before says more.
    recent = states[: len(before) + len(start)] if len(before) >= _RECENT else states
    everyone = recent.mean(axis=0) if len(recent) else np.zeros(states.shape[1])
    rate, _ = shrunk_means(_change(model, before), before.agent, n_agents)
    steps = np.arange(1, horizon + 1)[:, None]
    pooled = _pooled_weights(model, before, pool)
    deviations = _own_deviations(model, before, pooled)

    # Nothing leaves the range of what was seen by more than that range.
    low, high = (f(states, axis=0) if len(states) else start[:0].sum(0) for f in (np.min, np.max))
    reach = high - low + 1e-9
    free = np.isin(np.arange(states.shape[1]), norm.angles)
    low = np.where(free, -np.inf, np.maximum(low - reach, norm.low))
    high = np.where(free, np.inf, np.minimum(high + reach, norm.high))

    def raw(standard: Floats) -> Floats:
        path = np.broadcast_to(standard, (len(start), horizon, start.shape[1]))
        return norm.decode_state(np.clip(path, low, high))

    def linear(weights: Floats) -> Floats:
        state, path = start, []
        for h in range(horizon):
            step = np.einsum("sq,sqd->sd", _design(model, state, ends.action[:, h]), weights)
            state = np.clip(state + step, low, high)
            path.append(state)
        return raw(np.stack(path, axis=1)) if path else raw(start[:, None])

    return {
        "persistence": np.broadcast_to(ends.state[:, None], ends.next_state.shape),
        "own mean": raw(own[ends.agent][:, None]),
        "mean of all": raw(everyone[None, None]),
        "drift": raw(start[:, None] + steps * rate[ends.agent][:, None]),
        "pooled linear model": linear(np.broadcast_to(pooled, (len(start), *pooled.shape))),
        "own linear model": linear(pooled + deviations[ends.agent]),
    }


def shrunk_means(
    values: Floats, agent: NDArray[np.integer], n_agents: int
) -> tuple[Floats, Floats]:
    """Mean of each agent, drawn to the mean of all, and that mean: ``(N, D)`` and ``(D,)``.

        w_n = tau^2 / (tau^2 + sigma^2 / k_n)

    with sigma^2 the variance within agents, tau^2 that between them beyond what sigma^2 explains,
    and k_n the agent's rows. Without rows, zero.

    Args:
        values: ``(K, D)``.
        agent: ``(K,)``, whose they are.
        n_agents: N.
    """
    if not len(values):
        return np.zeros((n_agents, values.shape[1])), np.zeros(values.shape[1])
    count = np.bincount(agent, minlength=n_agents).astype(np.float64)
    total = np.stack([np.bincount(agent, x, minlength=n_agents) for x in values.T], axis=1)
    mean, everyone = total / np.maximum(count, 1)[:, None], values.mean(axis=0)
    there = count > 0
    groups, rows = int(there.sum()), len(values)
    if groups < 2 or rows == groups:  # nothing tells agents from rows
        own = np.where(there[:, None] & (rows > groups), mean, everyone)
        return own, everyone
    within = np.square(values - mean[agent]).sum(axis=0) / (rows - groups)
    size = (rows - np.square(count).sum() / rows) / (groups - 1)
    between = (count[:, None] * np.square(mean - everyone) * there[:, None]).sum(axis=0)
    between = np.maximum(between / (groups - 1) - within, 0.0) / size
    share = between / np.maximum(between + within / np.maximum(count, 1)[:, None], _TINY)
    return np.where(there[:, None], everyone + share * (mean - everyone), everyone), everyone


def _standard(model: FittedModel, state: Floats) -> Floats:
    """Standardised states; of an angle, the way from the mean direction."""
    standard = model.normalizer.encode_state(state)
    for d in model.normalizer.angles:
        scale = model.normalizer.state_scale[d]
        standard[:, d] = wrap(standard[:, d] * scale) / scale
    return standard


def _change(model: FittedModel, data: Transitions) -> Floats:
    """Standardised changes of the state."""
    change = data.next_state - data.state
    for d in model.normalizer.angles:
        change[:, d] = wrap(change[:, d])
    return change / model.normalizer.state_scale


def _design(model: FittedModel, standard: Floats, action: NDArray[Any]) -> Any:
    """What linear models read: states (sine and cosine of angles), action, one; ``(K, q)``."""
    norm = model.normalizer
    if model.action_levels is None:
        code = norm.encode_action(action)
    else:
        code = np.eye(len(model.action_levels))[np.asarray(action, np.int64)]
    return np.concatenate([norm.inputs(standard), code, np.ones((len(standard), 1))], axis=1)


def _solve(gram: Floats, moment: Floats, penalty: float) -> Floats:
    """Ridge, the constant (last) all but free: ``(q, D)``."""
    weight = np.full(len(gram), penalty)
    weight[-1] = min(penalty, float(_PENALTIES[0]))
    return np.asarray(np.linalg.solve(gram + np.diag(weight), moment), np.float64)


def _pooled_weights(model: FittedModel, before: Transitions, pool: Transitions | None) -> Floats:
    """Weights of the linear model of all agents, ``(q, D)``; penalties by agents left out."""
    parts = [before] if pool is None else [before, pool]
    x = np.concatenate([_design(model, _standard(model, d.state), d.action) for d in parts])
    y = np.concatenate([_change(model, d) for d in parts])
    if not len(x):
        return np.zeros((x.shape[1], y.shape[1]))
    agent = np.concatenate(
        [d.agent + k * (1 + before.agent.max(initial=0)) for k, d in enumerate(parts)]
    )
    _, place = np.unique(agent, return_inverse=True)
    folds = min(_FOLDS, int(place.max()) + 1)
    fold = place % folds
    if folds == 1:  # of a single agent: its rows in turn, in stretches
        folds = min(_FOLDS, len(x))
        fold = np.arange(len(x)) * folds // len(x)
    grams = np.stack([x[fold == k].T @ x[fold == k] for k in range(folds)])
    moments = np.stack([x[fold == k].T @ y[fold == k] for k in range(folds)])
    gram, moment = grams.sum(axis=0), moments.sum(axis=0)
    errors = np.zeros((len(_PENALTIES), y.shape[1]))
    for p, penalty in enumerate(_PENALTIES):
        for k in range(folds):
            rest = _solve(gram - grams[k], moment - moments[k], float(penalty))
            errors[p] += np.square(y[fold == k] - x[fold == k] @ rest).sum(axis=0)
    best = errors.argmin(axis=0)
    out = np.empty((x.shape[1], y.shape[1]))
    for p in np.unique(best):
        out[:, best == p] = _solve(gram, moment, float(_PENALTIES[p]))[:, best == p]
    return out


def _own_deviations(model: FittedModel, before: Transitions, pooled: Floats) -> Floats:
    """What each agent's weights add to the pooled ones, ``(N, q, D)``; penalty by rows left out.

    One penalty per column for all agents. A row that is left out costs no new fit: its residual is
    that of the fit over one minus its leverage.
    """
    n_agents = len(model.agent_ids)
    out = np.zeros((n_agents, *pooled.shape))
    if not len(before):
        return out
    x = _design(model, _standard(model, before.state), before.action)
    left = _change(model, before) - x @ pooled
    first = np.flatnonzero(np.r_[True, before.agent[1:] != before.agent[:-1]])
    spans = [slice(a, b) for a, b in zip(first, np.r_[first[1:], len(x)], strict=True)]
    roots = [np.linalg.svd(x[part], full_matrices=False) for part in spans]
    errors = np.zeros((len(_PENALTIES) + 1, left.shape[1]))
    errors[-1] = np.square(left).sum(axis=0)  # no deviations at all
    for part, (u, s, _) in zip(spans, roots, strict=True):
        inner = u.T @ left[part]
        for p, penalty in enumerate(_PENALTIES):
            share = s**2 / (s**2 + penalty)
            leverage = np.minimum(np.square(u) @ share, 1 - 1e-9)
            residual = left[part] - u @ (share[:, None] * inner)
            errors[p] += np.square(residual / (1 - leverage)[:, None]).sum(axis=0)
    best = errors.argmin(axis=0)
    for part, (u, s, v) in zip(spans, roots, strict=True):
        inner = u.T @ left[part]
        for d in np.flatnonzero(best < len(_PENALTIES)):
            share = s / (s**2 + _PENALTIES[best[d]])
            out[before.agent[part.start], :, d] = v.T @ (share * inner[:, d])
    return out
