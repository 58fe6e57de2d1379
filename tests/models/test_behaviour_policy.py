"""The policy learned from the data: what it recovers, one agent's share of it, its price."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.data.transitions import Transitions
from twinfold.models.behaviour_policy import (
    AgentBehaviour,
    Behaviour,
    fit_behaviour,
    init_behaviour,
)
from twinfold.models.fitted_model import FittedModel
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

N_AGENTS, N_ROWS = 6, 4000
FACTORS = np.linspace(-3.0, 5.0, N_AGENTS)[:, None] * np.array([1.0, -0.2])
TURNING = 2  # the last state column is an angle


def table(policy: Callable[..., Any]) -> Transitions:
    """Random states, an angle of several turns among them, and the actions of a policy."""
    rng = np.random.default_rng(0)
    agent = rng.integers(0, N_AGENTS, N_ROWS)
    state = rng.normal(size=(N_ROWS, 3)) * [1.0, 20.0, 6.0] + [0.0, 50.0, 0.0]
    action = np.stack(policy(state, FACTORS[agent, 0], rng), axis=1)
    return Transitions(
        agent=agent.astype(np.int32),
        state=state,
        action=action,
        next_state=state + rng.normal(size=state.shape) * 0.1,
        segment=agent.astype(np.int32),
        step=np.arange(N_ROWS, dtype=np.int32),
    )


def deterministic(state: Any, factor: Any, rng: Any) -> tuple[Any, Any]:
    del rng
    away = (state[:, 1] - 50.0) / 20.0
    return np.tanh(state[:, 0] + 0.5 * factor), 30.0 + 4.0 * away * np.sign(factor)


def uniform(state: Any, factor: Any, rng: Any) -> tuple[Any, Any]:
    del factor
    return rng.uniform(-1, 1, len(state)), rng.uniform(10.0, 50.0, len(state))


def learned(policy: Callable[..., Any]) -> tuple[Transitions, Normalizer, Behaviour]:
    data = table(policy)
    normalizer = fit_normalizer(data, angles=(TURNING,))
    return data, normalizer, fit_behaviour(data, normalizer, FACTORS, 1500, 0)


@pytest.fixture(scope="module")
def planned() -> Any:
    return learned(deterministic)


@pytest.fixture(scope="module")
def random() -> Any:
    return learned(uniform)


@eqx.filter_jit
def follow(own: AgentBehaviour, states: jax.Array) -> jax.Array:
    return jax.vmap(own)(states)


def test_a_policy_of_state_and_agent_is_recovered(planned: Any) -> None:
    data, normalizer, behaviour = planned
    assert behaviour.explained > 0.97
    device = normalizer.on_device()
    for agent in range(N_AGENTS):
        rows = np.flatnonzero(data.agent == agent)[:500]  # of one length: one program
        own = behaviour.of_agent(device, agent)
        states = jnp.asarray(data.state[rows], jnp.float32)
        wrong = np.asarray(follow(own, states)) - data.action[rows]
        assert (np.sqrt((wrong**2).mean(0)) < 0.2 * data.action.std(0)).all()
    # A whole turn of the angle is no other state.
    np.testing.assert_allclose(
        own(states[0]), own(states[0].at[TURNING].add(2 * np.pi)), rtol=1e-3, atol=1e-4
    )


def test_it_follows_from_the_seed(planned: Any) -> None:
    data, normalizer, _ = planned
    fits = [fit_behaviour(data, normalizer, FACTORS, 20, seed) for seed in (3, 3, 4)]
    same, other = (
        [np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, pair), strict=True)]
        for pair in (fits[:2], fits[1:])
    )
    assert all(same)
    assert not all(other)


def test_random_actions_explain_nothing_and_cost_nothing(random: Any) -> None:
    data, normalizer, behaviour = random
    assert 0 <= behaviour.explained < 0.05
    own = behaviour.of_agent(normalizer.on_device(), 2)
    states = jnp.asarray(data.state[:200], jnp.float32)
    actions = jnp.asarray(data.action[:200], jnp.float32)
    assert jax.vmap(own.departure)(states, actions).mean() < 0.06


def test_leaving_a_policy_costs_and_keeping_to_it_does_not(planned: Any) -> None:
    data, normalizer, behaviour = planned
    own = behaviour.of_agent(normalizer.on_device(), 1)
    rows = data.agent == 1
    states = jnp.asarray(data.state[rows], jnp.float32)
    kept = jax.vmap(own.departure)(states, jnp.asarray(data.action[rows], jnp.float32))
    others = jnp.asarray(data.action[rows][::-1].copy(), jnp.float32)
    assert kept.mean() < 1.0 < jax.vmap(own.departure)(states, others).mean()


def test_actions_stay_within_the_datas_range(planned: Any, random: Any) -> None:
    for data, normalizer, behaviour in (planned, random):
        own = behaviour.of_agent(normalizer.on_device(), 0)
        rng = np.random.default_rng(1)
        states = jnp.asarray(rng.normal(size=(300, 3)) * 1e3, jnp.float32)
        noise = jnp.asarray(rng.normal(size=(300, 2)) * 5, jnp.float32)
        actions = np.asarray(jax.vmap(own)(states, noise))
        low, high = data.action.min(0), data.action.max(0)
        rounding = 1e-5 * (high - low)
        assert (actions >= low - rounding).all()
        assert (actions <= high + rounding).all()
        # Noise in standard deviations of the action, for one that is far from its range's ends.
        moved = own(jnp.array([0.0, 50.0, 0.0]), jnp.array([0.0, 0.1])) - own(
            jnp.array([0.0, 50.0, 0.0])
        )
        np.testing.assert_allclose(moved, [0.0, 0.1 * data.action[:, 1].std()], atol=1e-3)


def a_random_policy(model: FittedModel) -> Behaviour:
    """For the agents of a model; its noise and share are not those of a fresh one."""
    rng = np.random.default_rng(0)
    factors = jnp.asarray(rng.normal(size=(len(model.agent_ids), model.members.rank)), jnp.float32)
    fresh = init_behaviour(jax.random.key(1), model.normalizer.n_inputs, factors, 2)
    return dataclasses.replace(
        fresh,
        noise=jnp.array([0.5, 2.0]),
        explained=jnp.array(0.7),
        low=jnp.array([-9.0, -0.1]),
        high=jnp.array([9.0, 0.2]),
    )


@pytest.mark.parametrize("angles", [(), (1,)])
def test_the_policy_of_one_agent_equals_plain_numpy(random_model: Any, angles: Any) -> None:
    """Action and price, unfolded: all factors go through the first layer, in float64."""
    model = random_model(discrete=False, angles=angles)
    model = dataclasses.replace(model, behaviour=a_random_policy(model))
    whole, norm = model.behaviour, model.normalizer

    def dense(layer: Any, x: np.ndarray) -> np.ndarray:
        return x @ np.asarray(layer.weight, np.float64) + np.asarray(layer.bias, np.float64)

    rng = np.random.default_rng(2)
    for index, name in enumerate(model.agent_ids):
        own = model.agent_behaviour(name)
        state = norm.decode_state(rng.normal(size=3))
        action = rng.normal(size=2)
        x = np.concatenate(
            [norm.inputs(norm.encode_state(state)), np.asarray(whole.factors[index], np.float64)]
        )
        for layer in whole.layers:
            x = dense(layer, x)
            x = np.maximum(x, 0.0)
        standard = dense(whole.head, x)
        expected = np.clip(standard, whole.low, whole.high) * norm.action_scale + norm.action_mean
        np.testing.assert_allclose(own(jnp.asarray(state, jnp.float32)), expected, atol=1e-4)
        away = (norm.encode_action(action) - standard) / np.array([0.5, 2.0])
        np.testing.assert_allclose(
            own.departure(jnp.asarray(state, jnp.float32), jnp.asarray(action, jnp.float32)),
            0.7 * (away**2).mean(),
            rtol=1e-3,
        )


def test_a_run_keeps_its_policy(random_model: Any, tmp_path: Path) -> None:
    model = random_model(discrete=False, angles=(1,))
    model = dataclasses.replace(model, behaviour=a_random_policy(model))
    save_run(model, tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert again.behaviour is not None
    for a, b in zip(*map(jax.tree.leaves, (model.behaviour, again.behaviour)), strict=True):
        np.testing.assert_array_equal(a, b)
    state = jnp.array([0.3, -0.2, 1.0])
    before, after = (m.agent_behaviour("u3") for m in (model, again))
    assert isinstance(before, AgentBehaviour)
    assert isinstance(after, AgentBehaviour)
    np.testing.assert_array_equal(before(state), after(state))
    save_run(random_model(discrete=False), tmp_path / "without")
    assert load_run(tmp_path / "without").behaviour is None


def test_without_a_policy(random_model: Any, small_cart_pole: FittedModel) -> None:
    assert random_model(discrete=False).agent_behaviour("u0") is None
    assert small_cart_pole.behaviour is None  # discrete actions have none
    with pytest.raises(Exception, match="unknown agent"):
        random_model().agent_behaviour("nobody")


def test_exogenous_columns_are_no_input_of_the_policy(planned: Any) -> None:
    data, normalizer, policy = planned
    two = np.zeros(2)
    told = dataclasses.replace(normalizer, known_mean=two, known_scale=two + 1)
    assert told.n_inputs == normalizer.n_inputs + 2
    states = jnp.asarray(data.state[:50], jnp.float32)
    plain, own = (follow(policy.of_agent(n.on_device(), 1), states) for n in (normalizer, told))
    np.testing.assert_array_equal(own, plain)
