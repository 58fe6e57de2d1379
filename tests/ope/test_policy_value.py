"""What a policy is worth by the model: against loops in Python, and where the answer is known."""

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

from twinfold.config import FitConfig
from twinfold.data.roles import Roles
from twinfold.data.transitions import DataRanges
from twinfold.errors import UsageError
from twinfold.models.factor_model import FactorModel, Layer
from twinfold.models.fitted_model import DataSample, FittedModel
from twinfold.models.linear_sums import LinearData
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Evidence, Posterior, factor_draws
from twinfold.models.prior import Prior
from twinfold.models.run_info import RunInfo
from twinfold.ope.policy_value import Goal, compare_policies, policy_value
from twinfold.ope.posterior_rollouts import posterior_samples
from twinfold.planning.build import task_objective, task_planner
from twinfold.planning.config import PlanConfig
from twinfold.planning.objective import Objective, make_evaluate
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


def linear(sd: float, n_agents: int = 1, members: int = 2) -> FittedModel:
    """s' = s + u a for a state and an action of one column; u is N(1, sd^2), no data."""
    unit, zero = np.ones(1), np.zeros(1)
    infinite = np.full(1, np.inf)
    times_one = Layer(jnp.ones((1, 1)), jnp.zeros(1))
    member = FactorModel(
        agents=jnp.ones((n_agents, 1)),
        state_layers=(Layer(jnp.zeros((1, 1)), jnp.ones(1)),),
        head=times_one,
        action_layers=(),
        action_head=times_one,
        activation="relu",
    )
    one = np.ones((members, 1))
    nowhere = np.array([[-np.inf], [np.inf]])
    prior = Prior(one, np.full((members, 1, 1), sd**-2), one, one, nowhere)
    normalizer = Normalizer(
        state_mean=zero,
        state_scale=unit,
        keep=unit,
        target_mean=zero,
        target_scale=unit,
        wave_mean=np.zeros(0),
        wave_scale=np.zeros(0),
        action_mean=zero,
        action_scale=unit,
        low=-infinite,
        high=infinite,
        target_low=-infinite,
        target_high=infinite,
    )
    return FittedModel(
        members=jax.tree.map(lambda leaf: jnp.stack([leaf] * members), member),
        normalizer=normalizer,
        config=FitConfig(members=members, rank=1),
        roles=Roles(agent="unit", time="t", state=("s",), action=("a",), action_type="continuous"),
        agent_ids=tuple(f"u{n}" for n in range(n_agents)),
        action_levels=None,
        time_step=1.0,
        ranges=DataRanges(-10 * unit, 10 * unit, -unit, unit),
        band=None,
        sample=DataSample(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1, np.int32)),
        sums=LinearData.none(normalizer, n_agents, 0),
        recent=np.full((n_agents, 1), np.nan),
        posterior=Posterior(prior, Evidence.none(members, n_agents, 1), np.zeros(n_agents, bool)),
    )


def reached(state: Any, action: Any, after: Any) -> Any:
    del state, action
    return after[0]


def halve(state: Any, key: Any) -> Any:
    del key
    return -state / 2


def one(state: Any, key: Any) -> Any:
    del key
    return jnp.ones_like(state)


def half(state: Any, key: Any) -> Any:
    del key
    return jnp.full_like(state, 0.5)


def noisy(level: float) -> Any:
    def act(state: Any, key: Any) -> Any:
        return level + jax.random.normal(key, state.shape)

    return act


GOAL = Goal(reached, max_steps=1)


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


def test_a_linear_system_has_a_known_value() -> None:
    sure = policy_value(linear(1e-6), Goal(reached), "u0", halve, starts=[[4.0], [8.0]], horizon=3)
    np.testing.assert_allclose(sure.draws, 6 * (1 / 2 + 1 / 4 + 1 / 8), rtol=1e-4)
    assert sure.start_se == pytest.approx(2 * 7 / 8, rel=1e-4)
    assert sure.high - sure.value == pytest.approx(1.64485 * sure.start_se, rel=1e-3)
    assert (sure.mean_steps, sure.ended, sure.outside, sure.diverged) == (3, 0, 0, 0)
    unsure = policy_value(linear(0.3), GOAL, "u0", one, starts=[[1.0]], draws=4000)
    assert unsure.value == pytest.approx(2.0, abs=1e-3)  # mirrored draws
    assert unsure.model_sd == pytest.approx(0.3, rel=0.05)
    assert unsure.low == pytest.approx(2 - 1.645 * 0.3, abs=0.03)
    assert unsure.high == pytest.approx(2 + 1.645 * 0.3, abs=0.03)
    assert unsure.start_se == 0


def test_the_discount_and_the_end_of_an_episode_count() -> None:
    far = Goal(lambda s, a, after: jnp.ones(()), lambda after: after[0] > 2.5, 10)
    found = policy_value(linear(1e-6), far, "u0", one, starts=[[0.0], [1.0]], discount=0.5)
    np.testing.assert_allclose(found.returns[0], [1.75, 1.5])
    assert (found.mean_steps, found.ended) == (2.5, 1.0)
    beyond = policy_value(linear(1e-6), GOAL, "u0", one, starts=[[0.0], [11.9]], horizon=2)
    assert beyond.outside == pytest.approx(0.5)  # 12.9 and 13.9 of 4; the range ends at 12


def test_a_policy_equals_itself() -> None:
    found = compare_policies(
        linear(0.3), GOAL, "u0", noisy(1.0), noisy(1.0), starts=[[0.0]] * 4, horizon=3
    )
    values = (found.difference, found.low, found.high, found.model_sd, found.start_se)
    assert values == (0, 0, 0, 0, 0)
    assert found.probability == 0.5


def test_a_better_policy_is_better() -> None:
    options: dict[str, Any] = {"starts": [[0.0], [1.0]]}
    found = compare_policies(linear(0.1), GOAL, "u0", one, half, **options)
    assert found.difference == pytest.approx(0.5, abs=0.01)
    assert found.probability == 1.0
    assert found.low > 0
    assert found.a.value - found.b.value == pytest.approx(found.difference)
    back = compare_policies(linear(0.1), GOAL, "u0", half, one, **options)
    assert (back.difference, back.low) == pytest.approx((-found.difference, -found.high))
    assert back.probability == 0.0
    unsure = compare_policies(linear(1.0), GOAL, "u0", one, half, draws=2000, **options)
    assert unsure.probability == pytest.approx(0.841, abs=0.02)  # P(u > 0)


def test_pairing_makes_differences_sharper() -> None:
    model, many = linear(0.3), [[float(s)] for s in range(6)]
    a, b = noisy(1.0), noisy(0.8)
    paired, apart = [], []
    for seed in range(12):
        options: dict[str, Any] = {"starts": many, "horizon": 4}
        paired.append(compare_policies(model, GOAL, "u0", a, b, seed=seed, **options).difference)
        one = policy_value(model, GOAL, "u0", a, seed=seed, **options).value
        apart.append(one - policy_value(model, GOAL, "u0", b, seed=seed + 99, **options).value)
    assert np.std(paired) < np.std(apart) / 4
    assert np.mean(paired) == pytest.approx(0.2 * (1 + 2 + 3 + 4), rel=0.1)


def test_what_diverges_loses() -> None:
    def breaks(state: Any, key: Any) -> Any:
        del key
        return jnp.where(state < 5, jnp.nan, 1.0)

    starts = [[0.0], [9.0]]
    lost = policy_value(linear(0.1), GOAL, "u0", breaks, starts=starts)
    assert (lost.value, lost.low, lost.diverged) == (-np.inf, -np.inf, 20)
    found = compare_policies(linear(0.1), GOAL, "u0", breaks, half, starts=starts)
    assert (found.difference, found.probability) == (-np.inf, 0.0)
    found = compare_policies(linear(0.1), GOAL, "u0", half, breaks, starts=starts)
    assert (found.difference, found.probability) == (np.inf, 1.0)
    both = compare_policies(linear(0.1), GOAL, "u0", breaks, breaks, starts=starts)
    assert both.probability == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_some_diverging_draws_count_as_the_worst(bad: float) -> None:
    def fragile(state: Any, action: Any, after: Any) -> Any:
        del state, action
        return jnp.where(after[0] > 1.12, bad, after[0])  # for the largest u

    found = policy_value(linear(0.1), Goal(fragile), "u0", one, starts=[[0.0]], horizon=1)
    assert 0 < found.diverged < 5
    finite = found.draws[np.isfinite(found.draws)]
    assert np.isneginf(found.low)
    assert finite.min() < found.value < np.median(finite)
    assert found.high >= found.value
    json.dumps(found.record())


def test_the_order_of_starts_does_not_matter() -> None:
    starts = np.array([[1.0], [4.0], [2.0], [8.0]])
    order = [2, 0, 3, 1]
    found = policy_value(linear(0.3), GOAL, "u0", halve, starts=starts, horizon=5)
    other = policy_value(linear(0.3), GOAL, "u0", halve, starts=starts[order], horizon=5)
    np.testing.assert_allclose(other.returns, found.returns[:, order], rtol=1e-6)
    assert (other.value, other.low) == pytest.approx((found.value, found.low))


def test_an_agent_with_data_is_better_known() -> None:
    model = linear(0.3, n_agents=2)
    none = model.posterior.evidence
    evidence = none._replace(gram=none.gram.copy(), count=np.array([0, 100]))
    evidence.gram[:, 1] = 1000.0
    model = dataclasses.replace(model, posterior=model.posterior._replace(evidence=evidence))
    new, known = (policy_value(model, GOAL, f"u{n}", one, starts=[[0.0]]) for n in range(2))
    assert known.model_sd < new.model_sd / 5
    assert known.high - known.low < (new.high - new.low) / 5


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


def test_an_objective_of_a_planner_is_a_goal() -> None:
    objective = Objective(reward=reached, terminated=lambda after: after[0] > 100)
    found = policy_value(linear(1e-6), objective, "u0", one, starts=[[0.0]], horizon=2)
    assert found.value == pytest.approx(3.0)
    assert found.task == "custom"


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
        ({"policy": halve}, "an integer from 0 to 1"),
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
