"""The noise of a run's data, from the residuals of one-step predictions of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinfold.metrics import trimmed_mean
from twinfold.models.factor_model import FactorModel
from twinfold.models.normalizer import Normalizer
from twinfold.models.rollout import rollout_members
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
    if len(data) > NOISE.rows:
        data = data.select(np.arange(NOISE.rows * len(data) // len(data)))
    residual = _residuals(normalizer, members, data.agent, data.start, data.action, data.next_state)
    if normalizer.uneven and data.known is not None:
        residual /= np.sqrt(data.known[:, -1:])
    small = np.sqrt(np.square(residual).mean(axis=0))
    residual *= np.maximum(noise / np.maximum(small, 1e-300), 1.0)
    follows = np.zeros(len(data), bool)
    follows[1:] = (data.segment[1:] == data.segment[:-1]) & (np.diff(data.step) == 1)
    slope = _kept(normalizer, members, data.agent, data.start, data.action)
    standard = normalizer.encode_state(data.state)
    return fit_noise(residual, standard, data.agent, follows, slope, problem.n_agents)


def _residuals(
    normalizer: Normalizer,
    members: FactorModel,
    agent: NDArray[np.integer],
    start: Floats,
    action: NDArray,
    next_state: Floats,
) -> Floats:
    """Return what happened less what was predicted, ``(K, D)``, raw units."""
    path = trimmed_mean(rollout_members(members, normalizer, agent, start, action[:, None]))[:, 0]
    seen = normalizer.difference(start, next_state)
    return seen - normalizer.difference(start, path)


def _kept(
    normalizer: Normalizer,
    members: FactorModel,
    agent: NDArray[np.integer],
    start: Floats,
    action: NDArray,
) -> Floats:
    """Return how much of a change of a state is left in the next one, ``(D,)``: a mean slope."""
    rows = np.linspace(0, len(start) - 1, min(len(start), 500)).astype(int)
    n_state = len(normalizer.state_mean)
    asked = agent[rows], action[rows][:, None]

    def after(shift: Floats) -> Floats:
        moved = start[rows].copy()
        moved[:, :n_state] += shift
        return trimmed_mean(rollout_members(members, normalizer, asked[0], moved, asked[1]))[:, 0]

    step = 0.1 * normalizer.state_scale
    found = np.empty(n_state)
    for d in range(n_state):
        shift = np.where(np.arange(n_state) == d, step, 0.0)
        change = (after(shift) - after(-shift))[:, d]
        found[d] = np.median(change) / (2 * step[d])
    return found
