"""New agents, and more data of known ones, without touching the nets.

The posterior of an agent's factors depends on sums over its transitions (``posterior``). To adapt
is to add to these sums and solve a system of r equations per member. Data may come in any order and
in any parts, one transition at a time or a million; forgetting an agent drops its sums.
"""

from __future__ import annotations

import datetime
import functools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adaptation_settings import ADAPTATION
from twinfold.adaptation.fill_missing import fill_missing
from twinfold.adaptation.input_checks import (
    check_columns,
    range_doubts,
    reach_problems,
    static_doubts,
    step_doubts,
    with_levels_of,
)
from twinfold.adaptation.known_columns import in_even_steps, known_rows
from twinfold.data.ids import AgentId, match_ids
from twinfold.data.levels import coded_names
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import DataRanges, Transitions
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.behaviour_policy import Behaviour
from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear_sums import LinearData, linear_data
from twinfold.models.posterior import (
    Evidence,
    Posterior,
    gather,
    misfit,
)
from twinfold.models.prior import Prior
from twinfold.models.ranges import agent_ranges, ranges_of, ranges_with
from twinfold.models.recent import last_starts, last_times
from twinfold.models.run_info import Adaptation
from twinfold.utils.device import on_device
from twinfold.utils.text import and_more, listed

Floats = NDArray[np.float64]
Warn = Callable[[str], None]


def adapt(
    model: FittedModel,
    panel: PanelDataset,
    *,
    strict: bool = False,
    warn: Warn | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> FittedModel:
    """Return a model that also knows the agents of a panel, in closed form.

    New agents are added; data of known agents is added to what is known of them. The nets stay as
    they are, and so do the predictions for all other agents. An agent without a transition is added
    as the average one, with a band as wide as the population.

    Args:
        model: a fitted model.
        panel: data with the same state and action columns, not used for this model before.
        strict: refuse states and actions far outside the range of the data that the model was
            given so far, rather than warn of them.
        warn: receives what is doubtful about the data; None for ``warnings.warn``.
        progress: receives ("adapting", rows done, rows in all).

    Raises:
        UsageError: columns, kind of action or angles differ from those of the model, or the time
            step by half or more, or the model has had this very data already.
        InvalidDataError: an action is none of the model's levels; values are too far from the
            model's data to compute with, where every agent that has some is named and none is
            adapted; or ``strict``, and something is out of range.
    """
    warn = warn or functools.partial(warnings.warn, stacklevel=2)
    fingerprint = panel.fingerprint()
    panel = in_even_steps(model, panel, warn)
    data = panel_transitions(model, panel)
    if model.info.has_had(fingerprint):
        raise UsageError(
            "the model has had this data already; counting it twice would make it too sure of it"
        )
    static = static_values(model, panel)
    step_doubts(model, panel, warn)
    range_doubts(model, panel, data, warn, strict=strict)
    ids = (*panel.agent_ids, *panel.left_out)
    static_doubts(model, ids, static, warn)
    place = match_ids(model.agent_ids, list(ids))
    unknown: Any = np.ones(len(ids), bool)
    if static is not None and model.posterior.static is not None:
        unknown = np.isnan(static).all(axis=1)
    bare = [ids[n] for n in range(panel.n_agents, len(ids)) if place[n] < 0 and unknown[n]]
    if bare:
        warn(
            f"agent {bare[0]!r}{and_more(len(bare) - 1)}: no transition (two rows in a row are "
            "needed); taken to be an average agent, with a band as wide as the population"
        )
    ended = np.append(last_times(panel), np.full(len(panel.left_out), np.nan))
    adapted = with_transitions(model, ids, data, progress, static, ended)
    _misfits(adapted, match_ids(adapted.agent_ids, list(ids)), warn)
    entry = Adaptation(
        fingerprint=fingerprint,
        agents=len(ids),
        new_agents=int((place < 0).sum()),
        transitions=len(data),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    return replace(adapted, info=model.info.changed(adapted=(*model.info.adapted, entry)))


def panel_transitions(model: FittedModel, panel: PanelDataset) -> Transitions:
    """Return a panel's transitions as the model counts its actions.

    Raises:
        UsageError: columns, kind of action or angles differ from those of the model, or the time
            step by half or more.
        InvalidDataError: an action is none of the model's levels, or values are too far from the
            model's data to compute with; every agent that has some is named.
    """
    check_columns(model, panel)
    panel = with_levels_of(model, panel)
    known = known_rows(model, panel)
    problems = reach_problems(model.normalizer, panel, known, model.known_names)
    if problems:
        raise InvalidDataError(problems)
    panel = fill_missing(model, panel)
    alone = not model.normalizer.acted_mean.size
    uneven = replace(panel, uneven=model.uneven)  # so its known inputs are
    data = uneven.transitions(model.history, known, changes_alone=alone)
    return data.counted_by(model.info.memory_trust)


def static_values(model: FittedModel, panel: PanelDataset) -> Floats | None:
    """Return the static columns that the model knows, ``(n, C)``: ``agent_ids``, then ``left_out``.

    NaN in columns that the panel does not have; None if the model or the panel has none.
    """
    known = model.posterior
    if known.values is None or panel.static is None:
        return None
    theirs = coded_names(panel.roles.static, panel.levels)
    parts = []
    for column in model.roles.static:
        names = coded_names([column], model.levels)
        part = np.full((len(panel.static), len(names)), np.nan)
        for c, name in enumerate(names):
            if name in theirs:
                part[:, c] = panel.static[:, theirs.index(name)]
        if column in model.levels and column in panel.levels:
            # Of a word that was never seen nothing is known.
            own = [theirs.index(name) for name in coded_names([column], panel.levels)]
            part = np.where(np.isnan(part), 0.0, part)
            part[np.isnan(panel.static[:, own]).any(axis=1) | ~part.any(axis=1)] = np.nan
        parts.append(part)
    return np.concatenate(parts, axis=1)


def with_transitions(
    model: FittedModel,
    ids: tuple[AgentId, ...],
    data: Transitions,
    progress: Callable[[str, int, int], None] | None = None,
    static: Floats | None = None,
    ended: Floats | None = None,
) -> FittedModel:
    """Do what ``adapt`` does, without checks.

    Args:
        model: a fitted model with a posterior.
        ids: of the agents that ``data.agent`` counts, known to the model or not.
        data: transitions ordered by agent; actions as the model counts its levels.
        progress: receives ("adapting", rows done, rows in all).
        static: ``(n, C)``, the agents' static columns, NaN where not known; None if none is.
        ended: ``(n,)``, when their data ended, in ticks; None if it is not known.
    """
    known = model.posterior
    found = gather(
        model.members,
        model.normalizer,
        known.prior,
        data,
        len(ids),
        None if progress is None else lambda done, of: progress("adapting", done, of),
    )
    place = match_ids(model.agent_ids, list(ids))
    seen = agent_ranges(model, data, len(ids))
    sums = linear_data(model.normalizer, data, len(ids), model.n_levels)
    recent = last_starts(data, len(ids), model.roles, model.uneven)
    return with_evidence(model, known, ids, place, found, sums, static, seen, recent, ended)


def forget(model: FittedModel, agents: Iterable[AgentId]) -> FittedModel:
    """Return a model that does not know some agents any more.

    Their factors, sums, ranges and kept states are gone, as if they had never been adapted to, and
    so is what an agent says of the band, which then rests on the others. Nets that were
    trained on an agent's data keep what they learned from it; only a new fit undoes that.

    Args:
        model: a fitted model.
        agents: ids.

    Raises:
        UsageError: an id is unknown, or no agent is left.
    """
    gone = np.unique(model.agent_indices(agents)).astype(np.int64)
    kept = np.setdiff1d(np.arange(len(model.agent_ids)), gone)
    if not len(kept):
        raise UsageError("no agent would be left; a model needs one")
    behaviour = model.behaviour
    if behaviour is not None:
        behaviour = _replaced(behaviour, np.asarray(behaviour.factors)[kept])
    return replace(
        model,
        members=_replaced(model.members, np.asarray(model.members.agents)[:, kept]),
        agent_ids=tuple(model.agent_ids[n] for n in kept),
        behaviour=behaviour,
        posterior=model.posterior.take(kept),
        sums=model.sums.take(kept),
        recent=model.recent[kept],
        ended=None if model.ended is None else model.ended[kept],
        sample=model.sample.take(kept),
        calibration=None if model.calibration is None else model.calibration.take(kept),
        added_ranges=ranges_of(model.added_ranges, kept),
        noise=None if model.noise is None else model.noise.take(kept),
    )


def with_evidence(
    model: FittedModel,
    known: Posterior,
    ids: tuple[AgentId, ...],
    place: NDArray[np.integer],
    found: Evidence,
    sums: LinearData,
    static: Floats | None = None,
    seen: DataRanges | None = None,
    recent: Floats | None = None,
    ended: Floats | None = None,
) -> FittedModel:
    """Return the model with more evidence: of known agents at ``place``, of new ones at -1.

    Args:
        model: a fitted model.
        known: its posterior.
        ids: the n agents.
        place: ``(n,)``, index of each in the model; -1 for a new one.
        found: of the n agents.
        sums: of the n agents' data, for linear models.
        static: ``(n, C)``, static columns, NaN where nothing is new; an agent of which all are
            known is known by these from now on.
        seen: ``(n, D)`` and ``(n, A)``, the ranges of their data; NaN where there is none.
        recent: ``(n, W)``, where their data ended; NaN where it is not known.
        ended: ``(n,)``, when it did, in ticks; NaN where it is not known.

    Raises:
        InvalidDataError: the factors of some agents would not be numbers; they are named.
    """
    # Known agents first, then new ones, which come after all that the model has.
    old, new = np.flatnonzero(place >= 0), np.flatnonzero(place < 0)
    order, n_new = np.concatenate([old, new]), len(new)
    n_before = len(model.agent_ids)
    touched = np.concatenate([place[old], n_before + np.arange(n_new)]).astype(np.int64)

    # Sums add up.
    evidence = known.evidence.add(place[old], found.take(old)).join(found.take(new))
    linear = model.sums.add(place[old], sums.take(old)).join(sums.take(new))
    trained = np.concatenate([known.trained, np.zeros(n_new, bool)])
    values = _static_columns(known, touched, n_new, None if static is None else static[order])
    posterior = Posterior(known.prior, evidence, trained, known.static, values)

    # Factors are solved for where something is new; all others stay, to the last bit.
    before = np.asarray(model.members.agents)
    factors = np.concatenate(
        [before, np.zeros((len(before), n_new, before.shape[2]), before.dtype)], axis=1
    )
    factors[:, touched] = posterior.take(touched).solve()[0]
    _check_finite(known.prior, factors[:, touched], [ids[n] for n in order])
    behaviour = model.behaviour
    if behaviour is not None:
        behaviour = _replaced(behaviour, _policy_factors(before[0], behaviour, factors[0], touched))
    if seen is not None:
        seen = DataRanges(*(column[order] for column in seen))

    # Where the data ended, and when: of agents with a transition.
    recent = np.full((len(ids), model.recent.shape[1]), np.nan) if recent is None else recent[order]
    ended = np.full(len(ids), np.nan) if ended is None else ended[order]
    moved, times = np.isfinite(recent[:, 0]), model.ended
    if times is None:
        times = np.full(n_before, np.nan)
    return replace(
        model,
        members=_replaced(model.members, factors),
        agent_ids=(*model.agent_ids, *(ids[n] for n in new)),
        behaviour=behaviour,
        posterior=posterior,
        added_ranges=ranges_with(model, touched, n_new, seen),
        recent=_with_rows(model.recent, touched, n_new, recent, moved),
        ended=_with_rows(times, touched, n_new, ended, moved),
        sums=linear,
        noise=None if model.noise is None else model.noise.with_new(n_new),
    )


def _with_rows(
    before: Floats,
    touched: NDArray[np.integer],
    n_new: int,
    given: Floats,
    known: NDArray[np.bool_],
) -> Floats:
    """Return rows of all agents ``(N + n_new, ...)``, of ``touched`` as given where known."""
    found = np.concatenate([before, np.full((n_new, *before.shape[1:]), np.nan)])
    found[touched[known]] = given[known]
    return found


def _check_finite(prior: Prior, factors: NDArray[Any], ids: list[AgentId]) -> None:
    """Refuse factors ``(M, n, r)`` that are no numbers, but of members that diverged."""
    bad = ~np.isfinite(factors[prior.sound]).all(axis=(0, 2))
    if bad.any():
        names = [repr(ids[n]) for n in np.flatnonzero(bad)]
        raise InvalidDataError(
            f"no simulator can be made of the data of agent {listed(names, 12)}: its values are "
            "too large to compute with; correct them, or leave the agent out"
        )


def _static_columns(
    known: Posterior, touched: NDArray[np.integer], n_new: int, given: Floats | None
) -> Floats | None:
    """Return all agents' static columns, those of ``touched`` as ``given`` where that is known."""
    if known.values is None:
        return None
    values = np.concatenate([known.values, np.full((n_new, known.values.shape[1]), np.nan)])
    if given is not None:
        values[touched] = np.where(np.isnan(given), values[touched], given)
    return values


def _policy_factors(
    before: NDArray[Any], behaviour: Behaviour, factors: NDArray[Any], touched: NDArray[np.integer]
) -> Floats:
    """Return factors as the policy of the data reads them: standardised as when it was learned.

    Those of agents that are not touched stay, to the last bit.
    """
    read = np.asarray(behaviour.factors, np.float64)
    spread = before.std(axis=0)
    slope = np.where(spread > 0, read.std(axis=0) / np.maximum(spread, 1e-30), 0.0)
    found = np.zeros(factors.shape)
    found[: len(read)] = read
    found[touched] = (factors[touched] - before.mean(axis=0)) * slope + read.mean(axis=0)
    return found


def _replaced(holder: Any, factors: NDArray[Any]) -> Any:
    name = "factors" if isinstance(holder, Behaviour) else "agents"
    # Not dataclasses.replace: the arrays of a stack have an axis more than their annotations say.
    return eqx.tree_at(lambda x: getattr(x, name), holder, on_device(factors))


def _misfits(model: FittedModel, index: NDArray[np.integer], warn: Warn) -> None:
    """Say which agents no choice of factors explains."""
    known = model.posterior
    values = np.median(agent_misfit(model), axis=0)
    usual = values[known.trained & (known.evidence.count > 0)]
    limit = ADAPTATION.misfit
    if len(usual):
        high = float(np.quantile(usual, ADAPTATION.misfit_quantile))
        limit = max(limit, ADAPTATION.misfit_times * high)
    bad = index[values[index] > limit]
    if len(bad):
        worst = int(bad[values[bad].argmax()])
        more = and_more(len(bad) - 1)
        warn(
            f"agent {model.agent_ids[worst]!r}{more}: the data does not fit any agent the model "
            f"can express (squared errors {values[worst]:.3g} times the noise): contradictory "
            "rows, another regime, or an agent unlike all others; its band is widened accordingly"
        )


def agent_misfit(model: FittedModel) -> Floats:
    """Return phi of every member and agent, ``(M, N)``: squares over squared noise, at least 1."""
    known = model.posterior
    shift = np.asarray(model.members.agents, np.float64) - known.prior.mean[:, None]
    return misfit(known.prior, known.evidence, shift)
