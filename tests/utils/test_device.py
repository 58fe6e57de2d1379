"""Arrays come to the device as they are, without a program for their shape."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from twinfold.utils.device import on_device, typed_as, zeros_like


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.linspace(0, 1, 7), np.float32),
        (np.arange(6).reshape(2, 3), np.int32),
        (0.5, np.float32),
        ([1, 2], np.float32),
        (jnp.arange(3), np.float32),
        (jnp.arange(3), np.int32),
    ],
)
def test_values_are_those_of_jax(values: Any, kind: Any) -> None:
    own, expected = on_device(values, kind), jnp.asarray(values, kind)
    assert isinstance(own, jax.Array)
    assert (own.shape, own.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(own, expected)


def test_nothing_is_compiled(caplog: pytest.LogCaptureFixture) -> None:
    with jax.log_compiles(), caplog.at_level("WARNING"):
        on_device(np.zeros((3, 1, 4, 1, 5)))
        assert not [line for line in caplog.messages if "Compiling" in line]
        jnp.asarray(np.zeros((5, 1, 4, 1, 3)), jnp.float32)
    assert [line for line in caplog.messages if "Compiling" in line]  # that it would be seen


def test_what_the_device_has_does_not_change_with_the_array() -> None:
    values = np.zeros(1000, np.float32)
    there = on_device(values)
    values += 1.0
    assert not np.asarray(there).any()


def test_traced_values_stay_traced() -> None:
    double = jax.jit(lambda x: 2 * on_device(x))
    assert double(np.int32(3)).dtype == np.float32
    assert double(np.int32(3)) == 6.0


def test_a_fresh_state_is_that_of_the_optimiser() -> None:
    adam, given = optax.scale_by_adam(), {"a": jnp.ones(3), "b": jnp.ones((2, 2))}
    own, expected = zeros_like(adam.init, given), adam.init(given)
    assert jax.tree.structure(own) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_values_keep_the_types_of_those_before() -> None:
    old = {"a": jnp.zeros(2, jnp.float32), "b": (jnp.int32(1), None)}
    with jax.enable_x64(True):
        new = {"a": jnp.ones(2, jnp.float64), "b": (3, None)}
        found = typed_as(new, old)
    assert (found["a"].dtype, found["b"][0].dtype) == (jnp.float32, jnp.int32)
    np.testing.assert_array_equal(found["a"], [1.0, 1.0])
    assert found["b"] == (3, None)
    assert typed_as(old, old)["a"] is old["a"]  # nothing is done, so that no program changes
