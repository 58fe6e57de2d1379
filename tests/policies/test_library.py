"""The policies that come with the package: complete records, and laws of the mixtures."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from twinfold.benchmark.collect import simulate_policy
from twinfold.errors import UsageError
from twinfold.policies import POLICY_NAMES, get_policy, shipped_records
from twinfold.policies.measure import episode_returns
from twinfold.policies.nets import greedy
from twinfold.policies.recipes import get_recipe
from twinfold.policies.store import (
    SHIPPED,
    behaviour_names,
    load_layers,
    load_record,
    policy_files,
    save_policy,
)
from twinfold.policies.train import policy_names
from twinfold.tasks import TASK_NAMES, Task, get_task


@pytest.fixture(params=TASK_NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return get_task(request.param)


def states_of(task: Task, count: int = 200) -> jax.Array:
    rng = np.random.default_rng(0)
    shape = (count, len(task.state_names))
    return jnp.asarray(rng.uniform(task.state_low, task.state_high, shape), jnp.float32)


def actions_of(task: Task, name: str, agent: Any, states: jax.Array, seed: int = 0) -> jax.Array:
    keys = jax.random.split(jax.random.key(seed), len(states))
    own = task.covariates(agent)
    return jax.vmap(lambda s, k: get_policy(task, name)(own, s, k))(states, keys)


def test_every_policy_of_the_recipe_is_there_and_small(task: Task):
    recipe = get_recipe(task.name)
    assert [*behaviour_names(SHIPPED, task.name), "test"] == policy_names(recipe)
    for name in policy_names(recipe):
        network, text = policy_files(SHIPPED, task.name, name)
        assert network.stat().st_size + text.stat().st_size < 1e6
        layers = load_layers(SHIPPED, task.name, name)
        sizes = [weight.shape[0] for weight, _ in layers] + [layers[-1][0].shape[1]]
        outputs = task.n_actions or len(task.action_names)
        assert sizes == [len(task.state_names), *recipe.hidden, outputs]


def test_records_say_how_a_policy_was_made_and_what_it_earns(task: Task):
    recipe = get_recipe(task.name)
    agents = [*recipe.agents, recipe.default_agent]
    for record, agent in zip(shipped_records([task.name]), agents, strict=True):
        assert record["algorithm"] == recipe.algorithm
        assert record["library"] == "sbx-rl"
        assert record["library_version"]
        assert record["recipe"]["settings"] == recipe.settings
        assert tuple(record["agent"][name] for name in task.covariate_names) == agent
        assert 0 < record["steps"] <= recipe.max_steps
        assert record["episodes"] >= 20
        assert len(record["return_test_agents"]) == len(task.test_agents)


@pytest.mark.parametrize("name", ["mountain_car", "cart_pole"])
def test_measured_returns_repeat_themselves_with_other_starts(name: str):
    task = get_task(name)
    for record in shipped_records([name]):
        layers = load_layers(SHIPPED, name, record["name"])
        agent = [record["agent"][c] for c in task.covariate_names]
        found = episode_returns(task, layers, agent, 50, seed=1)
        summary = record["return_own_agent"]
        error = np.hypot(found.std(), summary["std"]) / np.sqrt(50)
        assert abs(found.mean() - summary["mean"]) <= 4 * error + 1


def test_pure_is_the_network_of_the_nearest_training_agent(task: Task):
    states = states_of(task)
    width = task.covariate_high - task.covariate_low
    for name, agent in enumerate(get_recipe(task.name).agents):
        layers = load_layers(SHIPPED, task.name, str(name))
        # A little off, to the side where no other training agent is nearer.
        found = actions_of(task, "pure", np.asarray(agent) + 0.01 * width, states)
        expected = jax.vmap(lambda s, net=layers: greedy(task, net, s))(states)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_test_policy_is_one_for_all_agents(task: Task):
    states = states_of(task)
    first, other = (actions_of(task, "test", task.test_agents[i], states) for i in (0, 4))
    np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize(("name", "epsilon"), [("pure-eps-20", 0.2), ("pure-eps-40", 0.4)])
def test_a_mixture_takes_that_share_of_uniform_actions(task: Task, name: str, epsilon: float):
    states = states_of(task, 20_000)
    agent = task.test_agents[0]
    pure, mixed = (np.asarray(actions_of(task, policy, agent, states)) for policy in ("pure", name))
    differs = (pure != mixed).reshape(len(states), -1).all(axis=1)
    # A uniform level is the policy's own once in K times.
    expected = epsilon * (1 - 1 / task.n_actions) if task.n_actions else epsilon
    assert abs(differs.mean() - expected) < 0.015
    if task.n_actions is None:
        drawn = mixed[differs]
        np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.06)
        np.testing.assert_allclose(drawn.std(axis=0), 1 / np.sqrt(3), atol=0.04)


def test_a_policy_is_one_object_and_compiles_once():
    from twinfold.benchmark import collect

    task = get_task("mountain_car")
    compiled: Any = collect._simulate
    for name in POLICY_NAMES:
        assert get_policy(task, name) is get_policy(task, name)
    simulate_policy(task, task.test_agents, "pure-eps-20", n_steps=5)
    before = compiled._cache_size()
    simulate_policy(task, task.test_agents[::-1], "pure-eps-20", n_steps=5, seed=1)
    assert compiled._cache_size() == before


def test_an_unknown_policy_is_named_with_the_valid_ones(task: Task):
    with pytest.raises(UsageError, match=r"'dqn'.*random, test, pure, pure-eps-20, pure-eps-40"):
        get_policy(task, "dqn")


def test_a_task_without_policies_says_how_to_make_them():
    class Other:
        name, covariate_names = "pendulum", ("length",)

    task: Any = Other()
    with pytest.raises(UsageError, match="twinfold policies train --task pendulum"):
        get_policy(task, "pure")


def test_a_policy_on_disk_is_what_was_saved(tmp_path: Any):
    rng = np.random.default_rng(0)
    layers = tuple(
        (rng.normal(size=(a, b)).astype(np.float32), rng.normal(size=b).astype(np.float32))
        for a, b in ((3, 4), (4, 2))
    )
    record = {"task": "pendulum", "name": "0", "agent": {"length": 0.5}, "steps": 3}
    save_policy(tmp_path / "new", record, layers)
    assert load_record(tmp_path / "new", "pendulum", "0") == record
    loaded = load_layers(tmp_path / "new", "pendulum", "0")
    for found, saved in zip(loaded, layers, strict=True):
        np.testing.assert_array_equal(found[0], saved[0])
        np.testing.assert_array_equal(found[1], saved[1])


def test_a_task_that_no_policy_was_trained_for_is_told(tmp_path: Any):
    with pytest.raises(UsageError, match="task 'tank' has no trained policies in"):
        load_layers(tmp_path, "tank", "test")


def test_broken_files_are_named(tmp_path: Any):
    (tmp_path / "pendulum-0.safetensors").write_bytes(b"no network")
    (tmp_path / "pendulum-0.json").write_text("{")
    with pytest.raises(UsageError, match=r"pendulum-0\.safetensors"):
        load_layers(tmp_path, "pendulum", "0")
    with pytest.raises(UsageError, match=r"pendulum-0\.json"):
        load_record(tmp_path, "pendulum", "0")


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ([], "is no recipe of policy '0' of task 'pendulum'"),
        ({"task": "cart_pole", "name": "0"}, "is no recipe of policy '0'"),
        ({"task": "pendulum", "name": "0"}, "agent cannot be None"),
        ({"task": "pendulum", "name": "0", "agent": 5}, "agent cannot be 5"),
        ({"task": "pendulum", "name": "0", "agent": {"length": True}}, "physics are numbers"),
    ],
)
def test_a_recipe_that_cannot_be_is_named(tmp_path: Any, recipe: Any, told: str):
    (tmp_path / "pendulum-0.json").write_text(json.dumps(recipe))
    with pytest.raises(UsageError, match=rf"pendulum-0\.json.*{told}"):
        load_record(tmp_path, "pendulum", "0")


@pytest.mark.parametrize(
    "shapes", [[], [(3, 4), (5,)], [(3,), (4,)], [(3, 4), (4,), (5, 2), (2,)], [(3, 0), (0,)]]
)
def test_a_network_whose_layers_do_not_fit_is_named(tmp_path: Any, shapes: Any):
    names = [f"{kind}_{i}" for i in range(len(shapes) // 2) for kind in ("weight", "bias")]
    arrays = {name: np.ones(s, np.float32) for name, s in zip(names, shapes, strict=True)}
    save_file(arrays, tmp_path / "pendulum-0.safetensors")
    with pytest.raises(UsageError, match=r"pendulum-0\.safetensors is no network of a policy"):
        load_layers(tmp_path, "pendulum", "0")
