"""Data that the run was made from is known as such, as a whole and in parts."""

from __future__ import annotations

from typing import Any

from twinfold.adaptation.adapt import adapt
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
from twinfold.validation.data_overlap import already_had, made_from

KNOWN = [f"u{n}" for n in range(30)]


def test_the_run_knows_what_it_was_made_from(world: Any) -> None:
    model, own = world.model, world.own
    assert made_from(model, own)
    assert made_from(model, own.select_agents([f"u{n}" for n in range(40)]))
    assert made_from(model, own.select_agents([f"r{n}" for n in range(40)]))
    assert made_from(model, own.select_agents(own.agent_ids[::-1]))
    assert not made_from(model, own.select_agents([n for n in own.agent_ids if n != "u0"]))
    assert not made_from(model, world.again(KNOWN, 8))
    assert not made_from(model, world.fresh(3, 1))
    adapted = adapt(model, world.fresh(3, 1), warn=lambda line: None)
    assert made_from(adapted, world.fresh(3, 1))
    assert made_from(adapted, own)


def test_training_data_that_is_given_as_fresh_is_a_warning(world: Any) -> None:
    part = world.own.select_agents(KNOWN)
    (check,) = already_had(world.model, evaluate_holdout(world.model, part))
    assert (check.status, check.values["share"]) == ("warn", 1.0)
    (check,) = already_had(world.model, evaluate_holdout(world.model, world.again(KNOWN, 8)))
    assert (check.status, check.values["share"]) == ("pass", 0.0)
    assert already_had(world.model, evaluate_holdout(world.model, world.fresh(3, 1))) == []
