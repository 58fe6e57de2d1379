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
from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.uncertainty.intervals import compared_step, conformal_factor
from twinfold.utils.text import listed
from twinfold.validation.check import Check, holm, said
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds

Floats = NDArray[np.float64]


def groups_of(
    found: HoldoutResult, ids: Sequence[AgentId], given: Mapping[AgentId, Any] | None
) -> list[str]:
    """Return the group of each of S agents: the given one, or a third by the amount of data known.

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
    found: HoldoutResult,
    scores: Floats | None,
    nominal: float,
    fresh: bool,
    groups: Sequence[str],
    rules: ValidationThresholds = THRESHOLDS,
) -> Check | None:
    """Check that the agents whom the band does not hold are spread evenly over groups.

    Given how many it does not hold, the number in one group is hypergeometric if the groups are
    alike; Holm's correction over groups. Calibration agents are each compared by the others' band.

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
    horizon = compared_step(found.ends.mask.sum(axis=1), scores, nominal)
    own, calibrated = (
        x[:, horizon - 1][~np.isnan(x[:, horizon - 1])] for x in (found.scores, scores)
    )
    if fresh:
        factor = np.full(len(own), conformal_factor(scores, nominal, horizon)[0])
    else:
        factor = np.array([_without(calibrated, score, nominal) for score in own])
    if not np.isfinite(factor).all():
        return None
    labels = np.asarray(groups, dtype=object)[~np.isnan(found.scores[:, horizon - 1])]
    rows = _misses(own > factor, labels, rules)
    uneven = holm([row["p"] for row in rows], rules.level)
    worst = min(rows, key=lambda row: (not uneven[rows.index(row)], row["coverage"]))
    shares = [f"{x['group']}: {100 * x['coverage']:.0f} % of {x['agents']}" for x in rows]
    return said(
        "band by group",
        "warn" if any(uneven) else "pass",
        rules,
        {"groups": rows, "horizon": horizon},
        groups_shown=listed(shares, 4, "; "),
        worst=worst,
    )


def _misses(
    missed: NDArray[np.bool_], labels: NDArray[Any], rules: ValidationThresholds
) -> list[dict[str, Any]]:
    """Return the size, coverage and p-value of each group, by who was missed ``(K,)``."""
    rows = []
    for name in sorted(set(labels)):
        lost = missed[labels == name]
        p = 1.0
        if len(lost) >= rules.fewest:
            population = len(missed), int(missed.sum()), len(lost)
            p = float(stats.hypergeom.sf(int(lost.sum()) - 1, *population))
        coverage = 1 - int(lost.sum()) / len(lost)
        rows.append({"group": name, "agents": len(lost), "coverage": coverage, "p": p})
    return rows


def _without(known: Floats, one: float, nominal: float) -> float:
    """Return the factor that the calibration agents but one of this score give."""
    others = np.sort(known)
    others = np.delete(others, int(np.searchsorted(others, one)) % len(others))
    rank = math.ceil((len(others) + 1) * nominal)
    return float(others[rank - 1]) if rank <= len(others) else math.inf
