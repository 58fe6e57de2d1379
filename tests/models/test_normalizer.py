"""Standardisation: what goes in comes out, whatever the offset, scale or constancy of a column."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from twinfold.data.panel import Transitions
from twinfold.models.normalizer import Normalizer, fit_normalizer


def transitions(state: Any, next_state: Any, action: Any = None) -> Transitions:
    n_rows = len(state)
    zeros = np.zeros(n_rows, np.int32)
    action = zeros if action is None else np.asarray(action)
    return Transitions(
        zeros,
        np.asarray(state),
        action,
        np.asarray(next_state),
        zeros,
        np.arange(n_rows, dtype="i4"),
    )


def walk(seed: int = 0, n_rows: int = 200, n_state: int = 3, size: float = 1.0) -> Transitions:
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(n_rows, n_state)) * size
    return transitions(
        state, state + 0.1 * size * rng.normal(size=state.shape), rng.normal(size=(n_rows, 2))
    )


def infinite(normalizer: Normalizer) -> bool:
    return bool(np.all(normalizer.low == -np.inf) and np.all(normalizer.high == np.inf))


@given(
    st.integers(0, 100),
    st.sampled_from([1, 2, 17]),
    st.sampled_from([1e-6, 1.0, 1e6]),
    st.floats(-1e4, 1e4),
)
def test_everything_seen_in_training_is_standardised(
    seed: int, n_rows: int, size: float, offset: float
) -> None:
    data = walk(seed, n_rows, size=size)
    data = transitions(data.state + offset * size, data.next_state + offset * size, data.action)
    normalizer = fit_normalizer(data)
    standard = normalizer.encode_state(data.state)
    target = normalizer.encode_target(data.state, data.next_state)
    for values in (standard, target, normalizer.encode_action(data.action)):
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)
        if n_rows > 1:
            np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(
        normalizer.decode_state(standard), data.state, atol=1e-9 * size * (1 + abs(offset))
    )
    # Advancing by the true target arrives at the true next state: float32 in standard units.
    reached = np.asarray(normalizer.on_device().advance(jnp.asarray(standard), jnp.asarray(target)))
    expected = normalizer.encode_state(data.next_state)
    np.testing.assert_allclose(reached, expected, atol=1e-5 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("value", [0.0, 0.1, -3e8, 1e-20])
def test_a_constant_column_has_scale_one(value: float) -> None:
    data = walk()
    data.state[:, 1] = data.next_state[:, 1] = value
    data.action[:, 0] = value
    normalizer = fit_normalizer(data)
    assert normalizer.state_scale[1] == 1
    assert normalizer.target_scale[1] == 1e-3  # predictions of a rollout stay where they are
    assert normalizer.action_scale[0] == 1
    assert infinite(normalizer)  # never leaving a value is no wall
    standard = normalizer.encode_state(data.state)
    assert np.all(np.isfinite(standard))
    np.testing.assert_allclose(standard[:, 1], 0, atol=1e-6)
    np.testing.assert_array_equal(normalizer.encode_target(data.state, data.next_state)[:, 1], 0)


def test_one_row() -> None:
    normalizer = fit_normalizer(walk(n_rows=1))
    assert np.all(normalizer.state_scale == 1)
    np.testing.assert_allclose(normalizer.target_scale, 1e-3)
    assert infinite(normalizer)


def test_a_discrete_action_is_left_alone() -> None:
    data = walk()
    levels = np.arange(200, dtype=np.int32) % 3
    normalizer = fit_normalizer(transitions(data.state, data.next_state, levels))
    np.testing.assert_array_equal(normalizer.encode_action(levels), levels)


def reaching(times: int, *, at: str) -> NDArray[np.float64]:
    """Values in (-1, 1) without a wall; the first ones pushed onto one."""
    values = np.random.default_rng(1).uniform(-0.99, 0.99, (300, 1))
    values[:times] = -1.0 if at == "low" else 1.0
    return values


@pytest.mark.parametrize("at", ["low", "high"])
def test_a_limit_is_one_that_is_reached_exactly_and_often(at: str) -> None:
    data = walk(n_rows=300, n_state=1)
    rare = fit_normalizer(transitions(data.state, reaching(4, at=at)))
    assert infinite(rare)
    normalizer = fit_normalizer(transitions(data.state, reaching(5, at=at)))
    low, high = (normalizer.decode_state(wall) for wall in (normalizer.low, normalizer.high))
    np.testing.assert_allclose(low, -1 if at == "low" else -np.inf)
    np.testing.assert_allclose(high, 1 if at == "high" else np.inf)
    # A prediction beyond it ends on it.
    far = jnp.full(1, -100.0 if at == "low" else 100.0)
    reached = normalizer.on_device().advance(jnp.zeros(1), far)
    np.testing.assert_allclose(
        normalizer.decode_state(np.asarray(reached)), -1 if at == "low" else 1, rtol=1e-6
    )


def test_a_coarse_sensor_has_no_limits() -> None:
    """Rounded values reach their extremes exactly, several times, by coincidence."""
    rng = np.random.default_rng(0)
    rounded = np.round(rng.normal(size=(3000, 1)), 1)
    rounded = np.clip(rounded, -2, 2)  # and the tails end where many values are
    rounded = rounded[np.abs(rounded[:, 0]) < 2]
    assert (rounded == rounded.max()).sum() >= 5
    assert infinite(fit_normalizer(transitions(rounded, rounded)))


@pytest.mark.parametrize(("offset", "change"), [(1e7, 1.0), (-1e7, 1e-3), (101_325.0, 1e-4)])
def test_a_large_offset_costs_no_precision(offset: float, change: float) -> None:
    data = walk(size=change)
    state, next_state = data.state + offset, data.next_state + offset
    shifted = fit_normalizer(transitions(state, next_state, data.action))
    plain = fit_normalizer(data)
    # Nothing but the mean depends on the offset ...
    np.testing.assert_allclose(shifted.state_scale, plain.state_scale, rtol=1e-4)
    np.testing.assert_allclose(shifted.target_scale, plain.target_scale, rtol=1e-4)
    np.testing.assert_allclose(shifted.state_mean - offset, plain.state_mean, atol=1e-3 * change)
    # ... and 100 steps in float32 add up to the truth, to a small share of one step's change.
    device = shifted.on_device()
    standard = jnp.asarray(shifted.encode_state(state[0]), jnp.float32)
    truth = state[0]
    for k in range(100):
        target = shifted.encode_target(state[k], next_state[k])
        standard = device.advance(standard, jnp.asarray(target, jnp.float32))
        truth = truth + (next_state[k] - state[k])
    got = shifted.decode_state(np.asarray(standard, np.float64))
    np.testing.assert_allclose(got - offset, truth - offset, atol=1e-4 * change)


def test_a_steady_drift_on_a_large_offset_is_no_noise_to_learn() -> None:
    """A clock: its differences are constant but for rounding."""
    clock = 1.7e9 + 0.1 * np.arange(300)[:, None]
    normalizer = fit_normalizer(transitions(clock, clock + 0.1))
    np.testing.assert_allclose(normalizer.target_mean, 0.1, rtol=1e-5)
    np.testing.assert_allclose(normalizer.target_scale, 1e-3 * normalizer.state_scale)
    assert np.abs(normalizer.encode_target(clock, clock + 0.1)).max() < 1e-3
