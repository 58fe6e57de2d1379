"""Random numbers that are drawn on the host are those of ``jax.random``, to the last bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from twinfold.models.factor_model import random_layer
from twinfold.models.random_arrays import normal, on_host, split, uniform


@given(seed=st.integers(0, 2**31 - 1), count=st.integers(1, 9))
def test_keys_are_split_as_jax_does(seed: int, count: int) -> None:
    key = jax.random.key(seed)
    expected = np.asarray(jax.random.key_data(jax.random.split(key, 9)))[:count]
    np.testing.assert_array_equal(split(key, 9)[:count], expected)
    np.testing.assert_array_equal(split(on_host(key), count), split(key, count))


@pytest.mark.parametrize("shape", [(), (1,), (7, 3), (40, 41), (3, 2000)])
def test_numbers_are_those_of_jax(shape: tuple[int, ...]) -> None:
    key = jax.random.fold_in(jax.random.key(3), 8)
    ours = normal(key, shape), uniform(key, shape)
    theirs = jax.random.normal(key, shape), jax.random.uniform(key, shape, minval=-1.0)
    for own, other in zip(ours, theirs, strict=True):
        assert isinstance(own, jax.Array)
        assert (own.shape, own.dtype) == (other.shape, other.dtype)
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize(
    ("size_in", "size_out", "gain"), [(3, 7, 1.0), (11, 6, 0.3), (300, 40, 2.0)]
)
@pytest.mark.parametrize("further", [(), (0.8,)])
def test_a_layer_is_the_one_of_a_compiled_program(
    size_in: int, size_out: int, gain: float, further: tuple[float, ...]
) -> None:
    """The compiler makes one factor of the gain and what follows it, and so does the host."""
    key = jax.random.key(5)
    known = random_layer(key, size_in, size_out, gain, *further)
    traced = jax.jit(lambda key: random_layer(key, size_in, size_out, gain, *further))(key)
    np.testing.assert_array_equal(known.weight, traced.weight)
    np.testing.assert_array_equal(known.bias, traced.bias)
    assert jnp.std(known.weight) == pytest.approx(gain * np.prod(further) / size_in**0.5, rel=0.5)
