from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import RegularGridInterpolator

from twinfold.errors import UsageError
from twinfold.models.true_dynamics import TaskDynamics
from twinfold.planning import GridValue, Objective, solve_grid_value, stack_of_one
from twinfold.tasks import get_task

TASK = get_task("mountain_car")


def grid(values: Any, low: Any, high: Any) -> GridValue:
    values, low, high = (jnp.asarray(x, jnp.float32) for x in (values, low, high))
    return GridValue(values, low, high, sweeps=jnp.zeros((), jnp.int32))


@given(states=arrays(np.float64, (10, 3), elements=st.floats(-3, 3)), seed=st.integers(0, 99))
def test_interpolation_equals_scipy(states: np.ndarray, seed: int) -> None:
    low, high = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 0.5, 2.5])
    values = np.random.default_rng(seed).normal(size=(4, 3, 5))
    axes = tuple(np.linspace(a, b, n) for a, b, n in zip(low, high, values.shape, strict=True))
    expected = RegularGridInterpolator(axes, values)(np.clip(states, low, high))
    got = _values(grid(values, low, high), jnp.asarray(states, jnp.float32))
    np.testing.assert_allclose(got, expected, atol=1e-4)


@jax.jit
def _values(value: GridValue, states: Any) -> Any:
    return jax.vmap(value)(states)


def test_a_state_that_is_not_finite_has_no_value() -> None:
    value = grid(np.zeros((3, 3)), [0.0, 0.0], [1.0, 1.0])
    assert np.isnan(value(jnp.array([0.5, jnp.nan])))
    assert np.isnan(value(jnp.array([jnp.inf, 0.5])))


def numpy_value_iteration(
    gravity: float, points: tuple[int, int], max_steps: int, discount: float = 1.0
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """MountainCar written out in NumPy, with SciPy's interpolation."""
    xs = np.linspace(-1.2, 0.6, points[0])
    vs = np.linspace(-0.07, 0.07, points[1])
    x, v = np.meshgrid(xs, vs, indexing="ij")
    values = np.zeros(points)
    for _ in range(max_steps):
        interpolate = RegularGridInterpolator((xs, vs), values)
        options = []
        for push in (-1, 0, 1):
            v2 = np.clip(v + 0.001 * push - gravity * np.cos(3 * x), -0.07, 0.07)
            x2 = np.clip(x + v2, -1.2, 0.6)
            v2 = np.where((x2 <= -1.2) & (v2 < 0), 0.0, v2)
            later = discount * interpolate(np.stack([x2, v2], axis=-1))
            options.append(np.where(x2 >= 0.5, 0.0, -1.0 + later))
        values = np.max(options, axis=0)
    return values, RegularGridInterpolator((xs, vs), values)


@pytest.mark.parametrize(("discount", "max_steps"), [(1.0, 60), (0.95, 400)])
def test_value_iteration_equals_numpy(discount: float, max_steps: int) -> None:
    points = (37, 29)
    stack = stack_of_one(TaskDynamics(TASK, TASK.covariates([0.0017])))
    objective = Objective.of_task(TASK, discount=discount)
    got = solve_grid_value(
        stack, objective, TASK.state_low, TASK.state_high, np.arange(3), max_steps=max_steps,
        points=points,
    )  # fmt: skip
    expected, _ = numpy_value_iteration(0.0017, points, max_steps, discount)
    np.testing.assert_allclose(got.values, expected, atol=0.05)
    # A cell from which the goal is out of reach is worth the longest episode, not less.
    assert got.values.min() >= -max_steps
    assert (got.sweeps < max_steps) == (discount < 1)


def test_the_default_grid_knows_the_optimum() -> None:
    """Optimal mean returns on a 901 x 561 grid, by gravity."""
    starts = jnp.stack([jnp.linspace(-0.6, -0.4, 41), jnp.zeros(41)], axis=1)
    for gravity, optimum in ((0.0001, -44.6), (0.001, -63.3), (0.0035, -117.1)):
        value = solve_grid_value(
            stack_of_one(TaskDynamics(TASK, TASK.covariates([gravity]))),
            Objective.of_task(TASK),
            TASK.state_low,
            TASK.state_high,
            np.arange(3),
            max_steps=TASK.max_steps,
        )
        np.testing.assert_allclose(jax.vmap(value)(starts).mean(), optimum, rtol=0.04)


def test_one_failed_member_does_not_spoil_the_value() -> None:
    def solve(gravities: list[float]) -> GridValue:
        return solve_grid_value(
            TaskDynamics(TASK, TASK.covariates(np.array(gravities)[:, None])),
            Objective.of_task(TASK),
            TASK.state_low,
            TASK.state_high,
            np.arange(3),
            max_steps=500,
            points=(31, 21),
        )

    sound = solve([0.001, 0.001, 0.001])
    np.testing.assert_allclose(solve([0.001, 5.0, 0.001]).values, sound.values, atol=0.05)
    broken = solve([0.001, np.nan, 0.001]).values
    assert np.isfinite(broken).all()
    assert broken.min() >= -500


def test_too_many_coordinates() -> None:
    task = get_task("cart_pole")
    stack = stack_of_one(TaskDynamics(task, task.covariates([10.0, 0.5])))
    with pytest.raises(UsageError, match="1 to 3 coordinates, not 4"):
        solve_grid_value(
            stack, Objective.of_task(task), task.state_low, task.state_high, [0, 1], max_steps=200
        )
