"""The two facts of the paper that the model rests on: separable form and MountainCar's rank."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.models.factor_model import Structure, init_factor_model
from twinfold.tasks.registry import get_task


def unfoldings(tensor: NDArray[Any]) -> list[NDArray[Any]]:
    """``(N, S, A, D)`` unfolded along agents, along (state, coordinate), along actions."""
    n_agents, n_states, n_actions, n_coordinates = tensor.shape
    return [
        tensor.reshape(n_agents, -1),
        tensor.transpose(1, 3, 0, 2).reshape(n_states * n_coordinates, -1),
        tensor.transpose(2, 0, 1, 3).reshape(n_actions, -1),
    ]


def numerical_rank(matrix: NDArray[Any], tolerance: float) -> int:
    values = np.linalg.svd(matrix, compute_uv=False)
    return int((values > tolerance * values[0]).sum())


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("discrete", [True, False])
def test_theorem_1_the_prediction_tensor_has_at_most_the_models_rank(
    discrete: bool, rank: int
) -> None:
    # Random factors: the bound is reached along every axis, here none is shorter than the rank.
    assert ranks_of_a_member(False, discrete, rank) == [rank] * 3


@pytest.mark.parametrize("discrete", [True, False])
def test_joint_features_have_the_rank_along_the_agents_alone(discrete: bool) -> None:
    ranks = ranks_of_a_member(True, discrete, 2)
    assert ranks[0] == 2
    assert min(ranks[1:]) > 2  # states and actions are not separated


def ranks_of_a_member(joint: bool, discrete: bool, rank: int) -> list[int]:
    """Numerical ranks of the unfoldings of a random member's predictions."""
    config = FitConfig(state_net=(32,), action_net=(16,))
    size = 9 if discrete else 2
    member = init_factor_model(
        jax.random.key(0), config, 12, 2, size, discrete, Structure(joint, rank)
    )
    keys = jax.random.split(jax.random.key(1))
    states = jax.random.normal(keys[0], (15, 2))
    actions = jnp.arange(9) if discrete else 2 * jax.random.normal(keys[1], (9, 2))

    def over_actions(u: Any, s: Any) -> Any:
        return jax.vmap(lambda a: member(u, s, a))(actions)

    def over_states(u: Any) -> Any:
        return jax.vmap(lambda s: over_actions(u, s))(states)

    tensor = np.asarray(jax.jit(jax.vmap(over_states))(member.agents), np.float64)
    assert tensor.shape == (12, 15, 9, 2)
    return [numerical_rank(matrix, 1e-5) for matrix in unfoldings(tensor)]


def mountain_car(gravity: Any, state: Any, action: Any, *, clipped: bool) -> NDArray[np.float64]:
    """Differences ``(N, S, A, 2)`` for gravities (N,), states (S, 2) and actions (A,)."""
    g, x, v, a = np.broadcast_arrays(
        gravity[:, None, None], state[None, :, None, 0], state[None, :, None, 1], action
    )
    velocity = v + (a - 1) * 0.001 - g * np.cos(3 * x)
    if clipped:
        velocity = np.clip(velocity, -0.07, 0.07)
    position = x + velocity
    if clipped:
        position = np.clip(position, -1.2, 0.6)
        velocity = np.where((position == -1.2) & (velocity < 0), 0.0, velocity)
    return np.stack([position - x, velocity - v], axis=-1)


@pytest.fixture
def grid() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    states = rng.uniform([-1.2, -0.07], [0.6, 0.07], (200, 2))
    return np.linspace(0.0001, 0.0035, 20), states, np.arange(3.0)


def test_proposition_1_unclipped_mountain_car_has_rank_3(grid: Any) -> None:
    tensor = mountain_car(*grid, clipped=False)
    # Along the states the rank is 3, so no sum of fewer than three separable terms is the tensor;
    # gravity and action enter through two functions each: {1, g} and {1, a - 1}.
    assert [numerical_rank(matrix, 1e-10) for matrix in unfoldings(tensor)] == [2, 3, 2]
    gravity, states, actions = grid
    x, v, one = states[:, 0], states[:, 1], np.ones(len(states))
    # And these three terms are the tensor: u (N, 3), v (S, D, 3), w (A, 3).
    u = np.stack([np.ones(20), np.ones(20), gravity], axis=-1)
    both = np.stack([np.stack([v, 0 * v], 1), np.stack([one, one], 1)], axis=-1)
    terms = np.concatenate([both, -np.stack([np.cos(3 * x)] * 2, 1)[..., None]], axis=-1)
    w = np.stack([np.ones(3), 0.001 * (actions - 1), np.ones(3)], axis=-1)
    np.testing.assert_allclose(np.einsum("nl,sdl,al->nsad", u, terms, w), tensor, atol=1e-15)


def test_clipping_adds_rank(grid: Any) -> None:
    ranks = [numerical_rank(m, 1e-10) for m in unfoldings(mountain_car(*grid, clipped=True))]
    assert ranks[1] > 3


def test_the_formula_is_the_tasks(grid: Any) -> None:
    gravity, states, actions = grid
    task = get_task("mountain_car")
    expected = mountain_car(gravity[::5], states, actions, clipped=True)

    def difference(own: Any, s: Any, a: Any) -> Any:
        return task.step(own, s, a) - s

    over_actions = jax.vmap(difference, (None, None, 0))
    over_states = jax.vmap(over_actions, (None, 0, None))
    covariates = task.covariates(gravity[::5, None])
    got = jax.jit(jax.vmap(over_states, (0, None, None)))(
        covariates, jnp.asarray(states, jnp.float32), jnp.arange(3)
    )
    np.testing.assert_allclose(got, expected, atol=1e-6)
