from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.models.dynamics import Dynamics
from twinfold.models.true_task import TaskDynamics
from twinfold.planning import Objective, make_evaluate, member_returns, stack_of_one
from twinfold.tasks import get_task


def loop_returns(members: list[Any], objective: Objective, start: Any, actions: Any) -> np.ndarray:
    """The definition, one member, candidate and step at a time."""
    out = np.zeros((len(members), len(actions)))
    for m, member in enumerate(members):
        for b, plan in enumerate(actions):
            carry = member.init(start)
            state, ended = start, False
            for t, action in enumerate(plan):
                carry, after = member.step(carry, member.encode(action), None)
                gained = float(objective.reward(state, action, after))
                out[m, b] += objective.discount**t * gained
                state = after
                if bool(objective.terminated(after)):
                    ended = True
                    break
            if not ended and objective.terminal_value is not None:
                out[m, b] += objective.discount ** len(plan) * float(
                    objective.terminal_value(state)
                )
    return out


def unstack(stack: Any) -> list[Any]:
    n = jax.tree.leaves(stack)[0].shape[0]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], stack) for i in range(n)]


def total(state: Any) -> Any:
    return 5.0 * jnp.sum(state)


@pytest.mark.parametrize("terminal", [None, total])
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_returns_equal_a_plain_loop(integrator, objective, terminal, discount) -> None:
    stack = integrator(0.1, 0.35, -0.2)
    objective = Objective(objective.reward, objective.terminated, terminal, discount)
    actions = jax.random.randint(jax.random.key(1), (12, 6), 0, 3)
    start = jnp.array([0.2, -0.4])
    expected = loop_returns(unstack(stack), objective, start, actions)
    got = eqx.filter_jit(member_returns)(stack, objective, start, actions)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    # Some candidates end early and some do not, or this would not test termination.
    lengths = loop_returns(
        unstack(stack), Objective(lambda s, a, n: 1.0, objective.terminated), start, actions
    )
    assert 0 < (lengths < 6).mean() < 1


def test_returns_equal_a_plain_loop_in_the_true_task() -> None:
    task = get_task("cart_pole")
    stack = TaskDynamics(task, task.covariates(task.test_agents[:3]))
    objective = Objective.of_task(task)
    actions = jax.random.randint(jax.random.key(0), (5, 40), 0, 2)
    start = jnp.array([0.0, 0.1, 0.1, 0.2])
    expected = loop_returns(unstack(stack), objective, start, actions)
    got = eqx.filter_jit(member_returns)(stack, objective, start, actions)
    np.testing.assert_array_equal(got, expected)
    assert expected.min() < 40


def test_continuous_actions(integrator, objective) -> None:
    stack = integrator(0.1, 0.2)
    actions = jax.random.uniform(jax.random.key(0), (7, 4, 2))
    start = jnp.zeros(3)
    expected = loop_returns(unstack(stack), objective, start, actions)
    np.testing.assert_allclose(
        member_returns(stack, objective, start, actions), expected, rtol=1e-5, atol=1e-6
    )


def test_score_is_mean_less_risk_times_spread(integrator, objective) -> None:
    stack = integrator(0.05, 0.1, 0.3)
    actions = jax.random.randint(jax.random.key(0), (9, 5), 0, 3)
    start = jnp.zeros(2)
    returns = np.asarray(member_returns(stack, objective, start, actions))
    averse = Objective(objective.reward, objective.terminated, risk=0.7)
    np.testing.assert_allclose(
        make_evaluate(stack, objective)(start, actions), returns.mean(0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        make_evaluate(stack, averse)(start, actions),
        returns.mean(0) - 0.7 * returns.std(0),
        rtol=1e-5,
        atol=1e-6,
    )


class Blowup(Dynamics):
    """Level 1 makes the state infinite, then NaN."""

    scale: jax.Array

    def init(self, state: Any) -> Any:
        return state

    def encode(self, action: Any) -> Any:
        return jnp.where(action == 1, jnp.inf, 1.0)

    def step(self, carry: Any, code: Any, key: Any) -> Any:
        state = (carry + self.scale) * code - jnp.where(code > 2, carry, 0.0)
        return state, state


def test_a_prediction_that_is_not_finite_is_no_survival() -> None:
    task = get_task("cart_pole")
    objective = Objective.of_task(task)
    # A comparison with NaN is false, so without care a NaN state lives for ever.
    stack = stack_of_one(Blowup(jnp.array(0.0)))
    alive = Objective(objective.reward, lambda state: state[0] < -1.0)
    returns = member_returns(stack, alive, jnp.zeros(4), jnp.array([[0, 0, 0], [0, 1, 0]]))
    np.testing.assert_array_equal(returns, [[3.0, np.nan]])


def test_what_happens_after_the_end_does_not_count() -> None:
    stack = stack_of_one(Blowup(jnp.array(2.0)))
    objective = Objective(lambda s, a, n: 1.0, lambda state: state[0] > 1.0)
    # The first step ends the episode, the second is not finite.
    returns = member_returns(stack, objective, jnp.zeros(2), jnp.array([[0, 1, 1]]))
    np.testing.assert_array_equal(returns, [[1.0]])
