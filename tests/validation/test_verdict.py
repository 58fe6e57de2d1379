"""The verdict of hand-made outcomes, why it is no better, and what would do."""

from __future__ import annotations

from typing import Any

import pytest

from twinfold.validation.check import Check
from twinfold.validation.verdict import VERDICTS, reasons, verdict_of, would_do


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


def test_what_would_do_says_nothing_of_use_where_the_evidence_points_the_other_way() -> None:
    """One comparison that goes on as here is never won: no other one's number is told."""
    few = outcome("unknown", "prediction", enough_agents=7)
    lost = outcome("unknown", "prediction", enough_agents=None)
    found = would_do([few, lost], "cannot tell")
    assert found["agents"] == 7
    assert "too few are predicted better for a number" in found["text"]
    hardly = outcome("warn", "prediction", enough_agents=None)
    assert would_do([few, hardly], "cannot tell")["agents"] is None
    simpler = outcome("warn", "prediction", enough_agents=None, agents_against=39)
    found = would_do([few, simpler], "cannot tell")
    assert found["agents"] == 39
    assert "simpler model" in found["text"]
    assert "do not make the run usable" in found["text"]
