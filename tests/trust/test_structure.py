"""Checks of the model by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.models.ensemble import FittedModel
from twinfold.models.examine import examine
from twinfold.trust import structure


def with_factors(model: FittedModel, factors: Any) -> FittedModel:
    return replace(
        model,
        members=eqx.tree_at(lambda m: m.agents, model.members, jnp.asarray(factors, jnp.float32)),
    )


def twice(model: FittedModel, factors: Any) -> FittedModel:
    """The single member two times over, with factors ``(2, N, r)``."""
    members = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), model.members)
    return with_factors(replace(model, members=members), factors)


@pytest.mark.parametrize("used", [1, 2, 3])
def test_the_numerical_rank_is_the_number_of_terms_that_differ(world: Any, used: int) -> None:
    """The unfolded tensor of targets is features times factors: its rank is theirs."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(80, used)) @ np.eye(3)[:used]
    check = structure.numerical_rank(with_factors(world.model, factors[None]), 0)
    assert check.values["of"] == 3
    assert check.values["rank"] <= used
    assert (check.status == "warn") == (check.values["rank"] == 3)
    singular = check.values["singular_values"]
    assert np.all(np.array(singular[used:]) < 1e-4 * singular[0])


def test_members_that_tell_agents_apart_alike_agree(world: Any) -> None:
    factors = np.asarray(world.model.members.agents)[0]
    rng = np.random.default_rng(0)
    agree = structure.members_agree(twice(world.model, [factors, factors]), 0)
    assert (agree.status, agree.values["correlation"]) == ("pass", pytest.approx(1, abs=1e-4))
    # What all agents share does not count.
    agree = structure.members_agree(twice(world.model, [factors, factors + 1.0]), 0)
    assert agree.values["correlation"] == pytest.approx(1, abs=1e-3)
    other = structure.members_agree(twice(world.model, [factors, rng.permutation(factors)]), 0)
    assert other.status == "fail"
    assert structure.members_agree(world.model, 0).status == "warn"  # nothing to compare


def test_a_member_that_diverged_stops_nothing(world: Any) -> None:
    factors = np.asarray(world.model.members.agents)[0]
    model = twice(world.model, [np.full_like(factors, np.nan), factors])
    assert structure.numerical_rank(model, 0).values["rank"] <= 3
    structure.members_agree(model, 0)
    structure.factor_map(model)


def test_agents_whose_rows_contradict_each_other_are_named(world: Any) -> None:
    assert structure.misfits(world.model).status == "pass"
    odd = world.fresh(2, 8).to_frame()
    rows = odd["unit"] == "n1"
    rng = np.random.default_rng(0)
    odd.loc[rows, "s1"] = rng.permutation(odd.loc[rows, "s1"])
    panel = type(world.own).from_frame(odd, world.model.roles)
    check = structure.misfits(world.model.adapt(panel, warn=lambda line: None))
    assert (check.status, check.agents) == ("warn", ("n1",))
    assert check.advice.startswith("'n1' fits")


def test_what_depends_on_the_state_is_structure(world: Any) -> None:
    found = examine(world.model, world.fresh(40, 9))
    plain = structure.residual_structure(found)
    assert plain.status == "pass"
    state = np.concatenate([found.ends.state[:, None], found.ends.next_state[:, :-1]], axis=1)
    residual = found.residual.copy()
    scale = world.model.normalizer.state_scale[1]
    residual[..., 2] += 5 * (state[..., 1] - state[..., 1].mean()) / scale
    check = structure.residual_structure(found._replace(residual=residual))
    assert check.status == "warn"
    assert max(check.values, key=lambda name: check.values[name]) == "s2"
    few = structure.residual_structure(examine(world.model, world.fresh(1, 9)))
    assert "Too few transitions" in few.advice


def test_predictions_of_agents_without_data_are_borrowed(world: Any) -> None:
    assert structure.own_data(world.model).status == "pass"
    posterior = world.model.posterior
    blank = posterior.evidence._replace(gram=0 * posterior.evidence.gram)
    check = structure.own_data(replace(world.model, posterior=posterior._replace(evidence=blank)))
    assert check.status == "warn"
    assert check.values["median"] == pytest.approx(0, abs=1e-9)
    assert len(check.agents) == 5


def test_agents_that_are_alike_are_close_on_the_map(world: Any) -> None:
    factors = np.asarray(world.model.members.agents).copy()
    factors[:, 1] = factors[:, 0]
    plane = structure.factor_map(with_factors(world.model, factors))
    points = np.array([plane["x"], plane["y"]]).T
    assert plane["ids"] == list(world.model.agent_ids)
    assert np.array(plane["trained"]).sum() == 40
    np.testing.assert_allclose(points[0], points[1], atol=1e-4)
    assert np.ptp(points, axis=0).min() > 0.1
