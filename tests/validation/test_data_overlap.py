"""Data that the run was made from is known as such, as a whole and in parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

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


def test_states_that_come_back_by_themselves_are_no_overlap(world: Any) -> None:
    """Of levels and counts, fresh rows hold most states that the run keeps, by chance."""

    def shares(own: Any, fresh: Any, levels: int) -> Any:
        def coarse(values: Any) -> Any:
            return np.round(levels * values) / levels if levels else np.sign(values)

        kept = world.model.sample
        model = replace(world.model, sample=kept._replace(state=coarse(kept.state)))
        for panel in (own, fresh):
            found = evaluate_holdout(world.model, panel)
            found = found._replace(data=replace(found.data, state=coarse(found.data.state)))
            yield already_had(model, found)

    own, fresh = world.own.select_agents(KNOWN), world.again(KNOWN, 8)
    (seen,), (new,) = shares(own, fresh, 2)
    assert (seen.status, new.status) == ("warn", "pass")
    assert new.values["share"] > 0.1
    assert new.values["by_chance"] > 0.1
    # Of signs alone nothing can be said.
    assert list(shares(own, fresh, 0)) == [[], []]
