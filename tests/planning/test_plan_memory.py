"""Plans of models with a memory: what came before the state is told, or known from the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.planning.config import PlanConfig
from twinfold.planning.plan import plan_once
from twinfold.planning.run_task import run_task
from twinfold.simulation.simulator import Simulator
from twinfold.training.fit import fit

QUICK = PlanConfig(planner="icem", candidates=60, horizon=3, rounds=4)
REWARD = "-(next.x - 5)^2"


@pytest.fixture(scope="module")
def carts() -> FittedModel:
    """Carts of which the position alone is measured: a push changes the speed of its own step."""
    rng = np.random.default_rng(0)
    n_agents, n_rows = 10, 30
    push = rng.uniform(-1, 1, (n_agents, n_rows))
    speed = np.cumsum(push, axis=1)
    table = pd.DataFrame(
        {
            "id": np.repeat(np.arange(n_agents), n_rows),
            "t": np.tile(np.arange(n_rows), n_agents),
            "x": (np.cumsum(speed, axis=1) - speed).ravel(),
            "push": push.ravel(),
        }
    )
    roles = {"agent": "id", "time": "t", "state": "x", "action": "push"}
    data = PanelDataset.from_frame(table, {**roles, "action_type": "continuous"})
    settings = FitConfig(linear="pooled", rank=0, behaviour_steps=0, history=2)
    return fit(data, settings, reserve=0)


def worth(positions: np.ndarray) -> float:
    return float(-np.sum((positions - 5.0) ** 2))


@pytest.mark.filterwarnings("ignore")
def test_a_plan_is_worth_what_the_simulator_predicts_with_the_same_memory(
    carts: FittedModel,
) -> None:
    task = run_task(carts, REWARD)
    moving = plan_once(carts, task, 0, [3.0], QUICK, before=[[1.0]])
    assert moving.score == pytest.approx(worth(moving.rollout.centre[:, 0]), rel=1e-3, abs=1e-3)
    by_hand = 3.0 + np.cumsum(2.0 + np.cumsum(moving.actions[:, 0]))
    np.testing.assert_allclose(moving.rollout.centre[:, 0], by_hand, atol=0.5)  # shrunk a little
    still = plan_once(carts, task, 0, [3.0], QUICK, before=[[3.0]])
    assert moving.actions[0, 0] < still.actions[0, 0] - 0.3


@pytest.mark.filterwarnings("ignore")
def test_without_a_state_a_plan_goes_on_from_where_the_data_ended(carts: FittedModel) -> None:
    task = run_task(carts, REWARD)
    last = Simulator(carts, 0).last
    going_on = plan_once(carts, task, 0, None, QUICK)
    told = plan_once(carts, task, 0, [last[0]], QUICK, before=[[last[0] - last[1], last[2]]])
    np.testing.assert_allclose(going_on.actions, told.actions, atol=1e-5)
    np.testing.assert_allclose(going_on.rollout.centre, told.rollout.centre, atol=1e-5)


def test_rows_before_go_with_a_state(carts: FittedModel) -> None:
    with pytest.raises(UsageError, match="go with a state"):
        plan_once(carts, run_task(carts, REWARD), 0, None, QUICK, before=[[1.0]])
