"""Covariances of agents' factors. Axes: M members, N agents, r rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def widened_covariance(deviation: Floats, spread: Floats) -> Floats:
    """Covariance ``(M, r, r)`` of deviations ``(M, N, r)`` and of one more agent, isotropic.

    With few agents some directions were never seen to vary. Where agents outnumber directions the
    one more counts less, r / N of an agent, because then those that hardly vary were seen not to;
    agents that differ in one hidden quantity lie on a line, and what is off that line would only
    take up errors of the nets.

    Args:
        deviation: of the agents from what is expected of them.
        spread: ``(M,)``, variance of the one more in every direction.
    """
    n_agents, rank = deviation.shape[1:]
    weight = min(1.0, rank / n_agents)
    isotropic = weight * spread[:, None, None] * np.eye(rank)
    return (np.swapaxes(deviation, 1, 2) @ deviation + isotropic) / (n_agents + weight)
