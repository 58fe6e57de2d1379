"""Reward and end learned from columns: what is learned, what is not, and what is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twinfold.data.panel import PanelDataset
from twinfold.models.learned_goal import fit_goal

ROLES = {
    "agent": "id",
    "time": "t",
    "state": ["x", "v"],
    "action": "a",
    "action_type": "continuous",
    "reward": "r",
    "terminated": "end",
}


def walks(length: int | None = None, n_agents: int = 40, noise: float = 0.0) -> PanelDataset:
    """Random walks that end beyond 3, or after a fixed number of steps."""
    rng, rows = np.random.default_rng(0), []
    for n in range(n_agents):
        x, v = rng.uniform(-2, 2), 0.0
        for t in range(length or 60):
            a = rng.normal()
            over = abs(x) > 3 if length is None else t == length - 1
            v = 0.5 * v + 0.5 * a
            r = -(x**2) - 0.1 * a**2 + noise * rng.normal()
            rows.append((n, t, x, v, a, r, over))
            if over:
                break
            x += v
    names = ["id", "t", "x", "v", "a", "r", "end"]
    return PanelDataset.from_frame(pd.DataFrame(rows, columns=names), ROLES)


def test_a_quadratic_reward_and_a_wall_are_learned() -> None:
    goal, lines = fit_goal(walks())
    assert goal is not None
    assert goal.reward is not None
    assert goal.end is not None
    rng = np.random.default_rng(1)
    z = rng.uniform(-1, 1, (50, 5)) * [2, 0.5, 1, 0, 0]
    z[:, 3] = z[:, 0] + z[:, 1]  # as in the data: elsewhere nothing says which of them counts
    z[:, 4] = 0.5 * z[:, 1] + 0.5 * rng.normal(size=50)
    np.testing.assert_allclose(goal.reward(z), -(z[:, 0] ** 2) - 0.1 * z[:, 2] ** 2, atol=0.05)
    assert goal.explained > 0.99
    inside = np.array([[0.0, 0.0], [2.0, 0.3], [-2.0, -0.3]])
    beyond = np.array([[3.5, 0.5], [-3.5, -0.5]])
    assert (goal.end(inside) < 0).all()
    assert (goal.end(beyond) > 0).all()
    assert "of agents left out in turn it explains 100 %" in lines[0]
    assert "where an episode ends is learned from column 'end'" in lines[1]


def test_a_fixed_length_is_no_end() -> None:
    goal, lines = fit_goal(walks(length=12))
    assert goal is not None
    assert goal.end is None
    assert "has 11 steps: taken for a limit of time" in lines[1]


def test_too_few_ends_and_a_reward_that_is_noise_are_said() -> None:
    data = walks(n_agents=3, noise=30.0)
    goal, lines = fit_goal(data)
    assert goal is not None
    assert goal.explained < 0.5
    assert "better say it by an expression" in lines[0]
    assert "too few to learn where an episode ends" in lines[1]


def test_an_expression_stands_in_for_a_column() -> None:
    data = walks(n_agents=4)
    roles = data.roles.model_copy(
        update={"reward_expression": "x", "terminated_expression": "x > 3"}
    )
    frame = data.to_frame()
    goal, lines = fit_goal(PanelDataset.from_frame(frame, roles))
    assert (goal, lines) == (None, [])


@pytest.mark.parametrize("value", [-1.0, 0.0])
def test_a_constant_reward_is_known(value: float) -> None:
    data = walks(n_agents=4).to_frame()
    data["r"] = value
    goal, _ = fit_goal(PanelDataset.from_frame(data, ROLES))
    assert goal is not None
    assert goal.reward is not None
    assert goal.explained == 1
    np.testing.assert_allclose(goal.reward(np.full((2, 5), 7.0)), value)
