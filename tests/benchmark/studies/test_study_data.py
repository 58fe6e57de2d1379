"""Populations of the studies against the tasks themselves."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import given, strategies as st

from twinfold.benchmark.collect import collect
from twinfold.benchmark.studies.study_data import (
    described_panel,
    study_task,
    without_static,
)
from twinfold.tasks import get_task
from twinfold.tasks.task import agent_covariates

CART_POLE = get_task("cart_pole")


def test_a_described_panel_is_the_collected_one_with_its_covariates() -> None:
    panel = described_panel(CART_POLE, "random", 7, 3)
    plain = collect(CART_POLE, "random", 7, 3)
    np.testing.assert_array_equal(panel.static, agent_covariates(CART_POLE, 7, 3))
    assert without_static(panel).fingerprint() == plain.fingerprint()
    assert without_static(panel).static is None


@given(
    gravity=st.floats(0.0001, 0.0035),
    x=st.floats(-1.0, 0.4),
    v=st.floats(-0.05, 0.05),
    action=st.integers(0, 2),
)
def test_away_from_the_limits_the_unclipped_car_is_the_car(
    gravity: float, x: float, v: float, action: int
) -> None:
    free, task = study_task("unclipped_mountain_car"), get_task("mountain_car")
    own, state = task.covariates([gravity]), np.array([x, v], np.float32)
    np.testing.assert_allclose(
        free.step(own, state, action), task.step(own, state, action), rtol=1e-5, atol=1e-7
    )


def test_the_unclipped_car_has_no_walls_and_starts_in_the_middle_half() -> None:
    free = study_task("unclipped_mountain_car")
    own = free.covariates([0.0025])
    after = free.step(own, np.array([-1.19, -0.069], np.float32), 0)
    assert float(after[0]) < -1.2
    assert float(after[1]) < -0.06
    starts = np.array([free.reset(own, key) for key in jax.random.split(jax.random.key(0), 50)])
    assert (starts > [-0.751, -0.0351]).all()
    assert (starts < [0.151, 0.0351]).all()
    assert not bool(free.terminated(after))
