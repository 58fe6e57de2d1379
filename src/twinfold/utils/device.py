"""Arrays on the device, put there without a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
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


def zeros_like(make: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function would return, with zeros in all arrays: a fresh optimiser's state."""
    shapes = jax.eval_shape(make, *arguments)
    return jax.tree.map(lambda leaf: on_device(np.zeros(leaf.shape), leaf.dtype), shapes)
