"""One-step residuals of held-out ends, in units of the noise.

Axes: S ends, H steps, D state columns, M members.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinfold.data.windows import Windows
from twinfold.models.fitted_model import FittedModel
from twinfold.models.member_features import features_of

Floats = NDArray[np.float64]

_FEATURES = 2**23  # numbers of features held at once


def one_step_residuals(seen: FittedModel, ends: Windows) -> Floats:
    """One-step residuals in units of the noise, robust over members, ``(S, H, D)``."""
    norm, mask = seen.normalizer, ends.mask
    prior = seen.posterior.prior
    state = ends.before[mask]
    weight = None if ends.weight is None else ends.weight[mask]
    action, after = ends.action[mask], ends.next_state[mask]
    agent = np.broadcast_to(ends.agent[:, None], mask.shape)[mask]
    factors = np.asarray(seen.members.agents, np.float64)
    out = np.empty(after.shape)
    size = max(64, _FEATURES // (seen.n_members * after.shape[1] * seen.members.rank))
    for first in range(0, len(out), size):
        part = slice(first, first + size)
        features = features_of(seen.members, norm, state[part], action[part])
        predicted = np.einsum("mkdr,mkr->mkd", features, factors[:, agent[part]])
        # A member that diverged does not count.
        known = np.isfinite(predicted).all(axis=(1, 2))
        middle = np.median(predicted[known] if known.any() else predicted, axis=0)
        out[part] = norm.encode_target(state[part], after[part]) - middle
    found = np.full((*mask.shape, after.shape[1]), np.nan)
    there = prior.at_wall(norm.encode_state(ends.truth[mask]))
    usual, at_walls = (np.median(noise, axis=0) for noise in (prior.noise, prior.limit_noise))
    found[mask] = out / np.where(there[:, None], at_walls, usual)
    if weight is not None:  # noise is larger by what is filled in where a step starts
        found[mask] *= np.sqrt(np.where(weight > 0, weight, np.nan))
    return found
