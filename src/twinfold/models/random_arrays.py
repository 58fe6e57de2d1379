"""Random numbers to begin nets with: those of ``jax.random``, without a program for every shape.

A fresh net draws an array for every layer. Compiled, these draws take longer than the training of a
small table, and again for every other size of a table. Keys that are known are therefore drawn from
on the host, with the same generator (Threefry-2x32 of 20 rounds; Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011), and give the same bits as ``jax.random``
inside a compiled program does. Keys that JAX is tracing are left to ``jax.random``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from numpy.typing import NDArray

from twinfold.utils.device import on_device

Words = NDArray[np.uint32]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_LEAST = 1024  # numbers in the smallest program that makes normal ones; each next has four times it
_SQRT2 = np.float32(np.sqrt(2))


def on_host(key: Any) -> Any:
    """Return the two words of a known key; a traced one as it is."""
    if isinstance(key, Tracer | np.ndarray):
        return key
    return np.asarray(jax.random.key_data(key))


def split(key: Any, count: int = 2) -> Sequence[Any]:
    """Return ``count`` keys that are made of one, as ``jax.random.split`` makes them."""
    key = on_host(key)
    if not isinstance(key, np.ndarray):
        return list(jax.random.split(key, count))
    return list(np.stack(_threefry(key, count), axis=1))


def uniform(key: Any, shape: tuple[int, ...], scale: float = 1.0) -> jax.Array:
    """Return numbers that are uniform from -1 to 1, float32, times ``scale``."""
    key = on_host(key)
    if not isinstance(key, np.ndarray):
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0) * scale
    return on_device(_between(key, math.prod(shape), np.float32(-1)).reshape(shape) * scale)


def normal(key: Any, shape: tuple[int, ...], *scales: Any) -> jax.Array:
    """Return standard normal numbers, float32, times each of ``scales``."""
    key = on_host(key)
    if not isinstance(key, np.ndarray):
        drawn = jax.random.normal(key, shape)
        for scale in scales:
            drawn = drawn * scale
        return drawn
    size = math.prod(shape)
    drawn = _between(key, size, np.nextafter(np.float32(-1), np.float32(0)))
    # The compiler of JAX makes one factor of all constants, in this order.
    factor = _SQRT2
    for scale in scales:
        factor = np.float32(factor * np.float32(scale))
    whole = np.zeros(_LEAST * 4 ** max(0, math.ceil(math.log(max(size, 1) / _LEAST, 4))), "f4")
    whole[:size] = drawn
    return on_device((np.asarray(_erf_inv(whole))[:size] * factor).reshape(shape))


_erf_inv = jax.jit(jax.lax.erf_inv)


def _between(key: Words, size: int, low: np.float32) -> NDArray[np.float32]:
    """Return numbers that are uniform from ``low`` to 1, ``(size,)``."""
    first, second = _threefry(key, size)
    # 23 random bits as the fraction of a number from 1 to 2.
    fraction = ((first ^ second) >> np.uint32(9)) | np.uint32(0x3F800000)
    drawn = fraction.view(np.float32) - np.float32(1)
    return np.maximum(drawn * (np.float32(1) - low) + low, low)


def _threefry(key: Words, count: int) -> tuple[Words, Words]:
    """Return the two words that Threefry makes of each of the numbers 0 to ``count`` - 1."""
    numbers = np.arange(count, dtype=np.uint64)
    x, y = (numbers >> np.uint64(32)).astype(np.uint32), numbers.astype(np.uint32)
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x, y = x + keys[0], y + keys[1]
    with np.errstate(over="ignore"):  # modulo 2^32, which NumPy warns of where it is one number
        for group in range(5):
            for rotation in _ROTATIONS[group % 2]:
                x = x + y
                y = (y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))
                y = x ^ y
            x = x + keys[(group + 1) % 3]
            y = y + (keys[(group + 2) % 3] + np.uint32(group + 1))
    return x, y
