"""Evidence for and against, by hand-made errors: what passes, what fails, what cannot be told."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from twinfold.uncertainty.controls import CONTROLS, SIMPLE
from twinfold.validation import baselines
from twinfold.validation.check import Check
from twinfold.validation.thresholds import THRESHOLDS


@pytest.fixture
def against(errors: Any) -> Any:
    def check(ratio: Any, **options: Any) -> Check:
        return baselines.better(errors(ratio), "persistence", remedy="Try more rows.", **options)

    return check


SPREAD = np.exp(np.linspace(-0.1, 0.1, 20))


@pytest.mark.parametrize(
    ("ratio", "status"),
    [
        (0.5 * SPREAD, "pass"),
        ([*(0.5 * SPREAD[:16]), *(1.5 * SPREAD[:4])], "pass"),
        ([*(0.7 * SPREAD[:11]), *(1.4 * SPREAD[:9])], "warn"),  # better, but hardly for most
        (0.95 * SPREAD, "warn"),  # for most, but hardly better
        (1.0 * SPREAD, "fail"),
        (2.0 * SPREAD, "fail"),
        ([*(0.5 * SPREAD[:16]), *[40.0] * 4], "warn"),  # over all no better
        (0.5 * SPREAD[:7], "pass"),  # seven are the fewest
        (0.5 * SPREAD[:6], "unknown"),
        (2.0 * SPREAD[:6], "unknown"),
        ([1e9], "fail"),  # no chance makes errors so large
        ([], "unknown"),
        ([np.nan] * 9 + [*(0.5 * SPREAD[:9])], "pass"),
    ],
)
def test_better_than_a_control(against: Any, ratio: Any, status: str) -> None:
    check = against(ratio)
    assert check.status == status
    assert ("Try more rows." in check.advice) == (status == "fail")


@pytest.mark.parametrize(("times", "needed"), [(0.93, "pass"), (0.96, "warn")])
def test_for_predictions_a_twentieth_is_enough(against: Any, times: float, needed: str) -> None:
    check = against(times * SPREAD / SPREAD.mean(), needed="prediction")
    assert check.status == needed
    assert against(times * SPREAD / SPREAD.mean()).status == "warn"
    assert check.expected == "below 0.95, better for most"
    assert ("less than 5 % in the median" in check.advice) == (needed == "warn")


def test_agents_whom_no_change_predicts_exactly_are_no_greater_losses_than_they_are(
    errors: Any,
) -> None:
    """Of outcomes that are levels: a third stay as they are, the others are predicted better."""
    same = np.arange(90) < 30
    theirs = np.where(same, 1e-9, np.linspace(0.8, 1.2, 90))

    def status(exact: float) -> str:
        ours = np.where(same, exact, np.linspace(0.5, 1.02, 90) * theirs)
        return baselines.better(errors(ours, persistence=theirs), "persistence").status

    assert status(0.05) == "warn"
    assert status(0.4) == "fail"  # as much as the others gain


def test_what_is_gained_with_some_agents_is_no_evidence_against(errors: Any) -> None:
    """Most agents change little and are predicted a little worse; the others better by far more."""
    still = np.arange(80) % 10 < 7
    theirs = np.where(still, 0.3, 2.0) * np.tile(SPREAD, 4)

    def check(gain: float) -> Check:
        ours = np.where(still, 1.1, gain) * theirs
        return baselines.better(errors(ours, persistence=theirs), "persistence")

    found = check(0.8)
    assert (found.status, found.values["enough_agents"]) == ("warn", None)
    assert "with some agents" in found.advice
    assert check(0.99).status == "fail"


def test_the_worst_of_some_controls_is_a_warning(against: Any) -> None:
    assert against(2.0 * SPREAD, worst="warn").status == "warn"


def test_the_signed_rank_test_is_that_of_all_signs() -> None:
    values = np.array([-3.0, 1.0, -2.5, -0.5, -4.0, 0.25, -1.5])
    ranks = stats.rankdata(np.abs(values))
    seen = ranks[values > 0].sum()
    sums = [ranks @ np.array(s) for s in itertools.product([0, 1], repeat=len(values))]
    assert baselines.signed_rank(values) == pytest.approx(np.mean(np.array(sums) <= seen))
    assert baselines.signed_rank(np.zeros(9)) == 1.0


@pytest.mark.parametrize(("better", "agents"), [(4, 4), (3, 4), (9, 12), (14, 20), (2, 3)])
def test_the_number_of_agents_that_would_do_is_enough_for_a_sign_test(
    better: int, agents: int
) -> None:
    enough = baselines.enough_agents(better, agents)
    assert enough is not None
    assert enough >= max(THRESHOLDS.fewest_agents, agents + 1)
    wins = np.floor((better + 0.5) / (agents + 1) * enough + 0.5)
    assert stats.binomtest(int(wins), enough, alternative="greater").pvalue < THRESHOLDS.level
    assert baselines.enough_agents(agents - better, agents) is None


def test_seven_agents_are_the_fewest() -> None:
    assert THRESHOLDS.fewest_agents == 7
    assert 0.5**7 < THRESHOLDS.level < 0.5**6


# The best simple control


@pytest.fixture
def beside(errors: Any) -> Any:
    def check(ratio: Any, **controls: Any) -> Check:
        return baselines.not_worse(errors(ratio, **controls))

    return check


def test_the_best_simple_control_is_the_one_with_the_least_error_over_all(beside: Any) -> None:
    check = beside(0.5 * SPREAD, pooled_linear_model=0.4, drift=0.3)
    assert check.values["control"] == "drift"
    assert check.status == "fail"
    assert "going on as before" in check.advice.lower()
    assert set(SIMPLE) < set(CONTROLS)
    # What asks for the model itself is no simple control.
    assert beside(0.5 * SPREAD, average_agent=0.1).status == "pass"


@pytest.mark.parametrize(
    ("ratio", "status"),
    [
        (0.4 * SPREAD, "pass"),
        (0.5 * SPREAD, "pass"),
        (0.52 * SPREAD, "pass"),  # within the margin
        (0.6 * SPREAD, "fail"),
        (0.56 * np.exp(8 * np.log(SPREAD)), "warn"),  # seems worse: who knows
        (0.4 * SPREAD[:6], "unknown"),
        (0.6 * SPREAD[:6], "unknown"),
    ],
)
def test_not_worse_than_a_linear_model(beside: Any, ratio: Any, status: str) -> None:
    found = beside(ratio, pooled_linear_model=0.5)
    assert found.status == status
    # Agents that are said to be enough show what is true of these: that it is no worse, or worse.
    told = [found.values[key] for key in ("enough_agents", "agents_against")]
    shown = {("unknown", True): 0, ("unknown", False): 1, ("warn", False): 1}
    at = shown.get((status, bool(np.median(ratio) < 0.5)))
    assert [value is not None for value in told] == [at == 0, at == 1]


def test_what_is_negligible_beside_no_change_is_no_loss(beside: Any) -> None:
    assert beside(0.02 * SPREAD, own_linear_model=0.001).status == "pass"
    assert beside(0.3 * SPREAD, own_linear_model=0.01).status == "fail"


# The run's own held-out error


@pytest.mark.parametrize(
    ("ratio", "own", "status"),
    [
        (0.8, 0.0015, "fail"),
        (0.8, 0.7, "pass"),
        (0.8, 0.1, "warn"),
        (0.02, 0.0001, "pass"),  # both are good
        (0.8, None, "unknown"),
    ],
)
def test_errors_far_beyond_those_of_the_fit_are_evidence_against(
    errors: Any, ratio: float, own: float | None, status: str
) -> None:
    info = {} if own is None else {"rmse": own, "persistence_rmse": 1.0}
    check = baselines.as_promised(errors([ratio] * 3), info)
    assert (check.status, check.needed) == (status, "")
    assert baselines.as_promised(errors([ratio] * 2), info).status == "unknown"


def test_errors_are_compared_no_further_ahead_than_the_fit_looked(errors: Any) -> None:
    found = errors([0.9] * 5, steps=8)
    found.by_horizon["model"] = np.tile([0.01] * 2 + [0.9] * 6, (5, 1))
    own = {"rmse": 0.01, "persistence_rmse": 1.0}
    assert baselines.as_promised(found, own).status == "fail"
    own["rmse_by_horizon"] = [0.01, 0.01]  # pyright: ignore[reportArgumentType]
    assert baselines.as_promised(found, own).status == "pass"


def test_a_handful_of_rows_is_nothing_to_learn_from() -> None:
    for counts, status in (([1], "unknown"), ([2] * 4, "unknown"), ([10, 10], "pass")):
        check = baselines.fitted_on(np.array(counts))
        assert (check.status, check.needed) == (status, "prediction")


# Break-even horizon


@pytest.fixture
def horizon(errors: Any) -> Any:
    def check(ours: Any, theirs: Any) -> Check:
        steps = len(ours)
        found = errors([0.1] * 6, steps=steps)
        found.by_horizon["model"] = np.tile(np.asarray(ours, float), (6, 1))
        found.by_horizon["persistence"] = np.tile(np.asarray(theirs, float), (6, 1))
        return baselines.break_even(found)

    return check


def test_the_break_even_horizon_limits_and_does_not_fail(horizon: Any) -> None:
    one = np.ones(28)
    assert horizon(0.1 * one, one).values["step"] is None
    late = horizon([*[0.1] * 14, *[2.0] * 14], one)
    assert late.status == "warn"
    assert 14 < late.values["step"] <= 21
    assert f"more than {late.values['step'] - 1} steps" in late.advice
    assert horizon(2 * one, one).values["step"] == 1


def test_yesterday_that_resembles_today_is_no_end_of_what_can_be_predicted(horizon: Any) -> None:
    """Rides by weekday: no change is right at every seventh step."""
    theirs = np.where(np.arange(1, 29) % 7 == 0, 0.05, 1.0)
    check = horizon(np.full(28, 0.2), theirs)
    assert (check.status, check.values["step"]) == ("pass", None)


def test_a_ratio_is_told_to_where_it_tells_something(against: Any) -> None:
    told = {ratio: against(np.full(7, ratio)).figure for ratio in (4e-8, 0.99, 1.04, 12.34)}
    times = {ratio: figure.split(" times its error")[0] for ratio, figure in told.items()}
    assert times == {4e-8: "less than 0.01", 0.99: "0.99", 1.04: "1.04", 12.34: "12.3"}
