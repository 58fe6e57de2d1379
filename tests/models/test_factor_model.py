"""The formula of the factor model against NumPy, and folding an agent into the last layer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.models.agent_dynamics import fold
from twinfold.models.factor_model import (
    ACTIVATIONS,
    FactorModel,
    Structure,
    default_rank,
    init_factor_model,
    structures,
)
from twinfold.models.normalizer import Normalizer

NUMPY_ACTIVATIONS: dict[str, Any] = {
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "tanh": np.tanh,
}


def einsum(member: FactorModel, u: Any, state: Any, action: Any) -> NDArray[np.float64]:
    """sum_l u_l v_l(s, d) w_l(a), or sum_l u_l phi_l(s, a, d) for joint features, in float64."""
    activate = NUMPY_ACTIVATIONS[member.activation]

    def net(layers: Any, head: Any, x: Any, shift: Any = 0.0) -> NDArray[np.float64]:
        for layer in layers:
            x = np.asarray(layer.weight, np.float64).T @ x + np.asarray(layer.bias)
            x, shift = activate(x + shift), 0.0
        return np.asarray(head.weight, np.float64).T @ x + np.asarray(head.bias)

    head: Any = member.action_head
    if isinstance(head, jax.Array):
        w = np.asarray(head, np.float64)[int(action)]
    else:
        w = net(member.action_layers, head, np.asarray(action, np.float64))
    state, u = np.asarray(state, np.float64), np.asarray(u, np.float64)
    if member.joint:
        z = net(member.state_layers, member.head, state, w).reshape(-1, len(u))
        return np.einsum("l,dl->d", u, z)
    v = net(member.state_layers, member.head, state).reshape(-1, len(u))
    return np.einsum("l,dl,l->d", u, v, w)


def member_of(
    discrete: bool,
    n_state: int = 3,
    size: int = 4,
    *,
    joint: bool = False,
    n_inputs: int | None = None,
    **settings: Any,
) -> FactorModel:
    config = FitConfig.parse({"rank": 5, "state_net": (16,), "action_net": (8,)} | settings)
    assert config.rank != "auto"
    member = init_factor_model(
        jax.random.key(1),
        config,
        6,
        n_state,
        size,
        discrete,
        Structure(joint, config.rank),
        n_inputs,
    )
    noise = jax.random.normal(jax.random.key(2), member.head.bias.shape)  # zero in a fresh member
    return FactorModel(
        agents=member.agents,
        state_layers=member.state_layers,
        head=type(member.head)(member.head.weight, noise),
        action_layers=member.action_layers,
        action_head=member.action_head,
        activation=member.activation,
        joint=joint,
    )


def probe(discrete: bool, n_state: int = 3, size: int = 4, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    state = rng.normal(size=n_state).astype(np.float32)
    if discrete:
        return state, np.int32(rng.integers(size))
    return state, rng.normal(size=size).astype(np.float32)


NETS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "relu": ((16,), (8,)),
    "silu": ((16, 12), ()),
    "hard_swish": ((8, 8, 8), (8, 6)),
    "tanh": ((16,), (8,)),
}


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("joint", [False, True])
def test_prediction_is_the_sum_over_terms(joint: bool, discrete: bool, activation: str) -> None:
    state_net, action_net = NETS[activation]
    member = member_of(
        discrete,
        joint=joint,
        state_net=state_net,
        action_net=action_net,
        activation=activation,
    )
    assert member.joint == joint
    probes = [probe(discrete, seed=seed) for seed in range(5)]
    states, actions = (np.stack(column) for column in zip(*probes, strict=True))
    got = jax.jit(jax.vmap(member))(member.agents[:5], states, actions)
    for u, (state, action), predicted in zip(member.agents[:5], probes, got, strict=True):
        np.testing.assert_allclose(predicted, einsum(member, u, state, action), atol=2e-5)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("joint", [False, True])
def test_prediction_is_linear_in_the_factors(joint: bool, discrete: bool) -> None:
    member = member_of(discrete, joint=joint)
    state, action = (jnp.asarray(x) for x in probe(discrete))
    u, other = member.agents[0], member.agents[1]
    np.testing.assert_allclose(
        member(2 * u - 3 * other, state, action),
        2 * member(u, state, action) - 3 * member(other, state, action),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        member.features(state, action) @ u, member(u, state, action), atol=1e-6
    )
    assert not np.allclose(member(u, state, action), member(other, state, action))


@pytest.mark.parametrize(
    ("discrete", "n_state", "size", "rank", "folded"),
    [
        (True, 3, 4, 5, True),  # L < r: the levels are contracted too
        (True, 3, 5, 5, True),  # L = r
        (True, 3, 6, 5, False),  # L > r
        (True, 9, 2, 5, True),  # more state columns than the unrolled first layer takes
        (False, 3, 2, 5, False),
        (False, 1, 1, 1, False),
    ],
)
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("special", [False, True], ids=["differences", "angles and direct"])
def test_a_folded_agent_predicts_what_the_member_predicts(
    discrete: bool, n_state: int, size: int, rank: int, folded: bool, joint: bool, special: bool
) -> None:
    # The first column is an angle that is predicted directly, the second direct, the last an angle.
    angles = (n_state - 1, 0)[:n_state] if special else ()
    keep = np.ones(n_state)
    keep[: 2 if special else 0] = 0.0
    member = member_of(
        discrete,
        n_state,
        size,
        joint=joint,
        n_inputs=n_state + len(angles),
        rank=rank,
        state_net=(16, 8),
    )
    rng = np.random.default_rng(3)
    columns = 0 if discrete else size
    normalizer = Normalizer(
        state_mean=rng.normal(size=n_state) * 10,
        state_scale=rng.uniform(0.1, 5, n_state),
        target_mean=rng.normal(size=n_state),
        target_scale=rng.uniform(0.1, 2, n_state),
        action_mean=rng.normal(size=columns),
        action_scale=rng.uniform(0.5, 2, columns),
        low=np.full(n_state, -0.5),
        high=np.full(n_state, np.inf),
        target_low=np.full(n_state, -0.3),
        target_high=np.full(n_state, 0.8),
        keep=keep,
        wave_mean=rng.normal(size=2 * len(angles)),
        wave_scale=rng.uniform(0.5, 2, 2 * len(angles)),
        angles=angles,
    ).on_device()
    dynamics = fold(member, normalizer, member.agents[4])
    assert (dynamics.action_head is None) == (folded and not joint)
    state = normalizer.decode_state(jnp.asarray(rng.normal(size=n_state), jnp.float32))
    carry, standard = dynamics.init(state), normalizer.encode_state(state)
    moved = False
    for step in range(4):
        _, action = probe(discrete, n_state, size, seed=step)
        code = normalizer.encode_action(jnp.asarray(action))
        before = standard
        inputs = normalizer.inputs(standard)
        standard = normalizer.advance(standard, member(member.agents[4], inputs, code))
        moved |= not np.allclose(before, standard, atol=1e-3)
        carry, reached = dynamics.step(carry, dynamics.encode(jnp.asarray(action)))
        np.testing.assert_allclose(carry, standard, rtol=2e-4, atol=1e-4)
        np.testing.assert_allclose(reached, normalizer.decode_state(standard), rtol=1e-3, atol=1e-3)
    assert moved
    assert np.all(np.asarray(carry) >= -0.5)


def test_the_fold_clips_at_the_limits() -> None:
    member = member_of(True)
    ones, wall = np.ones(3), np.full(3, 1e-3)
    none = ones[:0]
    normalizer = Normalizer(
        0 * ones, ones, ones, 0 * ones, ones, none, none, none, none, -wall, wall
    )
    dynamics = fold(member, normalizer.on_device(), 1e4 * member.agents[0])
    _, reached = dynamics.step(dynamics.init(jnp.zeros(3)), dynamics.encode(jnp.asarray(1)))
    np.testing.assert_allclose(np.abs(reached), wall, rtol=1e-6)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("joint", [False, True])
def test_fresh_members(joint: bool, discrete: bool) -> None:
    config = FitConfig(rank=6, state_net=(64,))

    def outputs(seed: int) -> NDArray[Any]:
        member = init_factor_model(
            jax.random.key(seed), config, 50, 4, 3, discrete, Structure(joint, 6)
        )
        states = jax.random.normal(jax.random.key(9), (50, 4))
        actions = jnp.arange(50) % 3 if discrete else jax.random.normal(jax.random.key(8), (50, 3))
        return np.asarray(jax.jit(jax.vmap(member))(member.agents, states, actions))

    np.testing.assert_array_equal(outputs(0), outputs(0))
    assert not np.allclose(outputs(0), outputs(1))
    spread = np.mean([outputs(seed).std() for seed in range(5)])
    assert 0.3 < spread < 3  # of the size of a standardised target


@pytest.mark.parametrize("discrete", [True, False])
def test_the_default_rank_goes_by_the_kind_and_size_of_the_action(discrete: bool) -> None:
    ranks = [default_rank(False, size, discrete) for size in range(1, 60)]
    assert ranks == sorted(ranks)
    assert ranks[0] >= 4  # room for a few hidden characteristics
    assert ranks[-1] <= 64  # and no explosion with many columns
    joint = [default_rank(True, size, discrete) for size in range(1, 60)]
    assert len(set(joint)) == 1  # the net takes care of the action, whatever its size
    assert joint[0] <= ranks[0]
    member = init_factor_model(jax.random.key(0), FitConfig(), 3, 2, 4, discrete)
    assert member.rank == default_rank(False, 4, discrete)
    assert member.agents.shape == (3, member.rank)


@pytest.mark.parametrize("discrete", [True, False])
def test_structures_are_what_a_config_leaves_open_the_simplest_first(discrete: bool) -> None:
    def found(**settings: Any) -> list[Structure]:
        return structures(FitConfig.parse(settings), 2, discrete)

    separable = Structure(False, default_rank(False, 2, discrete))
    joint = [Structure(True, rank) for rank in (4, 8, 16)]
    assert found() == found(features="separable") == [separable]
    assert found(features="auto") == [separable, *joint]
    assert found(features="joint") == joint
    both = found(features="auto", rank=7)
    assert both == [Structure(False, 7), Structure(True, 7)]
    assert found(rank=7, features="joint") == [Structure(True, 7)]
    assert str(both[1]) == "joint features of rank 7"
