"""Answers with the noise of the world: drawn trajectories, and what a band is made of.

Axes: K predicted states of all queries, n draws, D state columns.
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

Floats = NDArray[np.float64]

NOISE_DRAWS = 64
"""Draws of each member from which the size of the noise is told."""


def drawn_question(
    model: FittedModel,
    agent: int,
    start: Floats,
    codes: NDArray[Any],
    known: KnownInputs | None,
    n_draws: int,
    seed: int = 0,
) -> Floats:
    """Return draws of what may be measured, ``(n, H, D)``; members take turns.

    Args:
        model: the fitted model.
        agent: index.
        start: ``(D,)`` or ``(W,)``, raw units.
        codes: ``(H,)`` level indices or ``(H, A)`` raw units.
        known: ``(H,)``, known inputs; None for a model without any.
        n_draws: n.
        seed: of the draws.
    """
    each, told = -(-n_draws // model.n_members), None if known is None else known.value
    paths = noisy_paths(model, agent, start, codes, each, seed, told)
    return np.swapaxes(paths, 0, 1).reshape(-1, *paths.shape[2:])[:n_draws]


def parts_of_question(
    model: FittedModel,
    agent: int,
    start: Floats,
    codes: NDArray[Any],
    known: KnownInputs | None,
) -> tuple[Floats, Floats]:
    """Return the standard deviations of noise and of ignorance, ``(H, D)`` each, raw units.

    Arguments as of ``drawn_question``.
    """
    told = None if known is None else known.value
    paths = noisy_paths(model, agent, start, codes, NOISE_DRAWS, known=told, mean=True)
    with np.errstate(invalid="ignore", over="ignore"):  # of a member that diverged
        noise = np.sqrt(np.median(paths.var(axis=1), axis=0))
    whole = None if known is None else known.take(np.arange(len(codes))[None])
    asked = np.array([agent], np.int32), start[None], codes[None]
    return noise, predict(model, *asked, whole).sd[0]


def drawn_states(model: FittedModel, asked: Queries, n_draws: int, seed: int = 0) -> Floats:
    """Return draws of what may be measured, ``(n, K, D)``, of all questions."""
    drawn = [drawn_question(model, *question, n_draws, seed) for question in _each(asked)]
    return np.concatenate(drawn, axis=1)


def uncertainty_parts(model: FittedModel, asked: Queries) -> tuple[Floats, Floats]:
    """Return the standard deviations of noise and of ignorance, ``(K, D)`` each, raw units."""
    noise, ignorance = zip(*(parts_of_question(model, *q) for q in _each(asked)), strict=True)
    return np.concatenate(noise), np.concatenate(ignorance)


def _each(asked: Queries) -> Iterator[tuple[int, Floats, NDArray[Any], KnownInputs | None]]:
    """Give every question's agent, start, actions ``(H[, A])`` and known inputs ``(H,)``."""
    for q, (first, steps) in enumerate(zip(asked.offset, asked.length, strict=True)):
        rows = np.arange(first, first + steps)
        known = None if asked.known is None else asked.known.take(rows)
        yield int(asked.agent[q]), asked.start[q], asked.codes[rows], known


def parts_columns(
    names: Sequence[str], taken: Sequence[str], noise: Floats, ignorance: Floats
) -> dict[str, NDArray[Any]]:
    """Return columns ``<state>_noise`` and ``<state>_ignorance``, with underscores where taken."""
    table: dict[str, NDArray[Any]] = {}
    for d, name in enumerate(names):
        for end, values in (("noise", noise), ("ignorance", ignorance)):
            column = f"{name}_{end}"
            while column in table or column in taken:
                column += "_"
            table[column] = values[:, d]
    return table


def draws_table(before: dict[str, Any], names: Sequence[str], drawn: Floats) -> pd.DataFrame:
    """Return a row per draw and predicted state: what goes before, ``draw`` from 0, the states.

    Args:
        before: columns of the predicted states, ``(K,)`` each.
        names: of the state columns.
        drawn: ``(n, K, D)``.
    """
    n_draws, n_rows = drawn.shape[:2]
    column = "draw"
    while column in before or column in names:
        column += "_"
    table = pd.DataFrame(before, copy=False)
    table = pd.concat([table] * n_draws, ignore_index=True)
    table[column] = np.repeat(np.arange(n_draws), n_rows)
    flat = drawn.reshape(-1, drawn.shape[2])
    return table.assign(**{name: flat[:, d] for d, name in enumerate(names)})
