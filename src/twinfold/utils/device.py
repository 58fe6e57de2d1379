"""Arrays on the device, put there without a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def on_device(values: Any, kind: Any = np.float32) -> jax.Array:
    """Return values as an array of JAX's, of the given type.

    ``jnp.asarray`` compiles a program for every shape that it meets, which takes longer than most
    of what small tables need; a plain copy takes none.

    Args:
        values: numbers, or an array of NumPy's or JAX's; it may be traced.
        kind: the type of the result.
    """
    if isinstance(values, jax.Array):
        return values if values.dtype == kind else values.astype(kind)
    with np.errstate(over="ignore"):  # to infinity, as JAX does it
        found = np.array(values, kind)  # a copy: the device may keep the memory
    return jax.device_put(found)


def typed_as(new: Any, old: Any) -> Any:
    """Return new values with the types of old ones, leaf by leaf.

    A compiled loop keeps the types of what it carries, but where JAX counts in float64 a step makes
    float64 of float32. Where types are equal nothing is done.

    Args:
        new: a pytree of arrays.
        old: a pytree of the same structure.
    """

    def one(leaf: Any, before: Any) -> Any:
        same = getattr(leaf, "dtype", None) == before.dtype
        return leaf if same else jnp.asarray(leaf, before.dtype)

    return jax.tree.map(one, new, old)


def zeros_like(make: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function would return, with zeros in all arrays: a fresh optimiser's state."""
    shapes = jax.eval_shape(make, *arguments)
    return jax.tree.map(lambda leaf: on_device(np.zeros(leaf.shape), leaf.dtype), shapes)
