"""Reaction to actions, by hand-made errors: what passes, what fails, what cannot be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twinfold.uncertainty.holdout_evaluation import Redrawn
from twinfold.validation import action_sensitivity
from twinfold.validation.check import Check

SPREAD = np.exp(np.linspace(-0.1, 0.1, 20))


def redrawn(found: Any, effect: float, true: float, same: float = 0.0) -> Redrawn:
    """Under drawn actions, if the model moves by ``effect`` and the truth by ``true``."""
    n = len(found.rmse)
    # Errors of independent moves add up in squares; (effect - true)^2 is within the error already.
    rmse = np.sqrt(found.rmse**2 + 2 * effect * true)
    return Redrawn(rmse, np.full(n, np.sqrt(2) * effect), np.full(n, same))


@pytest.fixture
def acted(errors: Any) -> Any:
    def check(effect: float, true: float, n: int = 20, same: float = 0.0) -> Check:
        found = errors((0.3 * SPREAD)[:n])
        found.redrawn = redrawn(found, effect, true, same)
        found.controls["other actions"] = found.redrawn.rmse
        found.redrawn_columns = (found.redrawn,) * 2
        return action_sensitivity.reacts(found)

    return check


@pytest.mark.parametrize(
    ("effect", "true", "status"),
    [
        (1.0, 1.0, "pass"),
        (1.0, 0.0, "fail"),  # shuffled: the model moves, the truth does not
        (0.05, 0.05, "warn"),  # an effect that can hardly be seen
        (1.0, 0.3, "warn"),  # there, but a third of what the model says
    ],
)
def test_a_reaction_has_to_be_clear_and_borne_out(
    acted: Any, effect: float, true: float, status: str
) -> None:
    check = acted(effect, true)
    assert check.status == status
    assert (check.planning, check.needed) == (True, "planning")
    assert check.values["borne_out"] == pytest.approx(true / effect, abs=1e-6)


def test_actions_that_do_not_vary_say_nothing_and_fail_nothing(acted: Any, errors: Any) -> None:
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


def test_each_column_of_the_actions_is_tried_by_itself(errors: Any) -> None:
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
    # One that hardly varies by itself, or within agents, does no harm, and is said.
    steady = np.zeros((20, 2), bool)
    steady[:11, 1] = True
    still = redrawn(found, 0.01, 0.0, same=0.97)
    for columns, never in (((good, idle), steady), ((good, still), steady & False)):
        found.redrawn_columns, found.steady = columns, never
        check = action_sensitivity.reacts_by_column(found, ["a", "heat"])
        assert check is not None
        assert (check.status, check.needed) == ("pass", "planning")
        assert "The data cannot say what 'heat' does" in check.advice


def test_a_column_that_is_borne_out_is_no_evidence_against_planning(errors: Any) -> None:
    """Half of what the model says is there, but agents differ too much to tell."""
    found = errors(0.3 * SPREAD)
    good, open_ = (redrawn(found, 1.0, true) for true in (1.0, 0.6))
    worse = np.arange(20) % 2 == 0
    open_ = open_._replace(rmse=np.where(worse, 0.9 * found.rmse, 2 * open_.rmse))
    found.redrawn_columns = (good, open_)
    check = action_sensitivity.reacts_by_column(found, ["a", "heat"])
    assert check is not None
    assert check.values["columns"]["heat"]["borne_out"] >= 0.5
    assert (check.status, check.needed) == ("warn", "planning")
    assert "'heat'" in check.advice
    assert "20 agents are too few" in check.advice
