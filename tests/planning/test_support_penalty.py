"""The support of plans: the same figures as of predictions, and what they cost a plan."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold import FittedModel
from twinfold.adaptation.online import Tracker
from twinfold.errors import UsageError
from twinfold.planning import Objective, make_evaluate, plan_config, task_objective
from twinfold.planning.data_range import DataBox
from twinfold.planning.objective import member_traces
from twinfold.planning.support_penalty import SupportMap, thinned, unsupported
from twinfold.tasks import get_task
from twinfold.uncertainty.support import path_support

HORIZON, PLANS = 5, 24


@pytest.fixture(params=["discrete", "continuous"])
def model(request: Any) -> FittedModel:
    name = {"discrete": "small_cart_pole", "continuous": "small_continuous"}[request.param]
    return request.getfixturevalue(name)


def asked(model: FittedModel, wide: float = 1.5) -> tuple[Any, Any]:
    """States in and around the data, one of them not finite, and actions."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(model.sample.state), 60)
    scale = model.normalizer.state_scale
    states = model.sample.state[rows] + wide * scale * rng.uniform(0, 1, (60, 1)) * rng.normal(
        size=(60, len(scale))
    )
    states[7] = np.nan
    return states.astype(np.float32), some_actions(model, (60,))


def some_actions(model: FittedModel, shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(1)
    if model.action_levels is not None:
        return rng.integers(0, len(model.action_levels), shape).astype(np.int32)
    low, high = model.ranges.action_low, model.ranges.action_high
    return rng.uniform(low, high, (*shape, len(low))).astype(np.float32)


def without_limits(model: FittedModel) -> FittedModel:
    """What a member says is then the step it takes."""
    ends = {name: np.full(len(model.roles.state), np.inf) for name in ("high", "target_high")}
    ends |= {name.replace("high", "low"): -value for name, value in ends.items()}
    return dataclasses.replace(model, normalizer=dataclasses.replace(model.normalizer, **ends))


def test_one_step_is_as_supported_as_in_a_prediction(model: FittedModel) -> None:
    states, actions = asked(model)
    fewer = thinned(model)
    assert min(256, len(model.sample.state)) <= len(fewer.sample) <= 512
    expected = path_support(
        fewer, np.full(60, 2), states[:, None].astype(np.float64), actions[:, None]
    ).score[:, 0]
    support = SupportMap.of_model(model)
    free = without_limits(model)
    found, limited = (
        np.asarray(support.of_steps(m.dynamics(m.agent_ids[2]), *map(jnp.asarray, asked(model))))
        for m in (free, model)
    )
    assert ((expected > 0.05) & (expected < 0.95)).sum() > 3  # not only extremes
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert found[7] == 0
    # Members that all step to the same wall agree.
    assert (limited >= found - 2e-3).all()


def test_a_plan_pays_for_the_steps_behind_which_nothing_stands(model: FittedModel) -> None:
    """Step by step along the median path, the least support so far, by a loop."""
    agent = model.agent_ids[1]
    stack, box = model.dynamics(agent), DataBox.of_model(model, 0.1)
    found = SupportMap.of_model(model)
    # Of members that agree far better than the noise: these agree on nothing.
    support = dataclasses.replace(found, disagreement=0.1 * found.disagreement)
    start = jnp.asarray(model.sample.state[3], jnp.float32)
    actions = jnp.asarray(some_actions(model, (PLANS, HORIZON)))
    # Ends for some members and plans, and early for some.
    low = float(np.quantile(model.sample.state[:, 0], 0.3))
    fields: dict[str, Any] = {"discount": 0.9, "box": box}
    plain = Objective(lambda s, a, n: jnp.sum(a) * 1.0, lambda s: s[0] < low, **fields)
    priced = dataclasses.replace(plain, support=support, support_cost=0.7)
    trace = member_traces(stack, plain, start, actions)[1]
    states = np.median(np.asarray(trace.states * box.scale), axis=0)  # (H, B, D)
    running = np.asarray(trace.running).mean(axis=0)
    price = np.zeros(PLANS)
    for b in range(PLANS):
        least, before = 1.0, np.asarray(start)
        for t in range(HORIZON):
            step = support.of_steps(stack, jnp.asarray(before)[None], actions[b, t][None])
            least = min(least, float(step[0]))
            price[b] += 0.9**t * running[t, b] * (1 - least)
            before = states[t, b]
    assert price.max() > price.min() + 0.01
    scores = [np.asarray(make_evaluate(stack, o)(start, actions)) for o in (plain, priced)]
    np.testing.assert_allclose(scores[1], scores[0] - 0.7 * price, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        unsupported(
            support, stack, start, trace.states * box.scale, trace.running, None, actions, 0.9
        ),
        price,
        rtol=1e-4,
        atol=1e-4,
    )


def test_leaving_the_data_is_no_way_out_of_the_price(integrator: Any) -> None:
    """With rollouts cut off at the box, the plan that leaves it first does not pay least."""

    class Nowhere(SupportMap):
        def of_steps(self, stack: Any, states: Any, actions: Any) -> Any:
            return jnp.zeros(len(states))

    box = DataBox(*(jnp.full(2, x) for x in (-0.25, 0.25, 1.0)), angle=jnp.zeros(2, bool))
    plain = Objective(lambda s, a, n: 0.0, lambda s: s[0] > 1e9, out_of_range="truncate", box=box)
    plans = jnp.array([[2] * 6, [1] * 6, [2, 2, 1, 1, 1, 1]])
    stack, start = integrator(0.1, 0.11), jnp.zeros(2)
    trace = member_traces(stack, plain, start, plans)[1]
    assert trace.left is not None
    assert bool(trace.left[:, :, 0].any())
    unused: Any = None
    nowhere = Nowhere(unused, unused, unused, unused, 0)
    price = unsupported(nowhere, stack, start, trace.states, trace.running, trace.left, plans, 1.0)
    np.testing.assert_allclose(price, 6.0)


def test_little_data_of_the_agent_counts_with_draws(small_cart_pole: FittedModel) -> None:
    model = small_cart_pole
    known = model.posterior
    assert known is not None
    states, actions = (jnp.asarray(x) for x in asked(model, wide=0.0))
    support = SupportMap.of_model(model)
    agent, bare = model.agent_ids[0], Tracker(model, "new").updated()
    own, none = (
        np.nanmean(np.asarray(support.of_steps(m.dynamics(a, 4), states, actions)))
        for m, a in ((model, agent), (bare, "new"))
    )
    assert none < own - 0.05


def test_the_support_follows_from_the_setting(small_cart_pole: FittedModel) -> None:
    task = get_task("cart_pole")
    agent = small_cart_pole.agent_ids[0]
    stack = small_cart_pole.dynamics(agent)
    config = plan_config("cart_pole", "discrete", support_cost=0.5)
    assert config.needs_data
    assert not config.without_data().needs_data
    found = task_objective(config, task, stack, small_cart_pole, agent)
    assert found.support_cost == 0.5
    assert found.support is not None
    plain = task_objective(plan_config("cart_pole", "discrete"), task, stack, small_cart_pole)
    assert plain.support is None
    with pytest.raises(UsageError, match="support_cost are measured against the training data"):
        task_objective(config, task, stack)
    with pytest.raises(ValueError, match="support_cost needs the support"):
        Objective(task.reward, task.terminated, support_cost=1.0)
    with pytest.raises(ValueError, match="need the box"):
        Objective(task.reward, task.terminated, support_cost=1.0, support=found.support)


def test_a_price_keeps_plans_where_the_data_is(small_continuous: FittedModel) -> None:
    """Reward for going far: without a price the best plan leaves the data, with one it stays."""
    model = small_continuous
    agent = model.agent_ids[0]
    stack, box = model.dynamics(agent), DataBox.of_model(model, 0.1)
    support = SupportMap.of_model(model)
    start = jnp.asarray(np.median(model.sample, axis=0), jnp.float32)
    size = len(model.roles.action)
    low, high = model.ranges.action_low, model.ranges.action_high
    share = np.random.default_rng(0).uniform(-3, 4, (200, 1, size))  # far beyond the data's, too
    actions = jnp.asarray(np.repeat(low + share * (high - low), 8, axis=1), jnp.float32)
    plain = Objective(lambda s, a, n: jnp.sum(jnp.abs(a)), lambda s: s[0] > 1e9, box=box)
    priced = dataclasses.replace(plain, support=support, support_cost=1e3)
    best = [
        actions[int(np.argmax(np.asarray(make_evaluate(stack, o)(start, actions))))]
        for o in (plain, priced)
    ]
    step = [float(support.of_steps(stack, start[None], plan[:1])[0]) for plan in best]
    assert step[0] == 0.0
    assert step[1] > 0.9


def test_a_search_does_not_compile_anew_for_another_run_of_the_same_shape(
    small_cart_pole: FittedModel,
) -> None:
    support = SupportMap.of_model(small_cart_pole)
    calls = []

    @eqx.filter_jit
    def score(support: SupportMap, states: Any, actions: Any) -> Any:
        calls.append(1)
        return support.of_steps(small_cart_pole.dynamics(0), states, actions)

    states, actions = (jnp.asarray(x) for x in asked(small_cart_pole))
    score(support, states, actions)
    other = eqx.tree_at(lambda s: s.distance, support, jnp.float32(0.1))
    score(other, states, actions)
    assert len(calls) == 1
    assert jax.tree.structure(support) == jax.tree.structure(other)
