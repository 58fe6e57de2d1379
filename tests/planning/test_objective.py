from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.models.dynamics import Dynamics
from twinfold.models.true_dynamics import TaskDynamics
from twinfold.planning import (
    DataBox,
    Objective,
    make_evaluate,
    member_returns,
    member_traces,
    stack_of_one,
)
from twinfold.tasks import get_task


def loop_returns(members: list[Any], objective: Objective, start: Any, actions: Any) -> np.ndarray:
    """The definition, one member, candidate and step at a time."""
    out = np.zeros((len(members), len(actions)))
    for m, member in enumerate(members):
        for b, plan in enumerate(actions):
            carry = member.init(start)
            state, ended = start, False
            furthest = -np.inf if objective.progress is None else float(objective.progress(start))
            for t, action in enumerate(plan):
                carry, after = member.step(carry, member.encode(action))
                gained = float(objective.reward(state, action, after))
                out[m, b] += objective.discount**t * gained
                state = after
                if objective.progress is not None:
                    furthest = max(furthest, float(objective.progress(after)))
                if bool(objective.terminated(after)):
                    ended = True
                    break
            if not ended and objective.terminal_value is not None:
                out[m, b] += objective.discount ** len(plan) * float(
                    objective.terminal_value(state)
                )
            if objective.progress is not None:
                out[m, b] += objective.progress_weight * furthest
    return out


def unstack(stack: Any) -> list[Any]:
    n = jax.tree.leaves(stack)[0].shape[0]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], stack) for i in range(n)]


def total(state: Any) -> Any:
    return 5.0 * jnp.sum(state)


def first(state: Any) -> Any:
    return state[0]


@pytest.mark.parametrize("progress", [{}, {"progress": first, "progress_weight": 3.0}])
@pytest.mark.parametrize("terminal", [None, total])
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_returns_equal_a_plain_loop(integrator, objective, terminal, discount, progress) -> None:
    stack = integrator(0.1, 0.35, -0.2)
    objective = Objective(objective.reward, objective.terminated, terminal, discount, **progress)
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

    def step(self, carry: Any, code: Any) -> Any:
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


# Caution, against the definition in plain loops.

BOX = DataBox(
    low=jnp.array([-0.5, -0.9]),
    high=jnp.array([0.6, 0.9]),
    scale=jnp.array([0.5, 2.0]),
    angle=jnp.array([False, False]),
)


def excess(state: Any) -> float:
    beyond = np.maximum(np.array(BOX.low) - state, 0) + np.maximum(state - np.array(BOX.high), 0)
    return float((beyond / np.array(BOX.scale)).sum())


def walk(member: Any, objective: Objective, start: Any, plan: Any) -> list[tuple[Any, float]]:
    """(state, reward) after each step, up to the end of the episode."""
    carry, state, path = member.init(start), start, []
    for action in plan:
        carry, after = member.step(carry, member.encode(action))
        path.append((np.asarray(after), float(objective.reward(state, action, after))))
        state = after
        if bool(objective.terminated(after)):
            break
    return path


def with_caution(objective: Objective, **fields: Any) -> Objective:
    return Objective(objective.reward, objective.terminated, box=BOX, **fields)


@pytest.fixture
def cautious_case(integrator, objective) -> Any:
    actions = jax.random.randint(jax.random.key(1), (12, 6), 0, 3)
    return integrator(0.1, 0.35, -0.2), objective, jnp.array([0.2, -0.4]), actions


def test_disagreement_equals_a_plain_loop(cautious_case) -> None:
    stack, objective, start, actions = cautious_case
    discounted = Objective(objective.reward, objective.terminated, discount=0.9)
    priced = with_caution(objective, discount=0.9, disagreement=0.7)
    plain = np.asarray(make_evaluate(stack, discounted)(start, actions))
    got = plain - np.asarray(make_evaluate(stack, priced)(start, actions))
    for b, plan in enumerate(actions):
        paths = [walk(member, objective, start, plan) for member in unstack(stack)]
        cost = 0.0
        for t in range(6):
            share = np.mean([len(path) > t for path in paths])
            states = np.stack([path[min(t, len(path) - 1)][0] for path in paths])
            cost += 0.9**t * share * (states.std(axis=0) / np.array(BOX.scale)).mean()
        np.testing.assert_allclose(got[b], 0.7 * cost, rtol=2e-3, atol=2e-4)
    returns, trace = member_traces(stack, priced, start, actions)
    assert trace.states.shape == (3, 6, 12, 2)
    np.testing.assert_allclose(returns, member_returns(stack, priced, start, actions), rtol=1e-5)


def test_leaving_the_range_costs_by_the_excess(cautious_case) -> None:
    stack, objective, start, actions = cautious_case
    priced = with_caution(objective, out_of_range="penalise", range_cost=3.0)
    got = np.asarray(member_returns(stack, priced, start, actions))
    n_outside = 0
    for m, member in enumerate(unstack(stack)):
        for b, plan in enumerate(actions):
            path = walk(member, objective, start, plan)
            expected = sum(reward - 3.0 * excess(state) for state, reward in path)
            n_outside += sum(excess(state) > 0 for state, _ in path)
            np.testing.assert_allclose(got[m, b], expected, rtol=1e-4, atol=1e-4)
    assert n_outside


def test_an_angle_is_outside_by_where_it_points() -> None:
    angle = jnp.array([True, True])
    box = DataBox(jnp.array([-1.0, -4.0]), jnp.array([1.0, 4.0]), jnp.ones(2), angle)
    turn = 2 * np.pi
    for state, expected in (
        ([0.9 + 3 * turn, 0.0], 0.0),
        ([1.5 - turn, 0.0], 0.5),
        ([0.0, 100.0], 0.0),  # the data covers the circle
    ):
        np.testing.assert_allclose(box.excess(jnp.array(state)), expected, atol=1e-5)


def test_an_objective_that_cannot_be(objective) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"out_of_range": "penalise"}, "need the box"),
        ({"disagreement": 1.0}, "need the box"),
    ]
    for fields, message in cases:
        with pytest.raises(ValueError, match=message):
            Objective(objective.reward, objective.terminated, **fields)
    # A ValueError, or the error of the checks that tests add to every call.
    with pytest.raises(Exception, match="out_of_range"):
        with_caution(objective, out_of_range="cut")
