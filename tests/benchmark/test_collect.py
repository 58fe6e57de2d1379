"""Collected data: laws of the table, and agreement with stepping the task alone."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.benchmark.collect import (
    Trajectories,
    collect,
    provenance,
    simulate_policy,
    task_roles,
    to_frame,
)
from twinfold.errors import UsageError
from twinfold.tasks import Task, agent_covariates, get_task
from twinfold.tasks.task import FloatArray


# HalfCheetah's episodes are long and its dynamics chaotic: see test_collect_half_cheetah.py.
@pytest.fixture(scope="module", params=["mountain_car", "cart_pole"])
def task(request: pytest.FixtureRequest) -> Task:
    return get_task(request.param)


# Each shape compiles anew, so the tests share a few: here 300 agents once, 5 agents 60 times.
@pytest.fixture(scope="module")
def population(task: Task) -> Trajectories:
    return simulate_policy(task, agent_covariates(task, 300, 0), "random")


@pytest.fixture(scope="module")
def tested(task: Task) -> Trajectories:
    return simulate_policy(task, task.test_agents, "test", 60)


def test_a_table_has_one_row_more_than_actions(task: Task, population: Trajectories):
    table = to_frame(task, population)
    agents = table["agent_id"].to_numpy()
    last = np.append(agents[1:] != agents[:-1], True)
    lengths = population.mask[:, 0].sum(axis=-1)
    np.testing.assert_array_equal(np.bincount(agents), lengths + 1)
    np.testing.assert_array_equal(table["t"], np.concatenate([np.arange(n + 1) for n in lengths]))
    np.testing.assert_array_equal(table["action"].isna(), last)
    np.testing.assert_array_equal(table["reward"].isna(), last)
    ended, cut = table["terminated"].to_numpy(), table["truncated"].to_numpy()
    np.testing.assert_array_equal(ended | cut, last)
    assert not np.any(ended & cut)
    assert np.all(lengths[cut[last]] == task.max_steps)


def test_rows_follow_the_true_dynamics_of_their_agent(task: Task, population: Trajectories):
    covariates = agent_covariates(task, 300, 0)
    table = to_frame(task, population)
    states = table[list(task.state_names)].to_numpy(np.float32)
    ended = jax.vmap(task.terminated)(states)
    np.testing.assert_array_equal(ended, table["terminated"])
    follows = table["action"].notna().to_numpy()
    own = task.covariates(covariates[table["agent_id"].to_numpy()[follows]])
    actions = table["action"].to_numpy(float, na_value=np.nan)[follows].astype(int)
    before, after = states[follows], states[1:][follows[:-1]]
    reached = jax.jit(jax.vmap(task.step))(own, before, actions)
    np.testing.assert_allclose(after, reached, rtol=1e-5, atol=1e-6)
    rewards = jax.vmap(task.reward)(before, actions, after)
    np.testing.assert_array_equal(table["reward"].to_numpy()[follows], rewards)


def test_random_actions_are_uniform(task: Task, population: Trajectories):
    assert task.n_actions is not None
    shares = np.bincount(population.actions[population.mask], minlength=task.n_actions)
    np.testing.assert_allclose(shares / shares.sum(), 1 / task.n_actions, atol=0.02)


def test_episodes_are_scarce_in_cart_pole():
    """About 22 steps per agent; half of those of the agent with the shortest pole have 9 or less.

    Gymnasium's environment gives a mean of 22 for its own parameters, and 11 and a median of 9 for
    the short pole.
    """
    task = get_task("cart_pole")
    lengths = simulate_policy(task, agent_covariates(task, 300, 0), "random").mask.sum(axis=-1)
    assert 20 <= lengths.mean() <= 26
    short = np.repeat(task.test_agents[4:], 300, axis=0)
    lengths = simulate_policy(task, short, "random").mask.sum(axis=-1)
    assert 10 <= lengths.mean() <= 12.5
    assert 8 <= np.median(lengths) <= 10


def test_a_data_set_keeps_ids_roles_and_no_covariates(task: Task):
    data = collect(task, n_agents=12, seed=2)
    assert data.agent_ids == tuple(range(12))
    assert data.roles == task_roles(task)
    assert not set(data.to_frame().columns) & set(task.covariate_names)
    assert not data.warnings
    assert task.n_actions is not None
    np.testing.assert_array_equal(data.action_levels, np.arange(task.n_actions))
    states = simulate_policy(task, agent_covariates(task, 12, 2), "random", seed=2).states
    np.testing.assert_array_equal(data.state[data.agent == 3][0], states[3, 0, 0])


def test_collecting_repeats_itself_and_depends_on_the_seed(task: Task):
    first = collect(task, n_agents=12, seed=0).fingerprint()
    assert collect(task, n_agents=12, seed=0).fingerprint() == first
    assert collect(task, n_agents=12, seed=1).fingerprint() != first
    assert collect(task, n_agents=12, seed=2**32 - 1).fingerprint() != first


def test_starts_and_actions_depend_on_the_seed(task: Task):
    covariates = agent_covariates(task, 12, 0)
    first, other = (simulate_policy(task, covariates, "random", seed=seed) for seed in (0, 1))
    assert not np.any(np.all(first.states[:, 0, 0] == other.states[:, 0, 0], axis=-1))
    assert np.mean(first.actions == other.actions) < 0.6


def test_a_larger_population_begins_with_the_smaller_one(task: Task, population: Trajectories):
    few = simulate_policy(task, agent_covariates(task, 12, 0), "random")
    np.testing.assert_array_equal(few.actions, population.actions[:12])
    np.testing.assert_array_equal(few.mask, population.mask[:12])
    np.testing.assert_allclose(few.states, population.states[:12], atol=1e-3)


def test_agents_and_repeats_draw_for_themselves(tested: Trajectories):
    starts = tested.states[:, :, 0].reshape(300, -1)
    assert len(np.unique(starts, axis=0)) == 300


def test_what_an_episode_reports(task: Task, tested: Trajectories):
    states, actions, rewards, mask, terminated = tested
    assert states.shape == (5, 60, task.max_steps + 1, len(task.state_names))
    assert mask.shape == rewards.shape == actions.shape == (5, 60, task.max_steps)
    lengths = mask.sum(axis=-1)
    # Steps are taken from the first on, without a gap.
    np.testing.assert_array_equal(mask, np.arange(task.max_steps) < lengths[..., None])
    assert np.all(lengths[~terminated] == task.max_steps)
    assert np.all(rewards[~mask] == 0)
    ended = np.asarray(task.terminated(jnp.moveaxis(jnp.asarray(states), -1, 0)))
    np.testing.assert_array_equal(ended[:, :, -1], terminated)
    np.testing.assert_array_equal(ended[:, :, :-1], ~mask)


def test_each_repeat_has_the_physics_of_its_agent(task: Task, tested: Trajectories):
    reached = jax.vmap(jax.vmap(task.step, (None, 0, 0)))(
        task.covariates(task.test_agents), tested.states[:, :, 0], tested.actions[:, :, 0]
    )
    np.testing.assert_allclose(tested.states[:, :, 1], reached, rtol=1e-5, atol=1e-6)


def test_a_policy_may_be_a_function(task: Task):
    data = collect(task, lambda state, key: jnp.asarray(1), n_agents=5)
    np.testing.assert_array_equal(data.action_levels, [1])


def test_continuous_actions_make_one_column_each():
    """Bounds that differ from column to column, which no built-in task has."""

    class Drift:
        name, state_names, action_names = "drift", ("x",), ("push", "pull")
        action_type, n_actions, max_steps = "continuous", None, 5
        action_low: FloatArray = np.array([-1.0, 2.0])
        action_high: FloatArray = np.array([1.0, 3.0])
        reset = staticmethod(lambda own, key: jnp.zeros(1))
        step = staticmethod(lambda own, state, action: state + action.sum())
        reward = staticmethod(lambda state, action, reached: action[0])
        terminated = staticmethod(lambda state: state[0] > 1e9)
        covariates = staticmethod(lambda values: (jnp.asarray(values[:, 0]),))

    task: Task = Drift()  # pyright: ignore[reportAssignmentType]
    result = simulate_policy(task, np.zeros((50, 1)), "random")
    table = to_frame(task, result)
    assert len(table) == 50 * 6
    assert np.sum(table["truncated"]) == 50
    actions = table[["push", "pull"]].to_numpy()
    assert np.isnan(actions[table["t"] == 5]).all()
    kept = actions[table["t"] < 5]
    assert np.all((kept >= Drift.action_low) & (kept <= Drift.action_high))
    np.testing.assert_allclose(kept.mean(axis=0), [0.0, 2.5], atol=0.15)
    np.testing.assert_array_equal(table["reward"], table["push"])


def test_the_provenance_holds_the_covariates_as_json(task: Task):
    source = provenance(task, "random", 7, 3)
    assert json.loads(json.dumps(source)) == source
    table = np.stack([source["covariates"][name] for name in task.covariate_names], axis=1)
    np.testing.assert_array_equal(table, agent_covariates(task, 7, 3))
    assert (source["task"], source["policy"], source["seed"]) == (task.name, "random", 3)


def test_arguments_that_cannot_be():
    task = get_task("cart_pole")
    with pytest.raises(UsageError, match=r"'dqn'.*random, test, pure, pure-eps-20, pure-eps-40"):
        collect(task, "dqn", n_agents=2)
    with pytest.raises(UsageError, match="agents must be at least 1, not 0"):
        collect(task, n_agents=0)
    with pytest.raises(UsageError, match="seed"):
        collect(task, n_agents=2, seed=2**32)
    with pytest.raises(UsageError, match="steps"):
        simulate_policy(task, task.test_agents, "random", n_steps=0)
    with pytest.raises(UsageError, match="one row per agent"):
        simulate_policy(task, task.test_agents[0], "random")
    twice: Trajectories = simulate_policy(task, task.test_agents, "random", 2, n_steps=5)
    with pytest.raises(UsageError, match="one trajectory per agent"):
        to_frame(task, twice)
