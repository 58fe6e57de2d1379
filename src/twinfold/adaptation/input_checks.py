"""Checks of data against a model: what is refused, and what is doubtful and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adaptation_settings import ADAPTATION
from twinfold.adaptation.known_columns import check_known, known_doubts
from twinfold.data.ids import AgentId, did_you_mean, match_ids
from twinfold.data.levels import coded_names, coded_places, decoded
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.data.time_step import joins, step_ratio, step_text
from twinfold.data.transitions import Transitions
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.normalizer import Normalizer, far_text, unreachable
from twinfold.models.ranges import (
    RANGES,
    OutOfRange,
    out_of_range,
    outside_actions,
    outside_known,
    outside_states,
)
from twinfold.utils.text import and_more, listed

Floats = NDArray[np.float64]
Warn = Callable[[str], None]


def check_columns(model: FittedModel, panel: PanelDataset) -> None:
    """Refuse data whose columns, kind of action, angles or time step are not the model's.

    Raises:
        UsageError: naming what differs.
    """
    mine, theirs = model.roles, panel.roles
    if theirs.action_type != mine.action_type:
        raise UsageError(
            f"the action is {_kind(theirs)}, but the model was fitted to {_kind(mine)} actions"
        )
    for what in ("state", "action", "angle"):
        wanted, given = getattr(mine, what), getattr(theirs, what)
        if wanted == given:
            continue
        lacking = [name for name in wanted if name not in given]
        hint = did_you_mean(lacking[0], given, "columns") if lacking and given else ""
        raise UsageError(
            f"the model's {what} columns are {', '.join(map(repr, wanted)) or 'none'}, those of "
            f"the data {', '.join(map(repr, given)) or 'none'}; give the same, in the same "
            f"order.{hint}"
        )
    check_known(model, panel)
    if not panel.n_transitions or model.uneven:
        return  # of single rows nothing says how far apart they are
    ratio = step_ratio(model.time_step, panel.time_step)
    if ratio is None or not joins(np.array([ratio]), 1.0)[0]:
        raise UsageError(
            f"the time between two rows is {step_text(panel.time_step)}, in the model's data "
            f"{step_text(model.time_step)}; resample the data, or fit a model of its own"
        )


def _kind(roles: Roles) -> str:
    """Return the kind of an action in a word."""
    if roles.mixed:
        return " and ".join(roles.kinds)
    return "absent" if not roles.action else roles.kinds[0]


def reach_problems(
    normalizer: Normalizer,
    panel: PanelDataset,
    known: Floats | None = None,
    known_names: Sequence[str] = (),
) -> list[str]:
    """Return a line for every agent and column with values too far to compute with.

    Args:
        normalizer: float64, on the host.
        panel: data with the columns of the normalizer.
        known: known inputs of its rows, ``(R, E)``; None for none.
        known_names: what they are called.
    """
    roles = panel.roles
    parts: list[tuple[Any, ...]] = [
        (roles.state, panel.state, normalizer.encode_state(panel.state))
    ]
    if panel.action_levels is None:
        parts.append(
            (panel.action_code.names, panel.action, normalizer.encode_action(panel.action))
        )
    if known is not None:
        parts.append((known_names, known, normalizer.encode_known(known)))
    starts = np.searchsorted(panel.segment, panel.segment)
    lines = []
    for names, values, standard in parts:
        far = unreachable(standard)
        for c in np.flatnonzero(far.any(axis=0)):
            rows = np.flatnonzero(far[:, c])
            agents, first, counts = np.unique(
                panel.agent[rows], return_index=True, return_counts=True
            )
            lines += [
                f"column {names[c]!r}, agent {panel.agent_ids[n]!r}, step "
                f"{row - starts[row]} of its trajectory{and_more(count - 1)}: {values[row, c]:g} "
                f"is {far_text(standard[row, c])}"
                for n, row, count in zip(agents, rows[first], counts, strict=True)
            ]
    return _first(lines)


def with_levels_of(model: FittedModel, panel: PanelDataset) -> PanelDataset:
    """Return a panel whose actions are written as the model takes them, by the model's levels.

    Raises:
        InvalidDataError: an action is none of them.
    """
    mine, theirs = model.action_code, panel.action_code
    if mine.levels == theirs.levels:
        return panel
    index, taken = mine.level_of(theirs.levels), ~_idle(panel)
    level, amount = np.zeros(len(taken), np.int32), None
    if mine.roles.mixed:
        level[taken], amount = theirs.unpack(panel.action[taken])
    else:
        level[taken] = panel.action[taken]
    rows = np.flatnonzero(taken & (index[level] < 0))
    if len(rows):
        row = int(rows[0])
        step = row - int(np.searchsorted(panel.segment, panel.segment[row]))
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        alone = len(mine.roles.action) == 1
        known = [values[0] for values in mine.levels] if alone else list(mine.level_names)
        names = ", ".join(repr(mine.roles.action[i]) for i in mine.places[0])
        raise InvalidDataError(
            f"column {names}, agent {panel.agent_ids[panel.agent[row]]!r}, step {step} of its "
            f"trajectory{more}: action {theirs.level_names[level[row]]} never occurs in the "
            f"model's data; its levels: {listed(known)}"
        )
    roles = panel.roles.model_copy(update={"levels": mine.roles.levels})
    if amount is None:
        action = np.where(taken, index[level], -1).astype(np.int32)
        return replace(panel, roles=roles, action_levels=model.action_levels, action=action)
    action = np.full((len(taken), len(mine.names)), np.nan)
    action[taken] = mine.pack(index[level[taken]], amount)
    return replace(panel, roles=roles, action=action)


def _idle(panel: PanelDataset) -> NDArray[np.bool_]:
    """Return the rows ``(R,)`` without an action, the last ones of trajectories."""
    if panel.action_levels is not None:
        return panel.action < 0
    return np.asarray(np.isnan(panel.action).any(axis=1))


def step_doubts(model: FittedModel, panel: PanelDataset, warn: Warn) -> None:
    """Say that the time step is not quite that of the model's data."""
    known_doubts(model, panel, warn)
    if not panel.n_transitions or model.uneven:
        return
    ratio = step_ratio(model.time_step, panel.time_step)
    if ratio is not None and abs(ratio - 1) > ADAPTATION.step:
        warn(
            f"the time between two rows is {step_text(panel.time_step)}, in the model's data "
            f"{step_text(model.time_step)}: taken as one step all the same; changes are "
            f"{'larger' if ratio > 1 else 'smaller'} than the model's for that alone"
        )


def range_doubts(
    model: FittedModel, panel: PanelDataset, data: Transitions, warn: Warn, *, strict: bool = False
) -> None:
    """Say what lies far outside the range of the data that the model was given so far.

    Raises:
        InvalidDataError: ``strict``, and something does.
    """
    parts = [outside_states(model, data.observed, "state")]
    if model.action_levels is None:
        parts.append(outside_actions(model, np.asarray(data.action, np.float64)))
    if data.known is not None:
        parts.append(outside_known(model, data.known))

    def where(part: OutOfRange, row: int) -> str:
        agent = panel.agent_ids[data.agent[row]]
        return f"agent {agent!r}, step {int(data.step[row])} of its trajectory"

    line = out_of_range(parts, where, lambda part, rows: data.agent[rows], "agent")
    if line is None:
        return
    if strict:
        raise InvalidDataError(line)
    warn(f"{line}; what is learned there is a guess")


def static_doubts(
    model: FittedModel, ids: Sequence[AgentId], static: Floats | None, warn: Warn
) -> None:
    """Say which static columns lack, which have changed, and which lie far outside the fit's.

    Raises:
        InvalidDataError: values are too far from the fit's to compute with.
    """
    known = model.posterior
    if known is None or known.static is None or known.values is None:
        return
    names, place = (
        coded_names(model.roles.static, model.levels),
        match_ids(model.agent_ids, list(ids)),
    )
    before = np.full((len(ids), len(names)), np.nan)
    before[place >= 0] = known.values[place[place >= 0]]
    given = np.full_like(before, np.nan) if static is None else static
    standard = known.static.standard(given)
    problems = [
        f"column {names[c]!r} (static), agent {ids[n]!r}: {given[n, c]:g} is "
        f"{far_text(standard[n, c])}"
        for n, c in np.argwhere(unreachable(standard)).tolist()
    ]
    if problems:
        raise InvalidDataError(_first(problems))
    lacking = np.isnan(given) & np.isnan(before)
    bare = np.flatnonzero(lacking.any(axis=1))
    if static is None and len(bare):
        columns = ", ".join(map(repr, model.roles.static))
        warn(
            f"no static columns among the roles of this data (the model's: {columns}): agents "
            "without them begin as average ones"
        )
    for column, own in coded_places(model.roles.static, model.levels):
        without = np.flatnonzero(lacking[:, own].any(axis=1))
        now, was = given[:, own], before[:, own]
        if column in model.levels:
            now, was = (decoded(part, [column], model.levels)[column] for part in (now, was))
            _word_doubts(column, ids, now, was, warn)
        else:
            limits = float(known.static.low[own][0]), float(known.static.high[own][0])
            _number_doubts(column, ids, now[:, 0], was[:, 0], limits, warn)
        if static is not None and len(without):
            warn(
                f"{_several(ids, without)}: {column!r} (static) is not known; an agent begins "
                "where its other static columns put it, without any as the average one"
            )


def _word_doubts(
    name: str, ids: Sequence[AgentId], now: NDArray[Any], was: NDArray[Any], warn: Warn
) -> None:
    """Say which agents have another word than before, ``(N,)``; None is no word."""
    changed = np.flatnonzero((now != was) & (now != None) & (was != None))  # noqa: E711
    if len(changed):
        first = changed[0]
        warn(
            f"{_several(ids, changed)}: {name!r} (static) was {was[first]!r} and is "
            f"{now[first]!r} now; the new value counts"
        )


def _number_doubts(
    name: str,
    ids: Sequence[AgentId],
    now: Floats,
    was: Floats,
    limits: tuple[float, float],
    warn: Warn,
) -> None:
    """Say whose number is far outside the fit's, and whose is another than before, ``(N,)``."""
    low, high = limits
    margin = RANGES.state_margin * (high - low) + ADAPTATION.rounding * max(abs(low), abs(high))
    with np.errstate(invalid="ignore"):
        far = np.flatnonzero((now < low - margin) | (now > high + margin))
        changed = np.flatnonzero(np.abs(now - was) > ADAPTATION.rounding * np.abs(was))
    if len(far):
        warn(
            f"{_several(ids, far)}: {name!r} is {now[far[0]]:g}, far outside the "
            f"model's data ({low:g} to {high:g}); what it says of the agent is a guess"
        )
    if len(changed):
        warn(
            f"{_several(ids, changed)}: {name!r} (static) was {was[changed[0]]:g} and is "
            f"{now[changed[0]]:g} now; the new value counts"
        )


def _first(lines: list[str]) -> list[str]:
    """Return the lines, or the first of many."""
    left = len(lines) - ADAPTATION.named
    return lines if left <= 0 else [*lines[: ADAPTATION.named], f"and {left} more like these"]


def _several(ids: Sequence[AgentId], rows: NDArray[np.integer]) -> str:
    """Return the first agent, and how many more there are."""
    return f"agent {ids[int(rows[0])]!r}{and_more(len(rows) - 1)}"
