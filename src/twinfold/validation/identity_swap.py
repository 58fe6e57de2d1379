"""Identity of agents: swapped ids, and agents that are taken for others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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

PARTS = 8
"""Parts that an agent's data is cut into, by the order of its transitions."""

SINCE = {
    0: "",
    2: " from about a quarter of the data on",
    4: " from about half of the data on",
    5: " from about five eighths of the data on",
}
"""Parts after which ids may be swapped, in words: later on there is too little data."""


class Later(NamedTuple):
    """What is known if ids are swapped from about some time on.

    Attributes:
        energy: ``(S, N)``, mean squared residual of the data after that.
        values: ``(S,)``, how many residuals that is.
        halves: ``(2, S, N)``, energy of the beginning of that data and of the rest.
        before: ``(S, N)``, energy of the data before; None if there is none.
    """

    energy: Floats
    values: NDArray[np.integer]
    halves: Floats | None = None
    before: Floats | None = None


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

    parts = gather(model.members, model.normalizer, prior, _by_part(data), PARTS * len(agent_ids))

    def told(start: int, end: int) -> tuple[Floats, NDArray[np.integer]]:
        rows = _together(parts, start, end).take(known)
        return _energy(model, rows), np.maximum(rows.values(prior.noise.shape[1]), 1)

    def later(place: int) -> Later:
        # The parts beside the place are left out: the swap may be there, and no one makes its jump.
        start = place + 1 if place else 0
        middle = (start + PARTS) // 2
        halves = np.stack([told(start, middle)[0], told(middle, PARTS)[0]])
        return Later(*told(start, PARTS), halves, told(0, place - 1)[0] if place else None)

    whole, *some = [later(place) for place in SINCE]
    names = [agent_ids[int(n)] for n in known]
    return mistaken(
        whole.energy,
        place[known],
        names,
        model.agent_ids,
        whole.values,
        whole.halves,
        rules,
        some,
    )


def _by_part(data: Transitions) -> Transitions:
    """Return the transitions, those of each part of an agent's as if of an agent by itself."""
    first = np.searchsorted(data.agent, data.agent)
    count = np.bincount(data.agent)[data.agent] if len(data) else first
    part = PARTS * (np.arange(len(data)) - first) // np.maximum(count, 1)
    return replace(data, agent=(PARTS * data.agent + part).astype(data.agent.dtype))


def _together(parts: Evidence, start: int, end: int) -> Evidence:
    """Return the evidence of the parts from ``start`` to ``end``, by agent."""

    def summed(values: NDArray[Any], axis: int) -> NDArray[Any]:
        shape = (*values.shape[:axis], -1, PARTS, *values.shape[axis + 1 :])
        return values.reshape(shape).take(range(start, end), axis + 1).sum(axis + 1)

    return Evidence(
        *(summed(values, 1) for values in parts[:3]),
        *(summed(values, 0) for values in parts[3:]),
    )


def _energy(model: FittedModel, evidence: Evidence) -> Floats:
    """Return the mean squared residuals of S agents' data under N simulators, ``(S, N)``."""
    prior = model.posterior.prior
    shift = np.asarray(model.members.agents, np.float64) - prior.mean[:, None]  # (M, N, r)
    energy = evidence.energy[..., None] - 2 * np.einsum("msr,mnr->msn", evidence.moment, shift)
    squares = np.einsum("mnr,mnq->mnrq", shift, shift)
    for m in range(len(shift)):
        energy[m] += np.tensordot(evidence.gram[m], squares[m], axes=([1, 2], [1, 2]))
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
    some: Sequence[Later] = (),
) -> Check:
    """Find agents whose data other known agents' simulators explain far better than their own.

    Two agents of the data whose ids are swapped explain each other's data better than their own
    (``_swapped_pairs``), and by more than chance over all pairs. Agents change; then many
    simulators explain an agent's data better than its own, and among many pairs some do so either
    way. With f_i the share of all simulators that explain the data of i at least so much better,

        sum over pairs of f_i f_j

    pairs would be expected if which simulator fits which agent were chance; beyond ``chance_pairs``
    nobody is accused. Ids that are swapped from some time on, and were not before, are told by the
    data from then on alone: before, each agent's own simulator explains its data better than the
    other's does. That one simulator explains an agent's data ten times better, and not the
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
        some: the same of the data from some time on, the first time first.
    """
    rows, gain = np.arange(len(own)), _gain(energy, own)

    # One simulator that explains an agent's data far better than its own.
    looks_like, times = gain.argmax(axis=1), gain.max(axis=1)
    changed = (times > rules.mistaken) & (energy[rows, own] > rules.mistaken)

    # Two agents that explain each other's data better, of which chance explains none.
    swapped, by_chance = np.zeros(len(own), bool), np.full(len(own), math.inf)
    since = np.zeros(len(own), int)
    for start, later in enumerate([Later(energy, values, halves), *some]):
        gain = _gain(later.energy, own)
        partner, better = _swapped_pairs(gain, own, later, rules, 1 + len(some))
        chance = np.array([_by_chance(gain, value, energy.shape[1]) for value in better])
        fresh = (better > 0) & (chance <= rules.chance_pairs) & ~swapped
        looks_like = np.where(fresh, own[partner], looks_like)
        times = np.where(fresh, gain[rows, own[partner]], times)
        by_chance, since = np.where(fresh, chance, by_chance), np.where(fresh, start, since)
        swapped |= fresh

    bad = np.flatnonzero(changed | swapped)
    bad = bad[np.lexsort((-times[bad], ~swapped[bad]))]  # those that only warn come last
    plain: dict[str, Any] = {
        "ratio": times[bad].tolist(),
        "looks_like": [names[int(looks_like[s])] for s in bad],
        "by_chance": [float(by_chance[s]) if swapped[s] else None for s in bad],
        "since_part": since[bad].tolist(),
    }
    named = tuple(ids[int(s)] for s in bad)
    first: dict[str, Any] = {}
    if named:
        first = {"agent": named[0], "like": plain["looks_like"][0], "times": plain["ratio"][0]}
        first["since"] = list(SINCE.values())[plain["since_part"][0]]
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
    later: Later,
    rules: ValidationThresholds,
    times: int,
) -> tuple[NDArray[np.integer], Floats]:
    """Return each agent's best partner in a swap, and by how much at the least; 0 if it has none.

    Either explains the other's data better than its own: 1.5 times in squared error, with a
    likelihood ratio that exceeds the number of pairs over the level, and in either half of the
    data: chance, or something that happened, is not there throughout.

    Args:
        gain: ``(S, N)``, by ``_gain``; other arguments are those of ``mistaken``.
        own: ``(S,)``.
        later: the data.
        rules: what decides.
        times: from which on it is looked for.
    """
    better = gain[:, own]  # (S, S), the data of one agent by the simulator of another
    pairs = times * max(len(own) * (len(own) - 1) / 2, 1)
    log_ratio = later.values[:, None] * (better - 1) / 2
    clear = (better > rules.swapped) & (log_ratio > math.log(pairs / rules.level))
    for half in () if later.halves is None else later.halves:
        clear &= _gain(half, own)[:, own] > rules.swapped
    if later.before is not None:  # the other's was clearly worse than its own
        before = np.maximum(later.before[np.arange(len(own)), own], 1.0)
        clear &= later.before[:, own] > rules.swapped * before[:, None]
    both = np.where(clear & clear.T, np.minimum(better, better.T), 0.0)
    return both.argmax(axis=1), both.max(axis=1)


def _by_chance(gain: Floats, least: float, n_names: int) -> float:
    """Return the pairs that are expected, if simulators explain data so much better at random."""
    if least <= 0:
        return math.inf
    share = (gain >= least).sum(axis=1) / max(n_names - 1, 1)
    return float(np.square(share.sum()) - np.square(share).sum()) / 2
