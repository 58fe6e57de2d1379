"""Whose simulator explains an agent's data best: swapped ids, agents taken for others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adapt import panel_transitions
from twinfold.data.ids import AgentId, match_ids
from twinfold.data.panel import PanelDataset, Transitions
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import Evidence, gather
from twinfold.validation.check import Check, Status
from twinfold.validation.thresholds import CRITERIA, Criteria

Floats = NDArray[np.float64]


def same_agents(
    model: FittedModel, panel: PanelDataset, rules: Criteria = CRITERIA
) -> Check | None:
    """Whose simulator explains the fresh data of known agents best; None if none are known."""
    place = match_ids(model.agent_ids, list(panel.agent_ids))
    known = np.flatnonzero(place >= 0)
    if not len(known) or len(model.agent_ids) < 2:
        return None
    prior, data = model.posterior.prior, panel_transitions(model, panel)

    def evidence_of(rows: Transitions) -> Evidence:
        found = gather(model.members, model.normalizer, prior, rows, panel.n_agents)
        return found.take(known)

    whole, early = evidence_of(data), evidence_of(data.select(_earlier(data)))
    parts = [_energy(model, part) for part in (whole, early, whole.minus(early))]
    names = [panel.agent_ids[int(n)] for n in known]
    size = np.maximum(whole.count * prior.noise.shape[1], 1)
    return mistaken(
        parts[0], place[known], names, model.agent_ids, size, np.stack(parts[1:]), rules
    )


def _earlier(data: Transitions) -> NDArray[np.bool_]:
    """The earlier half of each agent's transitions."""
    first = np.searchsorted(data.agent, data.agent)
    count = np.bincount(data.agent)[data.agent] if len(data) else first
    return 2 * (np.arange(len(data)) - first) < count


def _energy(model: FittedModel, evidence: Evidence) -> Floats:
    """Mean squared residual of the data of S agents under each of N simulators, ``(S, N)``."""
    prior = model.posterior.prior
    shift = np.asarray(model.members.agents, np.float64) - prior.mean[:, None]  # (M, N, r)
    energy = evidence.energy[..., None] - 2 * np.einsum("msr,mnr->msn", evidence.moment, shift)
    for m in range(len(shift)):
        turned = np.einsum("srq,nq->snr", evidence.gram[m], shift[m])
        energy[m] += np.einsum("snr,nr->sn", turned, shift[m])
    size = np.maximum(evidence.count * prior.noise.shape[1], 1)
    return np.median(np.maximum(energy, 0.0), axis=0) / size[:, None]


def mistaken(
    energy: Floats,
    own: NDArray[np.integer],
    ids: Sequence[AgentId],
    names: Sequence[AgentId],
    values: NDArray[np.integer],
    halves: Floats | None = None,
    rules: Criteria = CRITERIA,
) -> Check:
    """Agents whose data other known agents' simulators explain far better than their own.

    Two agents of the data whose ids are swapped explain each other's data better than their own:
    1.5 times in squared error either way, with a likelihood ratio that exceeds the number of pairs
    over the level either way, and by more than chance over all pairs. Agents change; then many
    simulators explain an agent's data better than its own, and among many pairs some do so either
    way. With f_i the share of all simulators that explain the data of i at least so much better,

        sum over pairs of f_i f_j

    pairs would be expected if which simulator fits which agent were chance; beyond ``chance_pairs``
    nobody is accused. And it has to be so in either half of both agents' data: chance, or something
    that happened, is not there throughout. That one simulator explains an agent's data ten times
    better, and not the other way round, is a warning: agents that have changed look like others.

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
    rows, n_names = np.arange(len(own)), energy.shape[1]
    mine = energy[rows, own]
    # How much better each simulator explains the data of i, (S, N).
    gain = mine[:, None] / np.maximum(energy, 1.0)
    gain[rows, own] = 0.0
    best = gain.argmax(axis=1)
    ratio = gain[rows, best]
    alike = (ratio > rules.mistaken) & (mine > rules.mistaken)
    # Of pairs of the data's own agents, either way.
    better = gain[:, own]
    pairs = max(len(own) * (len(own) - 1) / 2, 1)
    enough = values[:, None] * (better - 1) / 2 > math.log(pairs / rules.level)
    clear = (better > rules.swapped) & enough
    for part in () if halves is None else halves:
        clear &= part[rows, own][:, None] / np.maximum(part[:, own], 1.0) > rules.swapped
    swapped = np.where(clear & clear.T, np.minimum(better, better.T), 0.0)
    partner = swapped.argmax(axis=1)
    score = swapped[rows, partner]
    chance = np.array([_by_chance(gain, value, n_names) for value in score])
    pair = (score > 0) & (chance <= rules.chance_pairs)
    best = np.where(pair, own[partner], best)
    ratio = np.where(pair, better[rows, partner], ratio)
    found = np.flatnonzero(alike | pair)
    found = found[np.lexsort((-ratio[found], ~pair[found]))]  # those that only warn come last
    named = tuple(ids[int(s)] for s in found)
    like = [names[int(best[s])] for s in found]
    status: Status = "fail" if pair.any() else "warn" if len(found) else "pass"
    return Check(
        "mistaken identity",
        status,
        f"{len(found)} of {len(own)} agents",
        "none",
        "No agent's data is explained by another's simulator beyond chance."
        if not len(found)
        else f"The data of {named[0]!r} fits the simulator of {like[0]!r} "
        f"{ratio[found[0]]:.3g} times better than its own"
        + (
            ", and the other way round: ids may be swapped."
            if status == "fail"
            else ": it has changed, or its id is another's."
        ),
        agents=named,
        values={
            "ratio": ratio[found].tolist(),
            "looks_like": like,
            "by_chance": [float(chance[s]) if pair[s] else None for s in found],
        },
    )


def _by_chance(gain: Floats, least: float, n_names: int) -> float:
    """Pairs either way expected by chance, if simulators explain data so much better at random."""
    if least <= 0:
        return math.inf
    share = (gain >= least).sum(axis=1) / max(n_names - 1, 1)
    return float(np.square(share.sum()) - np.square(share).sum()) / 2
