"""Statistics beside the reserved agents': false alarms by simulation, and what is caught."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from twinfold.uncertainty.holdout_statistics import STATISTICS
from twinfold.validation import coverage
from twinfold.validation.reference_shift import outliers, shifts
from twinfold.validation.thresholds import THRESHOLDS

K = len(STATISTICS)
LEVEL = THRESHOLDS.level


# Exchangeable agents: false alarms


def draws(kind: str, rng: np.random.Generator, size: tuple[int, int]) -> Any:
    """Statistics of agents of one kind."""
    return {
        "normal": rng.normal,
        "skewed": lambda size: np.log(rng.exponential(size=size)),
        "even": rng.uniform,
        "lumpy": lambda size: rng.integers(0, 4, size).astype(float),
    }[kind](size=size)


@pytest.mark.parametrize("kind", ["normal", "skewed", "even", "lumpy"])
def test_agents_like_the_reserved_seldom_raise_an_alarm(some: Any, kind: str) -> None:
    rng, trials = np.random.default_rng(0), 300
    shifted = single = 0
    for _ in range(trials):
        usual, own = draws(kind, rng, (30, K)), draws(kind, rng, (50, K))
        found = some(own)
        shifted += any(check.status == "fail" for check in shifts(found, usual))
        single += outliers(found, usual, range(50)).status == "fail"
    # Beyond what one in a thousand sets of trials at the level would show.
    most = stats.binom.isf(0.001, trials, LEVEL)
    assert shifted <= most
    assert single <= most


def test_correlated_statistics_raise_no_more_alarms(some: Any) -> None:
    rng, trials, alarms = np.random.default_rng(1), 300, 0
    for _ in range(trials):
        usual, own = (np.repeat(rng.normal(size=(n, 1)), K, axis=1) for n in (30, 50))
        alarms += any(check.status == "fail" for check in shifts(some(own), usual))
    assert alarms <= stats.binom.isf(0.001, trials, LEVEL)


# And true ones


@pytest.mark.parametrize("statistic", range(K))
def test_a_shift_of_all_agents_is_caught_where_it_is(some: Any, statistic: int) -> None:
    rng = np.random.default_rng(statistic)
    usual, own = rng.normal(size=(30, K)), rng.normal(size=(30, K))
    own[:, statistic] += 2.5
    failed = [check.name for check in shifts(some(own), usual) if check.status == "fail"]
    assert failed == [f"reference shift: {STATISTICS[statistic]}"]
    own[:, statistic] -= 5  # better than usual is no fault
    assert all(check.status == "pass" for check in shifts(some(own), usual))


def test_courses_of_agents_known_from_other_trajectories_are_a_warning(some: Any) -> None:
    rng = np.random.default_rng(0)
    usual, own = rng.normal(size=(30, K)), rng.normal(size=(30, K)) + 2.5
    for n_new, status in ((30, "fail"), (5, "fail"), (4, "warn"), (0, "warn")):
        known = np.arange(30) >= n_new
        found = {check.name: check for check in shifts(some(own), usual, known)}
        assert found.pop("reference shift: trajectory error").status == status
        assert {check.status for check in found.values()} == {"fail"}
    own[:10, 1] -= 2.5  # new agents are as usual, whatever known ones do
    found = {check.name: check for check in shifts(some(own), usual, np.arange(30) >= 10)}
    assert found["reference shift: trajectory error"].status == "pass"


def test_single_agents_are_named_the_worst_first(some: Any) -> None:
    rng = np.random.default_rng(0)
    usual, own = rng.normal(size=(40, K)), rng.normal(size=(30, K))
    own[7, 1] += 12
    own[3, 0] += 20
    own[5, 2:] += 20  # what is not the size of errors is judged of all agents together
    check = outliers(some(own), usual, [f"a{n}" for n in range(30)])
    assert check.status == "fail"
    assert check.agents == ("a3", "a7")
    assert check.values["statistic"] == ["residual scale", "trajectory error"]
    assert check.advice.startswith("Agent 'a3': one-step errors are larger")
    # Of an agent known from other trajectories the course warns, the level does not.
    for agent, status in ((7, "warn"), (3, "fail")):
        own[3, 0], own[7, 1] = (20.0, 0.0) if agent == 3 else (0.0, 12.0)
        for known in (np.arange(30) == agent, np.arange(30) != agent):
            check = outliers(some(own), usual, range(30), known)
            assert check.agents == (agent,)
            assert check.status == (status if known[agent] else "fail")
    own[3, 0], own[7, 1] = 20.0, 1e3  # the advice is of the one that fails
    check = outliers(some(own), usual, range(30), np.arange(30) == 7)
    assert (check.status, check.agents) == ("fail", (3, 7))
    assert check.advice.startswith("Agent 3: one-step errors are larger")
    own[7, 0] = 15.0  # a course that only warns is not the reason why an agent fails
    check = outliers(some(own), usual, range(30), np.arange(30) == 7)
    assert dict(zip(check.agents, check.values["statistic"], strict=True))[7] == "residual scale"
    assert max(check.values["excess"]) < 100


def test_short_trajectories_are_no_alarm_and_no_pass(some: Any) -> None:
    rng = np.random.default_rng(0)
    usual, own = rng.normal(size=(30, K)), rng.normal(size=(30, K))
    usual[:, 3] = np.nan
    own[2:, 4] = np.nan
    found = {check.name: check for check in shifts(some(own), usual)}
    assert (
        found["reference shift: residual trend"].status
        == found["reference shift: residual growth"].status
        == "unknown"
    )
    assert found["reference shift: residual scale"].status == "pass"
    own[0, 0], own[1, 1] = np.nan, 1e6
    assert outliers(some(own), usual, range(30)).agents == (1,)  # by what is known
    usual[:, :2] = np.nan
    assert outliers(some(own), usual, range(30)).status == "pass"
    for check in found.values():
        json.dumps(check.to_dict(), allow_nan=False)


def test_without_reserved_agents_nothing_is_known(some: Any) -> None:
    found = some(np.zeros((9, K)), np.ones((9, 3)))
    results = [
        *shifts(found, None),
        outliers(found, None, range(9)),
        coverage.coverage(found, None, 0.9, fresh=True)[0],
        coverage.transforms(found, None),
    ]
    assert {check.status for check in results} == {"unknown"}
    assert all("--reserve" in check.advice for check in results)


def test_without_reserved_agents_those_that_stand_out_among_the_others_are_named(some: Any) -> None:
    rng = np.random.default_rng(0)
    own = 0.3 * rng.normal(size=(21, K))
    errors = np.full((21, 3), 0.1)
    assert outliers(some(own, errors), None, range(21)).status == "unknown"
    own[::3, 0] += 4.0  # a third of them
    own[3, 0] += 1.0
    check = outliers(some(own, errors), None, range(21))
    assert (check.status, set(check.agents)) == ("warn", set(range(0, 21, 3)))
    assert check.agents[0] == 3
    assert "of the median agent" in check.advice
    assert outliers(some(own[:6], errors[:6]), None, range(6)).status == "unknown"


@pytest.mark.parametrize("name", ["action sensitivity", "personalisation gain"])
def test_a_gain_that_never_was_is_not_lost(some: Any, name: str) -> None:
    """Of agents that are nearly alike own simulators gain a little, whoever they are."""
    rng, place = np.random.default_rng(0), STATISTICS.index(name)
    usual, own = rng.normal(size=(30, K)), rng.normal(size=(30, K))
    for gain, status in ((0.02, "warn"), (0.5, "fail")):
        usual[:, place], own[:, place] = -gain + 1e-3 * rng.normal(size=30), 0.0
        found = {check.name: check for check in shifts(some(own), usual)}
        assert found[f"reference shift: {name}"].status == status
