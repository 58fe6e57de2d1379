from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from twinfold.utils.programs import drop_programs


def test_programs_are_dropped_when_there_are_too_many_maps_only() -> None:
    program: Any = jax.jit(lambda x: x + 1)
    program(jnp.ones(3))
    assert not drop_programs(10**9)
    assert program._cache_size() == 1
    assert drop_programs(1)
    assert program._cache_size() == 0
    assert float(program(jnp.ones(3))[0]) == 2.0
