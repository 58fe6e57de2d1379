"""Values that stand apart from all others of their column: spikes, slips of the keyboard.

A spike is far away (100 robust standard deviations from the median), rare (a thousandth of the rows
at most), not its agent's usual size, and apart even for a column with a heavy tail. The last is
judged by the gap in the sorted distances a_1 >= a_2 >= ... from the median. If the tail falls off
as a power, P(a > x) ~ x^-alpha, the gap g = log(a_m / a_{m+1}) is exponential with rate m alpha
(Renyi), and the mean h of log(a_i / a_{m+k+1}) over the k distances below it estimates 1 / alpha
(Hill), so that

    P(g > c h) <= (1 + c / k)^-k

Where all other rows are the same there is no unit of distance. Then a spike is ten times the usual
value or, beside zeros, anything that is neither a flag nor a count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.issues import Notes
from twinfold.utils.text import counted

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class OutlierSettings:
    """Numbers that decide which values of a column are spikes.

    Attributes:
        fewest: rows below which a column has no spikes.
        far: robust standard deviations from the median, that a spike is away at the least.
        chance: of a gap as wide as that of a spike, in a tail that falls off as a power.
        tail_least: distances from which the tail is estimated, at the least.
        tail_most: distances from which the tail is estimated, at the most.
        tail_share: share of the rows unlike most from which the tail is estimated.
        gap: times the next distance, that a spike is away at the least.
        certain: times the next distance, from which on a value is a spike whatever the tail.
        clear: times the next distance, where there are too few rows to estimate a tail.
        few: rows of a column that can be spikes, however few rows there are.
        few_share: share of the rows that can be spikes.
        few_most: rows that can be spikes, however many there are.
        alone_share: share of the rows that can be spikes beside a constant, if there are several.
        own: share of a spike's distance within which its agent's other rows must be.
        times_constant: times the value of all other rows, beyond which a value is a spike.
        count: largest whole number beside zeros that may be a count.
        rounding: share of the median within which a value is the same.
    """

    fewest: int = 10
    far: float = 100.0
    chance: float = 3e-4
    tail_least: int = 8
    tail_most: int = 1000
    tail_share: float = 0.1
    gap: float = 2.0
    certain: float = 1e4
    clear: float = 100.0
    few: int = 3
    few_share: float = 0.001
    few_most: int = 50
    alone_share: float = 0.01
    own: float = 0.1
    times_constant: float = 10.0
    count: float = 100.0
    rounding: float = 1e-9


OUTLIERS = OutlierSettings()
"""Those of every table."""


class _Tail(NamedTuple):
    """The rows farthest from the median, and how far: ``(k,)``, sorted from the farthest."""

    rows: Rows
    away: Floats


def spike_line(
    name: str,
    role: str,
    values: Floats,
    agent: NDArray[np.integer],
    rows: Rows,
    notes: Notes,
    told: Collection[float] = (),
) -> str | None:
    """Return one line on the spikes of a column: how many, and the worst; None if there is none.

    Of an action that is the same in all other rows one is all that is known of it.

    Args:
        name: of the column.
        role: of the column.
        values: ``(R,)``, finite.
        agent: ``(R,)``, whose.
        rows: ``(R,)``, the user's row of each value.
        notes: names rows.
        told: numbers that are known to stand for no value; spikes that all are such are left out.
    """
    found = spikes(values, agent, chosen=role == "action")
    if not len(found) or bool(np.isin(values[found], list(told)).all()):
        return None
    others = np.delete(values, found)
    low, high = others.min(), others.max()
    usual = f"all {low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
    worst = int(found[0])
    alone = role == "action" and low == high
    carried = "it carries all that is known of the action; " if alone else ""
    return (
        f"column {name!r} ({role}): {counted(len(found), 'value')} far from all others ({usual}), "
        f"{'the farthest ' if len(found) > 1 else ''}{values[worst]:.6g} at "
        f"{notes.of(int(rows[worst]))}; {carried}if that is a mistake, correct it, or drop the "
        "row: the trajectory is then split there"
    )


def spikes(values: Floats, agent: NDArray[np.integer], chosen: bool = False) -> Rows:
    """Return the places of a column's spikes, the farthest first.

    Args:
        values: ``(R,)``, finite.
        agent: ``(R,)``, whose.
        chosen: whether it is an action: several doses beside zeros are what is known of it.
    """
    n = len(values)
    if n < OUTLIERS.fewest:
        return np.zeros(0, np.intp)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    away = np.abs(values - middle)
    away[away <= OUTLIERS.rounding * abs(middle)] = 0.0
    few = min(max(OUTLIERS.few, int(OUTLIERS.few_share * n)), OUTLIERS.few_most)
    deviating = int(np.count_nonzero(away))
    unit = (high - low) / 1.349
    if unit <= OUTLIERS.rounding * abs(middle):
        if deviating <= max(1, min(few, int(OUTLIERS.alone_share * n))):
            found = _beside_a_constant(values, away, float(middle))
            return found[:0] if chosen and len(found) > 1 else found
        unit = float(np.quantile(away[away > 0], 0.5, method="lower"))
    if away.max() <= OUTLIERS.far * unit:
        return np.zeros(0, np.intp)
    size = int(np.clip(OUTLIERS.tail_share * deviating, OUTLIERS.tail_least, OUTLIERS.tail_most))
    tail = _farthest(away, few + size + 1)
    count = _standing_apart(tail.away[tail.away > 0], few, size, OUTLIERS.far * unit)
    found = [row for row in tail.rows[:count] if _unlike_its_agent(row, away, agent)]
    return np.array(found, np.intp)


def _beside_a_constant(values: Floats, away: Floats, constant: float) -> Rows:
    """The few rows that are not like all others, where they are no flags or counts."""
    if constant:
        limit = OUTLIERS.times_constant * abs(constant)
    else:
        limit = OUTLIERS.count if bool(np.all(values == np.round(values))) else 0.0
    found = np.flatnonzero(away > limit)
    return found[np.argsort(-away[found], kind="stable")]


def _farthest(away: Floats, count: int) -> _Tail:
    count = min(count, len(away))
    rows = np.argpartition(-away, count - 1)[:count]
    rows = rows[np.argsort(-away[rows], kind="stable")]
    return _Tail(rows, away[rows])


def _standing_apart(away: Floats, few: int, size: int, limit: float) -> int:
    """Return how many sorted distances stand apart from the ``size`` below: at most ``few``."""
    factor = size * (OUTLIERS.chance ** (-1 / size) - 1)  # (1 + factor / size)^-size is the chance
    logs = np.log(away)
    total = np.r_[0.0, np.cumsum(logs)]
    best = 0
    for m in range(1, min(few, len(away) - 1) + 1):
        if away[m - 1] <= limit:
            break
        gap = logs[m - 1] - logs[m]
        if len(away) < m + size + 1:
            apart = gap > np.log(OUTLIERS.clear)
        else:
            mean = (total[m + size] - total[m]) / size - logs[m + size]  # 1 / alpha
            apart = gap > max(min(factor * mean, np.log(OUTLIERS.certain)), np.log(OUTLIERS.gap))
        best = m if apart else best
    return best


def _unlike_its_agent(row: int, away: Floats, agent: NDArray[np.integer]) -> bool:
    """Return whether the agent's other rows are near the others': a large agent has no spikes."""
    others = np.flatnonzero(agent == agent[row])
    others = others[others != row]
    return not len(others) or bool(np.median(away[others]) <= OUTLIERS.own * away[row])


def spike_rows(panel: PanelDataset) -> Rows:
    """Return the rows of a panel ``(n,)``, ascending, in which a state or an action is a spike.

    Rows of agents that would have no transition without them are not among them.
    """
    roles, rows = panel.roles, [np.zeros(0, np.intp)]
    for d, name in enumerate(roles.state):
        if name not in roles.angle:
            known = np.flatnonzero(~np.isnan(panel.state[:, d]))
            rows.append(known[spikes(panel.state[known, d], panel.agent[known])])
    if panel.action_levels is None:
        amounts = panel.action_code.unpack(panel.action)[1] if roles.mixed else panel.action
        for values in amounts.T:
            there = np.flatnonzero(np.isfinite(values))
            rows.append(there[spikes(values[there], panel.agent[there], chosen=True)])
    found = np.unique(np.concatenate(rows))
    if not len(found):
        return found
    gone = np.zeros(len(panel.agent), bool)
    gone[found] = True
    pairs = panel.segment[1:] == panel.segment[:-1]
    left = np.unique(panel.agent[1:][pairs & ~gone[1:] & ~gone[:-1]])
    return found[np.isin(panel.agent[found], left)]
