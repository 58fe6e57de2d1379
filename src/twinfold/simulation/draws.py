"""Answers with the noise of the world: drawn trajectories, and what a band is made of.

Axes: Q questions of H steps, K predicted states of all, n draws, D state columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold.models.fitted_model import FittedModel
from twinfold.models.noisy_rollout import noisy_paths
from twinfold.simulation.known import KnownInputs
from twinfold.simulation.prediction import predict
from twinfold.simulation.query_table import Queries
from twinfold.utils.text import unused_name

Floats = NDArray[np.float64]

_VALUES = 2**24  # drawn numbers held at once, 128 MB

NOISE_DRAWS = 64
"""Draws of each member from which the size of the noise is told."""


def drawn_questions(
    model: FittedModel,
    agent: NDArray[np.integer],
    start: Floats,
    codes: NDArray[Any],
    known: KnownInputs | None,
    n_draws: int,
    seed: int = 0,
) -> Floats:
    """Return draws of what may be measured, ``(n, Q, H, D)``; members take turns.

    Args:
        model: the fitted model.
        agent: ``(Q,)`` indices.
        start: ``(Q, D)`` or ``(Q, W)``, raw units.
        codes: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        known: ``(Q, H)``, known inputs; None for a model without any.
        n_draws: n.
        seed: of the draws.
    """
    each, told = -(-n_draws // model.n_members), None if known is None else known.value
    paths = noisy_paths(model, agent, start, codes, each, seed, told)
    drawn = np.moveaxis(paths, (2, 0), (0, 1))  # (n, M, Q, H, D)
    return drawn.reshape(-1, *drawn.shape[2:])[:n_draws]


def parts_of_questions(
    model: FittedModel,
    agent: NDArray[np.integer],
    start: Floats,
    codes: NDArray[Any],
    known: KnownInputs | None,
) -> tuple[Floats, Floats]:
    """Return the standard deviations of noise and of ignorance, ``(Q, H, D)`` each, raw units.

    Arguments as of ``drawn_questions``.
    """
    told = None if known is None else known.value
    paths = noisy_paths(model, agent, start, codes, NOISE_DRAWS, known=told, mean=True)
    with np.errstate(invalid="ignore", over="ignore"):  # of a member that diverged
        noise = np.sqrt(np.median(paths.var(axis=2), axis=0))
    return noise, predict(model, agent, start, codes, known).sd


def drawn_states(model: FittedModel, asked: Queries, n_draws: int, seed: int = 0) -> Floats:
    """Return draws of what may be measured, ``(n, K, D)``, of all questions."""
    drawn = np.empty((n_draws, len(asked.order), len(model.roles.state)))
    for place, questions in _by_length(asked, n_draws * len(model.roles.state)):
        drawn[:, place] = drawn_questions(model, *questions, n_draws, seed)
    return drawn


def uncertainty_parts(model: FittedModel, asked: Queries) -> tuple[Floats, Floats]:
    """Return the standard deviations of noise and of ignorance, ``(K, D)`` each, raw units."""
    shape = len(asked.order), len(model.roles.state)
    noise, ignorance = np.empty(shape), np.empty(shape)
    width = NOISE_DRAWS * model.n_members * len(model.roles.state)
    for place, questions in _by_length(asked, width):
        noise[place], ignorance[place] = parts_of_questions(model, *questions)
    return noise, ignorance


def _by_length(
    asked: Queries, width: int
) -> Iterator[tuple[NDArray[np.intp], tuple[Any, Any, Any, Any]]]:
    """Give questions of one length, not too many at once, and the places of their states.

    Places are ``(Q, H)``; then agents, starts, actions ``(Q, H[, A])`` and known inputs.

    Args:
        asked: all questions.
        width: numbers that a step of a question is computed from.
    """
    for steps in np.unique(asked.length):
        rows = np.flatnonzero(asked.length == steps)
        parts = -(-len(rows) * int(steps) * width // _VALUES)
        for some in np.array_split(rows, min(parts, len(rows))):
            place = asked.offset[some, None] + np.arange(steps)
            known = None if asked.known is None else asked.known.take(place)
            yield place, (asked.agent[some], asked.start[some], asked.codes[place], known)


def parts_columns(
    names: Sequence[str], taken: Sequence[str], noise: Floats, ignorance: Floats
) -> dict[str, NDArray[Any]]:
    """Return columns ``<state>_noise`` and ``<state>_ignorance``, with underscores where taken."""
    table: dict[str, NDArray[Any]] = {}
    for d, name in enumerate(names):
        for end, values in (("noise", noise), ("ignorance", ignorance)):
            table[unused_name(f"{name}_{end}", table, taken)] = values[:, d]
    return table


def draws_table(before: dict[str, Any], names: Sequence[str], drawn: Floats) -> pd.DataFrame:
    """Return a row per draw and predicted state: what goes before, ``draw`` from 0, the states.

    Args:
        before: columns of the predicted states, ``(K,)`` each.
        names: of the state columns.
        drawn: ``(n, K, D)``.
    """
    n_draws, n_rows = drawn.shape[:2]
    column = unused_name("draw", before, names)
    table = pd.DataFrame(before, copy=False)
    table = pd.concat([table] * n_draws, ignore_index=True)
    table[column] = np.repeat(np.arange(n_draws), n_rows)
    flat = drawn.reshape(-1, drawn.shape[2])
    return table.assign(**{name: flat[:, d] for d, name in enumerate(names)})
