"""Ramps: straight pieces between quantiles, constant beyond them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from hypothesis import given, strategies as st

from twinfold.models.linear_kinds import LINEAR
from twinfold.models.ramps import Ramps

NONE = np.zeros(2, bool)


@given(seed=st.integers(0, 1000), size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_a_sum_of_ramps_can_be_the_column_itself_and_is_constant_beyond(
    seed: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    columns = size * rng.normal(size=(300, 2))
    ramps = Ramps.of(columns, NONE)
    low, high = np.quantile(columns, [LINEAR.beyond, 1 - LINEAR.beyond], axis=0)
    heights = ramps.heights(columns).reshape(300, 2, LINEAR.ramps)
    # Each piece times its width over its gain is how far the column has come in it.
    come = np.sum(heights / (ramps.gain * ramps.slope), axis=-1)
    np.testing.assert_allclose(low + come, np.clip(columns, low, high), rtol=1e-9, atol=1e-9 * size)
    far = np.array([[-1e9, -1e30], [1e9, 1e30]]) * size
    np.testing.assert_allclose(ramps.heights(far), ramps.heights(np.array([low, high])))
    np.testing.assert_allclose(ramps.heights(columns).std(axis=0), 1.0)


def test_few_values_have_a_ramp_between_any_two_and_a_constant_or_unread_column_none() -> None:
    rng = np.random.default_rng(0)
    columns = np.stack([rng.integers(0, 2, 50), np.full(50, 7.0)], axis=1).astype(float)
    ramps = Ramps.of(columns, NONE)
    assert (ramps.gain > 0).sum(axis=1).tolist() == [1, 0]
    assert len(np.unique(ramps.heights(columns), axis=0)) == 2
    assert not Ramps.of(columns, ~NONE).gain.any()
    nearly = np.stack([np.r_[np.zeros(500), 1.0, 2.0, 3.0, 4.0, 5.0], np.zeros(505)], axis=1)
    assert Ramps.of(nearly, NONE).gain.any()  # all quantiles are the same: from end to end


def test_an_outlier_stretches_no_ramp_of_the_others() -> None:
    columns = np.random.default_rng(1).normal(size=(400, 2))
    spiked = columns.copy()
    spiked[7, 0] = 1e9
    usual, with_outlier = Ramps.of(columns, NONE), Ramps.of(spiked, NONE)
    np.testing.assert_allclose(with_outlier.start, usual.start, atol=0.2)
    np.testing.assert_allclose(with_outlier.slope, usual.slope, rtol=0.2)


def test_heights_in_jax_are_those_in_numpy() -> None:
    columns = np.random.default_rng(2).normal(size=(40, 2))
    ramps = Ramps.of(columns, NONE)
    found = ramps.heights(jnp.asarray(columns, jnp.float32))
    np.testing.assert_allclose(found, ramps.heights(columns), atol=1e-5)
    assert found.shape == (40, ramps.size)
