"""A description of a data set in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.levels import coded_names
from twinfold.data.panel import PanelDataset
from twinfold.data.time_step import step_text
from twinfold.utils.text import MESSAGE

_QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


def describe(dataset: PanelDataset) -> dict[str, Any]:
    """Size, balance and ranges of a data set, ready for JSON.

    Returns:
        ``agents``, ``transitions``, ``segments``, ``time_step``, ``transitions_per_agent``
        (quantiles), ``state`` and ``action`` (by column: min, max, mean, std in the column's
        units; over all rows for states, over transitions for actions), ``angle`` (the states that
        are angles), ``static`` (the same numbers over the agents with a value; only with static
        columns), ``action_levels`` (transitions by level, of discrete columns), ``reward`` (the
        same numbers), ``terminated`` and ``truncated`` (trajectories that ended so), ``gaps``
        (places where a trajectory is split within an agent and episode), ``left_out`` (number and
        first ids), ``warnings``.
    """
    data = dataset.transitions()
    counts = np.bincount(data.agent, minlength=dataset.n_agents)
    step = dataset.time_step
    level, amounts = _actions(dataset, data.action)
    result: dict[str, Any] = {
        "agents": dataset.n_agents,
        "transitions": len(data),
        "segments": dataset.n_segments,
        "time_step": step if isinstance(step, float) else step_text(step),
        "transitions_per_agent": {
            name: float(np.quantile(counts, q)) for name, q in _QUANTILES.items()
        },
        "state": _summaries(dataset.roles.state, dataset.state.T),
        "angle": list(dataset.roles.angle),
        "action": _summaries(list(amounts), np.array(list(amounts.values()))),
    }
    if dataset.static is not None:
        names = coded_names(dataset.roles.static, dataset.levels)
        result["static"] = _summaries(names, dataset.static[: dataset.n_agents].T)
    if dataset.exogenous is not None:
        names = coded_names(dataset.roles.exogenous, dataset.levels)
        result["exogenous"] = _summaries(names, dataset.exogenous.T)
    if level is not None:
        code = dataset.action_code
        whole = not dataset.roles.levels
        names = [row[0] for row in code.levels] if whole else code.level_names
        per_level = np.bincount(level, minlength=len(names))
        result["action_levels"] = dict(zip(names, per_level.tolist(), strict=True))
    if dataset.reward is not None:
        result["reward"] = _summary(dataset.reward[np.isfinite(dataset.reward)])
    for role in ("terminated", "truncated"):
        flags = getattr(dataset, role)
        if flags is not None:
            result[role] = int(flags.sum())
    result["gaps"] = _gaps(dataset)
    result["left_out"] = {
        "agents": len(dataset.left_out),
        "first": list(dataset.left_out[: MESSAGE.listed]),
    }
    result["warnings"] = list(dataset.warnings)
    return result


def _summaries(names: Sequence[str], columns: NDArray[Any]) -> dict[str, dict[str, float]]:
    """Return the numbers of each column that has a value, by name."""
    known = {name: v[~np.isnan(v)] for name, v in zip(names, columns, strict=True)}
    return {name: _summary(values) for name, values in known.items() if len(values)}


def _summary(values: NDArray[Any]) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "std": float(values.std()),
    }


def _actions(
    dataset: PanelDataset, action: NDArray[Any]
) -> tuple[NDArray[Any] | None, dict[str, NDArray[Any]]]:
    """Levels of the transitions' actions ``(K,)`` or None, and their numbers ``(K,)`` by column."""
    roles, code = dataset.roles, dataset.action_code
    if not roles.action:
        return None, {}
    if roles.mixed:
        level, amount = code.unpack(action)
        names = [roles.action[i] for i in code.places[1]]
        return level, dict(zip(names, amount.T, strict=True))
    if dataset.action_levels is None:
        return None, dict(zip(roles.action, action.T, strict=True))
    numbers = {} if roles.levels else {roles.action[0]: dataset.action_levels[action]}
    return action, numbers


def _gaps(dataset: PanelDataset) -> int:
    """Splits within one agent and episode."""
    same = dataset.agent[1:] == dataset.agent[:-1]
    if dataset.episode is not None:
        same &= dataset.episode[1:] == dataset.episode[:-1]
    return int(np.count_nonzero(same & (dataset.segment[1:] != dataset.segment[:-1])))
