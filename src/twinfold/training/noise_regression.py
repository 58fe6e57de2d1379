"""The noise of a run's data, from the residuals of one-step predictions of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.metrics import trimmed_mean
from twinfold.models.factor_model import FactorModel
from twinfold.models.member_features import features_of
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import rows_at_once
from twinfold.models.world_noise import NOISE, WorldNoise, fit_noise
from twinfold.training.ensemble import TrainingContext

Floats = NDArray[np.float64]


def world_noise(
    problem: TrainingContext, normalizer: Normalizer, members: FactorModel, noise: Floats
) -> WorldNoise:
    """Return the noise of the training data.

    Args:
        problem: the transitions.
        normalizer: float64, on the host.
        members: a stack, with the agents' factors.
        noise: ``(D,)``, raw units, that held-out predictions have: residuals of the data that a
            model was fitted to are too small, and are scaled up to it.
    """
    data = problem.data
    observed = data.complete & (True if data.counted is None else data.counted.all(axis=1))
    if NOISE.fewest <= observed.sum() < len(data):  # what was filled in has another noise
        data = data.select(observed)
    if len(data) > NOISE.rows:  # the first steps of all agents, as far as they will go
        steps = int(np.searchsorted(np.cumsum(np.bincount(data.step)), NOISE.rows, side="right"))
        data = data.select(np.flatnonzero(data.step < max(steps, 2))[: NOISE.rows])
    after = _next_states(normalizer, members, data.agent, data.start, data.action)
    residual = normalizer.difference(data.start, data.truth)
    residual = residual - normalizer.difference(data.start, after)
    if normalizer.uneven and data.known is not None:
        residual /= np.sqrt(data.known[:, -1:])
    standard = normalizer.encode_state(data.observed)
    whole = np.isfinite(residual).all(axis=1) & np.isfinite(standard).all(axis=1)
    if not whole.any():
        return WorldNoise.even(noise, problem.n_agents)
    follows = np.zeros(len(data), bool)
    follows[1:] = (data.segment[1:] == data.segment[:-1]) & (np.diff(data.step) == 1)
    follows[1:] &= whole[:-1]  # rows with holes are left out, and nothing follows them
    residual, standard, follows = residual[whole], standard[whole], follows[whole]
    small = np.sqrt(np.square(residual).mean(axis=0))
    residual *= np.maximum(noise / np.maximum(small, 1e-300), 1.0)
    slope = _kept(normalizer, members, data.agent, data.start, data.action)
    return fit_noise(residual, standard, data.agent[whole], follows, slope, problem.n_agents)


def _next_states(
    normalizer: Normalizer,
    members: FactorModel,
    agent: NDArray[np.integer],
    start: Floats,
    action: NDArray[Any],
) -> Floats:
    """Return predictions one step ahead, ``(K, D)``, raw units."""
    factors, n_state = np.asarray(members.agents, np.float64), len(normalizer.state_mean)
    size = rows_at_once(len(start), n_state, members.rank)
    found = np.empty((len(start), n_state))
    for first in range(0, len(start), size):  # as evidence is gathered: the program is there
        rows = slice(first, first + size)
        features = features_of(members, normalizer, start[rows], action[rows])
        target = np.einsum("mkdr,mkr->mkd", features, factors[:, agent[rows]])
        carry = normalizer.carry(start[rows])
        after = normalizer.next_state(carry, target)
        found[rows] = trimmed_mean(normalizer.decode_state(after))
    return found


def _kept(
    normalizer: Normalizer,
    members: FactorModel,
    agent: NDArray[np.integer],
    start: Floats,
    action: NDArray[Any],
) -> Floats:
    """Return how much of a change of a state is left in the next one, ``(D,)``: a mean slope."""
    n_state = len(normalizer.state_mean)
    size = rows_at_once(len(start), n_state, members.rank)
    rows = np.linspace(0, len(start) - 1, min(len(start), size)).astype(int)
    step = 0.1 * normalizer.state_scale
    found = np.empty(n_state)
    for d in range(n_state):
        ends = []
        for sign in (1, -1):
            moved = start[rows].copy()
            moved[:, d] += sign * step[d]
            ends.append(_next_states(normalizer, members, agent[rows], moved, action[rows])[:, d])
        change = ends[0] - ends[1]
        found[d] = np.median(change[np.isfinite(change)]) / (2 * step[d])
    return found
