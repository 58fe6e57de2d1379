"""Evaluation against the true task: independent figures, provenance, and runs that do not fit."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from twinfold import FittedModel, UsageError
from twinfold.benchmark.paper import paper_figures
from twinfold.benchmark.protocol import (
    evaluate_prediction,
    evaluate_return,
    evaluate_true,
    predict,
    true_covariates,
)
from twinfold.data.roles import Roles
from twinfold.planning.presets import plan_config
from twinfold.tasks import agent_covariates, get_task

CART = get_task("cart_pole")
SOURCE = {"task": "cart_pole", "policy": "random", "n_agents": 60, "seed": 0}


def with_source(model: FittedModel, **source: Any) -> FittedModel:
    return dataclasses.replace(model, info=model.info.changed(source=source))


@pytest.fixture(scope="module")
def carts(small_cart_pole: FittedModel) -> FittedModel:
    return with_source(small_cart_pole, **SOURCE)


def test_the_error_is_that_of_the_predictions(carts: FittedModel) -> None:
    agents = [4, 17]
    record = evaluate_prediction(carts, CART, agents, trajectories=6, steps=15, seed=2)
    found = predict(carts, CART, agents, trajectories=6, steps=15, seed=2)
    for row, one in zip(record["agents"], found, strict=True):
        middle = np.sort(one.members, axis=0)[1:-1].mean(axis=0)  # 3 members: the median
        errors, fits = [], []
        for p in range(6):
            steps = int(one.mask[p].sum())
            assert 1 <= steps <= 15
            assert one.mask[p, :steps].all()
            wrong = middle[p, :steps] - one.true[p, 1 : steps + 1]
            spread = one.true[p, 1 : steps + 1] - one.true[p, 1 : steps + 1].mean(axis=0)
            errors.append(np.sqrt((wrong**2).mean()))
            fits.append(1 - (wrong**2).sum() / (spread**2).sum())
        assert row["rmse_mean"] == pytest.approx(np.mean(errors))
        assert row["rmse_std"] == pytest.approx(np.std(errors))
        assert row["r2_median"] == pytest.approx(np.median(fits))
        assert row["rmse_low"] <= row["rmse_mean"] <= row["rmse_high"]
    assert record["median_over_agents"] == pytest.approx(
        np.median([row["rmse_mean"] for row in record["agents"]])
    )


def test_the_true_paths_are_the_agents_own(carts: FittedModel) -> None:
    """Stepped again one by one under each agent's covariates, as its data was."""
    agents = [0, 59]
    physics = agent_covariates(CART, 60, 0)
    found = predict(carts, CART, agents, trajectories=3, steps=8, seed=1)
    for agent, one in zip(agents, found, strict=True):
        own = CART.covariates(physics[agent])
        other = CART.covariates(physics[59 - agent])
        strangers = 0
        for p, step in np.argwhere(one.mask):
            state, reached = one.true[p, step], one.true[p, step + 1]
            ends = [[np.asarray(CART.step(c, state, a)) for a in (0, 1)] for c in (own, other)]
            errors = [min(np.abs(end - reached).max() for end in pair) for pair in ends]
            assert errors[0] < 1e-5
            strangers += errors[1] > 1e-3
        assert strangers


def test_the_starts_are_not_those_of_the_data(carts: FittedModel) -> None:
    found = predict(carts, CART, [0, 1], trajectories=4, steps=2)
    starts = np.concatenate([one.true[:, 0] for one in found])
    assert len(np.unique(starts, axis=0)) == 8
    again = predict(carts, CART, [0, 1], trajectories=4, steps=2, seed=1)
    assert not np.allclose(again[0].true[:, 0], found[0].true[:, 0])


def test_a_record_says_where_everything_comes_from(carts: FittedModel) -> None:
    record = evaluate_prediction(carts, CART, [0, 17], trajectories=2, steps=3)
    assert record["task"] == "cart_pole"
    assert (record["dataset"], record["data_seed"]) == ("random", 0)
    assert record["fingerprint"] == carts.info.fingerprint
    assert record["fit"] == carts.config.model_dump(mode="json")
    assert record["paper"] == {
        str(agent): row for agent, row in paper_figures("table1", "cart_pole", "random").items()
    }
    assert [row["label"] for row in record["agents"]] == ["2/0.5", "17"]
    assert record["note"]
    assert json.loads(json.dumps(record)) == record


def test_no_figures_of_the_paper_for_other_data(small_cart_pole: FittedModel) -> None:
    for source in ({}, {**SOURCE, "policy": "test"}, {**SOURCE, "policy": None}):
        model = with_source(small_cart_pole, **source)
        record = evaluate_prediction(model, CART, [0], trajectories=2, steps=3)
        assert record["paper"] == {}


def test_returns_follow_from_the_seed_and_name_the_plan(carts: FittedModel) -> None:
    plan = plan_config("cart_pole", "discrete", candidates=10, horizon=4)
    calls: list[tuple[str, int, int]] = []

    def judge(**options: Any) -> dict[str, Any]:
        return evaluate_return(carts, CART, [0, 3], episodes=4, plan=plan, **options)

    record = judge(progress=lambda *call: calls.append(call))
    assert judge() == record
    assert judge(seed=1)["agents"] != record["agents"]
    assert record["plan"] == plan.model_dump(mode="json")
    assert record["plan"]["terminal_value"] == "none"
    assert calls[-1][0] == "episodes"
    assert calls[-1][1] == calls[-1][2]
    for row in record["agents"]:
        assert row["n"] == 4
        assert row["mean"] == row["mean_length"]  # one point for each step
        assert 1 <= row["mean"] <= 200
        assert row["low"] <= row["iqm"] <= row["high"]
    assert json.loads(json.dumps(record)) == record


def test_the_true_physics_are_those_the_data_was_made_with(small_cart_pole: FittedModel) -> None:
    model = with_source(small_cart_pole, **{**SOURCE, "seed": 5})
    own = true_covariates(model, CART, [2, 40])
    np.testing.assert_array_equal(own, agent_covariates(CART, 60, 5)[[2, 40]])
    np.testing.assert_array_equal(own[0], CART.test_agents[2])
    assert not np.allclose(own[1], agent_covariates(CART, 60, 0)[40])


@pytest.mark.parametrize("source", [{}, {"task": "cart_pole"}, {**SOURCE, "seed": "unknown"}])
def test_without_provenance_only_the_test_agents_are_known(
    small_cart_pole: FittedModel, source: dict[str, Any]
) -> None:
    model = with_source(small_cart_pole, **source)
    np.testing.assert_array_equal(true_covariates(model, CART, [4, 0]), CART.test_agents[[4, 0]])
    with pytest.raises(UsageError, match="physics of agent 5 are not known; valid: 0 to 4"):
        true_covariates(model, CART, [4, 5])


def test_a_run_of_something_else_is_refused(
    small_cart_pole: FittedModel, small_continuous: FittedModel
) -> None:
    car = get_task("mountain_car")
    with pytest.raises(UsageError, match="data of 'cart_pole', not of 'mountain_car'"):
        evaluate_prediction(with_source(small_cart_pole, **SOURCE), car)
    with pytest.raises(UsageError, match=r"its state is .*'x_dot'.* the task's is .*'velocity'"):
        evaluate_return(with_source(small_cart_pole), car)
    with pytest.raises(UsageError, match=r"continuous actions, the task's is .*discrete one"):
        evaluate_prediction(small_continuous, CART)
    swapped = Roles(**{**small_cart_pole.roles.model_dump(), "state": CART.state_names[::-1]})
    with pytest.raises(UsageError, match="does not fit"):
        evaluate_prediction(dataclasses.replace(small_cart_pole, roles=swapped), CART)
    coded = dataclasses.replace(small_cart_pole, action_levels=np.array([1, 2]))
    with pytest.raises(UsageError, match=r"actions \[1, 2\], the task 'cart_pole' has 0 to 1"):
        evaluate_return(coded, CART)


def test_an_agent_that_was_not_in_the_data(carts: FittedModel) -> None:
    few = with_source(carts, **{**SOURCE, "n_agents": 99})
    with pytest.raises(UsageError, match="unknown agent 80"):
        evaluate_prediction(few, CART, [80], trajectories=1, steps=2)


def test_the_true_dynamics_make_no_error() -> None:
    plan = plan_config("cart_pole", "discrete", candidates=100, horizon=15)
    cautious = plan.replace(risk=0.5, disagreement=1.0, out_of_range="penalise", behaviour=0.3)
    record = evaluate_true(CART, [0, 3], episodes=2, plan=cautious)
    assert [row["mean"] for row in record["agents"]] == [200.0, 200.0]
    assert (record["kind"], record["method"], record["dataset"]) == ("return", "true-env-mpc", None)
    # One model without training data: caution means nothing.
    assert record["plan"] == plan.model_dump(mode="json")
    theirs = paper_figures("table2", "cart_pole", None, "true-env-mpc")
    assert record["paper"] == {str(agent): row for agent, row in theirs.items()}
    assert json.loads(json.dumps(record)) == record
    short = evaluate_true(CART, [3], episodes=1, plan=plan, max_steps=7)
    assert (short["max_steps"], short["agents"][0]["mean_length"], short["paper"]) == (7, 7.0, {})
    with pytest.raises(UsageError, match="agent 5 is no test agent; valid: 0 to 4"):
        evaluate_true(CART, [5])
