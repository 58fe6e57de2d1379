"""Plans and values where prices, weather and the agent's own columns count, told ahead or held."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt
from twinfold.adaptation.online import Tracker
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.ope.policy_value import policy_value
from twinfold.planning.config import PlanConfig
from twinfold.planning.plan import plan_once
from twinfold.planning.run_task import acted_on, run_task
from twinfold.policy_learning import World
from twinfold.policy_learning.world import advance, begin
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

QUICK = PlanConfig(planner="icem", candidates=200, horizon=4, rounds=6)
PRICES = np.array([0.0, 9.0, 0.0, 9.0, 5.0])
TARIFFS = np.array(["night", "day"])


def rooms(n_agents: int = 12, n_rows: int = 30) -> pd.DataFrame:
    """Rooms that cool to the air outside and are heated; prices, tariffs and setpoints beside."""
    rng = np.random.default_rng(0)
    rows = []
    for who in range(n_agents):
        temp = 15.0 + rng.normal()
        for t in range(n_rows):
            heat, air = rng.uniform(0, 4), 5 + 3 * rng.normal()
            price, tariff = rng.uniform(0, 9), TARIFFS[rng.integers(2)]
            site = "north" if who % 2 else "south"
            rows.append((who, t, temp, heat, air, price, tariff, 18.0 + who / 4, site))
            temp = temp + heat - 0.2 * (temp - air)
    names = ["id", "t", "temp", "heat", "air", "price", "tariff", "setpoint", "site"]
    table = pd.DataFrame(rows, columns=names)
    table.loc[table.id == 5, "setpoint"] = np.nan
    return table


@pytest.fixture(scope="module")
def model(tmp_path_factory: Any) -> FittedModel:
    roles = {"agent": "id", "time": "t", "state": "temp", "action": "heat"}
    roles |= {"action_type": "continuous", "exogenous": ["air", "price", "tariff"]}
    roles["static"] = ["setpoint", "site"]
    config = FitConfig(linear="pooled", rank=0, behaviour_steps=0)
    whole = fit(PanelDataset.from_frame(rooms(), roles), config, reserve=0)
    folder = tmp_path_factory.mktemp("run") / "run"
    save_run(whole, folder)
    return load_run(folder)  # static columns are kept whatever they tell


def told(n_rows: int) -> pd.DataFrame:
    tariff = np.resize(TARIFFS, n_rows)
    return pd.DataFrame({"air": 5.0, "price": PRICES[:n_rows], "tariff": tariff})


def plan(model: FittedModel, reward: str, agent: int = 3, **options: Any) -> Any:
    forbidden = options.pop("forbidden", None)
    task = run_task(model, reward, forbidden=forbidden)
    return plan_once(model, task, agent, [18.0], QUICK, warn=lambda line: None, **options)


def test_a_reward_reads_the_row_and_the_agent(model: FittedModel) -> None:
    text = "-(next.temp - setpoint)^2 - price * heat - where(tariff == 'day', heat, 0) - next.price"
    found = plan(model, text, exogenous=told(5))
    path, heat = found.rollout.centre[:, 0], found.actions[:, 0].astype(float)
    setpoint = 18.0 + 3 / 4
    earned = -np.square(path - setpoint) - PRICES[:4] * heat - np.resize([0, 1], 4) * heat
    assert found.score == pytest.approx((earned - PRICES[1:]).sum(), rel=1e-3)
    assert heat[0] > heat[1] + 0.5  # bought while it is cheap
    # Without a fifth row the last price stays.
    short = plan(model, "-next.price", exogenous=told(4))
    assert short.score == pytest.approx(-(PRICES[1:4].sum() + PRICES[3]), rel=1e-6)
    south, north = (plan(model, "where(site == 'north', 1, -1)", who, exogenous=told(4)).score
                    for who in (2, 3))  # fmt: skip
    assert (south, north) == pytest.approx((-4, 4))


def test_predictions_go_by_what_is_told(model: FittedModel) -> None:
    warm = told(4).assign(air=25.0)
    one, other = (plan(model, "-heat", exogenous=table) for table in (told(4), warm))
    for found, air in ((one, 5.0), (other, 25.0)):
        temp = [18.0]
        for heat in found.actions[:, 0]:
            temp.append(temp[-1] + heat - 0.2 * (temp[-1] - air))
        np.testing.assert_allclose(found.rollout.centre[:, 0], temp[1:], atol=0.1)


def test_an_action_is_forbidden_by_the_row_it_is_taken_in(model: FittedModel) -> None:
    free = plan(model, "heat", exogenous=told(4))
    bound = plan(model, "heat", exogenous=told(4), forbidden="heat > 1.5 and price > 4")
    assert (free.actions[:, 0] > 2).all()
    assert (bound.actions[[1, 3], 0] <= 1.5 + 1e-5).all()
    assert (bound.actions[[0, 2], 0] > 1.5 + 1e-5).all()


def test_an_end_reads_the_row_that_is_reached(model: FittedModel) -> None:
    task = run_task(model, "1", "price > 6")
    found = plan_once(model, task, 3, [18.0], QUICK, exogenous=told(5), warn=lambda line: None)
    assert found.score == pytest.approx(1.0)  # the second row ends it


def test_values_go_by_what_is_told(model: FittedModel) -> None:
    task = run_task(model, "-price * heat", max_steps=4)

    def always(state: Any, key: Any) -> Any:
        del state, key
        return jnp.array([1.0])

    starts = np.array([[18.0], [20.0]])
    options: Any = {"starts": starts, "draws": 20, "exogenous": told(4)}
    found = policy_value(model, task, 3, always, **options)
    assert found.value == pytest.approx(-PRICES[:4].sum(), rel=1e-5)
    noisy = policy_value(model, task, 3, always, noise=True, **options)
    assert noisy.value == pytest.approx(-PRICES[:4].sum(), rel=1e-5)
    # A planner that is told buys when it is cheap at every step of the episode.
    wish = run_task(model, "-price * heat + 3 * heat", max_steps=4)
    planned = policy_value(model, wish, 3, QUICK.replace(horizon=1), **options)
    most = float(model.ranges.action_high[0])
    assert planned.value > 0.5 * (2 * 3 * most)  # the first row for ever: - 2 * 3 * most


def test_policies_are_trained_by_what_is_told(model: FittedModel) -> None:
    task = run_task(model, "-price - setpoint", max_steps=3)
    known = np.column_stack([np.full(4, 5.0), PRICES[:4], np.ones(4), np.zeros(4)])
    stack = acted_on(model.dynamics(3, known=known), task, model, 3)
    with pytest.raises(UsageError, match="give acted_on the model and the agent"):
        acted_on(model.dynamics(3, known=known), task)
    world = World.of_task(task, stack, np.array([[18.0]]))
    now, earned = begin(world, jax.random.key(0), 1), []
    for _ in range(3):
        now, outcome = advance(world, now, jnp.ones((world.n_models, 1, 1)), jax.random.key(1))
        earned.append(float(outcome.reward[0, 0]))
    np.testing.assert_allclose(earned, -PRICES[:3] - 18.75, rtol=1e-5)


def test_what_lacks_is_said(model: FittedModel) -> None:
    with pytest.raises(UsageError, match="given for 3 steps, and 4 are looked ahead: give more"):
        plan(model, "-price", exogenous=told(3))
    held = plan(model, "-price", exogenous=told(2), hold_exogenous=True)
    assert held.score == pytest.approx(-(PRICES[0] + 3 * PRICES[1]), rel=1e-5)
    last = plan(model, "-price", hold_exogenous=True)
    assert last.score == pytest.approx(-4 * float(model.held(3)[1]), rel=1e-4)
    with pytest.raises(UsageError, match="future values of the exogenous columns are needed"):
        plan(model, "-price")
    with pytest.raises(UsageError, match=r"agent 5: .setpoint. \(static\) is not known, and an ex"):
        plan(model, "-(temp - setpoint)^2", 5, exogenous=told(4))
    plan(model, "-temp", 5, exogenous=told(4))
    old = dataclasses.replace(model, posterior=model.posterior._replace(values=None))
    with pytest.raises(UsageError, match="the run does not keep its static columns"):
        plan(old, "-setpoint", exogenous=told(4))


def test_expressions_of_roles_are_bound_when_the_table_is_read() -> None:
    roles: Any = {"agent": "id", "time": "t", "state": "temp", "action": "heat"}
    roles |= {"action_type": "continuous", "exogenous": ["price", "tariff"], "static": "site"}
    text = "-price * heat - where(tariff == 'day' and site == 'north', 1, 0)"
    PanelDataset.from_frame(rooms(3, 6), {**roles, "reward": text})
    with pytest.raises(Exception, match="'noon' is none of them: day, night"):
        PanelDataset.from_frame(rooms(3, 6), {**roles, "reward": "0 * (tariff == 'noon')"})


def test_columns_of_new_agents_are_kept_too(model: FittedModel) -> None:
    """Whether or not they tell agents apart."""
    table = rooms(2, 6).assign(id=lambda df: df.id + 100)
    adapted = adapt(model, PanelDataset.from_frame(table, model.roles), warn=lambda line: None)
    values = adapted.posterior.values
    assert values is not None
    np.testing.assert_array_equal(values[adapted.agent_index(101)], [18.25, 1, 0])
    tracked = Tracker(model, 102, {"setpoint": 17.5, "site": "south"}).updated().posterior.values
    assert tracked is not None
    np.testing.assert_array_equal(tracked[-1], [17.5, 0, 1])
