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
from twinfold.models.noisy_rollout import noise_sd, noisy_paths
from twinfold.simulation.known import KnownInputs
from twinfold.simulation.prediction import predict
from twinfold.simulation.query_table import Queries

Floats = NDArray[np.float64]


def drawn_states(model: FittedModel, asked: Queries, n_draws: int, seed: int = 0) -> Floats:
    """Return draws of what may be measured, ``(n, K, D)``, by ``noisy_paths``.

    Args:
        model: the fitted model.
        asked: the questions.
        n_draws: n; members take turns.
        seed: of the draws.
    """
    each, parts = -(-n_draws // model.n_members), []
    for q, codes, known in _each(asked):
        told = known if known is None else known.value[0]
        agent, start = int(asked.agent[q]), asked.start[q]
        paths = noisy_paths(model, agent, start, codes, each, seed, told)
        parts.append(np.swapaxes(paths, 0, 1).reshape(-1, *paths.shape[2:])[:n_draws])
    return np.concatenate(parts, axis=1)


def uncertainty_parts(model: FittedModel, asked: Queries) -> tuple[Floats, Floats]:
    """Return the standard deviations of noise and of ignorance, ``(K, D)`` each, raw units."""
    noise, ignorance = [], []
    for q, codes, known in _each(asked):
        agent, start = asked.agent[[q]], asked.start[q]
        told = None if known is None else known.value[0]
        noise.append(noise_sd(model, int(agent[0]), start, codes, told))
        ignorance.append(predict(model, agent, start[None], codes[None], known).sd[0])
    return np.concatenate(noise), np.concatenate(ignorance)


def _each(asked: Queries) -> Iterator[tuple[int, NDArray[Any], KnownInputs | None]]:
    """Give every query's number, its actions ``(H[, A])`` and its known inputs ``(1, H)``."""
    for q, (first, steps) in enumerate(zip(asked.offset, asked.length, strict=True)):
        rows = np.arange(first, first + steps)
        yield q, asked.codes[rows], None if asked.known is None else asked.known.take(rows[None])


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
