"""What stands behind a prediction: laws of the score, of the own share, and abstention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import FittedModel, Simulator
from twinfold.adaptation.adapt import adapt
from twinfold.models.fitted_model import DataSample
from twinfold.simulation.what_if import answer
from twinfold.uncertainty.support import (
    BASIS,
    BORROWED,
    OWN,
    SUPPORT,
    UNSUPPORTED,
    Support,
    abstention,
    path_support,
    support_columns,
)

Build = Callable[..., FittedModel]
KINDS: list[dict[str, Any]] = [{}, {"discrete": False}]


def ignore(line: str) -> None:
    pass


def with_sample(model: FittedModel, courses: Any) -> tuple[FittedModel, Any]:
    """The model with what was done in the states it keeps, and its training data."""
    panel = courses.panel(model, [12] * 5, courses.factors(model))
    rows = courses.transitions(model, panel)
    kept = replace(model, sample=DataSample(rows.state, rows.action, rows.agent))
    return kept, rows


def single(model: FittedModel, rows: Any, state: Any = None) -> Support:
    """Of one step each."""
    where = rows.state if state is None else state
    return path_support(model, rows.agent, where[:, None], rows.action[:, None])


@pytest.mark.parametrize("kind", KINDS)
def test_training_data_is_supported_and_what_is_far_away_is_not(
    random_model: Build, courses: Any, kind: dict[str, Any]
) -> None:
    model, rows = with_sample(random_model(posterior=True, **kind), courses)
    here = single(model, rows)
    assert np.all((here.score >= 0) & (here.score <= 1))
    assert np.median(here.score) == 1
    assert here.score.mean() > 0.95
    scale = model.normalizer.state_scale
    away = [single(model, rows, rows.state + far * scale).score for far in (0.1, 1.0, 10.0)]
    assert np.all(away[2] == 0)
    assert away[0].mean() > away[1].mean() > away[2].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_support_never_rises_along_a_path(
    random_model: Build, courses: Any, kind: dict[str, Any]
) -> None:
    model, rows = with_sample(random_model(posterior=True, **kind), courses)
    rng = np.random.default_rng(0)
    pick = rng.integers(0, len(rows), (20, 9))
    states = rows.state[pick] + rng.exponential(0.3, (20, 9, 1)) * model.normalizer.state_scale
    agent = rows.agent[pick[:, 0]]
    path = path_support(model, agent, states, rows.action[pick])
    assert np.all(np.diff(path.score, axis=1) <= 0)
    for h in range(9):  # the least of the steps so far, each as if alone
        alone = path_support(model, agent, states[:, h : h + 1], rows.action[pick][:, h : h + 1])
        expected = np.minimum(path.score[:, max(h - 1, 0)], alone.score[:, 0])
        np.testing.assert_allclose(path.score[:, h], expected, atol=1e-6)
        np.testing.assert_allclose(path.own[:, h], alone.own[:, 0], atol=1e-6)


def test_the_basis_follows_from_support_and_own_share(random_model: Build, courses: Any) -> None:
    model, rows = with_sample(random_model(posterior=True), courses)
    rng = np.random.default_rng(1)
    far = rng.exponential(0.5, (len(rows), 1)) * model.normalizer.state_scale
    found = single(model, rows, rows.state + far)
    own = np.where(found.own >= SUPPORT.own_data, OWN, BORROWED)
    expected = np.where(found.score < SUPPORT.unsupported, UNSUPPORTED, own)
    np.testing.assert_array_equal(found.basis, expected)
    assert len(np.unique(found.basis)) > 1


def test_states_that_are_no_numbers_have_no_support(random_model: Build, courses: Any) -> None:
    model, rows = with_sample(random_model(posterior=True), courses)
    states = np.repeat(rows.state[:4, None], 5, axis=1)
    actions = np.repeat(rows.action[:4, None], 5, axis=1)
    states[1, 2, 0], states[2, 0, 1], states[3, 4, 2] = np.nan, np.inf, -np.inf
    found = path_support(model, rows.agent[:4], states, actions)
    assert np.isfinite(found.score).all()
    for query, step in ((1, 2), (2, 0), (3, 4)):
        assert np.all(found.score[query, step:] == 0)
        assert np.all(found.basis[query, step:] == UNSUPPORTED)
    plain = path_support(model, rows.agent[:1], states[:1], actions[:1])
    np.testing.assert_allclose(found.score[0], plain.score[0])


def test_members_that_contradict_each_other_leave_no_support(
    random_model: Build, courses: Any
) -> None:
    import equinox as eqx
    import jax.numpy as jnp

    model, rows = with_sample(random_model(posterior=True), courses)
    rng = np.random.default_rng(0)
    factors = np.asarray(model.members.agents)
    wild = factors + 1e3 * rng.normal(size=factors.shape)
    other = eqx.tree_at(lambda m: m.agents, model.members, jnp.asarray(wild, jnp.float32))
    found = path_support(
        replace(model, members=other), rows.agent, rows.state[:, None], rows.action[:, None], model
    )
    assert np.median(found.score) == 0


def test_an_action_that_was_never_taken_there_is_not_supported(
    random_model: Build, courses: Any
) -> None:
    model, rows = with_sample(random_model(posterior=True), courses)
    only = replace(model, sample=model.sample._replace(action=np.zeros_like(rows.action)))
    taken = path_support(only, rows.agent, rows.state[:, None], np.zeros((len(rows), 1), np.int32))
    other = path_support(only, rows.agent, rows.state[:, None], np.ones((len(rows), 1), np.int32))
    assert np.median(taken.score) == 1
    assert np.all(other.score == 0)


def test_own_data_counts_step_by_step(random_model: Build, courses: Any) -> None:
    model, rows = with_sample(random_model(posterior=True), courses)
    bare = courses.table(model, [0], courses.factors(model)[:1], ids=["new"])
    table = courses.table(model, [12], courses.factors(model)[:1], ids=["new"])
    from twinfold.data.panel import PanelDataset

    def share(length: int) -> float:
        if length:
            panel = PanelDataset.from_frame(table.iloc[: length + 1], model.roles)
        else:
            both = pd.concat([bare, courses.table(model, [2], courses.factors(model)[:1])])
            panel = PanelDataset.from_frame(both.reset_index(drop=True), model.roles)
        known = adapt(model, panel, warn=ignore)
        agent = np.full(len(rows), known.agent_index("new"))
        return float(
            path_support(known, agent, rows.state[:, None], rows.action[:, None]).own.mean()
        )

    shares = [share(length) for length in (0, 1, 3, 12)]
    assert shares[0] == pytest.approx(0, abs=1e-9)
    assert shares == sorted(shares)
    assert 0 < shares[1] < shares[3] < 1


def test_columns_give_way_to_names_in_use() -> None:
    found = Support(np.array([1.0, 0.2]), np.zeros(2), np.array([BORROWED, UNSUPPORTED], np.int8))
    table = support_columns(found, ("support", "t"))
    assert list(table) == ["support_", "basis"]
    assert list(table["basis"]) == [BASIS[BORROWED], BASIS[UNSUPPORTED]]


def test_the_reason_names_the_first_step() -> None:
    score = np.array([[1.0, 0.9], [1.0, 0.25]])
    found = Support(score, score, np.zeros((2, 2), np.int8))
    text = abstention(found, score < 0.5, 0.5)
    assert text.startswith("no prediction from step 2 on: its support is 0.25, below 0.5")


# Simulators abstain


def test_a_simulator_abstains_from_the_first_unsupported_step(small_cart_pole: FittedModel) -> None:
    simulator, said = Simulator(small_cart_pole, 7), []
    start, actions = [0.0, 0.0, 0.0, 0.0], [1] * 25  # pushed right until the pole has long fallen
    whole = simulator.rollout(start, actions, ignore)
    assert whole.support.score[0] > 0.5 > whole.support.score[-1]
    gone = whole.support.score < 0.5
    held = simulator.rollout(start, actions, said.append, min_support=0.5)
    for name in ("centre", "lower", "upper", "spread"):
        values, before = getattr(held, name), getattr(whole, name)
        assert np.isnan(values[gone]).all()
        np.testing.assert_array_equal(values[~gone], before[~gone])
    assert np.isnan(held.members[:, gone]).all()
    (reason,) = (line for line in said if "no prediction" in line)
    assert f"from step {int(gone.argmax()) + 1} on" in reason
    frame = held.to_frame()
    assert list(frame.columns[-2:]) == ["support", "basis"]
    np.testing.assert_allclose(frame["support"], whole.support.score)


def test_a_table_of_questions_abstains_like_the_simulator(small_cart_pole: FittedModel) -> None:
    nan, said = np.nan, []
    table = pd.DataFrame(
        {
            "query_id": ["short"] * 2 + ["long"] * 25,
            "agent_id": [7] * 27,
            "t": [*range(2), *range(25)],
            **{name: [0.0, nan, 0.0, *[nan] * 24] for name in ("x", "x_dot", "theta", "theta_dot")},
            "action": [1] * 27,
        }
    )
    found = answer(small_cart_pole, table, warn=said.append, min_support=0.5)
    alone = Simulator(small_cart_pole, 7).rollout(np.zeros(4), [1] * 25, ignore, min_support=0.5)
    long = found[found["query_id"] == "long"]
    np.testing.assert_allclose(long["theta"], alone.centre[:, 2], rtol=1e-5)
    np.testing.assert_allclose(long["support"], alone.support.score, atol=1e-4)
    assert found[found["query_id"] == "short"].notna().to_numpy().all()
    assert sum("no prediction" in line for line in said) == 1
    assert any("'long'" in line and "no prediction" in line for line in said)
    plain = answer(small_cart_pole, table, warn=ignore)
    np.testing.assert_array_equal(plain["support"], found["support"])
    assert plain.notna().to_numpy().all()
