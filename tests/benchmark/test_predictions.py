from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import root_mean_squared_error

from twinfold.benchmark.predictions import Predictions, error_figures, rollout_stack, rounded
from twinfold.models.dynamics import Dynamics


class Drift(Dynamics):
    """The state moves by a speed and by the action."""

    speed: Any

    def init(self, state: Any) -> Any:
        return state

    def encode(self, action: Any) -> Any:
        return 0.1 * action

    def step(self, carry: Any, code: Any) -> Any:
        reached = carry + self.speed + code
        return reached, reached


def test_a_stack_is_rolled_out_as_a_loop_does() -> None:
    rng = np.random.default_rng(0)
    speeds = rng.normal(size=(3, 2)).astype(np.float32)
    stack = eqx.filter_vmap(Drift)(jnp.asarray(speeds))
    states, actions = rng.normal(size=(4, 2)), rng.integers(0, 3, size=(4, 5))
    found = rollout_stack(stack, states, actions)
    assert found.shape == (3, 4, 5, 2)
    for member in range(3):
        for start in range(4):
            state = states[start]
            for step in range(5):
                state = state + speeds[member] + 0.1 * actions[start, step]
                np.testing.assert_allclose(found[member, start, step], state, atol=1e-5)


@pytest.fixture
def found() -> Predictions:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(6, 5, 2))
    members = true[None, :, 1:] + 0.1 * rng.normal(size=(1, 6, 4, 2))
    return Predictions(true, members, np.ones((6, 4), bool))


def test_the_figures_are_those_of_every_trajectory(found: Predictions) -> None:
    figures = error_figures(found)
    errors = [
        root_mean_squared_error(found.true[p, 1:].ravel(), found.members[0, p].ravel())
        for p in range(6)
    ]
    assert figures["values"] == pytest.approx(errors, rel=1e-5)
    assert figures["rmse_mean"] == pytest.approx(np.mean(errors))
    assert figures["rmse_low"] < figures["rmse_mean"] < figures["rmse_high"]
    assert "diverged" not in figures


def test_a_trajectory_of_a_single_step_takes_the_r2_of_no_other(found: Predictions) -> None:
    """After a history of ten steps an episode may have one left: the median was then none."""
    others = error_figures(
        Predictions(found.true[1:], found.members[:, 1:], found.mask[1:])
    )["r2_median"]  # fmt: skip
    found.mask[0, 1:] = False
    assert error_figures(found)["r2_median"] == others
    found.mask[:, 1:] = False
    figures = error_figures(found)
    assert np.isnan(figures["r2_median"])
    assert np.isfinite(figures["rmse_mean"])


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e200])
def test_what_diverges_says_what_was_finite(found: Predictions, value: float) -> None:
    first = error_figures(
        Predictions(found.true[:, :3], found.members[:, :, :2], found.mask[:, :2])
    )
    found.members[0, 2, 2:] = value
    figures = error_figures(found)
    assert not np.isfinite(figures["rmse_mean"])
    assert figures["diverged"]
    assert figures["last_finite"]["steps"] == 2
    assert figures["last_finite"]["rmse_mean"] == pytest.approx(first["rmse_mean"])
    found.members[0, 0, 0] = value
    assert error_figures(found)["last_finite"] == {"rmse_mean": None, "steps": 0}


def test_what_diverges_after_the_end_of_an_episode_is_nothing(found: Predictions) -> None:
    found.members[0, 2, 2:] = np.nan
    found.mask[2, 2:] = False
    assert np.isfinite(error_figures(found)["rmse_mean"])


def test_recorded_values_have_six_digits() -> None:
    assert rounded([1 / 3, 123456789.0]) == [0.333333, 123457000.0]
