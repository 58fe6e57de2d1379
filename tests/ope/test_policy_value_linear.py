"""What a policy is worth where the answer is known: a linear system of one state."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.data.roles import Roles
from twinfold.data.transitions import DataRanges
from twinfold.models.factor_model import FactorModel, Layer
from twinfold.models.fitted_model import DataSample, FittedModel
from twinfold.models.linear_sums import LinearData
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Evidence, Posterior
from twinfold.models.prior import Prior
from twinfold.ope.policy_value import Goal, compare_policies, policy_value
from twinfold.planning.objective import Objective


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


def test_an_objective_of_a_planner_is_a_goal() -> None:
    objective = Objective(reward=reached, terminated=lambda after: after[0] > 100)
    found = policy_value(linear(1e-6), objective, "u0", one, starts=[[0.0]], horizon=2)
    assert found.value == pytest.approx(3.0)
    assert found.task == "custom"
