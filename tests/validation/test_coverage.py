"""The band's checks against brute force: what they let pass, and what they catch."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from twinfold.validation import coverage
from twinfold.validation.thresholds import THRESHOLDS

LEVEL = THRESHOLDS.level


@pytest.mark.parametrize("n", [20, 60])
def test_coverage_is_a_matter_of_the_calibration_agents_too(some: Any, n: int) -> None:
    """Given them, the number held varies: the limit counts with that, and is no stricter."""
    rng, m, trials = np.random.default_rng(2), 40, 1500
    held, fails = [], 0
    for _ in range(trials):
        usual, own = rng.exponential(size=(n, 1)), rng.exponential(size=(m, 1))
        check = coverage.coverage(some(scores=own), usual, 0.9, fresh=True)[0]
        held.append(round(check.values["coverage"] * m))
        fails += check.status == "fail"
    assert fails <= stats.binom.isf(0.001, trials, LEVEL)
    rank = math.ceil((n + 1) * 0.9)
    least = int(stats.betabinom.ppf(LEVEL, m, rank, n + 1 - rank))
    assert f"at least {least} of {m}" in check.expected
    below = np.mean(np.array(held) < least)
    assert below < LEVEL + 0.01
    assert np.mean(np.array(held) <= least) > LEVEL - 0.005  # one more would be too strict
    rank = math.ceil((n + 1) * 0.9)
    assert np.mean(held) / m == pytest.approx(rank / (n + 1), abs=0.01)


def test_a_band_that_is_too_narrow_fails(some: Any) -> None:
    rng = np.random.default_rng(3)
    usual, own = rng.exponential(size=(30, 2)), 4 * rng.exponential(size=(30, 2))
    assert coverage.coverage(some(scores=own), usual, 0.9, fresh=True)[0].status == "fail"
    assert coverage.transforms(some(scores=own), usual).status == "fail"
    assert coverage.coverage(some(scores=own / 40), usual, 0.9, fresh=True)[0].status == "pass"
    assert coverage.transforms(some(scores=own / 40), usual).status == "warn"  # wide, but safe


def test_too_few_agents_promise_nothing(some: Any) -> None:
    check = coverage.coverage(some(scores=np.ones((9, 1))), np.ones((8, 1)), 0.9, fresh=True)[0]
    assert (check.status, check.needed) == ("unknown", "planning")
    assert check.expected == "at least 9"  # the smallest of which one in ten may be left out
    check = coverage.coverage(some(scores=np.ones((9, 1))), np.ones((9, 1)), 0.9, fresh=True)[0]
    assert check.status == "pass"


def test_calibration_agents_are_no_test_of_the_band(some: Any) -> None:
    scores = np.arange(1.0, 31)[:, None]
    check = coverage.coverage(some(scores=scores), scores, 0.9, fresh=False)[0]
    assert check.status == "pass"
    assert "28 times as wide" in check.figure
    assert "coverage" not in check.values


def test_of_agents_known_otherwise_a_narrow_band_is_a_warning() -> None:
    usual = np.random.default_rng(0).uniform(size=(50, 3))
    usual = np.maximum.accumulate(usual, axis=1)
    found: Any = SimpleNamespace(
        rmse=np.ones(40),
        scores=np.full((40, 3), 5.0),
        ends=SimpleNamespace(mask=np.ones((40, 3), bool)),
    )
    few: Any = SimpleNamespace(
        rmse=np.ones(3), scores=np.zeros((3, 3)), ends=SimpleNamespace(mask=np.ones((3, 3), bool))
    )
    (told,) = coverage.coverage(few, usual, 0.9, True)
    text = "Too few agents to tell whether the band holds."
    assert (told.status, told.advice) == ("unknown", text)
    for n_new, status in ((40, "fail"), (5, "fail"), (4, "warn"), (0, "warn")):
        known = np.arange(40) >= n_new
        band = coverage.coverage(found, usual, 0.9, True, known)
        assert band[0].status == ("unknown" if n_new == 4 else status)
        # Plans need the band of those of whom something can be said.
        assert [check.needed for check in band].count("planning") == 1
        assert next(check for check in band if check.needed).status == status
        assert coverage.transforms(found, usual, known).status == status
    found.scores[:10] = 0.0  # new agents, whose courses it holds, are judged by themselves
    for rows in (np.arange(40) >= 10, np.arange(40) >= 3):
        new, others = coverage.coverage(found, usual, 0.9, True, rows)
        assert (new.name, new.values["coverage"]) == ("band", 1.0)
        assert new.values["agents"] == (~rows).sum()
        assert new.status == ("pass" if (~rows).sum() >= 5 else "unknown")
        assert (others.name, others.status) == ("band of known agents", "warn")
        assert others.values["agents"] == rows.sum()
