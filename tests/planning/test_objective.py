from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from twinfold.planning.objective import tail_mean
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
                carry, after = member.step(carry, member.encode(action), None)
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
        carry, after = member.step(carry, member.encode(action), None)
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


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7, 1.0])
def test_cvar_is_the_mean_of_the_worst(cautious_case, share) -> None:
    stack, objective, start, actions = cautious_case
    returns = np.asarray(member_returns(stack, objective, start, actions))
    got = make_evaluate(stack, with_caution(objective, cvar=share))(start, actions)
    for b in range(12):
        left, total = share * 3, 0.0  # a member counts in part where the share ends
        for value in sorted(returns[:, b]):
            total += min(left, 1.0) * value
            left = max(left - 1.0, 0.0)
        np.testing.assert_allclose(got[b], total / (share * 3), rtol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_member_without_a_return_is_the_worst(bad) -> None:
    returns = jnp.array([[1.0, 1.0], [bad, 2.0], [3.0, 3.0]])
    scores = tail_mean(returns, 0.5)
    assert not np.isfinite(scores[0])
    assert not scores[0] > 0
    np.testing.assert_allclose(scores[1], (1.0 + 0.5 * 2.0) / 1.5, rtol=1e-6)


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


@pytest.mark.parametrize("terminal", [None, total])
def test_a_rollout_that_leaves_counts_the_worst_from_there(cautious_case, terminal) -> None:
    stack, objective, start, actions = cautious_case
    cut = with_caution(objective, terminal_value=terminal, discount=0.9, out_of_range="truncate")
    got = np.asarray(member_returns(stack, cut, start, actions))
    n_left = 0
    for m, member in enumerate(unstack(stack)):
        paths = [walk(member, objective, start, plan) for plan in actions]
        inside = [next((t for t, x in enumerate(p) if excess(x[0]) > 0), len(p)) for p in paths]
        worst = min([0.0] + [r for p, n in zip(paths, inside, strict=True) for _, r in p[:n]])
        ends = [float(total(p[-1][0])) for p, n in zip(paths, inside, strict=True)
                if n == 6 and not bool(objective.terminated(p[-1][0]))]  # fmt: skip
        for b, (path, n) in enumerate(zip(paths, inside, strict=True)):
            expected = sum(0.9**t * path[t][1] for t in range(n))
            left = n < len(path)
            n_left += left
            if left:
                expected += sum(0.9**t * worst for t in range(n, 6))
            if terminal is not None:
                if left:
                    expected += 0.9**6 * min([0.0, *ends])
                elif n == 6 and not bool(objective.terminated(path[-1][0])):
                    expected += 0.9**6 * float(total(path[-1][0]))
            np.testing.assert_allclose(got[m, b], expected, rtol=1e-4, atol=1e-4)
    assert 0 < n_left < 36


@given(
    cost=st.floats(-5, 5),
    slope=st.floats(-2, 2),
    disagree=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 10**6),
)
def test_leaving_never_beats_staying(cost, slope, disagree, seed) -> None:
    """Two plans that are alike until one leaves: whatever is paid, the other is no worse."""
    got = _left_and_stayed(jnp.array(cost), jnp.array(slope), jax.random.key(seed), disagree)
    left, stayed = (float(x) for x in got)
    assert left <= stayed + 1e-3


@eqx.filter_jit
def _left_and_stayed(cost, slope, key, disagree) -> Any:
    def reward(state, action, after):
        return cost + slope * after[1]

    stack = Drift(jnp.zeros(3))
    objective = Objective(
        reward, lambda state: state[0] > 1e9, out_of_range="truncate", box=BOX,
        disagreement=disagree,
    )  # fmt: skip
    along = jax.random.uniform(key, (8,), minval=-0.3, maxval=0.3)
    stay = jnp.stack([jnp.zeros(8), along], axis=-1)
    leave = stay.at[4:, 0].set(9.0)
    scores = make_evaluate(stack, objective)(jnp.zeros(2), jnp.stack([leave, stay]))
    return scores


class Drift(Dynamics):
    """The action is the next state, give or take what the members differ by."""

    error: jax.Array

    def init(self, state: Any) -> Any:
        return state

    def encode(self, action: Any) -> Any:
        return action + self.error

    def step(self, carry: Any, code: Any, key: Any) -> Any:
        return code, code


def test_an_infinite_prediction_is_not_merely_out_of_range() -> None:
    objective = Objective(
        lambda s, a, n: 1.0, lambda state: state[0] > 1e9, out_of_range="truncate", box=BOX
    )
    plans = jnp.zeros((2, 3, 2)).at[1, 1].set(-jnp.inf)
    scores = make_evaluate(stack_of_one(Drift(jnp.array(0.0))), objective)(jnp.zeros(2), plans)
    np.testing.assert_array_equal(scores, [3.0, np.nan])


def test_a_start_outside_is_no_reason_to_stop() -> None:
    objective = Objective(
        lambda s, a, n: n[0], lambda state: state[0] > 1e9, out_of_range="truncate", box=BOX
    )
    plans = jnp.stack([jnp.tile(jnp.array([x, 0.0]), (3, 1)) for x in (0.9, 1.0, 1.1)])
    scores = make_evaluate(stack_of_one(Drift(jnp.array(0.0))), objective)(
        jnp.array([1.0, 0.0]), plans
    )
    np.testing.assert_allclose(scores, [2.7, 3.0, 0.0], rtol=1e-6)


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
        ({"out_of_range": "truncate"}, "need the box"),
        ({"disagreement": 1.0}, "need the box"),
        ({"cvar": 0.0}, "above 0 and at most 1"),
    ]
    for fields, message in cases:
        with pytest.raises(ValueError, match=message):
            Objective(objective.reward, objective.terminated, **fields)
    # A ValueError, or the error of the checks that tests add to every call.
    with pytest.raises(Exception, match="out_of_range"):
        with_caution(objective, out_of_range="cut")


def test_progress_beyond_the_data_is_no_progress(integrator) -> None:
    """Leaving the box never beats staying, however far it would lead."""
    stack = integrator(0.1)
    start, plans = jnp.zeros(2), jnp.array([[2] * 9, [1] * 9, [2] * 6 + [1] * 3])
    free = Objective(
        lambda s, a, n: -1.0, lambda state: state[0] > 1e9, progress=first, progress_weight=3.0
    )
    cut = Objective(
        free.reward, free.terminated, progress=first, progress_weight=3.0,
        out_of_range="truncate", box=BOX,
    )  # fmt: skip
    far = np.asarray(member_traces(stack, cut, start, plans)[1].left)[0, -1]
    assert far.any(), "one plan leaves the box"
    assert not far.all()
    without, within = (np.asarray(make_evaluate(stack, o)(start, plans)) for o in (free, cut))
    assert without[far].max() > without[~far].max()
    assert within[far].max() <= within[~far].max()
    np.testing.assert_allclose(within[~far], without[~far])
