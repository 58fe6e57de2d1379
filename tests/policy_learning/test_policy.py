"""What a trained policy does, in batches and at random."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_each_state_has_its_own_action(kind: str, made: Any) -> None:
    trained = made(kind)
    states = np.linspace(-5, 5, 7)[:, None]
    found = trained.act(states)
    assert found.shape == ((7,) if kind == "discrete" else (7, 1))
    for k in range(7):
        np.testing.assert_allclose(trained.act(states[k : k + 1])[0], found[k], rtol=1e-5)
    order = np.array([3, 0, 6, 1, 2, 5, 4])
    np.testing.assert_allclose(trained.act(states[order]), found[order], rtol=1e-5)
    drawn = trained.act(np.zeros((200, 1)), jax.random.key(0))
    assert len(np.unique(drawn)) > 2
    if kind == "continuous":
        assert ((drawn >= -1) & (drawn <= 3)).all()
