"""Functions of a goal or a task that cannot be used are told in one line, whoever calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold import collect
from twinfold.errors import UsageError
from twinfold.models import TaskDynamics
from twinfold.planning import Objective, make_evaluate, stack_of_one
from twinfold.policy_learning import PolicyLearningSettings, World, train_policy
from twinfold.tasks import get_task
from twinfold.tasks.goal_functions import check_functions, one_number, true_or_false

CART = get_task("cart_pole")
OWN = CART.covariates(CART.test_agents[1])


def scored(reward: Callable[..., Any], terminated: Callable[..., Any]) -> np.ndarray:
    """The scores of two plans of a planner: always to the left, always to the right."""
    evaluate = make_evaluate(stack_of_one(TaskDynamics(CART, OWN)), Objective(reward, terminated))
    return np.asarray(evaluate(jnp.zeros(4), jnp.array([[0] * 6, [1] * 6])))


def trained(reward: Callable[..., Any], terminated: Callable[..., Any]) -> tuple[Any, ...]:
    task = dataclasses.replace(CART, reward=reward, terminated=terminated, max_steps=4)
    agents = TaskDynamics(task, task.covariates(task.test_agents[:1]))
    how = PolicyLearningSettings(
        steps=64, hidden=(2,), environments=4, unroll=8, minibatches=1, epochs=1
    )
    world = World.of_task(task, agents, np.zeros((1, 4)))
    return train_policy(world, how, jax.random.key(0)).info.history


def earns_one(state: Any, action: Any, next_state: Any) -> float:
    return 1.0


REWARDS: list[tuple[Callable[..., Any], str]] = [
    (lambda s, a, n: n[:1], r"float32 of shape \(1,\)"),
    (lambda s, a, n: n, r"float32 of shape \(4,\)"),
    (lambda s, a, n: None, "nothing;"),
    (lambda s, a, n: "much", "a str;"),
]
ENDS: list[tuple[Callable[..., Any], str]] = [
    (lambda n: n[0], r"float32 of shape \(\)"),
    (lambda n: n[:1] > 1, r"bool of shape \(1,\)"),
    (lambda n: None, "nothing;"),
]


@pytest.mark.parametrize("uses", [scored, trained])
def test_what_is_no_reward_or_no_end_is_told(uses: Callable[..., Any]) -> None:
    for reward, told in REWARDS:
        with pytest.raises(UsageError, match=f"reward function returns {told}"):
            uses(reward, CART.terminated)
    for terminated, told in ENDS:
        with pytest.raises(UsageError, match=f"function of the end returns {told}"):
            uses(CART.reward, terminated)


@pytest.mark.parametrize(
    "never",
    [
        lambda n: False,
        lambda n: np.bool_(False),
        lambda n: 0,
        lambda n: jnp.where(n[0] > 99.0, 1, 0),
        lambda n: n[0] > 99.0,
    ],
)
def test_whatever_says_no_says_that_no_episode_ends(never: Callable[..., Any]) -> None:
    """Python's own `~False` is -1, and `~` of an integer is no negation."""
    np.testing.assert_array_equal(scored(earns_one, never), [6.0, 6.0])


@pytest.mark.parametrize("always", [lambda n: True, lambda n: 1, lambda n: jnp.int32(1)])
def test_whatever_says_yes_ends_an_episode_after_its_first_step(
    always: Callable[..., Any],
) -> None:
    np.testing.assert_array_equal(scored(earns_one, always), [1.0, 1.0])
    np.testing.assert_array_equal([h for h in trained(earns_one, always) if h is not None], 1.0)


def test_numbers_of_any_kind_are_a_reward() -> None:
    for value in (1, 1.0, True, np.float64(1.0), jnp.int32(1), jnp.float32(1.0)):
        assert one_number(value) is value
    for value in (True, 1, np.int8(1), jnp.int32(1)):
        assert bool(true_or_false(value))
        assert not bool(~true_or_false(value))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reset": lambda own, key: jnp.zeros(2)}, r"reset of task 'cart_pole' .*\(2,\).*\(4,\)"),
        ({"step": lambda own, state, action: state[0]}, r"step of task 'cart_pole' .*\(\)"),
        ({"reward": lambda s, a, n: n}, "the reward function returns"),
        ({"terminated": lambda n: n[0]}, "the function of the end returns"),
        ({"state_names": ("x", "x_dot", "theta")}, r"reset .*\(4,\).*x, x_dot, theta make \(3,\)"),
    ],
)
def test_a_task_whose_functions_do_not_fit_its_columns_is_told(
    changes: dict[str, Any], told: str
) -> None:
    """Without this, a state of two numbers was data of its first one."""
    with pytest.raises(UsageError, match=told):
        collect(dataclasses.replace(CART, **changes), "random", 6, 0)


@pytest.mark.parametrize("name", ["cart_pole", "mountain_car", "half_cheetah"])
def test_the_tasks_of_the_package_fit(name: str) -> None:
    task = get_task(name)
    check_functions(task, task.covariates(task.test_agents))
