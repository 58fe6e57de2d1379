"""What a policy is worth by the model: against loops in Python, by name, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import factor_draws
from twinfold.models.run_info import RunInfo
from twinfold.ope.policy_value import Goal, compare_policies, policy_value
from twinfold.ope.posterior_rollouts import posterior_samples
from twinfold.planning.build import task_objective, task_planner
from twinfold.planning.config import PlanConfig
from twinfold.planning.objective import make_evaluate
from twinfold.policy_learning import (
    ActionSpace,
    PolicyLearningSettings,
    StateScale,
    TrainedPolicy,
)
from twinfold.policy_learning.actor_critic import random_policy
from twinfold.policy_learning.policy import PolicyInfo
from twinfold.tasks import get_task

ROOT = Path(__file__).resolve().parent.parent.parent
CART = get_task("cart_pole")
STARTS = [[0.01, -0.02, 0.03, 0.01], [0.0, 0.03, -0.04, 0.02], [-0.03, 0.0, 0.01, -0.04]]


def upright(state: Any, key: Any) -> Any:
    del key
    return (state[2] + 0.3 * state[3] > 0).astype(jnp.int32)


def low_angle(state: Any, action: Any, after: Any) -> Any:
    return 1.0 - 5 * after[2] ** 2 + 0.1 * action - 0.01 * state[0] ** 2


def test_returns_are_those_of_a_loop(small_cart_pole: FittedModel, reference: Any) -> None:
    """NumPy in float64, one rollout, one step at a time."""
    model = small_cart_pole
    goal = Goal(low_angle, CART.terminated, 20)
    found = policy_value(
        model, goal, 3, upright, starts=STARTS, draws=5, discount=0.97, coverage=0.5
    )
    factors = factor_draws(model.posterior, np.array([3]), 2)[:, 0]
    expected, steps = np.zeros((5, 3)), 0
    for k in range(5):
        world = dataclasses.replace(
            model, members=eqx.tree_at(lambda m: m.agents, model.members, factors[:, [k // 3]])
        )
        for s, start in enumerate(STARTS):
            state = np.array(start)
            for t in range(20):
                action = int(state[2] + 0.3 * state[3] > 0)
                after = reference.member_paths(world, 0, state, [action])[k % 3, 0]
                expected[k, s] += 0.97**t * float(low_angle(state, action, after))
                state, steps = after, steps + 1
                if abs(state[0]) > 2.4 or abs(state[2]) > 0.20943951:
                    break
    np.testing.assert_allclose(found.returns, expected, rtol=2e-4)
    assert found.mean_steps == pytest.approx(steps / 15)
    by_draw = expected.mean(axis=1)
    assert found.value == pytest.approx(np.sort(by_draw)[1:-1].mean(), rel=1e-3)
    error = expected.mean(axis=0).std(ddof=1) / 3**0.5
    assert found.start_se == pytest.approx(error, rel=1e-2)
    below = found.value - np.sort(by_draw)[0]  # of 5 draws, rank 1 of 6 * 0.25
    assert found.low == pytest.approx(found.value - np.hypot(below, 0.67449 * error), rel=1e-4)


def test_a_planner_plans_with_the_ensemble_and_acts_in_one_world(
    small_cart_pole: FittedModel,
) -> None:
    model, config = small_cart_pole, PlanConfig(candidates=8, horizon=4)
    found = policy_value(
        model, CART, 3, config, starts=STARTS[:2], draws=3, coverage=0.5, horizon=6
    )
    stack = model.dynamics(3)
    evaluate = make_evaluate(stack, task_objective(config, CART, stack))
    planner = task_planner(config, CART)
    plan = eqx.filter_jit(lambda memory, state, key: planner.plan(memory, evaluate, state, key))
    world = jax.tree.map(lambda leaf: leaf[2], posterior_samples(model, 3, 3))
    key = jax.random.split(jax.random.split(jax.random.key(0))[1], 2)[1]
    key_memory, key_steps = jax.random.split(key)
    memory, state, total = planner.init(key_memory), jnp.asarray(STARTS[1]), 0
    carry = world.init(state)
    for t in range(6):
        action, memory, _ = plan(memory, state, jax.random.fold_in(key_steps, t))
        carry, state = world.step(carry, world.encode(action))
        total += 1
        if CART.terminated(state):
            break
    assert found.returns[2, 1] == total
    assert found.policy == "plan"


def test_another_agent_compiles_nothing(
    small_cart_pole: FittedModel, caplog: pytest.LogCaptureFixture
) -> None:
    def run(agent: int, horizon: int) -> None:
        quick: dict[str, Any] = {"draws": 3, "coverage": 0.5, "n_starts": 2, "horizon": horizon}
        policy_value(small_cart_pole, CART, agent, "pure", **quick)
        config = PlanConfig(candidates=8, horizon=4)
        compare_policies(small_cart_pole, CART, agent, config, upright, **quick)

    run(1, 5)
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        run(2, 5)
        run(4, 7)
        jax.jit(lambda x: x + 1.75)(3.0)  # the log does see a compilation
    compiled = [line for line in caplog.messages if line.startswith("Finished XLA compilation")]
    assert len(compiled) == 1


def test_policies_by_name_and_records(small_cart_pole: FittedModel) -> None:
    found = compare_policies(small_cart_pole, CART, 3, "pure", "random", n_starts=10)
    assert found.a.value > found.b.value
    assert found.probability > 0.9
    record = json.loads(json.dumps(found.record()))
    assert record["model_based"] is record["a"]["model_based"] is True
    assert "not from data of this policy" in record["note"]
    assert (record["agent"], record["task"], record["b"]["policy"]) == (3, "cart_pole", "random")
    assert record["difference"] == found.difference
    assert "returns" not in record["a"]
    assert (record["a"]["n_draws"], record["a"]["n_starts"]) == (20, 10)
    again = policy_value(small_cart_pole, CART, 3, "pure", n_starts=10)
    np.testing.assert_array_equal(again.returns, found.a.returns)


def trained_for(n_states: int) -> TrainedPolicy:
    """A policy that nothing has taught, for states of so many columns and two levels."""
    scale = StateScale(np.zeros(n_states), np.ones(n_states))
    how = PolicyLearningSettings(hidden=(4,))
    policy = random_policy(jax.random.key(3), how, scale, ActionSpace(2))
    info = PolicyInfo(
        twinfold="", jax="", device="", models=1, steps=0, history=(), halted=None, seconds=0.0
    )
    return TrainedPolicy(policy, how, info)


def test_a_trained_policy_is_worth_what_it_does_without_drawing(
    small_cart_pole: FittedModel,
) -> None:
    policy = trained_for(4)
    options: dict[str, Any] = {"starts": STARTS, "horizon": 30}
    by_hand = policy_value(
        small_cart_pole, CART, 3, lambda state, key: policy.policy.act(state), **options
    )
    drawn = policy_value(small_cart_pole, CART, 3, policy.policy.act, **options)
    for given in (policy, policy.policy):
        found = policy_value(small_cart_pole, CART, 3, given, **options)
        np.testing.assert_array_equal(found.returns, by_hand.returns)
        assert found.policy == type(given).__name__
        assert "returns" not in repr(found)  # thousands of numbers in a notebook
    assert (drawn.returns != by_hand.returns).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 18}, "needs 19 draws or more, not 18"),
        ({"coverage": 1.5}, "coverage must be between 0 and 1"),
        ({"discount": 0.0}, "discount must be above 0"),
        ({"seed": -1}, "the seed must be between 0"),
        ({"n_starts": 0}, "number of starts must be at least 1"),
        ({"horizon": 0}, "at least 1 step"),
        ({"starts": [0.0, 0.0, 0.0, 0.0]}, r"must be \(S, 4\)"),
        ({"starts": [[0.0, np.nan, 0.0, 0.0]]}, "start 0 is not finite"),
        ({"policy": "best"}, "unknown policy 'best'; valid: random, test, pure"),
        ({"policy": lambda state, key: -state / 2}, "an integer from 0 to 1"),
        ({"policy": lambda state, key: state[0]}, "an integer from 0 to 1"),
        ({"policy": lambda state, key: 7}, "gives the action 7; .* an integer from 0 to 1"),
        ({"policy": lambda state, key: jnp.where(state[2] > 0.02, -1, 0)}, "gives the action -1"),
        ({"policy": object()}, r"type object is no policy: give a function \(state, key\)"),
        ({"policy": trained_for(2)}, "trained for 2 state columns; the model has 4: x, x_dot"),
        ({"policy": PlanConfig(planner="icem")}, "needs continuous actions"),
        ({"agent": 60}, "unknown agent 60"),
        ({"task": get_task("mountain_car")}, "does not fit task 'mountain_car'"),
        ({"task": Goal(low_angle), "starts": STARTS, "policy": upright}, "Give a horizon"),
        ({"task": Goal(low_angle), "policy": upright}, "starts must be given"),
        ({"task": Goal(low_angle, max_steps=3), "starts": STARTS}, "give a function"),
    ],
)
def test_what_cannot_be_used_is_said(
    small_cart_pole: FittedModel, changes: dict[str, Any], message: str
) -> None:
    options: dict[str, Any] = {"task": CART, "agent": 3, "policy": "random"} | changes
    if callable(options["policy"]) and "task" not in changes:
        options.setdefault("starts", STARTS)
    task, agent, policy = (options.pop(name) for name in ("task", "agent", "policy"))
    with pytest.raises(UsageError, match=message):
        policy_value(small_cart_pole, task, agent, policy, **options)


def test_behaviour_policies_need_the_physics_of_the_agent(small_cart_pole: FittedModel) -> None:
    with pytest.raises(UsageError, match="not known; valid: random, test, plan"):
        policy_value(small_cart_pole, CART, 30, "pure")  # the model was not told its source
    source = {"task": "cart_pole", "policy": "random", "n_agents": 60, "seed": 0}
    told = dataclasses.replace(small_cart_pole, info=RunInfo(source=source))
    assert policy_value(told, CART, 30, "pure", n_starts=2, horizon=5).value > 0


def test_the_measured_table_is_that_of_the_records() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "policy_value.py"), "table"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert made.strip() in (ROOT / "docs" / "values.md").read_text(encoding="utf-8")
