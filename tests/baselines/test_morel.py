"""Discrepancies and steps of the pessimistic dynamics against NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.baselines.cadm_training import unlimited_normalizer
from twinfold.baselines.morel import (
    MOReLDynamics,
    Net,
    discrepancy,
    is_unknown,
    pessimistic_stack,
    predicted,
    random_net,
)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), members=st.integers(2, 5))
def test_the_discrepancy_is_that_of_the_two_that_differ_most(seed: int, members: int) -> None:
    predictions = np.random.default_rng(seed).normal(size=(members, 3)).astype(np.float32)
    wanted = max(np.linalg.norm(a - b) for a in predictions for b in predictions)
    assert float(discrepancy(jnp.asarray(predictions))) == pytest.approx(wanted, rel=1e-5)
    mixed = predictions[np.random.default_rng(seed).permutation(members)]
    assert discrepancy(jnp.asarray(mixed)) == discrepancy(jnp.asarray(predictions))


def nets_of(members: int, n_inputs: int, n_state: int) -> Net:
    keys = jax.random.split(jax.random.key(0), members)
    return jax.vmap(lambda key: random_net(key, (5, 4), n_inputs, n_state))(keys)


def layered(net: Net, x: np.ndarray) -> np.ndarray:
    for k, layer in enumerate(net):
        x = np.array([x @ column for column in np.asarray(layer.weight).T]) + layer.bias
        x = np.maximum(x, 0) if k < len(net) - 1 else x
    return x


def test_an_unknown_step_is_told_and_the_own_member_is_followed(walkers: Any) -> None:
    normalizer = unlimited_normalizer(walkers([5, 6]))
    nets = nets_of(3, 3, 1)
    members = [jax.tree.map(lambda leaf, m=m: leaf[m], nets) for m in range(3)]
    told = []
    for x, level in ((0.3, 0), (-2.0, 1), (50.0, 1), (-50.0, 0)):
        standard = (x - normalizer.state_mean) / normalizer.state_scale
        read = np.concatenate([standard, np.eye(2)[level]])
        targets = np.array([layered(net, read) for net in members])
        np.testing.assert_allclose(
            [predicted(net, jnp.asarray(read, jnp.float32)) for net in members], targets, rtol=1e-4
        )
        apart, threshold = np.abs(targets - targets.T).max(), 2.5
        told.append(apart > threshold)
        stack = pessimistic_stack(nets, normalizer, threshold, 2)
        for m in range(3):
            one = jax.tree.map(lambda leaf, m=m: leaf[m], stack)
            carry = one.init(jnp.array([x]))
            assert not is_unknown(carry)
            carry, after = one.step(carry, one.encode(jnp.asarray(level)))
            change = targets[m] * normalizer.target_scale + normalizer.target_mean
            np.testing.assert_allclose(after, x + change, rtol=1e-4, atol=1e-4)
            assert bool(is_unknown(carry)) == (apart > threshold)
    assert set(told) == {True, False}


def test_a_prediction_that_is_no_number_is_unknown(walkers: Any) -> None:
    normalizer = unlimited_normalizer(walkers([5, 6]))
    stack = pessimistic_stack(nets_of(2, 3, 1), normalizer, 1e30, 2)
    one = jax.tree.map(lambda leaf: leaf[0], stack)
    carry, _ = one.step((jnp.array([jnp.nan]), jnp.zeros((), bool)), one.encode(jnp.asarray(0)))
    assert is_unknown(carry)


def test_steps_one_by_one_are_steps_at_once(walkers: Any) -> None:
    normalizer = unlimited_normalizer(walkers([5, 6])).on_device()
    net = random_net(jax.random.key(1), (5,), 3, 1)
    member = MOReLDynamics(net=net, normalizer=normalizer, n_levels=2)
    codes = jax.vmap(member.encode)(jnp.array([0, 1, 1, 0]))

    def walked(carry: Any, codes: Any) -> Any:
        def one_step(carry: Any, code: Any) -> Any:
            return member.step(carry, code)

        return jax.lax.scan(one_step, carry, codes)

    whole = walked(member.init(jnp.array([0.5])), codes)[1]
    half, path = walked(member.init(jnp.array([0.5])), codes[:2])
    rest = walked(half, codes[2:])[1]
    np.testing.assert_allclose(whole, jnp.concatenate([path, rest]), rtol=1e-5)
