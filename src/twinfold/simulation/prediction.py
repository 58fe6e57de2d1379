"""Predictions with band and support: the path from model, agents, starts and actions to an answer.

Axes: M members, Q questions, H steps, K predicted states of all questions, D state columns, A
action columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.levels import coded_places
from twinfold.metrics import trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.known_inputs import draws_of
from twinfold.models.posterior import POSTERIOR
from twinfold.models.ranges import is_outside
from twinfold.models.rollout import predict_paths, rollout_members
from twinfold.simulation.inputs import NO_BAND, NO_REACTION, STRAYS, untold
from twinfold.simulation.known import KnownInputs
from twinfold.uncertainty.intervals import band_factors, prediction_band
from twinfold.uncertainty.support import (
    SUPPORT,
    UNSUPPORTED,
    Support,
    abstention,
    path_support,
    support_columns,
)
from twinfold.utils.cores import usable_cores
from twinfold.utils.text import unused_name

Floats = NDArray[np.float64]

_SLICE = 1024  # questions rolled out at once
_VALUES = 2**23  # predicted numbers held at once per thread, 64 MB


class Prediction(NamedTuple):
    """Predicted states and what stands behind them; ``...`` is ``(Q, H)`` or ``(K,)``.

    Attributes:
        middle: ``(..., D)``, robust mean over the members, raw units.
        lower, upper: ``(..., D)``, the band.
        support: ``(...)`` arrays.
    """

    middle: Floats
    lower: Floats
    upper: Floats
    support: Support

    def abstain(self, least: float) -> NDArray[np.bool_]:
        """Erase what has less support, and return where that is: ``(...)``."""
        abstained = self.support.score < least
        for values in (self.middle, self.lower, self.upper):
            values[abstained] = np.nan
        return abstained

    def columns(self, names: Sequence[str], taken: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return columns of a table: the states, ``<state>_lower``, ``<state>_upper``, support.

        A name that is taken already (a state column may itself be called ``x_lower``) gets an
        underscore at its end.
        """
        middle, lower, upper = (values.reshape(-1, len(names)) for values in self[:3])
        table: dict[str, NDArray[Any]] = {name: middle[:, d] for d, name in enumerate(names)}
        for d, name in enumerate(names):
            for end, values in (("lower", lower), ("upper", upper)):
                table[unused_name(f"{name}_{end}", table, taken)] = values[:, d]
        return table | support_columns(self.support, (*taken, *table))


class PredictedPaths(NamedTuple):
    """A prediction of whole paths.

    Attributes:
        states: ``(Q, H)``, with their band and support.
        members: ``(M, Q, H, D)``, each from its own predictions.
        sd: ``(Q, H, D)``, standard deviation by what is not known of the model and the agent.
        simultaneous: whether the band is calibrated on reserved agents and this far ahead.
    """

    states: Prediction
    members: Floats
    sd: Floats
    simultaneous: bool


def path_doubts(
    model: FittedModel, start: Floats, found: PredictedPaths, least: float | None
) -> list[str]:
    """Abstain where there is less support, and return what is doubtful, a line each."""
    middle = found.states.middle
    lines = [] if np.isfinite(middle).all() else ["the predictions diverge"]
    lines += [line for _, line in untold(model, start)]
    if model.roles.action and not model.members.reacts:
        lines.append(NO_REACTION)
    if model.band is None:
        lines.append(NO_BAND)
    start = start[:, : middle.shape[2]]
    left = is_outside(model, middle) & ~is_outside(model, start)[:, None]
    if left.any():
        lines.append(f"{STRAYS} (first at step {int(left.any(axis=0).argmax()) + 1})")
    if least is not None:
        abstained = found.states.abstain(least)
        found.sd[abstained] = found.members[:, abstained] = np.nan
        if abstained.any():
            lines.append(abstention(found.states.support, abstained, least))
    return lines


def predict(
    model: FittedModel,
    agent: NDArray[np.integer],
    start: Floats,
    codes: NDArray[Any],
    known: KnownInputs | None = None,
) -> PredictedPaths:
    """Return predictions of questions of one length, with band and support.

    Args:
        model: the fitted model.
        agent: ``(Q,)`` indices.
        start: ``(Q, D)`` raw units, or ``(Q, W)`` with the steps before.
        codes: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        known: ``(Q, H)``, known inputs; None for a model without any.
    """
    paths, unknown = _paths(model, agent, start, codes, known)
    horizon = codes.shape[1]
    factor, simultaneous = band_factors(model, np.full(len(agent), horizon), agent)
    middle, low, high, sd = prediction_band(
        model, paths, np.arange(1, horizon + 1), unknown, factor[:, None]
    )
    first = start[:, None, : middle.shape[2]]
    before = np.concatenate([first, middle[:, :-1]], axis=1)
    told = None if known is None else known.value
    support = path_support(model, agent, before, codes, known=told)
    return PredictedPaths(Prediction(middle, low, high, support), paths, sd, simultaneous)


def _paths(
    model: FittedModel,
    agent: NDArray[np.integer],
    start: Floats,
    codes: NDArray[Any],
    known: KnownInputs | None,
) -> tuple[Floats, Floats]:
    """Return what ``predict_paths`` does, where known inputs are held with how far they may go.

    The variance of predictions under changes that the data has over as many steps is added.
    """
    told = None if known is None else known.value
    paths, unknown = predict_paths(model, agent, start, codes, told)
    if known is None or model.wander is None or not known.since.any():
        return paths, unknown
    norm, middle = model.normalizer, trimmed_mean(paths)
    variance = np.zeros_like(middle)
    limits = norm.known_low, norm.known_high
    places = coded_places(model.roles.exogenous, model.levels)
    words = [place for name, place in places if name in model.levels]
    drawn = draws_of(model.wander, known.value, known.since, *limits, words)
    for one in drawn:
        moved = rollout_members(model.members, norm, agent, start, codes, one)
        variance += np.square(trimmed_mean(moved) - middle) / len(drawn)
    return paths, np.hypot(unknown, np.sqrt(variance))


def predict_queries(
    model: FittedModel,
    agent: NDArray[np.integer],
    start: Floats,
    codes: NDArray[Any],
    offset: NDArray[np.intp],
    length: NDArray[np.intp],
    known: KnownInputs | None = None,
) -> Prediction:
    """Return predictions of many questions of all lengths: ``(K,)``, question after question.

    Questions of similar length go together, so that a long one does not stretch all others.

    Args:
        model: the fitted model.
        agent: ``(Q,)`` indices.
        start: ``(Q, D)`` raw units, or ``(Q, W)`` with the steps before.
        codes: ``(K,)`` level indices or ``(K, A)`` raw units.
        offset: ``(Q,)``, where each question's actions begin in ``codes``.
        length: ``(Q,)``, how many they are.
        known: ``(K,)``, known inputs; None for a model without any.
    """
    n_state = len(model.roles.state)
    out = [np.empty((len(codes), n_state)) for _ in range(3)]
    factor, _ = band_factors(model, length, agent)

    def roll(job: tuple[int, NDArray[np.intp]]) -> None:
        horizon, rows = job
        step = np.arange(horizon)
        place = offset[rows, None] + step  # (q, H)
        used = step < length[rows, None]
        # Past its end a question repeats its last action; what comes of it is not looked at.
        last = offset[rows] + length[rows] - 1
        padded = np.minimum(place, last[:, None])
        told = None if known is None else known.take(padded)
        paths, unknown = _paths(model, agent[rows], start[rows], codes[padded], told)
        steps = np.broadcast_to(step + 1, used.shape)[used]
        wider = np.broadcast_to(factor[rows, None], used.shape)[used]
        found = prediction_band(model, paths[:, used], steps, unknown[used], wider)
        for target, values in zip(out, found, strict=False):
            target[place[used]] = values

    width = model.n_members * n_state * (1 + POSTERIOR.draws)
    with ThreadPoolExecutor(min(4, usable_cores())) as pool:
        for _ in pool.map(roll, _batches(length, width)):
            pass
    middle, lower, upper = out
    before = np.roll(middle, 1, axis=0)
    before[offset] = start[:, :n_state]
    who = np.repeat(agent, length)
    told = None if known is None else known.value[:, None]
    support = path_support(model, who, before[:, None], codes[:, None], known=told)
    return Prediction(middle, lower, upper, _least_so_far(support, offset, length))


def _least_so_far(found: Support, offset: NDArray[np.intp], length: NDArray[np.intp]) -> Support:
    """Return the support of single steps, ``(K, 1)``, as that of paths: the least so far."""
    score, own, basis = found.map(lambda values: values[:, 0])
    for first, steps in zip(offset, length, strict=True):
        part = slice(first, first + steps)
        score[part] = np.minimum.accumulate(score[part])
    return Support(
        score, own, np.where(score < SUPPORT.unsupported, UNSUPPORTED, basis).astype(np.int8)
    )


def _batches(length: NDArray[np.intp], width: int) -> list[tuple[int, NDArray[np.intp]]]:
    """Return the horizon and the questions of each batch.

    Horizons are powers of two, and from 32 on also halfway between: few programs to compile, and
    at most a third of the steps for nothing.
    """
    power = 2 ** np.ceil(np.log2(length)).astype(np.int64)
    between = power // 4 * 3
    horizons = np.where((length <= between) & (power > 32), between, power)
    jobs = []
    for horizon in np.unique(horizons)[::-1].tolist():
        rows = np.flatnonzero(horizons == horizon)
        size = int(np.clip(_VALUES // (horizon * width), 1, _SLICE))
        jobs += [(horizon, part) for part in np.array_split(rows, -(-len(rows) // size))]
    return jobs
