"""Checks against brute force and simulation: what they let pass, and what they catch."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from twinfold.uncertainty.controls import CONTROLS
from twinfold.uncertainty.holdout_evaluation import STATISTICS
from twinfold.validation import coverage
from twinfold.validation.check import holm
from twinfold.validation.identity_swap import mistaken
from twinfold.validation.reference_shift import outliers, shifts
from twinfold.validation.thresholds import THRESHOLDS

K = len(STATISTICS)
LEVEL = THRESHOLDS.level


def some(statistics: Any = None, scores: Any = None, **more: Any) -> Any:
    """What a check reads of ``Examined``, for agents 0, 1, ..."""
    rows = len(statistics) if statistics is not None else len(scores if scores is not None else [])
    found: dict[str, Any] = {
        "agent": np.arange(rows),
        "rmse": np.ones(rows),
        "statistics": statistics,
        "scores": scores,
        "controls": {name: np.ones(rows) for name in CONTROLS},
    }
    if scores is not None:
        found["ends"] = SimpleNamespace(mask=~np.isnan(scores))
    return SimpleNamespace(**{**found, **more})


# Holm's correction


def closed_testing(p: list[float], level: float) -> list[bool]:
    """By definition: rejected if every set that holds it is rejected by Bonferroni."""
    numbers = range(len(p))
    sets = [s for size in numbers for s in itertools.combinations(numbers, size + 1)]
    rejected = {s: min(p[k] for k in s) <= level / len(s) for s in sets}
    return [all(rejected[s] for s in sets if k in s) for k in numbers]


@given(p=st.lists(st.sampled_from([0.0, 0.001, 0.002, 0.0025, 0.004, 0.01, 0.3, 1.0]), max_size=6))
def test_holm_is_closed_testing_by_bonferroni(p: list[float]) -> None:
    assert holm(p, 0.01) == closed_testing(p, 0.01)


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
def test_agents_as_usual_seldom_raise_an_alarm(kind: str) -> None:
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


def test_correlated_statistics_raise_no_more_alarms() -> None:
    rng, trials, alarms = np.random.default_rng(1), 300, 0
    for _ in range(trials):
        usual, own = (np.repeat(rng.normal(size=(n, 1)), K, axis=1) for n in (30, 50))
        alarms += any(check.status == "fail" for check in shifts(some(own), usual))
    assert alarms <= stats.binom.isf(0.001, trials, LEVEL)


# And true ones


@pytest.mark.parametrize("statistic", range(K))
def test_a_shift_of_all_agents_is_caught_where_it_is(statistic: int) -> None:
    rng = np.random.default_rng(statistic)
    usual, own = rng.normal(size=(30, K)), rng.normal(size=(30, K))
    own[:, statistic] += 2.5
    failed = [check.name for check in shifts(some(own), usual) if check.status == "fail"]
    assert failed == [f"as usual: {STATISTICS[statistic]}"]
    own[:, statistic] -= 5  # better than usual is no fault
    assert all(check.status == "pass" for check in shifts(some(own), usual))


def test_courses_of_agents_known_from_other_trajectories_are_a_warning() -> None:
    rng = np.random.default_rng(0)
    usual, own = rng.normal(size=(30, K)), rng.normal(size=(30, K)) + 2.5
    for n_new, status in ((30, "fail"), (5, "fail"), (4, "warn"), (0, "warn")):
        known = np.arange(30) >= n_new
        found = {check.name: check for check in shifts(some(own), usual, known)}
        assert found.pop("as usual: course").status == status
        assert {check.status for check in found.values()} == {"fail"}
    own[:10, 1] -= 2.5  # new agents are as usual, whatever known ones do
    found = {check.name: check for check in shifts(some(own), usual, np.arange(30) >= 10)}
    assert found["as usual: course"].status == "pass"


def test_single_agents_are_named_the_worst_first() -> None:
    rng = np.random.default_rng(0)
    usual, own = rng.normal(size=(40, K)), rng.normal(size=(30, K))
    own[7, 1] += 12
    own[3, 0] += 20
    own[5, 2:] += 20  # what is not the size of errors is judged of all agents together
    check = outliers(some(own), usual, [f"a{n}" for n in range(30)])
    assert check.status == "fail"
    assert check.agents == ("a3", "a7")
    assert check.values["statistic"] == ["level", "course"]
    assert check.advice.startswith("'a3': one-step errors are larger")
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
    assert check.advice.startswith("3: one-step errors are larger")
    own[7, 0] = 15.0  # a course that only warns is not the reason why an agent fails
    check = outliers(some(own), usual, range(30), np.arange(30) == 7)
    assert dict(zip(check.agents, check.values["statistic"], strict=True))[7] == "level"
    assert max(check.values["excess"]) < 100


def test_short_trajectories_are_no_alarm_and_no_pass() -> None:
    rng = np.random.default_rng(0)
    usual, own = rng.normal(size=(30, K)), rng.normal(size=(30, K))
    usual[:, 3] = np.nan
    own[2:, 4] = np.nan
    found = {check.name: check for check in shifts(some(own), usual)}
    assert found["as usual: drift"].status == found["as usual: change"].status == "unknown"
    assert found["as usual: level"].status == "pass"
    own[0, 0], own[1, 1] = np.nan, 1e6
    assert outliers(some(own), usual, range(30)).agents == (1,)  # by what is known
    usual[:, :2] = np.nan
    assert outliers(some(own), usual, range(30)).status == "pass"
    for check in found.values():
        json.dumps(check.to_dict(), allow_nan=False)


def test_without_reserved_agents_nothing_is_known() -> None:
    found = some(np.zeros((9, K)), np.ones((9, 3)))
    results = [
        *shifts(found, None),
        outliers(found, None, range(9)),
        coverage.coverage(found, None, 0.9, fresh=True)[0],
        coverage.transforms(found, None),
    ]
    assert {check.status for check in results} == {"unknown"}
    assert all("--reserve" in check.advice for check in results)


# The band


@pytest.mark.parametrize("n", [20, 60])
def test_coverage_is_a_matter_of_the_calibration_agents_too(n: int) -> None:
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


def test_a_band_that_is_too_narrow_fails() -> None:
    rng = np.random.default_rng(3)
    usual, own = rng.exponential(size=(30, 2)), 4 * rng.exponential(size=(30, 2))
    assert coverage.coverage(some(scores=own), usual, 0.9, fresh=True)[0].status == "fail"
    assert coverage.transforms(some(scores=own), usual).status == "fail"
    assert coverage.coverage(some(scores=own / 40), usual, 0.9, fresh=True)[0].status == "pass"
    assert coverage.transforms(some(scores=own / 40), usual).status == "warn"  # wide, but safe


def test_too_few_agents_promise_nothing() -> None:
    check = coverage.coverage(some(scores=np.ones((9, 1))), np.ones((8, 1)), 0.9, fresh=True)[0]
    assert (check.status, check.needed) == ("unknown", "planning")
    assert check.expected == "at least 9"  # the smallest of which one in ten may be left out
    check = coverage.coverage(some(scores=np.ones((9, 1))), np.ones((9, 1)), 0.9, fresh=True)[0]
    assert check.status == "pass"


def test_calibration_agents_are_no_test_of_the_band() -> None:
    scores = np.arange(1.0, 31)[:, None]
    check = coverage.coverage(some(scores=scores), scores, 0.9, fresh=False)[0]
    assert check.status == "pass"
    assert "28 times as wide" in check.figure
    assert "coverage" not in check.values


# Identities


def test_swapped_agents_are_found_with_whom_they_look_like() -> None:
    rng = np.random.default_rng(0)
    energy = rng.uniform(50, 500, (6, 12))
    own = np.arange(6)
    energy[own, own] = 1.0
    names = [f"n{n}" for n in range(12)]
    assert mistaken(energy, own, names[:6], names, np.full(6, 100)).status == "pass"
    energy[[1, 4]] = energy[[4, 1]]
    energy[4, 4] *= 2
    check = mistaken(energy, own, names[:6], names, np.full(6, 100))
    assert check.status == "fail"
    assert set(check.agents) == {"n1", "n4"}
    assert dict(zip(check.agents, check.values["looks_like"], strict=True)) == {
        "n1": "n4",
        "n4": "n1",
    }
    assert check.values["ratio"] == sorted(check.values["ratio"], reverse=True)


def alike(n_agents: int, own: float = 2.0, other: float = 3.0) -> Any:
    """Agents whose data is explained a little better by their own simulator than by any other."""
    energy = np.full((n_agents, n_agents), other)
    np.fill_diagonal(energy, own)
    return energy, np.arange(n_agents), [f"n{n}" for n in range(n_agents)]


def test_two_agents_that_explain_each_other_better_are_told_by_less() -> None:
    energy, own, names = alike(12)
    values = np.full(12, 200)
    assert mistaken(energy, own, names, names, values).status == "pass"
    energy[1, 1], energy[1, 3] = 6.0, 2.0  # one way only: an odd agent
    assert mistaken(energy, own, names, names, values).status == "pass"
    energy[1] = 6.0, *[6.0] * 11
    energy[1, 3] = 2.0
    energy[3] = [4.0] * 12
    energy[3, 1] = 2.0
    check = mistaken(energy, own, names, names, values)
    assert (check.status, check.agents) == ("fail", ("n1", "n3"))
    assert check.values["ratio"] == [3.0, 2.0]
    assert check.values["looks_like"] == ["n3", "n1"]
    assert check.values["by_chance"] == pytest.approx([1 / 121] * 2)
    assert "'n1' fits the simulator of 'n3' 3 times better" in check.advice
    few = mistaken(energy, own, names, names, np.full(12, 8))
    assert few.status == "pass"  # a handful of residuals may do so by chance
    energy /= 10  # all within the noise
    assert mistaken(energy, own, names, names, values).status == "pass"


def test_a_swap_has_to_be_there_throughout_and_to_stand_out() -> None:
    energy, own, names = alike(12)
    energy[1], energy[3] = 6.0, 6.0
    energy[1, 3] = energy[3, 1] = 2.0
    values = np.full(12, 200)
    both = np.stack([energy, energy])
    assert mistaken(energy, own, names, names, values, both).status == "fail"
    early, *_ = alike(12)
    later = np.stack([early, 2 * energy - early])  # in the later half alone
    assert mistaken(energy, own, names, names, values, later).status == "pass"
    # Agents that have changed: most simulators explain the data of either one better.
    energy[1], energy[3] = 2.0, 2.0
    energy[1, 1] = energy[3, 3] = 6.0
    check = mistaken(energy, own, names, names, values)
    assert check.status == "pass"
    # One that another explains ten times better, and not the other way round, is a warning.
    energy[1, 1], energy[1, 7] = 60.0, 3.0
    check = mistaken(energy, own, names, names, values)
    assert (check.status, check.agents) == ("warn", ("n1",))


@pytest.mark.parametrize("size", [4, 30, 300])
def test_noise_alone_swaps_nobody(size: int) -> None:
    """Agents that are alike: whose simulator explains whose noise best is chance."""
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(30, 1, size)) + 0.3 * rng.normal(size=(1, 30, 1))
        energy = np.square(noise).mean(axis=2)
        names = [f"n{n}" for n in range(30)]
        found = mistaken(energy, np.arange(30), names, names, np.full(30, size))
        alarms += found.status == "fail"
    assert alarms <= 2


def test_agents_that_are_alike_are_not_mistaken() -> None:
    assert mistaken(np.ones((3, 3)), np.arange(3), "abc", "abc", np.full(3, 9)).status == "pass"
    assert (
        mistaken(np.full((3, 3), 1e4), np.arange(3), "abc", "abc", np.full(3, 9)).status == "pass"
    )


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
