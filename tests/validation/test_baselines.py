"""Evidence for and against, by hand-made errors: what passes, what fails, what cannot be told."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from twinfold.uncertainty.controls import CONTROLS, SIMPLE
from twinfold.uncertainty.holdout_evaluation import Redrawn
from twinfold.validation import action_sensitivity, baselines
from twinfold.validation.check import Check
from twinfold.validation.thresholds import THRESHOLDS
from twinfold.validation.verdict import VERDICTS, reasons, verdict_of, would_do


def errors(ratio: Any, steps: int = 8, **controls: Any) -> Any:
    """Agents whose error is so many times 1, the error of every control not named."""
    rmse = np.asarray(ratio, float)
    n = len(rmse)
    found: dict[str, Any] = {
        "rmse": rmse,
        "controls": {name: np.ones(n) for name in CONTROLS}
        | {name.replace("_", " "): np.broadcast_to(value, n) for name, value in controls.items()},
        "ends": SimpleNamespace(mask=np.ones((n, steps), bool)),
        "steady": np.zeros(n, bool),
    }
    found["by_horizon"] = {
        name: np.broadcast_to(np.asarray(value, float)[:, None], (n, steps))
        for name, value in {**found["controls"], "model": rmse}.items()
    }
    return SimpleNamespace(**found)


def against(ratio: Any, **options: Any) -> Check:
    return baselines.better(errors(ratio), "persistence", remedy="Try more rows.", **options)


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
def test_better_than_a_control(ratio: Any, status: str) -> None:
    check = against(ratio)
    assert check.status == status
    assert ("Try more rows." in check.advice) == (status == "fail")


def test_the_worst_of_some_controls_is_a_warning() -> None:
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


def beside(ratio: Any, **controls: Any) -> Check:
    return baselines.not_worse(errors(ratio, **controls))


def test_the_best_simple_control_is_the_one_with_the_least_error_over_all() -> None:
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
def test_not_worse_than_a_linear_model(ratio: Any, status: str) -> None:
    assert beside(ratio, pooled_linear_model=0.5).status == status


def test_what_is_negligible_beside_no_change_is_no_loss() -> None:
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
    ratio: float, own: float | None, status: str
) -> None:
    info = {} if own is None else {"validation": {"rmse": own, "persistence_rmse": 1.0}}
    check = baselines.as_promised(errors([ratio] * 3), info)
    assert (check.status, check.needed) == (status, "")
    assert baselines.as_promised(errors([ratio] * 2), info).status == "unknown"


def test_errors_are_compared_no_further_ahead_than_the_fit_looked() -> None:
    found = errors([0.9] * 5, steps=8)
    found.by_horizon["model"] = np.tile([0.01] * 2 + [0.9] * 6, (5, 1))
    own = {"rmse": 0.01, "persistence_rmse": 1.0}
    assert baselines.as_promised(found, {"validation": own}).status == "fail"
    own["rmse_by_horizon"] = [0.01, 0.01]  # pyright: ignore[reportArgumentType]
    assert baselines.as_promised(found, {"validation": own}).status == "pass"


def test_a_handful_of_rows_is_nothing_to_learn_from() -> None:
    for counts, status in (([1], "unknown"), ([2] * 4, "unknown"), ([10, 10], "pass")):
        check = baselines.fitted_on(np.array(counts))
        assert (check.status, check.needed) == (status, "prediction")


# Break-even horizon


def horizon(ours: Any, theirs: Any) -> Check:
    steps = len(ours)
    found = errors([0.1] * 6, steps=steps)
    found.by_horizon["model"] = np.tile(np.asarray(ours, float), (6, 1))
    found.by_horizon["persistence"] = np.tile(np.asarray(theirs, float), (6, 1))
    return baselines.break_even(found)


def test_the_break_even_horizon_limits_and_does_not_fail() -> None:
    one = np.ones(28)
    assert horizon(0.1 * one, one).values["step"] is None
    late = horizon([*[0.1] * 14, *[2.0] * 14], one)
    assert late.status == "warn"
    assert 14 < late.values["step"] <= 21
    assert f"more than {late.values['step'] - 1} steps" in late.advice
    assert horizon(2 * one, one).values["step"] == 1


def test_yesterday_that_resembles_today_is_no_end_of_what_can_be_predicted() -> None:
    """Rides by weekday: no change is right at every seventh step."""
    theirs = np.where(np.arange(1, 29) % 7 == 0, 0.05, 1.0)
    check = horizon(np.full(28, 0.2), theirs)
    assert (check.status, check.values["step"]) == ("pass", None)


# Actions


def redrawn(found: Any, effect: float, true: float, same: float = 0.0) -> Redrawn:
    """Under drawn actions, if the model moves by ``effect`` and the truth by ``true``."""
    n = len(found.rmse)
    # Errors of independent moves add up in squares; (effect - true)^2 is within the error already.
    rmse = np.sqrt(found.rmse**2 + 2 * effect * true)
    return Redrawn(rmse, np.full(n, np.sqrt(2) * effect), np.full(n, same))


def acted(effect: float, true: float, n: int = 20, same: float = 0.0) -> Check:
    found = errors((0.3 * SPREAD)[:n])
    found.redrawn = redrawn(found, effect, true, same)
    found.controls["other actions"] = found.redrawn.rmse
    found.redrawn_columns = (found.redrawn,) * 2
    return action_sensitivity.reacts(found)


@pytest.mark.parametrize(
    ("effect", "true", "status"),
    [
        (1.0, 1.0, "pass"),
        (1.0, 0.0, "fail"),  # shuffled: the model moves, the truth does not
        (0.05, 0.05, "warn"),  # an effect that can hardly be seen
        (1.0, 0.3, "warn"),  # there, but a third of what the model says
    ],
)
def test_a_reaction_has_to_be_clear_and_borne_out(effect: float, true: float, status: str) -> None:
    check = acted(effect, true)
    assert check.status == status
    assert (check.planning, check.needed) == (True, "planning")
    assert check.values["borne_out"] == pytest.approx(true / effect, abs=1e-6)


def test_actions_that_do_not_vary_say_nothing_and_fail_nothing() -> None:
    check = acted(1.0, 0.0, same=0.97)
    assert (check.status, check.needed) == ("unknown", "planning")
    assert "The data cannot say what actions do" in check.advice
    found = errors(0.3 * SPREAD)
    found.redrawn = redrawn(found, 1.0, 0.0)
    found.controls["other actions"] = found.redrawn.rmse
    found.steady[:11] = True  # agents differ in it, and never change it
    check = action_sensitivity.reacts(found)
    assert check.status == "unknown"
    assert "within an agent" in check.advice


def test_each_column_of_the_actions_is_tried_by_itself() -> None:
    found = errors(0.3 * SPREAD)
    good, none, idle = (redrawn(found, *pair) for pair in ((1.0, 1.0), (1.0, 0.0), (0.01, 0.0)))
    found.redrawn_columns = ()
    assert action_sensitivity.reacts_by_column(found, ["a"]) is None
    found.redrawn_columns = (good, idle)
    check = action_sensitivity.reacts_by_column(found, ["a", "b"])
    assert check is not None
    assert check.status == "pass"
    found.redrawn_columns = (good, none)
    check = action_sensitivity.reacts_by_column(found, ["a", "b"])
    assert check is not None
    assert (check.status, check.planning) == ("fail", True)
    assert "'b'" in check.advice
    assert "'a'" not in check.advice


# The verdict


def outcome(status: Any, needed: Any = "", planning: bool = False, **values: Any) -> Check:
    return Check("c", status, "", "", "why", planning=planning, needed=needed, values=values)


GOOD, ALSO = outcome("pass", "prediction"), outcome("pass", "planning")


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([], 1),  # no evidence is no pass
        ([outcome("pass"), outcome("pass")], 1),
        ([GOOD, ALSO], 3),
        ([GOOD, ALSO, outcome("warn"), outcome("unknown")], 3),
        ([GOOD], 2),
        ([GOOD, outcome("unknown", "planning")], 2),
        ([GOOD, outcome("warn", "planning")], 2),
        ([GOOD, ALSO, outcome("fail", planning=True)], 2),
        ([GOOD, ALSO, outcome("unknown", "prediction")], 1),
        ([GOOD, ALSO, outcome("warn", "prediction")], 1),
        ([ALSO], 1),
        ([GOOD, ALSO, outcome("fail")], 0),
        ([outcome("unknown", "prediction"), outcome("fail", "prediction")], 0),
        ([outcome("unknown", "prediction"), outcome("fail", planning=True)], 1),
    ],
)
def test_the_verdict_is_what_the_evidence_bears_out(outcomes: Any, verdict: int) -> None:
    assert verdict_of(outcomes) == VERDICTS[verdict]
    told = reasons(outcomes, VERDICTS[verdict])
    assert bool(told) == any(
        c.status != "pass" and (c.needed or c.status == "fail") for c in outcomes
    )


def test_what_cannot_be_told_comes_with_what_would_do() -> None:
    left = [outcome("unknown", "prediction", enough_agents=n) for n in (9, 23)]
    found = would_do(left, "cannot tell")
    assert found["agents"] == 23
    assert "about 23" in found["text"]
    assert would_do(left, "not usable") == {}
    none = would_do([outcome("warn", "prediction", enough_agents=None)], "cannot tell")
    assert none["agents"] is None
    assert "hardly change" in none["text"]
