"""Controls: what one would predict without the model, from what is known before the same ends.

    constants       no change; the agent's mean so far; the mean of all
    drift           no change but the agent's average change per step, or by its length
    pooled linear   y = W [1, x, a], ridge, one W for all agents
    own linear      W_n = W + D_n, drawn to the pooled one

Means and drifts of single agents are drawn to those of all by as much as the rows within agents
differ more than the agents do (a random effect, by the method of moments). The ridge is chosen by
one-step errors on agents left out. D_n is the best linear prediction of N(0, kappa sigma^2)
deviations, kappa by the likelihood (Laird and Ware 1982), column by column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.transitions import Transitions
from twinfold.data.windows import Windows
from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear import fit_linear
from twinfold.models.linear_sums import LinearData, linear_features_of
from twinfold.models.normalizer import Normalizer
from twinfold.models.own_linear import own_deviations

Floats = NDArray[np.float64]

CONSTANT = ("persistence", "own mean", "mean of all")
"""Predictions that do not move."""

SIMPLE = (*CONSTANT, "drift", "pooled linear model", "own linear model")
"""Controls that a spreadsheet can make; a model has to be as good as the best of them."""

CONTROLS = (*SIMPLE, "average agent", "another agent", "other actions")
"""All, the last ones by the model itself, of which something was taken away."""


@dataclass(frozen=True)
class ControlSettings:
    """Numbers that the controls are made by.

    Attributes:
        recent_rows: rows up to the starts of the ends, from which on the mean of all needs no help
            of older ones.
        reach: times the range of what was seen that a control may leave it by.
        rounding: of a variance: less cannot be told from nothing.
    """

    recent_rows: int = 10
    reach: float = 1.0
    rounding: float = 1e-12


CONTROL_SETTINGS = ControlSettings()
"""Those of every validation."""


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
    ends: Windows,
    kept: States,
    others: LinearData,
) -> dict[str, Floats]:
    """Return what the simple controls predict, ``(S, H, D)`` each, raw units.

    Args:
        model: of the panel's agents alone, its ``sums`` of what is known of them.
        before: what comes before the ends.
        ends: what is predicted.
        kept: further states of the same agents, from the run.
        others: sums of further agents, that say what agents have in common.
    """
    norm, horizon, sums = model.normalizer, ends.mask.shape[1], model.sums.join(others)
    start = _standard(model, ends.state)
    states = _standard(model, np.concatenate([before.state, ends.state, kept.state]))
    agent = np.concatenate([before.agent, ends.agent, kept.agent]).astype(np.int64)
    own, _ = shrunk_means(*totals(states, agent, len(model.agent_ids)))
    # What the run keeps may be of another time: of all agents, what came just before says more.
    n_recent = len(before) + len(start)
    recent = states[:n_recent] if n_recent >= CONTROL_SETTINGS.recent_rows else states
    everyone = recent.mean(axis=0) if len(recent) else np.zeros(states.shape[1])
    rate = drifts(sums)[ends.agent] * norm.target_scale / norm.state_scale
    ahead = np.cumsum(_lengths(norm, ends), axis=1)[..., None]  # (S, H, 1)
    pooled = fit_linear(sums, "pooled").shared
    deviations = own_deviations(sums, pooled)

    low, high = _limits(states, norm)

    def raw(standard: Floats) -> Floats:
        path = np.broadcast_to(standard, (len(start), horizon, start.shape[1]))
        return norm.decode_state(np.clip(path, low, high))

    unlimited = replace(norm, target_low=-np.inf, target_high=np.inf)

    def linear(weights: Floats) -> Floats:
        carry, path = norm.carry(ends.start), []
        carry[:, : start.shape[1]] = start
        codes = norm.encode_action(ends.action)
        for h in range(horizon):
            if ends.known is not None:
                carry = norm.told(carry, norm.encode_known(ends.known[:, h]))
            phi = linear_features_of(norm, carry, ends.action[:, h], model.n_levels)
            target = np.einsum("sq,sqd->sd", phi, weights)
            after = unlimited.next_state(carry, target)
            path.append(np.clip(after, low, high))
            carry = norm.moved(carry, path[-1], codes[:, h])
        return raw(np.stack(path, axis=1)) if path else raw(start[:, None])

    return {
        "persistence": np.broadcast_to(ends.state[:, None], ends.next_state.shape),
        "own mean": raw(own[ends.agent][:, None]),
        "mean of all": raw(everyone[None, None]),
        "drift": raw(start[:, None] + ahead * rate[:, None]),
        "pooled linear model": linear(np.broadcast_to(pooled, (len(start), *pooled.shape))),
        "own linear model": linear(pooled + deviations[ends.agent]),
    }


def _lengths(norm: Normalizer, ends: Windows) -> Floats:
    """Return how long each step of the ends is, in usual ones, ``(S, H)``."""
    if norm.uneven and ends.known is not None:
        return np.asarray(ends.known[..., -1], np.float64)
    return np.ones(ends.mask.shape)


def _limits(states: Floats, norm: Normalizer) -> tuple[Floats, Floats]:
    """Return the least and the largest states that a control may predict, standardised, ``(D,)``.

    Nothing leaves the range of what was seen by more than that range; angles are free.
    """
    n_state = states.shape[1]
    low, high = (f(states, axis=0) if len(states) else np.zeros(n_state) for f in (np.min, np.max))
    reach = CONTROL_SETTINGS.reach * (high - low) + 1e-9
    free = np.isin(np.arange(n_state), norm.angles)
    low = np.where(free, -np.inf, np.maximum(low - reach, norm.low))
    return low, np.where(free, np.inf, np.minimum(high + reach, norm.high))


def shrunk_means(
    count: Floats, total: Floats, squares: Floats, rows: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return each agent's mean, drawn to the mean of all, and that mean: ``(N, D)`` and ``(D,)``.

        w_n = tau^2 / (tau^2 + sigma^2 / k_n)

    with sigma^2 the variance within agents, tau^2 that between them beyond what sigma^2 explains,
    and k_n the agent's rows. Without rows, zero. The same goes for slopes through the origin,
    y = h m_n + e, of which a mean is the one with h = 1: k_n is the sum of h^2 then.

    Args:
        count: ``(N,)``, rows of each agent; of slopes, sums of h^2.
        total: ``(N, D)``, sums of values; of slopes, of h y.
        squares: ``(N, D)``, sums of the squared values.
        rows: ``(N,)``, rows of each agent where ``count`` is not that.
    """
    weight, has_rows = float(count.sum()), count > 0
    groups, n_rows = int(has_rows.sum()), float((count if rows is None else rows).sum())
    if not groups:
        return np.zeros_like(total), np.zeros(total.shape[1])
    share = np.where(has_rows, count, 1.0)[:, None]
    mean, everyone = total / share, total.sum(axis=0) / weight
    if groups < 2 or n_rows == groups:  # nothing tells agents from rows
        return np.where(has_rows[:, None] & (n_rows > groups), mean, everyone), everyone
    within = np.maximum((squares - total * mean).sum(axis=0), 0.0) / (n_rows - groups)
    size = (weight - np.square(count).sum() / weight) / (groups - 1)
    between = (count[:, None] * np.square(mean - everyone) * has_rows[:, None]).sum(axis=0)
    between = np.maximum(between / (groups - 1) - within, 0.0) / size
    scatter = between + within / share
    trust = between / np.maximum(scatter, CONTROL_SETTINGS.rounding)
    return np.where(has_rows[:, None], everyone + trust * (mean - everyone), everyone), everyone


def drifts(sums: LinearData) -> Floats:
    """Return each agent's average change per step, shrunk, ``(N, D)``, in units of the target.

    Where times are uneven it is that of a step of usual length, by least squares: the first of the
    linear features is the length of the step there, and 1 else.
    """
    found = np.empty_like(sums.energy)
    for columns, part in sums.parts():
        still = part.gram @ part.still  # of phi and the target of no change
        total = part.moment[:, 0] - still[:, 0]
        cross = np.einsum("qd,nqd->nd", part.still, 2 * part.moment - still)
        squares = np.maximum(part.energy - cross, 0.0)
        lengths = part.gram[:, 0, 0]  # their squares' sum
        found[:, columns] = shrunk_means(lengths, total, squares, part.counts)[0]
    return found


def totals(
    values: Floats, agent: NDArray[np.integer], n_agents: int
) -> tuple[Floats, Floats, Floats]:
    """Return rows, sums and sums of squares by agent: ``(N,)``, ``(N, D)`` and ``(N, D)``.

    Args:
        values: ``(K, D)``.
        agent: ``(K,)``, whose they are.
        n_agents: N.
    """
    count = np.bincount(agent, minlength=n_agents).astype(np.float64)
    total, squares = np.zeros((2, n_agents, values.shape[1]))
    np.add.at(total, agent, values)
    np.add.at(squares, agent, np.square(values))
    return count, total, squares


def _standard(model: FittedModel, state: Floats) -> Floats:
    """Return standardised states; of an angle, the way from the mean direction."""
    standard = model.normalizer.encode_state(state)
    for d in model.normalizer.angles:
        scale = model.normalizer.state_scale[d]
        standard[:, d] = wrap(standard[:, d] * scale) / scale
    return standard
