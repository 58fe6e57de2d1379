"""Coverage of the band by group: a promise for all agents is none for each kind of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from twinfold.data.ids import AgentId
from twinfold.errors import UsageError
from twinfold.uncertainty.holdout_evaluation import Examined
from twinfold.uncertainty.intervals import conformal_factor
from twinfold.validation.check import Check, holm
from twinfold.validation.thresholds import CRITERIA, Criteria

Floats = NDArray[np.float64]

_SHOWN = 4  # groups named in the figure


def groups_of(
    found: Examined, ids: Sequence[AgentId], given: Mapping[AgentId, Any] | None
) -> list[str]:
    """The group of each of S agents: the given one, or a third by the amount of data known.

    Args:
        found: what was examined.
        ids: of the panel's agents.
        given: group by agent; None for thirds.

    Raises:
        UsageError: an agent has no group.
    """
    names = [ids[int(n)] for n in found.agent]
    if given is not None:
        lacking = [name for name in names if name not in given]
        if lacking:
            raise UsageError(f"agent {lacking[0]!r} has no group; give every agent one")
        return [str(given[name]) for name in names]
    posterior = found.model.posterior
    assert posterior is not None, "what is examined has one"
    counts = posterior.evidence.count[found.agent]
    low, high = (int(x) for x in np.quantile(counts, [1 / 3, 2 / 3], method="nearest"))
    if low == counts.max():
        return [f"{low} transitions known" for _ in counts]
    return [
        f"up to {low} transitions known"
        if count <= low
        else f"more than {high} transitions known"
        if count > high
        else f"{low + 1} to {high} transitions known"
        for count in counts
    ]


def coverage_by_group(
    found: Examined,
    scores: Floats | None,
    nominal: float,
    fresh: bool,
    groups: Sequence[str],
    rules: Criteria = CRITERIA,
) -> Check | None:
    """Whether the courses that the band does not hold are spread evenly over groups of agents.

    Given how many it does not hold, the number in one group is hypergeometric if the groups are
    alike; Holm's correction over groups. Calibration agents are each judged by the others' band.

    Args:
        found: what was examined.
        scores: of the calibration agents, ``(n, H)``; None says nothing.
        nominal: coverage.
        fresh: whether the agents are other ones than the calibration agents.
        groups: of the S agents.
        rules: what decides.

    Returns:
        The check; None if there is no calibrated band or a single group.
    """
    if scores is None or len(set(groups)) < 2:
        return None
    horizon = int(np.median(found.ends.mask.sum(axis=1)))
    column = horizon - 1
    own = found.scores[:, column]
    reach = np.flatnonzero(~np.isnan(own))
    if fresh:
        factor = np.full(len(reach), conformal_factor(scores, nominal, horizon)[0])
    else:
        known = scores[:, column][~np.isnan(scores[:, column])]
        factor = np.array([_without(known, own[s], nominal) for s in reach])
    if not np.isfinite(factor).all():
        return None
    missed = own[reach] > factor
    labels = np.asarray(groups, dtype=object)[reach]
    rows: list[dict[str, Any]] = []
    for name in sorted(set(labels)):
        mine = labels == name
        size, lost = int(mine.sum()), int(missed[mine].sum())
        p = 1.0
        if size >= rules.fewest:
            p = float(stats.hypergeom.sf(lost - 1, len(reach), int(missed.sum()), size))
        rows.append({"group": name, "agents": size, "coverage": 1 - lost / size, "p": p})
    uneven = holm([row["p"] for row in rows], rules.level)
    worst = min(rows, key=lambda row: (not uneven[rows.index(row)], row["coverage"]))
    bad = any(uneven)
    return Check(
        "band by group",
        "warn" if bad else "pass",
        "; ".join(
            f"{row['group']}: {100 * row['coverage']:.0f} % of {row['agents']}"
            for row in rows[:_SHOWN]
        )
        + (f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""),
        "misses spread evenly over groups",
        "The courses that the band does not hold are spread evenly over the groups."
        if not bad
        else f"The band holds {100 * worst['coverage']:.0f} % of group {worst['group']!r}: its "
        "promise is for all agents together. Calibrate on this group by itself.",
        values={"groups": rows, "horizon": horizon},
    )


def _without(known: Floats, one: float, nominal: float) -> float:
    """The factor that the calibration agents but one of this score give."""
    others = np.sort(known)
    others = np.delete(others, int(np.searchsorted(others, one)) % len(others))
    rank = math.ceil((len(others) + 1) * nominal)
    return float(others[rank - 1]) if rank <= len(others) else math.inf
