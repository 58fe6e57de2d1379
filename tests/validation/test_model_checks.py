"""Checks of the model by itself."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.adaptation.adapt import adapt
from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
from twinfold.validation import model_checks
from twinfold.validation.check import Check


def with_factors(model: FittedModel, factors: Any) -> FittedModel:
    return replace(
        model,
        members=eqx.tree_at(lambda m: m.agents, model.members, jnp.asarray(factors, jnp.float32)),
    )


def twice(model: FittedModel, factors: Any) -> FittedModel:
    """The single member two times over, with factors ``(2, N, r)``."""
    members = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), model.members)
    return with_factors(replace(model, members=members), factors)


def twice_known(model: FittedModel, factors: Any) -> FittedModel:
    """The same with a posterior of two members."""
    posterior: Any = model.posterior
    prior, evidence = (
        type(part)(*(np.concatenate([x] * 2) if x.ndim > 1 else x for x in part))
        for part in (posterior.prior, posterior.evidence)
    )
    both = twice(model, factors)
    return replace(both, posterior=posterior._replace(prior=prior, evidence=evidence))


def rank_of(model: FittedModel) -> Check:
    return model_checks.numerical_rank(model, model_checks.responses_of(model, 0))


def agreement(model: FittedModel, found: Any) -> Check:
    return model_checks.members_agree(model, found, model_checks.responses_of(model, 0))


def map_of(model: FittedModel) -> dict[str, Any]:
    return model_checks.factor_map(model, model_checks.responses_of(model, 0))


@pytest.mark.parametrize("used", [1, 2, 3])
def test_the_numerical_rank_is_the_number_of_terms_that_differ(world: Any, used: int) -> None:
    """The unfolded tensor of targets is features times factors: its rank is theirs."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(80, used)) @ np.eye(3)[:used]
    check = rank_of(with_factors(world.model, factors[None]))
    assert check.values["of"] == 3
    assert check.values["rank"] <= used
    assert (check.status == "warn") == (check.values["rank"] == 3)
    singular = check.values["singular_values"]
    assert np.all(np.array(singular[used:]) < 1e-4 * singular[0])


def test_a_model_without_nets_has_no_latent_terms(world: Any) -> None:
    simple: Any = SimpleNamespace(members=SimpleNamespace(n_fixed=3, rank=3))
    check = model_checks.numerical_rank(simple, model_checks.responses_of(world.model, 0))
    assert (check.status, check.values) == ("pass", {})
    assert check.figure == "no latent terms"


def test_the_rank_is_never_more_than_the_terms_there_are(world: Any) -> None:
    """Hard limits bend predictions in ways that no term of the model has; nothing has rank 0."""
    norm = world.model.normalizer
    limits = (np.full_like(norm.low, -0.1), np.full_like(norm.high, 0.1))
    tight = eqx.tree_at(lambda n: (n.low, n.high), norm, limits)
    narrow = replace(world.model, normalizer=tight)
    assert rank_of(narrow).values == rank_of(world.model).values
    nothing = rank_of(with_factors(world.model, 0 * np.asarray(world.model.members.agents)))
    assert (nothing.status, nothing.values["rank"]) == ("pass", 0)


def test_members_that_tell_agents_apart_alike_agree(world: Any) -> None:
    factors = np.asarray(world.model.members.agents)[0]
    rng = np.random.default_rng(0)
    found = evaluate_holdout(world.model, world.again([f"u{n}" for n in range(12)], 9))

    def agree(own: Any, apart: float, rmse: float = 0.1, simple: float = 0.2) -> Any:
        controls = {name: np.full(12, simple) for name in found.controls}
        seen = found._replace(
            rmse=np.full(12, rmse), disagreement=np.full(12, apart), controls=controls
        )
        return agreement(twice(world.model, own), seen)

    alike, others = [factors, factors], [factors, rng.permutation(factors)]
    same = agree(alike, 0.05)
    assert (same.status, same.values["correlation"]) == ("pass", pytest.approx(1, abs=1e-4))
    # What all agents share does not count.
    shared = agree([factors, factors + 1.0], 0.05)
    assert shared.values["correlation"] == pytest.approx(1, abs=1e-3)
    # That members tell agents apart otherwise is no matter while they predict alike.
    assert agree(others, 0.05).status == "pass"
    assert agree(others, 0.2).status == "warn"
    assert agree(others, 0.2).values["times"] == pytest.approx(2)
    # It is if they differ by more than the error, and as much as the simplest is wrong.
    worst = agree(others, 0.4)
    assert (worst.status, worst.planning, worst.needed) == ("fail", True, "")
    assert agree(others, 0.4, simple=1.0).status == "warn"
    assert agreement(world.model, found).status == "unknown"


def test_the_disagreement_of_members_is_measured_along_the_ends(world: Any) -> None:
    factors = np.asarray(world.model.members.agents)[0]
    panel = world.again(["u1", "u2"], 9)
    assert np.all(evaluate_holdout(world.model, panel).disagreement < 1e-6)
    apart = evaluate_holdout(
        twice_known(world.model, [factors, np.roll(factors, 1, axis=0)]), panel
    )
    assert np.all(apart.disagreement > 1e-3)


def test_a_member_that_diverged_stops_nothing(world: Any) -> None:
    factors = np.asarray(world.model.members.agents)[0]
    model = twice(world.model, [np.full_like(factors, np.nan), factors])
    assert rank_of(model).values["rank"] <= 3
    found = evaluate_holdout(world.model, world.again(["u1", "u2"], 9))
    agreement(model, found)
    map_of(model)


def test_agents_whose_rows_contradict_each_other_are_named(world: Any) -> None:
    assert model_checks.misfits(world.model).status == "pass"
    odd = world.fresh(2, 8).to_frame()
    rows = odd["unit"] == "n1"
    rng = np.random.default_rng(0)
    odd.loc[rows, "s1"] = rng.permutation(odd.loc[rows, "s1"])
    panel = type(world.own).from_frame(odd, world.model.roles)
    check = model_checks.misfits(adapt(world.model, panel, warn=lambda line: None))
    assert (check.status, check.agents) == ("warn", ("n1",))
    assert check.advice.startswith("Agent 'n1' fits")


def test_what_depends_on_the_state_is_structure(world: Any) -> None:
    found = evaluate_holdout(world.model, world.fresh(40, 9))
    plain = model_checks.residual_structure(found)
    assert plain.status == "pass"
    state = np.concatenate([found.ends.state[:, None], found.ends.next_state[:, :-1]], axis=1)
    residual = found.residual.copy()
    scale = world.model.normalizer.state_scale[1]
    residual[..., 2] += 5 * (state[..., 1] - state[..., 1].mean()) / scale
    check = model_checks.residual_structure(found._replace(residual=residual))
    assert check.status == "warn"
    assert max(check.values, key=lambda name: check.values[name]) == "s2"
    # Levels that are known badly are none: agents with high levels have high states.
    level = residual.copy()
    level[..., 2] = found.residual[..., 2] + 5 * state[..., 1].mean(axis=1, keepdims=True) / scale
    assert model_checks.residual_structure(found._replace(residual=level)).status == "pass"
    few = model_checks.residual_structure(evaluate_holdout(world.model, world.fresh(1, 9)))
    assert "Too few transitions" in few.advice


def test_predictions_of_agents_without_data_are_borrowed(world: Any) -> None:
    assert model_checks.own_data(world.model).status == "pass"
    posterior = world.model.posterior
    blank = posterior.evidence._replace(gram=0 * posterior.evidence.gram)
    check = model_checks.own_data(
        replace(world.model, posterior=posterior._replace(evidence=blank))
    )
    assert check.status == "warn"
    assert check.values["median"] == pytest.approx(0, abs=1e-9)
    assert len(check.agents) == 5


def test_agents_that_are_alike_are_close_on_the_map(world: Any) -> None:
    factors = np.asarray(world.model.members.agents).copy()
    factors[:, 1] = factors[:, 0]
    plane = map_of(with_factors(world.model, factors))
    points = np.array([plane["x"], plane["y"]]).T
    assert plane["ids"] == list(world.model.agent_ids)
    assert np.array(plane["trained"]).sum() == 40
    np.testing.assert_allclose(points[0], points[1], atol=1e-4)
    assert np.ptp(points, axis=0).min() > 0.1
