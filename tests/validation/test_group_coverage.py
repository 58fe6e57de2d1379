"""Coverage by group: misses that pile up in one group are found, spread ones are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from twinfold.errors import UsageError
from twinfold.models.posterior import Evidence
from twinfold.validation.group_coverage import coverage_by_group, groups_of

HORIZON = 3


def examined(scores: np.ndarray, counts: Any = None) -> Any:
    """Just what the check reads."""
    n = len(scores)
    evidence = Evidence.none(1, n, 2)
    evidence.count[:] = np.arange(n) if counts is None else counts
    return SimpleNamespace(
        agent=np.arange(n),
        scores=np.repeat(scores[:, None], HORIZON, axis=1),
        ends=SimpleNamespace(mask=np.ones((n, HORIZON), bool)),
        model=SimpleNamespace(
            posterior=SimpleNamespace(prior=None, evidence=evidence, trained=None)
        ),
    )


def test_misses_of_one_group_are_found() -> None:
    rng = np.random.default_rng(0)
    usual = rng.uniform(size=(100, 1)).repeat(HORIZON, axis=1)
    own = rng.uniform(size=60) * 0.8
    own[:12] = 2.0  # all in the first group
    groups = ["north"] * 20 + ["south"] * 40
    check = coverage_by_group(examined(own), usual, 0.9, True, groups)
    assert check is not None
    assert check.status == "warn"
    assert "'north'" in check.advice
    (north, south) = check.values["groups"]
    assert (north["group"], north["agents"], south["agents"]) == ("north", 20, 40)
    assert north["coverage"] == pytest.approx(8 / 20)
    assert south["coverage"] == 1.0


def test_spread_misses_hardly_ever_warn() -> None:
    warned = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        usual = rng.uniform(size=(100, 1)).repeat(HORIZON, axis=1)
        groups = rng.choice(["a", "b", "c"], 60).tolist()
        check = coverage_by_group(examined(rng.uniform(size=60)), usual, 0.9, True, groups)
        warned += check is not None and check.status == "warn"
    assert warned <= 6  # one in a hundred is expected


def test_calibration_agents_are_judged_by_the_others() -> None:
    usual = np.arange(1.0, 21.0)
    check = coverage_by_group(
        examined(usual), usual[:, None].repeat(HORIZON, axis=1), 0.9, False, ["a", "b"] * 10
    )
    assert check is not None
    held = sum(round(row["coverage"] * row["agents"]) for row in check.values["groups"])
    # By hand: the 18th smallest of the 19 others; 19 and 20 are beyond theirs.
    assert held == 18


def test_groups_are_the_given_ones_or_thirds_by_amount_of_data() -> None:
    found = examined(np.zeros(9), counts=[1, 2, 3, 10, 11, 12, 50, 60, 70])
    assert len(set(groups_of(found, range(9), None))) == 3
    assert groups_of(found, range(9), {n: n % 2 for n in range(9)}) == ["0", "1"] * 4 + ["0"]
    with pytest.raises(UsageError, match="agent 8 has no group"):
        groups_of(found, range(9), dict.fromkeys(range(8), "x"))


def test_nothing_is_said_without_a_calibrated_band_or_of_one_group() -> None:
    found = examined(np.zeros(9))
    assert coverage_by_group(found, None, 0.9, True, ["a", "b"] * 4 + ["a"]) is None
    assert coverage_by_group(found, np.ones((30, HORIZON)), 0.9, True, ["a"] * 9) is None
