"""Spaces, covariates and the registry."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.errors import UsageError
from twinfold.tasks import TASK_NAMES, Task, agent_covariates, get_task


@pytest.fixture(params=TASK_NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return get_task(request.param)


def test_an_unknown_task_is_named_with_the_valid_ones():
    with pytest.raises(UsageError, match=r"'cartpole'.*cart_pole, mountain_car"):
        get_task("cartpole")


def test_a_task_is_one_object(task: Task):
    assert get_task(task.name) is task
    assert hash(get_task(task.name)) == hash(task)


def test_task_names_are_known_without_jax():
    code = "import sys, twinfold.tasks; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shapes_and_types_agree(task: Task):
    own = task.covariates(task.test_agents[0])
    assert own._fields == task.covariate_names
    key = jax.random.key(0)
    state = task.reset(own, key)
    assert state.shape == (len(task.state_names),)
    if task.n_actions is not None:
        actions = [jnp.asarray(level) for level in range(task.n_actions)]
    else:
        actions = [jnp.asarray(task.action_low, jnp.float32), jnp.zeros(len(task.action_names))]
    for action in actions:
        reached = task.step(own, state, action)
        assert reached.shape == state.shape
        assert reached.dtype == state.dtype == jnp.float32
        assert task.reward(state, action, reached).shape == ()
        assert task.terminated(reached).dtype == bool
    assert np.all(task.state_low < state)
    assert np.all(state < task.state_high)


def test_covariates_keep_leading_axes_and_order(task: Task):
    values = np.arange(6 * len(task.covariate_names), dtype=float).reshape(2, 3, -1)
    stacked = task.covariates(values)
    for i, leaf in enumerate(stacked):
        np.testing.assert_array_equal(leaf, values[..., i])


def test_covariates_of_the_wrong_length_are_refused(task: Task):
    with pytest.raises(UsageError, match=task.covariate_names[0]):
        task.covariates(np.zeros((4, len(task.covariate_names) + 1)))


@given(n=st.integers(1, 40), more=st.integers(0, 20), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_populations(n: int, more: int, seed: int):
    for name in TASK_NAMES:
        task = get_task(name)
        small = agent_covariates(task, n, seed)
        large = agent_covariates(task, n + more, seed)
        assert small.shape == (n, len(task.covariate_names))
        np.testing.assert_array_equal(small, large[:n])
        np.testing.assert_array_equal(small[:5], task.test_agents[:n])
        assert np.all(large >= task.covariate_low)
        assert np.all(large <= task.covariate_high)


def test_populations_fill_the_covariate_box_and_depend_on_the_seed(task: Task):
    drawn = agent_covariates(task, 1005, 0)[5:]
    width = task.covariate_high - task.covariate_low
    quarters = (np.quantile(drawn, [0.25, 0.5, 0.75], axis=0) - task.covariate_low) / width
    np.testing.assert_allclose(quarters.T, [[0.25, 0.5, 0.75]] * quarters.shape[1], atol=0.05)
    assert not np.array_equal(drawn, agent_covariates(task, 1005, 1)[5:])


@pytest.mark.parametrize(("n", "seed", "message"), [(0, 0, "at least 1"), (5, -1, "seed")])
def test_populations_that_cannot_be(n: int, seed: int, message: str):
    with pytest.raises(UsageError, match=message):
        agent_covariates(get_task("cart_pole"), n, seed)
