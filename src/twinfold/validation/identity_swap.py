"""Identity of agents: swapped ids, and agents that are taken for others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.data.transitions import Transitions
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import Evidence, gather
from twinfold.validation.check import Check, said
from twinfold.validation.sentences import Status
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds

Floats = NDArray[np.float64]


def same_agents(
    model: FittedModel,
    agent_ids: Sequence[AgentId],
    place: NDArray[np.integer],
    data: Transitions,
    rules: ValidationThresholds = THRESHOLDS,
) -> Check | None:
    """Check that known agents' own simulators explain their fresh data; None if none are known.

    Args:
        model: the fitted model.
        agent_ids: ids of the data's P agents.
        place: ``(P,)``, index of each of them in the model; -1 if unknown there.
        data: fresh transitions; ``data.agent`` counts in ``agent_ids``.
        rules: the numbers that decide.
    """
    known = np.flatnonzero(place >= 0)
    if not len(known) or len(model.agent_ids) < 2:
        return None
    prior = model.posterior.prior

    def evidence_of(rows: Transitions) -> Evidence:
        found = gather(model.members, model.normalizer, prior, rows, len(agent_ids))
        return found.take(known)

    whole, early = evidence_of(data), evidence_of(data.select(_earlier(data)))
    parts = [_energy(model, part) for part in (whole, early, whole.minus(early))]
    names = [agent_ids[int(n)] for n in known]
    size = np.maximum(whole.values(prior.noise.shape[1]), 1)
    return mistaken(
        parts[0], place[known], names, model.agent_ids, size, np.stack(parts[1:]), rules
    )


def _earlier(data: Transitions) -> NDArray[np.bool_]:
    """Return which are the earlier half of each agent's transitions."""
    first = np.searchsorted(data.agent, data.agent)
    count = np.bincount(data.agent)[data.agent] if len(data) else first
    return 2 * (np.arange(len(data)) - first) < count


def _energy(model: FittedModel, evidence: Evidence) -> Floats:
    """Return the mean squared residuals of S agents' data under N simulators, ``(S, N)``."""
    prior = model.posterior.prior
    shift = np.asarray(model.members.agents, np.float64) - prior.mean[:, None]  # (M, N, r)
    energy = evidence.energy[..., None] - 2 * np.einsum("msr,mnr->msn", evidence.moment, shift)
    for m in range(len(shift)):
        turned = np.einsum("srq,nq->snr", evidence.gram[m], shift[m])
        energy[m] += np.einsum("snr,nr->sn", turned, shift[m])
    size = np.maximum(evidence.values(prior.noise.shape[1]), 1)
    return np.median(np.maximum(energy, 0.0), axis=0) / size[:, None]


def mistaken(
    energy: Floats,
    own: NDArray[np.integer],
    ids: Sequence[AgentId],
    names: Sequence[AgentId],
    values: NDArray[np.integer],
    halves: Floats | None = None,
    rules: ValidationThresholds = THRESHOLDS,
) -> Check:
    """Find agents whose data other known agents' simulators explain far better than their own.

    Two agents of the data whose ids are swapped explain each other's data better than their own
    (``_swapped_pairs``), and by more than chance over all pairs. Agents change; then many
    simulators explain an agent's data better than its own, and among many pairs some do so either
    way. With f_i the share of all simulators that explain the data of i at least so much better,

        sum over pairs of f_i f_j

    pairs would be expected if which simulator fits which agent were chance; beyond ``chance_pairs``
    nobody is accused. That one simulator explains an agent's data ten times better, and not the
    other way round, is a warning: agents that have changed look like others.

    Args:
        energy: ``(S, N)``, mean squared residual of the data of S agents under each of N
            simulators, in units of the noise.
        own: ``(S,)``, which simulator is the agent's own.
        ids: of the S agents.
        names: of the N simulators.
        values: ``(S,)``, how many residuals there are of each agent.
        halves: ``(2, S, N)``, energy of the earlier and the later half of the data; None for none.
        rules: what decides.
    """
    rows, gain = np.arange(len(own)), _gain(energy, own)

    # One simulator that explains an agent's data far better than its own.
    looks_like, times = gain.argmax(axis=1), gain.max(axis=1)
    changed = (times > rules.mistaken) & (energy[rows, own] > rules.mistaken)

    # Two agents that explain each other's data better, of which chance explains none.
    partner, better = _swapped_pairs(gain, own, values, halves, rules)
    by_chance = np.array([_by_chance(gain, value, energy.shape[1]) for value in better])
    swapped = (better > 0) & (by_chance <= rules.chance_pairs)
    looks_like = np.where(swapped, own[partner], looks_like)
    times = np.where(swapped, gain[rows, own[partner]], times)

    bad = np.flatnonzero(changed | swapped)
    bad = bad[np.lexsort((-times[bad], ~swapped[bad]))]  # those that only warn come last
    plain: dict[str, Any] = {
        "ratio": times[bad].tolist(),
        "looks_like": [names[int(looks_like[s])] for s in bad],
        "by_chance": [float(by_chance[s]) if swapped[s] else None for s in bad],
    }
    named = tuple(ids[int(s)] for s in bad)
    first: dict[str, Any] = {}
    if named:
        first = {"agent": named[0], "like": plain["looks_like"][0], "times": plain["ratio"][0]}
    status: Status = "fail" if swapped.any() else "warn" if named else "pass"
    counts = {"bad": len(bad), "all": len(own)}
    return said("mistaken identity", status, rules, plain, concerned=named, **counts, **first)


def _gain(energy: Floats, own: NDArray[np.integer]) -> Floats:
    """Return how many times better than its own each simulator explains an agent's data.

    ``(S, N)``. What is within the noise counts as the noise. Of the agent's own simulator, 0.
    """
    rows = np.arange(len(own))
    gain = energy[rows, own][:, None] / np.maximum(energy, 1.0)
    gain[rows, own] = 0.0
    return gain


def _swapped_pairs(
    gain: Floats,
    own: NDArray[np.integer],
    values: NDArray[np.integer],
    halves: Floats | None,
    rules: ValidationThresholds,
) -> tuple[NDArray[np.integer], Floats]:
    """Return each agent's best partner in a swap, and by how much at the least; 0 if it has none.

    Either explains the other's data better than its own: 1.5 times in squared error, with a
    likelihood ratio that exceeds the number of pairs over the level, and in either half of the
    data: chance, or something that happened, is not there throughout.

    Args:
        gain: ``(S, N)``, by ``_gain``; other arguments are those of ``mistaken``.
        own: ``(S,)``.
        values: ``(S,)``.
        halves: ``(2, S, N)`` or None.
        rules: what decides.
    """
    better = gain[:, own]  # (S, S), the data of one agent by the simulator of another
    pairs = max(len(own) * (len(own) - 1) / 2, 1)
    log_ratio = values[:, None] * (better - 1) / 2
    clear = (better > rules.swapped) & (log_ratio > math.log(pairs / rules.level))
    for half in () if halves is None else halves:
        clear &= _gain(half, own)[:, own] > rules.swapped
    both = np.where(clear & clear.T, np.minimum(better, better.T), 0.0)
    return both.argmax(axis=1), both.max(axis=1)


def _by_chance(gain: Floats, least: float, n_names: int) -> float:
    """Return the pairs that are expected, if simulators explain data so much better at random."""
    if least <= 0:
        return math.inf
    share = (gain >= least).sum(axis=1) / max(n_names - 1, 1)
    return float(np.square(share.sum()) - np.square(share).sum()) / 2
