"""Predictions of the ends of some agents' data, beside controls that ought to do worse.

Every agent's last trajectory is cut (``windows.split_ends``); its end is predicted open loop from
its recorded actions. An agent is known by what the model knows of it, or, if it is new, by what
comes before its end. From prediction and truth follow, agent by agent, a few statistics that say
how well it fits (``holdout_statistics``). Those of the reserved agents are kept in the run: they
are what is usual, and data of another kind stands out against them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adapt import panel_transitions, static_values
from twinfold.data.angles import wrap
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.data.windows import Windows, split_ends
from twinfold.metrics import mad_std, trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear_sums import LinearData, linear_data
from twinfold.models.posterior import Posterior, gather
from twinfold.models.rollout import predict_paths, rollout_members
from twinfold.uncertainty.column_draws import column_draws, column_values
from twinfold.uncertainty.controls import States, simple_controls
from twinfold.uncertainty.holdout_statistics import holdout_statistics
from twinfold.uncertainty.intervals import trajectory_scores, uncalibrated_band
from twinfold.uncertainty.matched_agents import MatchedAgents, match_agents
from twinfold.uncertainty.one_step_residuals import one_step_residuals
from twinfold.utils.device import on_device

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HoldoutSettings:
    """Numbers that decide what the errors of a held-out end are taken to be.

    Attributes:
        alike: difference of two actions that is none, in standard deviations of those of the fit.
        least_error: smallest error, in standard deviations of the state.
        most_error: largest error, in standard deviations of the state.
        shortest: steps from which memory, drift and change are defined.
    """

    alike: float = 0.01
    least_error: float = 1e-9
    most_error: float = 10.0
    shortest: int = 4


HOLDOUT = HoldoutSettings()
"""Those of every evaluation."""


class Redrawn(NamedTuple):
    """Predictions after recorded actions were replaced by others, drawn at random.

    Attributes:
        rmse: ``(S,)``, errors under the drawn actions, as ``HoldoutResult.rmse``.
        moved: ``(S,)``, how far predictions under drawn and recorded actions are apart, likewise.
        same: ``(S,)``, share of the steps at which the drawn action is the recorded one.
    """

    rmse: Floats
    moved: Floats
    same: Floats


class HoldoutResult(NamedTuple):
    """Predictions of S ends, at most one per agent.

    Attributes:
        match: who of the panel is who in the model.
        data: all transitions of the panel.
        agent: ``(S,)``, index into the panel's agents.
        ends: what followed.
        model: of the panel's agents alone, as they were known.
        middle: ``(S, H, D)``, predicted, raw units.
        width: ``(S, H, D)``, half-width of the uncalibrated band.
        error: ``(S, H, D)``, in standard deviations of the state; NaN where nothing was observed.
        rmse: ``(S,)``, over steps and columns.
        controls: by name (``controls.CONTROLS``), ``(S,)`` like ``rmse``.
        by_horizon: by name, "model" included, ``(S, H)`` root mean square over columns.
        residual: ``(S, H, D)``, of one step, in units of the noise; NaN beyond the end, and where
            nothing was observed.
        scores: ``(S, H)``, by ``trajectory_scores``.
        statistics: ``(S, len(STATISTICS))``, by ``holdout_statistics``; NaN where an end is too
            short.
        disagreement: ``(S,)``, spread of the members' predictions, in standard deviations of the
            state, over steps and columns as ``rmse`` is.
        redrawn: under actions all of which are drawn at random.
        redrawn_columns: under actions of which one column is, by column; empty if there is a single
            one, or if that was not asked for.
        steady: ``(S, C)``, which columns of the agent's recorded actions never vary, before its end
            or in it.
    """

    match: MatchedAgents
    data: Transitions
    agent: NDArray[np.int32]
    ends: Windows
    model: FittedModel
    middle: Floats
    width: Floats
    error: Floats
    rmse: Floats
    controls: dict[str, Floats]
    by_horizon: dict[str, Floats]
    residual: Floats
    scores: Floats
    statistics: Floats
    disagreement: Floats
    redrawn: Redrawn
    redrawn_columns: tuple[Redrawn, ...]
    steady: NDArray[np.bool_]


def evaluate_holdout(
    model: FittedModel,
    panel: PanelDataset,
    *,
    refit_from_prefix: bool = False,
    seed: int = 0,
    columns: bool = False,
) -> HoldoutResult:
    """Predict the ends of a panel's agents; of agents that the model knows, whole trajectories.

    Args:
        model: a fitted model with a posterior.
        panel: data with the model's columns.
        refit_from_prefix: whether agents that the model knows are to be known by the panel's data
            alone; for data that the model has had.
        seed: of the random controls.
        columns: whether to draw each action column by itself too.

    Raises:
        UsageError: columns, kind of action, angles or time step differ from those of the model.
        InvalidDataError: an action is none of the model's levels.
    """
    data, match = panel_transitions(model, panel), match_agents(model, panel)
    before, ends = split_ends(data, whole=match.known & (not refit_from_prefix))
    seen = as_known(model, panel, match, before, refit_from_prefix)
    paths, unknown = predict_paths(seen, ends.agent, ends.start, ends.action, ends.known)
    middle, width, _ = uncalibrated_band(seen, paths, 1 + np.arange(paths.shape[2]), unknown)
    error, scale = difference(model, middle, ends.truth), model.normalizer.state_scale
    drawn = _drawn_actions(ends, np.random.default_rng((seed, 13)))
    predicted = simple_controls(
        seen, before, ends, _kept_states(model, match), _other_sums(model, match)
    )
    predicted |= _model_controls(seen, ends, drawn, np.random.default_rng((seed, 14)))
    others = [(drawn, predicted["other actions"])]
    if columns:
        rng = np.random.default_rng((seed, 15))
        alone = column_draws(seen.action_code, ends.action, ends.mask, drawn, rng)
        others += [(action, _rolled(seen, ends, action)) for action in alone]
    redrawn = [_redrawn(seen, ends, middle, *pair) for pair in others]
    by_horizon = _by_horizon(model, ends, predicted | {"model": middle})
    overall = {name: _overall(values, _shares(ends)) for name, values in by_horizon.items()}
    rmse, residual = overall.pop("model"), one_step_residuals(seen, ends)
    scores = trajectory_scores(error, width, ends.mask, counted_values(ends))
    return HoldoutResult(
        match=match,
        data=data,
        agent=ends.agent,
        ends=ends,
        model=seen,
        middle=middle,
        width=width,
        error=error / scale,
        rmse=rmse,
        controls=overall,
        by_horizon=by_horizon,
        residual=residual,
        scores=scores,
        statistics=holdout_statistics(
            residual, scores, ends.mask, rmse, overall, HOLDOUT.shortest, counted_values(ends)
        ),
        disagreement=_overall(_rms(mad_std(paths) / scale), ends.mask),
        redrawn=redrawn[0],
        redrawn_columns=tuple(redrawn[1:]),
        steady=_steady(seen, before, ends),
    )


def as_known(
    model: FittedModel,
    panel: PanelDataset,
    match: MatchedAgents,
    before: Transitions,
    refit_from_prefix: bool,
) -> FittedModel:
    """A model of the panel's agents alone, in the panel's order.

    Args:
        model: the fitted model.
        panel: the agents.
        match: who of them is who in the model.
        before: what new agents are known by.
        refit_from_prefix: whether that goes for all agents.
    """
    whole = model.posterior
    prior, evidence, trained = whole[:3]
    place, n_agents = match.in_model, panel.n_agents
    known = np.flatnonzero(place >= 0) if not refit_from_prefix else np.zeros(0, np.int64)
    own = gather(model.members, model.normalizer, prior, before, n_agents)
    both = own.copy()
    for mine, theirs in zip(both[:3], evidence[:3], strict=True):
        mine[:, known] = theirs[:, place[known]]
    for mine, theirs in zip(both[3:], evidence[3:], strict=True):
        mine[known] = theirs[place[known]]
    flags = np.zeros(n_agents, bool)
    flags[known] = trained[place[known]]
    values = None
    if whole.values is not None:
        values = np.full((n_agents, whole.values.shape[1]), np.nan)
        given = static_values(model, panel)
        if given is not None:
            values = given[:n_agents]
        there = np.flatnonzero((place >= 0) & np.isnan(values).any(axis=1))
        values[there] = whole.values[place[there]]
        # Known agents are examined as they are known, whatever the panel says of them.
        values[known] = whole.values[place[known]]
    sums = linear_data(model.normalizer, before, n_agents, model.n_levels)
    sums = sums.put(known, model.sums.take(place[known]))
    posterior = Posterior(prior, both, flags, whole.static, values)
    factors = posterior.solve()[0]
    factors[:, known] = np.asarray(model.members.agents, np.float64)[:, place[known]]
    return replace(
        model,
        members=eqx.tree_at(lambda m: m.agents, model.members, on_device(factors)),
        agent_ids=panel.agent_ids,
        behaviour=None,
        posterior=posterior,
        calibration=None,
        sums=sums,
        recent=np.full((n_agents, model.recent.shape[1]), np.nan),
        ended=None,
    )


def difference(model: FittedModel, predicted: Floats, truth: Floats) -> Floats:
    """Return predicted less true states, ``(S, H, D)`` raw units, of angles the shorter way."""
    error = predicted - truth
    with np.errstate(invalid="ignore"):  # of a member that diverged
        for name in model.roles.angle:
            d = model.roles.state.index(name)
            error[..., d] = wrap(error[..., d])
    return error


def _by_horizon(
    model: FittedModel, ends: Windows, predicted: dict[str, Floats]
) -> dict[str, Floats]:
    """Return the errors of predictions over columns, by name, ``(S, H)`` each."""
    scale = model.normalizer.state_scale
    return {
        name: _rms(difference(model, values, ends.next_state) / scale, counted_values(ends))
        for name, values in predicted.items()
    }


def _redrawn(
    seen: FittedModel, ends: Windows, middle: Floats, action: NDArray[Any], path: Floats
) -> Redrawn:
    """Return what becomes of predictions ``middle`` under other actions: ``path``."""
    scale, truth = seen.normalizer.state_scale, ends.next_state
    error = _rms(difference(seen, path, truth) / scale, counted_values(ends))
    error = _overall(error, _shares(ends))
    with np.errstate(invalid="ignore"):  # of a member that diverged
        away = difference(seen, path - middle + truth, truth)
    moved = _overall(_rms(away / scale), ends.mask)
    return Redrawn(error, moved, _share_alike(seen, action, ends.action, ends.mask))


def _other_sums(model: FittedModel, match: MatchedAgents) -> LinearData:
    """Return the sums of the model's agents that are not in the panel."""
    return model.sums.take(np.flatnonzero(match.in_panel < 0))


def _kept_states(model: FittedModel, match: MatchedAgents) -> States:
    """Return the states of the panel's agents that the run keeps of its training data."""
    agent = np.where(model.sample.agent >= 0, match.in_panel[model.sample.agent], -1)
    return States(agent[agent >= 0], model.sample.state[agent >= 0])


def _drawn_actions(ends: Windows, rng: np.random.Generator) -> NDArray[Any]:
    """Actions of the ends, each drawn at random from all of them, ``(S, H, ...)``."""
    pool = ends.action[ends.mask]
    return pool[rng.integers(0, len(pool), ends.mask.shape)] if len(pool) else ends.action


def _model_controls(
    seen: FittedModel, ends: Windows, drawn: NDArray[Any], rng: np.random.Generator
) -> dict[str, Floats]:
    """Return predictions without the agent, or without its actions, ``(S, H, D)`` each."""
    prior = seen.posterior.prior
    members, index = seen.members, ends.agent
    average = eqx.tree_at(lambda m: m.agents, members, on_device(prior.mean[:, None]))
    # Every agent takes the place of another: a random circle, no agent its own neighbour.
    circle = rng.permutation(len(index))
    other = np.empty_like(index)
    other[circle] = index[np.roll(circle, 1)]
    return {
        "average agent": _rolled(seen, ends, ends.action, average, np.zeros_like(index)),
        "another agent": _rolled(seen, ends, ends.action, members, other),
        "other actions": _rolled(seen, ends, drawn),
    }


def _rolled(
    seen: FittedModel,
    ends: Windows,
    action: NDArray[Any],
    members: Any = None,
    agent: NDArray[Any] | None = None,
) -> Floats:
    """Return what is predicted of the ends under some actions, ``(S, H, D)``.

    Args:
        seen: the model.
        ends: where predictions start.
        action: ``(S, H, ...)``.
        members: in place of the model's.
        agent: ``(S,)``, in place of the ends' agents.
    """
    members = seen.members if members is None else members
    agent = ends.agent if agent is None else agent
    paths = rollout_members(members, seen.normalizer, agent, ends.start, action, ends.known)
    return trimmed_mean(paths)


def _alike(model: FittedModel, one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether actions are the same, or as good as."""
    if model.action_levels is not None:
        return one == two
    away = model.normalizer.encode_action(one) - model.normalizer.encode_action(two)
    return (np.abs(away) <= HOLDOUT.alike).all(axis=-1)


def _share_alike(
    model: FittedModel, one: NDArray[Any], two: NDArray[Any], mask: NDArray[np.bool_]
) -> Floats:
    same = _alike(model, one, two) & mask
    return same.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)


def _steady(seen: FittedModel, before: Transitions, ends: Windows) -> NDArray[np.bool_]:
    """Return which columns of an agent's actions never vary, ``(S, C)``."""
    values, past = (column_values(seen, part.action) for part in (ends, before))
    first = values[:, :1]
    steady = np.all((np.abs(values - first) <= HOLDOUT.alike) | ~ends.mask[..., None], axis=1)
    place = np.full(len(seen.agent_ids), -1)
    place[ends.agent] = np.arange(len(ends.agent))
    row = place[before.agent]
    known = row >= 0
    other = np.abs(past[known] - first[row[known], 0]) > HOLDOUT.alike
    np.logical_and.at(steady, row[known], ~other)
    return steady


def counted_values(ends: Windows) -> NDArray[np.bool_] | None:
    """Return which values were observed, ``(S, H, D)``; None if all were."""
    return None if ends.weight is None else ends.counted


def _shares(ends: Windows) -> NDArray[Any]:
    """Return how much each step counts, ``(S, H)``: the share of its columns that was observed."""
    return ends.mask if ends.weight is None else ends.counted.mean(axis=-1)


def _rms(error: Floats, counted: NDArray[np.bool_] | None = None) -> Floats:
    """Return the root mean square over columns, those that are counted."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.square(error)
        if counted is None:
            value = np.sqrt(squares.mean(axis=-1))
        else:
            total = np.where(counted, squares, 0.0).sum(axis=-1)
            value = np.sqrt(total / np.maximum(counted.sum(axis=-1), 1))
    most = HOLDOUT.most_error
    return np.clip(np.nan_to_num(value, nan=most, posinf=most), HOLDOUT.least_error, most)


def _overall(by_step: Floats, mask: NDArray[Any]) -> Floats:
    """Return the root mean square over the steps of a mask, or by their shares ``(S, H)``."""
    if mask.dtype != bool:
        return np.sqrt((mask * by_step**2).sum(axis=1) / mask.sum(axis=1))
    squared = np.where(mask, by_step**2, 0.0).sum(axis=1)
    return np.sqrt(squared / np.maximum(mask.sum(axis=1), 1))
