"""Steps of a world against a Python loop; halting, ends and starts."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold import UsageError
from twinfold.models.true_dynamics import TaskDynamics
from twinfold.policy_learning import World
from twinfold.policy_learning.world import Simulation, advance, begin
from twinfold.tasks import get_task

step_of = eqx.filter_jit(advance)


def test_steps_are_those_of_a_loop(walk: Any) -> None:
    gains = (0.5, 2.0, -1.0)
    world = walk(gains=gains, max_steps=3)
    starts = {round(float(x), 4) for x in np.linspace(-4, 4, 9)}
    now = begin(world, jax.random.key(0), 4)
    state, step = np.array(now.state), np.zeros((3, 4), int)
    assert {round(float(x), 4) for x in state.ravel()} <= starts
    rng = np.random.default_rng(0)
    kinds = np.zeros(3, int)
    for t in range(12):
        actions = rng.integers(0, 3, (3, 4))
        now, outcome = step_of(world, now, jnp.asarray(actions), jax.random.key(t))
        for w in range(3):
            for b in range(4):
                after = state[w, b, 0] + gains[w] * (actions[w, b] - 1)
                assert outcome.next_state[w, b, 0] == pytest.approx(after, abs=1e-5)
                assert outcome.reward[w, b] == pytest.approx(-abs(after), abs=1e-5)
                step[w, b] += 1
                over = abs(after) > 9.5
                cut = not over and step[w, b] == 3
                assert (outcome.terminated[w, b], outcome.truncated[w, b]) == (over, cut)
                kinds += [over, cut, not (over or cut)]
                if over or cut:
                    state[w, b], step[w, b] = now.state[w, b], 0
                    assert round(float(state[w, b, 0]), 4) in starts
                else:
                    state[w, b] = after
        np.testing.assert_allclose(now.state, state, atol=1e-5)
        np.testing.assert_array_equal(now.step, step)
    assert (kinds[1:] > 0).all()


def test_an_unknown_step_halts_and_is_paid_for(walk: Any) -> None:
    world = walk(unknown=lambda carry: carry[0] > 2.0, halt_reward=jnp.asarray(-7.0))
    now = Simulation(*(jnp.array(x)[None] for x in ([[1.5], [0.0]], [[1.5], [0.0]], [3, 3])))
    _, outcome = step_of(world, now, jnp.array([[2, 2]]), jax.random.key(0))
    assert outcome.halted.tolist() == [[True, False]]
    assert outcome.terminated.tolist() == [[True, False]]
    np.testing.assert_allclose(outcome.reward, [[-2.5 - 7.0, -1.0]])


def test_a_prediction_that_is_no_number_halts(walk: Any) -> None:
    world = walk(gains=(np.nan,), halt_reward=jnp.asarray(-7.0))
    now = begin(world, jax.random.key(0), 5)
    after, outcome = step_of(world, now, jnp.full((1, 5), 2), jax.random.key(1))
    assert outcome.halted.all()
    assert np.isfinite(outcome.reward).all()
    assert np.isfinite(after.state).all()
    assert not np.asarray(after.step).any()


def test_a_task_gives_reward_end_and_actions() -> None:
    task = get_task("mountain_car")
    stack = TaskDynamics(task, task.covariates(task.test_agents[:2]))
    world = World.of_task(task, stack, np.array([[0.49, 0.05]]))
    assert world.starts.shape == (2, 1, 2)
    assert (world.actions.n_levels, world.max_steps) == (3, 500)
    now = begin(world, jax.random.key(0), 1)
    _, outcome = step_of(world, now, jnp.full((2, 1), 2), jax.random.key(0))
    assert outcome.terminated.all()
    np.testing.assert_array_equal(outcome.reward, np.zeros((2, 1)))


@pytest.mark.parametrize("shape", [(3, 3), (0, 2), (2,)])
def test_starts_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    task = get_task("mountain_car")
    stack = TaskDynamics(task, task.covariates(task.test_agents[:1]))
    with pytest.raises(UsageError, match=r"start states of shape .* position, velocity"):
        World.of_task(task, stack, np.zeros(shape))
