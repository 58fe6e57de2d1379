"""Whose simulator explains an agent's data best: swapped ids, agents taken for others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.trust.checks import LEVEL, Check

Floats = NDArray[np.float64]

_MISTAKEN = 10.0  # times the squared error, and the noise
_SWAPPED = 1.5  # times the squared error, of two agents either way


def mistaken(
    energy: Floats,
    own: NDArray[np.integer],
    ids: Sequence[AgentId],
    names: Sequence[AgentId],
    values: NDArray[np.integer],
) -> Check:
    """Agents whose data another known agent's simulator explains far better than their own.

    Far: ten times in squared error. For two agents of the data whose simulators explain each
    other's better, much less will do, because chance hardly makes errors fall both ways: 1.5 times
    either way, and a likelihood ratio that exceeds the number of pairs over LEVEL either way.

    Args:
        energy: ``(S, N)``, mean squared residual of the data of S agents under each of N
            simulators, in units of the noise.
        own: ``(S,)``, which simulator is the agent's own.
        ids: of the S agents.
        names: of the N simulators.
        values: ``(S,)``, how many residuals there are of each agent.
    """
    rows = np.arange(len(own))
    mine = energy[rows, own]
    others = energy.copy()
    others[rows, own] = np.inf
    best = others.argmin(axis=1)
    ratio = mine / np.maximum(others[rows, best], 1.0)
    bad = (ratio > _MISTAKEN) & (mine > _MISTAKEN)
    # Of pairs of the data's own agents: how much better j's simulator explains the data of i.
    better = mine[:, None] / np.maximum(energy[:, own], 1.0)
    pairs = max(len(own) * (len(own) - 1) / 2, 1)
    clear = (better > _SWAPPED) & (values[:, None] * (better - 1) / 2 > math.log(pairs / LEVEL))
    swapped = np.where(clear & clear.T, np.minimum(better, better.T), 0.0)
    partner = swapped.argmax(axis=1)
    pair = swapped[rows, partner] > 0
    best = np.where(pair & ~bad, own[partner], best)
    ratio = np.where(pair & ~bad, better[rows, partner], ratio)
    found = np.flatnonzero(bad | pair)
    found = found[np.argsort(-ratio[found])]
    named = tuple(ids[int(s)] for s in found)
    like = [names[int(best[s])] for s in found]
    return Check(
        "mistaken identity",
        "fail" if len(found) else "pass",
        f"{len(found)} of {len(own)} agents",
        "none",
        "Every agent's data is explained by its own simulator."
        if not len(found)
        else f"The data of {named[0]!r} fits the simulator of {like[0]!r} "
        f"{ratio[found[0]]:.3g} times better than its own: ids may be swapped.",
        agents=named,
        values={
            "ratio": ratio[found].tolist(),
            "looks_like": like,
        },
    )
