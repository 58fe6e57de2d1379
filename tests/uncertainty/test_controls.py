"""What one would predict without the model: against plain formulas, on data made for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import FitConfig, FittedModel, PanelDataset, fit
from twinfold.adaptation.adapt import adapt
from twinfold.models.linear import fit_linear, rollout_linear
from twinfold.models.linear_sums import LinearData, linear_data
from twinfold.models.own_linear import own_deviations
from twinfold.uncertainty.controls import (
    CONSTANT,
    CONTROLS,
    SIMPLE,
    shrunk_means,
    totals,
)
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout

Build = Callable[..., FittedModel]


def of(model: FittedModel, courses: Any, lengths: Any, change: Any, **options: Any) -> Any:
    """Errors on a table whose states were replaced by ``change(state rows, actions, agent)``."""
    factors = np.random.default_rng(3).normal(size=(len(lengths), 3))
    ids = [f"n{n}" for n in range(len(lengths))]
    panel = courses.panel(model, lengths, factors, ids=ids, seed=6)
    table = panel.to_frame()
    state, action = list(model.roles.state), list(model.roles.action)
    for n, (_, rows) in enumerate(table.groupby("unit")):
        actions = table.loc[rows.index, action].to_numpy(float)
        table.loc[rows.index, state] = change(len(rows), actions, n)
    return evaluate_holdout(model, type(panel).from_frame(table, model.roles), **options)


@pytest.fixture
def model(random_model: Build) -> FittedModel:
    found = random_model(posterior=True, discrete=False)
    far = np.full(len(found.roles.state), np.inf)
    wide = found.ranges._replace(
        action_low=found.ranges.action_low - 1e3, action_high=found.ranges.action_high + 1e3
    )
    free = replace(found.normalizer, low=-far, high=far)
    # Without data of its own agents, which follow other laws.
    none = LinearData.none(free, len(found.agent_ids), found.n_levels)
    return replace(found, normalizer=free, ranges=wide, sums=none)


def test_means_are_drawn_together_by_as_much_as_agents_are_alike() -> None:
    rng = np.random.default_rng(0)
    agent = np.repeat(np.arange(300), 5)
    level = rng.normal(size=300)
    for between, weight in ((0.0, 0.0), (10.0, 1.0), (1.0, 5 / 6)):
        values = (between * level[agent] + rng.normal(size=1500))[:, None]
        own, everyone = shrunk_means(*totals(values, agent, 301))
        mean = np.array([values[agent == n].mean() for n in range(300)])
        away = own[:300, 0] - everyone[0]
        slope = away @ (mean - everyone[0]) / np.square(mean - everyone[0]).sum()
        assert slope == pytest.approx(weight, abs=0.2)
        assert own[300, 0] == everyone[0]  # of whom there is nothing
    one, everyone = shrunk_means(*totals(values[:5], agent[:5], 1))  # a single agent keeps its mean
    assert one[0, 0] == everyone[0] == pytest.approx(values[:5].mean())
    none, _ = shrunk_means(*totals(values[:0], agent[:0], 2))
    assert np.all(none == 0)


def test_of_white_noise_the_means_are_best_and_linear_models_are_no_worse(
    model: FittedModel, courses: Any
) -> None:
    rng = np.random.default_rng(1)
    found = of(model, courses, [20] * 12, lambda k, a, n: rng.normal(size=(k, 3)))
    error = {name: np.sqrt(np.square(found.controls[name]).mean()) for name in SIMPLE}
    best = min(error["own mean"], error["mean of all"])
    assert best < 0.8 * error["persistence"]
    assert error["pooled linear model"] < 1.1 * best
    assert error["own linear model"] < 1.15 * best
    assert set(CONSTANT) < set(SIMPLE) < set(CONTROLS)


def test_a_random_walk_is_best_left_where_it_is(model: FittedModel, courses: Any) -> None:
    rng = np.random.default_rng(2)
    found = of(
        model, courses, [24] * 12, lambda k, a, n: 5 * n + rng.normal(size=(k, 3)).cumsum(axis=0)
    )
    error = {name: np.sqrt(np.square(found.controls[name]).mean()) for name in SIMPLE}
    for name in ("drift", "pooled linear model"):
        assert error[name] < 1.2 * error["persistence"], name


def test_a_straight_line_is_what_drift_finds(model: FittedModel, courses: Any) -> None:
    rng = np.random.default_rng(4)
    slope = rng.normal(size=(8, 3))
    found = of(
        model,
        courses,
        [20] * 8,
        lambda k, a, n: 0.05 * slope[n] * np.arange(k)[:, None] + 1e-3 * rng.normal(size=(k, 3)),
    )
    assert found.controls["drift"].max() < 0.02
    assert found.controls["persistence"].mean() > 0.1


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_a_straight_line_is_what_drift_finds_where_times_are_uneven(own: float) -> None:
    rng, frames = np.random.default_rng(5), []
    for n in range(9):
        t = np.cumsum(rng.choice([1.0, 1.0, 2.0, 5.0], 14))
        slope = 3.0 + own * rng.normal()
        frames.append(pd.DataFrame({"id": n, "t": t, "x": slope * t + 1e-3 * rng.normal(size=14)}))
    table = pd.concat(frames)
    panel = PanelDataset.from_frame(table, {"agent": "id", "time": "t", "state": ["x"]})
    assert panel.uneven
    settings = FitConfig(linear="pooled", rank=0, effort="quick", validation_share=0)
    model = fit(panel.select_agents(range(5)), settings, reserve=0)
    found = evaluate_holdout(model, panel.select_agents(range(5, 9)))
    assert found.controls["drift"].max() < 0.01
    assert found.controls["persistence"].min() > 0.1
    lengths = np.array([[1.0, 2.0], [5.0, 1.0]])
    slopes = np.array([2.0, 4.0])[:, None] * lengths  # y = m h, by agent
    once = lengths**2, (lengths * slopes), slopes**2
    means, everyone = shrunk_means(
        *(part.sum(axis=1) if k == 0 else part.sum(axis=1)[:, None] for k, part in enumerate(once)),
        rows=np.full(2, 2.0),
    )
    np.testing.assert_allclose(means[:, 0], [2.0, 4.0])  # without noise there is nothing to shrink
    assert everyone[0] == pytest.approx((2 * 5 + 4 * 26) / 31)


def linear(own: float) -> Any:
    """Agents of one linear system, with deviations of so much."""
    rng = np.random.default_rng(5)
    turn = 0.8 * np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    push = rng.normal(size=(3, 2))
    deviations = own * rng.normal(size=(40, 3))

    def change(length: int, actions: Any, n: int) -> Any:
        state, rows = np.random.default_rng((5, n)).normal(size=3), []
        for k in range(length):
            rows.append(state)
            state = (turn + np.diag(deviations[n])) @ state + push @ np.nan_to_num(actions[k])
        return np.array(rows) + 0.02 * np.random.default_rng((6, n)).normal(size=(length, 3))

    return change


def test_one_linear_system_is_found_from_all_agents_in_short_tables(
    model: FittedModel, courses: Any
) -> None:
    """Six rows of an agent are fewer than a model of its own has weights."""
    found = of(model, courses, [6] * 20, linear(0.0))
    pooled, own = (found.controls[f"{name} linear model"] for name in ("pooled", "own"))
    assert np.median(pooled) < 0.1 * np.median(found.controls["persistence"])
    assert np.median(own) < 1.1 * np.median(pooled)  # no straw man


def test_agents_that_differ_get_deviations_of_their_own(model: FittedModel, courses: Any) -> None:
    found = of(model, courses, [60] * 12, linear(0.1))
    pooled, own = (found.controls[f"{name} linear model"] for name in ("pooled", "own"))
    assert np.median(own) < 0.5 * np.median(pooled)


def test_further_agents_help_simple_models(model: FittedModel, courses: Any) -> None:
    factors = np.random.default_rng(3).normal(size=(20, 3))
    many = courses.panel(model, [12] * 20, factors, ids=[f"m{n}" for n in range(20)], seed=1)
    few = courses.panel(model, [3] * 3, factors[:3], ids=["a", "b", "c"], seed=2)
    alone, helped = (
        evaluate_holdout(model, few),
        evaluate_holdout(adapt(model, many, warn=print), few),
    )
    assert alone.ends.mask.sum() == helped.ends.mask.sum() == 3  # new agents: half of two
    for name in CONTROLS:
        same = np.array_equal(alone.controls[name], helped.controls[name])
        assert same == ("linear" not in name and name != "drift"), name


def test_of_known_agents_whole_trajectories_are_predicted(model: FittedModel, courses: Any) -> None:
    """Even a single step; simple models are made from what the run had of them."""
    factors = np.random.default_rng(3).normal(size=(6, 3))
    ids = [f"m{n}" for n in range(6)]
    had = courses.panel(model, [12] * 6, factors, ids=ids, seed=1)
    again = courses.panel(model, [1, 2, 7, 1, 60, 3], factors, ids=ids, seed=2)
    known = adapt(model, had, warn=print)
    found = evaluate_holdout(known, again)
    assert found.ends.mask.sum(axis=1).tolist() == [1, 2, 7, 1, 50, 3]
    rows = courses.transitions(model, had)
    pooled = fit_linear(linear_data(model.normalizer, rows, 6, 0), "pooled")
    start, action = found.ends.state, found.ends.action
    path = rollout_linear(model.normalizer, pooled.coefficients(np.arange(6)), start, action, 0)
    error = (path - found.ends.next_state)[:, 0] / model.normalizer.state_scale
    np.testing.assert_allclose(
        found.by_horizon["pooled linear model"][:, 0],
        np.clip(np.sqrt(np.square(error).mean(axis=1)), 1e-9, 10),
        rtol=1e-5,
    )
    anew = evaluate_holdout(
        known, again, refit_from_prefix=True
    )  # as if nothing were known of them
    assert anew.ends.mask.sum(axis=1).tolist() == [1, 3, 30, 1]


@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0])
def test_deviations_are_as_large_as_is_most_likely(spread: float) -> None:
    """Beside the best linear prediction with the true variances, by plain formulas."""
    rng = np.random.default_rng(7)
    n_agents, rows, q = 60, 15, 3
    x = np.concatenate([np.ones((n_agents, rows, 1)), rng.normal(size=(n_agents, rows, 2))], axis=2)
    beta = rng.normal(size=(q, 1))
    own = spread * rng.normal(size=(n_agents, q, 1))
    y = x @ (beta + own) + rng.normal(size=(n_agents, rows, 1))
    turned = x.transpose(0, 2, 1)
    sums = LinearData(turned @ x, turned @ y, np.square(y).sum(axis=1), np.zeros((q, 1)), 2)
    found = own_deviations(sums, beta)
    if not spread:
        assert np.abs(found).max() < 0.2
        return
    best = np.stack(
        [
            np.linalg.solve(a.T @ a + np.eye(q) / spread**2, a.T @ (b - a @ beta))
            for a, b in zip(x, y, strict=True)
        ]
    )
    assert np.square(found - own).mean() < 1.1 * np.square(best - own).mean()


def test_nothing_leaves_the_range_of_the_data_by_more_than_that_range(
    model: FittedModel, courses: Any
) -> None:
    found = of(
        model, courses, [40] * 3, lambda k, a, n: (1.3 ** np.arange(k))[:, None] * np.ones(3)
    )
    for name in SIMPLE:
        assert np.isfinite(found.controls[name]).all()


def test_actions_drawn_by_column_move_what_that_column_moves(
    model: FittedModel, courses: Any
) -> None:
    panel = courses.panel(model, [12] * 6, np.random.default_rng(3).normal(size=(6, 3)),
                          ids=list("abcdef"), seed=2)  # fmt: skip
    found = evaluate_holdout(model, panel, columns=True)
    assert len(found.redrawn_columns) == 2
    np.testing.assert_array_equal(found.redrawn.rmse, found.controls["other actions"])
    assert np.all(found.redrawn.moved > 0)
    assert not found.steady.any()
    table = panel.to_frame()
    table.loc[table["a0"].notna(), "a0"] = 0.5
    held = evaluate_holdout(model, type(panel).from_frame(table, model.roles), columns=True)
    first, second = held.redrawn_columns
    assert np.all(first.moved < 1e-8)
    assert np.all(first.same == 1)
    np.testing.assert_allclose(first.rmse, held.rmse, rtol=1e-5)
    assert np.all(second.moved > 0)
    assert held.steady.all(axis=0).tolist() == [True, False]
    table.loc[table["a1"].notna(), "a1"] = table["unit"].map(ord).astype(float)
    held = evaluate_holdout(model, type(panel).from_frame(table, model.roles))
    assert held.steady.all()
    assert held.redrawn.same.mean() < 0.9
    assert held.redrawn_columns == ()
