"""Standardisation: what goes in comes out, whatever the offset, scale or constancy of a column."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.transitions import Transitions
from twinfold.models.normalizer import Normalizer, unreachable
from twinfold.models.normalizer_fit import erratic_columns, fit_normalizer, unit_problems


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


# Angles and direct predictions

TURN = 2 * np.pi


def turning(seed: int = 0, n_rows: int = 200) -> Transitions:
    """Columns 0 and 2 are angles that count their turns, to about 50 either way."""
    rng = np.random.default_rng(seed)
    data = walk(seed, n_rows, n_state=4)
    away = np.zeros_like(data.state)
    away[:, [0, 2]] = rng.uniform(-300, 300, (n_rows, 2))
    return transitions(data.state + away, data.next_state + away, data.action)


def turned(data: Transitions, state: Any, next_state: Any) -> Transitions:
    """The same, with other whole turns; given per row or for all."""
    out = transitions(data.state.copy(), data.next_state.copy(), data.action)
    out.state[:, [0, 2]] += TURN * np.asarray(state)
    out.next_state[:, [0, 2]] += TURN * np.asarray(next_state)
    return out


@given(st.integers(0, 100), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)))
def test_advancing_by_the_target_arrives_at_the_next_state(
    seed: int, angles: set[int], direct: set[int]
) -> None:
    data = walk(seed, n_state=4, n_rows=50)
    normalizer = fit_normalizer(data, tuple(angles), tuple(direct))
    target = normalizer.encode_target(data.state, data.next_state)
    np.testing.assert_allclose(target.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(target.std(axis=0), 1, atol=1e-9)
    start = jnp.asarray(normalizer.encode_state(data.state))
    reached = normalizer.on_device().advance(start, jnp.asarray(target))
    reached = normalizer.decode_state(np.asarray(reached, np.float64))
    turns = (reached - data.next_state) / TURN
    turns[:, [d for d in range(4) if d not in angles]] = 0.0
    np.testing.assert_allclose(reached, data.next_state + TURN * np.round(turns), atol=1e-4)


def test_an_angle_goes_on_from_where_it_is_and_takes_the_short_way() -> None:
    """Across the border of a wrapped column, and with the turns of one that counts them."""
    state = np.array([[3.1], [-3.1], [40 * np.pi], [0.0]])
    after = np.array([[-3.1], [3.1], [0.1], [0.2]])
    normalizer = fit_normalizer(transitions(state, after), (0,))
    target = normalizer.encode_target(state, after)
    small = TURN - 6.2
    change = target * normalizer.target_scale + normalizer.target_mean
    np.testing.assert_allclose(change[:, 0], [small, -small, 0.1, 0.2], atol=1e-9)
    start = jnp.asarray(normalizer.encode_state(state))
    reached = np.asarray(normalizer.on_device().advance(start, jnp.asarray(target)))
    expected = [3.1 + small, -3.1 - small, 40 * np.pi + 0.1, 0.2]
    np.testing.assert_allclose(normalizer.decode_state(reached)[:, 0], expected, atol=1e-4)


def test_a_direct_target_does_not_depend_on_the_state() -> None:
    data = walk()
    normalizer = fit_normalizer(data, direct=(1,))
    np.testing.assert_array_equal(normalizer.keep, [1, 0, 1])
    target = normalizer.encode_target(data.state, data.next_state)
    elsewhere = normalizer.encode_target(data.state + 5.0, data.next_state)
    np.testing.assert_array_equal(target[:, 1], elsewhere[:, 1])
    device = normalizer.on_device()
    reached = [device.advance(jnp.full(3, x), jnp.asarray(target[0])) for x in (0.0, 2.0)]
    np.testing.assert_allclose(reached[1] - reached[0], [2, 0, 2], atol=1e-5)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_predicted_step_exceeds_those_of_the_data_by_a_tenth_of_their_range(sign: int) -> None:
    data = walk()
    normalizer = fit_normalizer(data, (0,), (1,))
    change = data.next_state - data.state * normalizer.keep
    beyond = (change.max(axis=0) if sign > 0 else change.min(axis=0)) + sign * (
        0.1 * np.ptp(change, axis=0)
    )
    start = normalizer.encode_state(data.state[0])
    device = normalizer.on_device()
    reached = device.advance(jnp.asarray(start), jnp.full(3, sign * 1e6))
    expected = normalizer.keep * data.state[0] + beyond
    np.testing.assert_allclose(normalizer.decode_state(np.asarray(reached)), expected, atol=1e-4)
    # What was seen is not touched.
    target = jnp.asarray(normalizer.encode_target(data.state, data.next_state))
    limited = jnp.clip(target, device.target_low, device.target_high)
    np.testing.assert_array_equal(limited, target)


@pytest.mark.parametrize("drift", [-3.0, 3.0])
def test_no_change_is_possible_also_of_what_has_only_grown_or_shrunk(drift: float) -> None:
    data = walk()
    growing = transitions(data.state, data.next_state + drift, data.action)
    normalizer = fit_normalizer(growing)
    target = normalizer.encode_target(data.state, data.state)
    assert np.all((target >= normalizer.target_low) & (target <= normalizer.target_high))
    reached = normalizer.advance(normalizer.encode_state(data.state), target)
    np.testing.assert_allclose(normalizer.decode_state(reached), data.state, atol=1e-9)
    # Nothing is gained beyond it, the other way.
    device = normalizer.on_device()
    start = jnp.asarray(normalizer.encode_state(data.state[0]))
    reached = device.advance(start, jnp.full(3, -np.sign(drift) * 1e6))
    found = normalizer.decode_state(np.asarray(reached))
    np.testing.assert_allclose(found, data.state[0], atol=1e-4)


def test_erratic_columns_are_those_that_no_change_predicts_worse_than_the_mean() -> None:
    rng = np.random.default_rng(0)
    state = rng.normal(size=(500, 4)) + 100.0
    kept = np.array([0.9, 0.0, -0.5, 1.0])  # how much of the present value is in the next one
    noise = rng.normal(size=(500, 4)) * [0.1, 1.0, 0.5, 0.0]
    after = 100.0 + kept * (state - 100.0) + noise
    state[:, 3] = after[:, 3] = 42.5  # and one that never changes
    assert erratic_columns(transitions(state, after)) == (1, 2)
    assert erratic_columns(transitions(state[:1], after[:1])) == ()


@given(st.integers(0, 20), st.integers(-50, 50), st.integers(-50, 50))
def test_whole_turns_change_nothing(seed: int, turns: int, other: int) -> None:
    data = turning(seed)
    normalizer = fit_normalizer(data, (0, 2))
    moved = turned(data, turns, other)
    inputs = normalizer.inputs(normalizer.encode_state(data.state))
    assert inputs.shape == (200, normalizer.n_inputs) == (200, 6)
    again = normalizer.inputs(normalizer.encode_state(moved.state))
    np.testing.assert_allclose(again, inputs, atol=1e-9)
    np.testing.assert_allclose(
        normalizer.encode_target(moved.state, moved.next_state),
        normalizer.encode_target(data.state, data.next_state),
        atol=1e-9,
    )


def test_wrapped_and_counted_angles_have_one_normalizer() -> None:
    data = turning()
    rng = np.random.default_rng(1)
    counted = turned(data, rng.integers(-9, 9, (200, 2)), rng.integers(-9, 9, (200, 2)))
    wrapped = transitions(data.state.copy(), data.next_state.copy(), data.action)
    for values in (wrapped.state, wrapped.next_state):
        values[:, [0, 2]] = wrap(values[:, [0, 2]])
    made = [vars(fit_normalizer(x, (0, 2))) for x in (data, counted, wrapped)]
    for name, value in made[0].items():
        if name not in ("low", "high"):
            for other in made[1:]:
                np.testing.assert_allclose(other[name], value, atol=1e-9, err_msg=name)


def test_the_inputs_are_the_other_columns_the_sines_and_the_cosines() -> None:
    data = turning()
    normalizer = fit_normalizer(data, (2, 0))
    standard = normalizer.encode_state(data.state)
    inputs = normalizer.inputs(standard)
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(inputs.std(axis=0), 1, atol=1e-9)
    np.testing.assert_array_equal(inputs[:, :2], standard[:, [1, 3]])
    s, c = (wave(data.state[:, [2, 0]]) for wave in (np.sin, np.cos))
    waves = np.concatenate([s, c], axis=1)
    np.testing.assert_allclose(inputs[:, 2:], (waves - waves.mean(0)) / waves.std(0), atol=1e-9)
    on_device = normalizer.on_device().inputs(jnp.asarray(standard, jnp.float32))
    np.testing.assert_allclose(on_device, inputs, atol=1e-3)
    assert normalizer.inputs(standard[0]).shape == (6,)


def test_an_angle_that_hardly_varies_is_not_blown_up() -> None:
    data = walk(n_state=2)
    data.state[:, 0] *= 1e-6
    inputs = fit_normalizer(data, (0,)).inputs(fit_normalizer(data, (0,)).encode_state(data.state))
    assert np.abs(inputs[:, 1:]).max() < 1e-2


def test_an_angle_has_no_limits() -> None:
    after = reaching(20, at="high") * np.pi
    assert not infinite(fit_normalizer(transitions(after, after)))
    assert infinite(fit_normalizer(transitions(after, after), (0,)))


@pytest.mark.parametrize("size", [1e-100, 1e-38, 1e-20, 1.0, 1e20, 1e38])
def test_columns_in_units_that_float32_cannot_hold_are_named(size: float) -> None:
    data = walk(size=size)
    normalizer = fit_normalizer(data)
    assert not np.any(normalizer.state_scale == 1)  # none is taken to be constant
    lines = list(unit_problems(normalizer, ("x", "y", "z"), ("u", "v")))
    expected = {1e-100: "varies by", 1e-38: "varies by", 1e38: "has values of"}.get(size)
    assert len(lines) == (0 if expected is None else 3)
    for name, line in zip("xyz", lines, strict=False):
        assert line.startswith(f"column '{name}' (state) {expected} ")
    if expected is None:
        device = normalizer.on_device()
        assert np.all(np.asarray(device.state_scale) > 0)


def test_a_constant_column_may_have_any_usual_value_but_not_one_beyond_float32() -> None:
    data = transitions(np.full((9, 2), [5.0, 1e40]), np.full((9, 2), [5.0, 1e40]), np.zeros((9, 1)))
    (line,) = unit_problems(fit_normalizer(data), ("x", "y"), ("u",))
    assert line.startswith("column 'y' (state) has values of 1e+40; divide it by a constant")


def test_what_is_unreachable_is_large_either_way_and_a_number() -> None:
    values = np.array([1e11, -1e11, 1e13, -1e13, np.inf, np.nan])
    assert unreachable(values).tolist() == [False, False, True, True, True, False]


@given(
    st.sampled_from([1.0, 100.0, 0.3, 7e9, -1.2]), st.floats(1e-3, 1e3), st.sampled_from([1, 2, 17])
)
def test_what_is_held_at_a_limit_is_the_limit_to_the_last_digit(
    limit: float, size: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ends = limit - abs(limit) * size * rng.random((400, 1)) * (rng.random((400, 1)) < 0.7)
    norm = fit_normalizer(transitions(np.roll(ends, 1), ends))
    assert np.isfinite(norm.high).all()
    carried = np.float32(norm.high) + np.array([[-1.0], [0.0], [1.0]], np.float32)
    low, high = norm.limits()
    assert low.tolist() == [-np.inf]
    assert high.tolist() == [limit]
    path = norm.decode_path(carried)
    assert path[0] < limit
    assert path[1:].tolist() == [[limit], [limit]]
