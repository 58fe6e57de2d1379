"""Words of checks: every outcome has a status, and templates are filled in."""

from __future__ import annotations

from typing import Any, get_args

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
    check = said("fresh data", "warn", THRESHOLDS, {"share": 0.512}, most=0.5)
    assert (check.figure[:4], check.expected) == ("51 %", "at most 50 %")


@pytest.mark.parametrize(
    ("kind", "outcome", "values", "words"),
    [
        ("stability across seeds", "few", {"members": 1, "agents": 3}, "1 member, 3 agents"),
        ("stability across seeds", "few", {"members": 2, "agents": 1}, "2 members, 1 agent"),
        ("data of the fit", "unknown", {"transitions": 1, "agents": 1}, "1 transition of 1 agent"),
        (
            "band",
            "pass",
            {"coverage": 1.0, "agents": 1, "horizon": 1, "nominal": 0.9, "least": 0},
            "100 % of 1 whole trajectory of 1 step",
        ),
        (
            "band",
            "calibrated",
            {"factor": 1.1, "agents": 20, "horizon": 2, "nominal": 0.9},
            "1.1 times as wide, by 20 whole trajectories of 2 steps",
        ),
    ],
)
def test_one_is_no_plural(kind: str, outcome: str, values: Any, words: str) -> None:
    assert said(kind, outcome, THRESHOLDS, values).figure == words


def test_a_share_of_next_to_nothing_has_no_sign() -> None:
    words = {"listed": "'a'", "bad": 1, "all": 2}
    check = said("reaction by action column", "fail", THRESHOLDS, {"effect": -0.001}, **words)
    assert "bears out 0 % of the effect" in check.advice


@pytest.mark.parametrize(("agents", "words"), [(1, "1 agent is too few"), (2, "2 agents are too")])
def test_few_agents_are_told_in_plain_words(agents: int, words: str) -> None:
    values = {"agents": agents, "control": "drift"}
    check = said(
        "against a control",
        "few",
        THRESHOLDS,
        values,
        below=0.9,
        comparison="",
        theirs="going on as before",
    )
    assert check.advice.startswith(words)
    assert check.advice.endswith("predictions are better than going on as before.")


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
