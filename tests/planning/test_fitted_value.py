"""The value learned by planning: known answers, a pit that a plan does not see, broken models."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.data.transitions import Transitions
from twinfold.errors import UsageError
from twinfold.models.dynamics import Dynamics
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.planning import (
    ICEM,
    Objective,
    PlanConfig,
    PlanValue,
    learn_plan_value,
    task_objective,
)
from twinfold.planning.fitted_value import PlanValueSettings
from twinfold.tasks import get_task

HORIZON = 4
HOW = PlanValueSettings(states=256, hidden=(32, 32), steps=500)  # worlds of one dimension
DISCOUNT, SWEEPS = HOW.discount, HOW.sweeps
SEARCH = ICEM([-1.0], [1.0], candidates=8, horizon=HORIZON, rounds=2)
STATES = np.linspace(-1.0, 2.0, 60)[:, None]


class Slope(Dynamics):
    """s' = s + push * a above zero. Below zero nothing moves any more, and never will."""

    push: jax.Array

    def init(self, state: Any) -> Any:
        return state

    def encode(self, action: Any) -> Any:
        return self.push * action

    def step(self, carry: Any, code: Any) -> Any:
        state = jnp.where(carry < 0, carry, jnp.minimum(carry + code, 2.0))
        return state, state


class Broken(Slope):
    """Nothing finite is ever predicted."""

    def step(self, carry: Any, code: Any) -> Any:
        return carry + code, jnp.full_like(carry, jnp.nan)


def falling_pays(state: Any, action: Any, next_state: Any) -> Any:
    """2 for the step into the pit, nothing in it, 1 for every step elsewhere."""
    del action
    into = (state[0] >= 0) & (next_state[0] < 0)
    return jnp.where(into, 2.0, jnp.where(state[0] < 0, 0.0, 1.0))


def never(next_state: Any) -> Any:
    return jnp.zeros_like(next_state[0], bool)


@pytest.fixture(scope="module")
def normalizer() -> Normalizer:
    n = len(STATES)
    zeros = np.zeros(n, np.int32)
    following = STATES + np.random.default_rng(0).normal(size=STATES.shape) * 0.1
    steps = np.arange(n, dtype=np.int32)
    return fit_normalizer(
        Transitions(zeros, STATES, np.linspace(-1, 1, n)[:, None], following, zeros, steps)
    )


def learn(normalizer: Normalizer, reward: Callable[..., Any], kind: Any = Slope) -> PlanValue:
    stack = kind(jnp.array([0.3, 0.35]))
    objective = Objective(reward=reward, terminated=never)
    return learn_plan_value(stack, objective, SEARCH, normalizer, STATES, jax.random.key(0), HOW)


@pytest.fixture(scope="module")
def of_the_pit(normalizer: Normalizer) -> PlanValue:
    return learn(normalizer, falling_pays)


def test_a_constant_reward_is_worth_its_discounted_sum(normalizer: Normalizer) -> None:
    value = learn(normalizer, lambda state, action, after: jnp.ones(()) * 0.5)
    expected = 0.5 * HORIZON * (1 - DISCOUNT**SWEEPS) / (1 - DISCOUNT)
    found = jax.vmap(value)(jnp.asarray(STATES, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_pit_that_pays_at_first_is_worth_nothing(of_the_pit: PlanValue) -> None:
    value = of_the_pit
    pit, edge = (np.asarray(jax.vmap(value)(jnp.array(x))) for x in ([[-1.0], [-0.5]], [[1.0]]))
    # Forever above: 1 per step. The best of one plan alone would be to fall with its last step.
    staying = HORIZON * (1 - DISCOUNT**SWEEPS) / (1 - DISCOUNT)
    assert np.abs(pit).max() < 0.1 * staying
    assert edge[0] > 0.7 * staying
    plan = ICEM([-1.0], [1.0], candidates=64, horizon=HORIZON, rounds=3)
    after = {}
    for name, terminal in (("none", None), ("plans", value)):
        objective = Objective(reward=falling_pays, terminated=never, terminal_value=terminal)
        after[name] = _end(plan, objective)
    assert after["none"] < 0 < after["plans"]


def _end(planner: ICEM, objective: Objective) -> float:
    """Where the chosen plan ends."""
    from twinfold.planning import make_evaluate

    stack = Slope(jnp.array([0.3, 0.35]))
    start, key = jnp.array([0.4]), jax.random.key(1)
    evaluate = make_evaluate(stack, objective)
    actions = planner.plan(planner.init(key), evaluate, start, key)[2].actions
    one = Slope(jnp.array(0.3))
    state = start
    for action in actions:
        state = one.step(state, one.encode(action))[1]
    return float(state[0])


def test_values_stay_within_their_limits_and_know_what_is_not_finite(
    of_the_pit: PlanValue,
) -> None:
    value = of_the_pit
    far = np.asarray(jax.vmap(value)(jnp.array([[-1e6], [1e6], [3.0]])))
    assert (far >= float(value.low)).all()
    assert (far <= float(value.high)).all()
    assert np.isnan(value(jnp.array([jnp.nan])))


def test_after_the_end_of_an_episode_nothing_is_earned(normalizer: Normalizer) -> None:
    """Every step ends the episode: a plan is worth its first reward, and nothing after."""
    stack = Slope(jnp.array([0.3, 0.35]))

    def always(next_state: Any) -> Any:
        return jnp.ones_like(next_state[0], bool)

    objective = Objective(reward=lambda state, action, after: jnp.ones(()), terminated=always)
    value = learn_plan_value(stack, objective, SEARCH, normalizer, STATES, jax.random.key(0), HOW)
    found = jax.vmap(value)(jnp.asarray(STATES, jnp.float32))
    np.testing.assert_allclose(found, 1.0, rtol=1e-3)


def test_the_discount_of_the_objective_counts(normalizer: Normalizer) -> None:
    stack = Slope(jnp.array([0.3, 0.35]))
    objective = Objective(
        reward=lambda state, action, after: jnp.ones(()), terminated=never, discount=0.9
    )
    value = learn_plan_value(stack, objective, SEARCH, normalizer, STATES, jax.random.key(0))
    plan, beyond = sum(0.9**t for t in range(HORIZON)), DISCOUNT * 0.9**HORIZON
    expected = plan * (1 - beyond**SWEEPS) / (1 - beyond)
    found = jax.vmap(value)(jnp.asarray(STATES, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_simulator_without_a_finite_prediction_tells_nothing_apart(
    normalizer: Normalizer,
) -> None:
    value = learn(normalizer, falling_pays, Broken)
    found = jax.vmap(value)(jnp.asarray(STATES, jnp.float32))
    np.testing.assert_array_equal(found, 0.0)


def test_another_agent_compiles_nothing(
    normalizer: Normalizer, caplog: pytest.LogCaptureFixture
) -> None:
    learn(normalizer, falling_pays)
    objective = Objective(reward=falling_pays, terminated=never)
    other = Slope(jnp.array([0.2, 0.5]))
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        learn_plan_value(other, objective, SEARCH, normalizer, STATES, jax.random.key(3), HOW)
        jax.jit(lambda x: x + 1.25)(3.0)  # the log does see a compilation
    compiled = [line for line in caplog.messages if line.startswith("Finished XLA compilation")]
    assert len(compiled) == 1


def test_a_run_and_continuous_actions_are_needed(small_cart_pole: Any) -> None:
    config = PlanConfig(planner="icem", terminal_value="plans")
    task = get_task("half_cheetah")
    stack = Slope(jnp.array([0.3]))
    with pytest.raises(UsageError, match="there is none here"):
        task_objective(config, task, stack)
    discrete = PlanConfig(planner="sticky", terminal_value="plans")
    with pytest.raises(UsageError, match="needs continuous actions"):
        task_objective(discrete, get_task("cart_pole"), stack, small_cart_pole)
