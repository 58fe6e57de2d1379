"""Keeping to the data's policy: its price in the score, and plans that begin at it."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold import FittedModel
from twinfold.models.behaviour_policy import AgentBehaviour, init_behaviour
from twinfold.models.normalizer import Normalizer
from twinfold.planning import CEM, ICEM, MPPI, Objective, make_evaluate, plan_config, task_objective
from twinfold.planning.objective import member_returns, proposals
from twinfold.tasks import get_task

START = jnp.array([0.2, -0.4])
SCALE, MEAN = np.array([0.5, 2.0]), np.array([0.1, 1.0])
LOW, HIGH = np.array([-1.5, -0.4]), np.array([1.2, 0.6])  # standardised


def agents_policy(seed: int = 0) -> AgentBehaviour:
    """A random policy of two state columns and two action columns."""
    zeros, ones = np.zeros(2), np.ones(2)
    none = np.zeros(0)
    normalizer = Normalizer(
        state_mean=zeros, state_scale=ones, keep=ones, target_mean=zeros, target_scale=ones,
        wave_mean=none, wave_scale=none, action_mean=MEAN, action_scale=SCALE,
        low=-np.inf * ones, high=np.inf * ones,
    )  # fmt: skip
    whole = init_behaviour(jax.random.key(seed), 2, jnp.ones((3, 1)), 2)
    whole = dataclasses.replace(
        whole,
        low=jnp.asarray(LOW, jnp.float32),
        high=jnp.asarray(HIGH, jnp.float32),
        noise=jnp.array([0.5, 0.8]),
        explained=jnp.array(0.6),
    )
    return whole.of_agent(normalizer.on_device(), 1)


@pytest.fixture
def keeping(objective: Objective) -> Objective:
    return Objective(
        objective.reward,
        objective.terminated,
        discount=0.9,
        behaviour_cost=0.3,
        behaviour=agents_policy(),
    )


def test_departures_cost_along_the_members_own_path(integrator, objective, keeping) -> None:
    stack = integrator(0.1, 0.35, -0.2)
    actions = jax.random.uniform(jax.random.key(1), (6, 6, 2), minval=-0.5, maxval=2.0)
    plain = Objective(objective.reward, objective.terminated, discount=0.9)
    got = np.asarray(member_returns(stack, plain, START, actions)) - np.asarray(
        member_returns(stack, keeping, START, actions)
    )
    price = eqx.filter_jit(agents_policy().departure)
    lengths = set()
    for m, gain in enumerate((0.1, 0.35, -0.2)):
        for b, plan in enumerate(np.asarray(actions)):
            state, cost, steps = np.asarray(START), 0.0, 0
            for t, action in enumerate(plan):
                cost += 0.9**t * 0.3 * float(price(jnp.asarray(state), jnp.asarray(action)))
                state, steps = state + np.float32(gain * (action.sum() - 1.0)), t + 1
                if abs(state[0]) > 1.0:  # as of the objective
                    break
            lengths.add(steps)
            np.testing.assert_allclose(got[m, b], cost, rtol=2e-3, atol=2e-4)
    assert len(lengths) > 1  # nothing is paid after the end of an episode


def test_the_first_proposal_follows_the_policy(integrator, keeping) -> None:
    stack, policy = integrator(0.3, -0.7), eqx.filter_jit(agents_policy())
    got, other = (
        np.asarray(proposals(stack, keeping, START, 7, jax.random.key(seed))) for seed in (0, 1)
    )
    state = START
    for action in got[0]:
        np.testing.assert_allclose(action, policy(state), rtol=1e-5, atol=1e-6)
        state = state + 0.3 * (action.sum() - 1.0)
    assert got.shape == (keeping.n_proposals, 7, 2)
    away = np.abs(got - got[0]).mean(axis=(1, 2))
    assert (away[1:] > 0).all()
    assert away[-3:].mean() > away[1:4].mean()  # more and more noise
    rounding = 1e-6
    assert (got >= LOW * SCALE + MEAN - rounding).all()
    assert (got <= HIGH * SCALE + MEAN + rounding).all()
    np.testing.assert_array_equal(other[0], got[0])
    assert not np.array_equal(other[1], got[1])


@pytest.mark.parametrize("kind", [CEM, ICEM, MPPI])
def test_proposals_that_are_broken_spoil_no_plan(kind: Any) -> None:
    low, high = np.array([-1.0, 0.0], np.float32), np.array([1.0, 2.0], np.float32)
    broken = jnp.stack(
        [jnp.full((4, 2), jnp.nan), jnp.full((4, 2), 9.0), jnp.full((4, 2), -jnp.inf)]
    )
    planner: Any = kind(low, high, candidates=20, horizon=4, rounds=2)

    @eqx.filter_jit
    def plan(memory: Any, key: jax.Array) -> Any:
        def evaluate(observation: Any, actions: Any) -> Any:
            return actions.sum(axis=(1, 2))

        return planner.plan(memory, evaluate, jnp.zeros(1), key, broken)

    memory = planner.init(jax.random.key(0))
    for key in jax.random.split(jax.random.key(1), 2):
        action, memory, info = plan(memory, key)
        for leaf in (*jax.tree.leaves(memory), info.actions, action):
            assert np.isfinite(leaf).all()
            assert (np.asarray(leaf) >= low).all()
            assert (np.asarray(leaf) <= high).all()
    assert info.valid == 1.0


def test_plans_keep_to_the_policy_as_the_price_asks(integrator, objective) -> None:
    """A reward that pulls away from the policy: the dearer leaving it, the closer the plan."""
    stack, policy = integrator(0.0), agents_policy()
    low, high = MEAN - 3 * SCALE, MEAN + 3 * SCALE
    planner = CEM(low, high, candidates=60, horizon=4, rounds=8, execute="best")

    @eqx.filter_jit
    def distance(objective: Objective, key: jax.Array) -> Any:
        proposed = proposals(stack, objective, START, 4, key)
        evaluate = make_evaluate(stack, objective)
        info = planner.plan(planner.init(key), evaluate, START, key, proposed)[2]
        return jnp.abs((info.actions - policy(START)) / SCALE).mean()

    far = [
        float(
            distance(
                Objective(
                    lambda s, a, n: a.sum(), lambda s: s[0] > 1e9, behaviour=policy,
                    behaviour_cost=cost,
                ),
                jax.random.key(0),
            )
        )
        for cost in (1.0, 100.0)
    ]  # fmt: skip
    assert far[0] > 2 * far[1]
    assert far[1] < 0.15


def test_a_price_needs_a_policy(objective: Objective) -> None:
    with pytest.raises(ValueError, match="needs the policy of the training data"):
        Objective(objective.reward, objective.terminated, behaviour_cost=0.1)


def test_tasks_with_discrete_actions_have_none(
    integrator, objective, small_cart_pole: FittedModel
) -> None:
    task = get_task("cart_pole")
    config = plan_config("cart_pole", "discrete", behaviour=0.5)
    stack = small_cart_pole.dynamics(3)
    found = task_objective(config, task, stack, small_cart_pole, 3)
    assert (found.behaviour, found.behaviour_cost) == (None, 0.0)
    assert proposals(stack, found, jnp.zeros(4), 5, jax.random.key(0)) is None
    with pytest.raises(ValueError, match="needs the agent"):
        task_objective(config, task, stack, small_cart_pole)
