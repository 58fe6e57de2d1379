"""Words of checks: every outcome has a status, and templates are filled in."""

from __future__ import annotations

from typing import get_args

import pytest

from twinfold.uncertainty.controls import CONTROLS
from twinfold.uncertainty.holdout_statistics import STATISTICS
from twinfold.validation.check import said
from twinfold.validation.sentences import (
    CONTROL_NAMES,
    OUTCOMES,
    SENTENCES,
    STATISTIC_NAMES,
    Status,
)
from twinfold.validation.thresholds import THRESHOLDS

STATUSES = get_args(Status)


def test_every_outcome_has_a_status() -> None:
    outcomes = {outcome for rows in SENTENCES.values() for outcome in rows}
    assert outcomes <= {*STATUSES, *OUTCOMES}
    assert set(OUTCOMES) <= outcomes
    assert set(OUTCOMES.values()) <= set(STATUSES)


def test_every_control_and_statistic_has_a_name() -> None:
    assert set(CONTROL_NAMES) == set(CONTROLS)
    assert set(STATISTIC_NAMES) == set(STATISTICS)


@pytest.mark.parametrize(("agents", "words"), [(1, "1 agent"), (7, "7 agents")])
def test_templates_take_values_words_and_thresholds(agents: int, words: str) -> None:
    check = said("data of the fit", "pass", THRESHOLDS, {"transitions": 30, "agents": agents})
    assert (check.name, check.status) == ("data of the fit", "pass")
    assert check.figure == f"30 transitions of {words}"
    assert check.expected == "at least 20 transitions"
    check = said("fresh data", "warn", THRESHOLDS, {"share": 0.512})
    assert (check.figure[:4], check.expected) == ("51 %", "at most 50 %")


def test_names_with_braces_are_no_templates() -> None:
    check = said(
        "agents that fit badly",
        "fail",
        THRESHOLDS,
        concerned=("{x}",),
        bad=1,
        all=3,
        agent="{x}",
        meaning="{y}",
    )
    assert check.advice.startswith("Agent '{x}': {y}. Look at")
