"""Coloured noise and elites against plain NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.planning.noise import coloured_noise, moments, select_elites


@pytest.mark.parametrize("horizon", [1, 2, 7, 24])
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_noise_has_unit_variance_at_every_step(beta: float, horizon: int) -> None:
    noise = np.asarray(coloured_noise(jax.random.key(0), beta, (20_000, horizon, 2)))
    assert noise.shape == (20_000, horizon, 2)
    assert noise.dtype == np.float32
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose(noise.var(axis=0), 1.0, atol=0.05)
    assert abs((noise[..., 0] * noise[..., 1]).mean()) < 0.03


@pytest.mark.parametrize("horizon", [24, 25])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_the_spectrum_falls_with_the_power_asked_for(beta: float, horizon: int) -> None:
    noise = np.asarray(coloured_noise(jax.random.key(1), beta, (20_000, horizon, 1)))[..., 0]
    power = (np.abs(np.fft.rfft(noise, axis=1)) ** 2).mean(axis=0)
    frequency = np.fft.rfftfreq(horizon)
    slope = np.polyfit(np.log(frequency[1:]), np.log(power[1:]), 1)[0]
    np.testing.assert_allclose(slope, -beta, atol=0.03)
    np.testing.assert_allclose(power[0], power[1], rtol=0.05)  # the constant part


def test_the_correlation_is_that_of_the_spectrum() -> None:
    """An independent construction: the covariance as a cosine sum over all frequencies."""
    horizon, beta = 12, 1.7
    noise = np.asarray(coloured_noise(jax.random.key(2), beta, (100_000, horizon, 1)))[..., 0]
    frequency = np.abs(np.fft.fftfreq(horizon))
    power = np.maximum(frequency, 1 / horizon) ** -beta
    lags = np.subtract.outer(np.arange(horizon), np.arange(horizon))
    expected = (power * np.cos(2 * np.pi * lags[..., None] * frequency)).sum(-1) / power.sum()
    np.testing.assert_allclose(noise.T @ noise / len(noise), expected, atol=0.02)


def test_elites_are_the_best_with_a_score() -> None:
    actions = jnp.arange(6.0)[:, None, None] * jnp.ones((6, 2, 1))
    scores = jnp.array([1.0, jnp.nan, 5.0, jnp.inf, -jnp.inf, 3.0])
    elites, found = select_elites(actions, scores, 3, default=-jnp.ones((2, 1)))
    np.testing.assert_array_equal(elites[:, 0, 0], [2, 5, 0])
    np.testing.assert_array_equal(found, [5, 3, 1])
    mean, std = moments(elites, found)
    np.testing.assert_allclose(mean, np.mean([2, 5, 0]), rtol=1e-6)
    np.testing.assert_allclose(std, np.std([2, 5, 0]), rtol=1e-6)
    # Too few with a score: the best one fills the places and does not count twice.
    elites, found = select_elites(actions, scores, 5, default=-jnp.ones((2, 1)))
    np.testing.assert_array_equal(elites[:, 0, 0], [2, 5, 0, 2, 2])
    np.testing.assert_allclose(moments(elites, found)[0], np.mean([2, 5, 0]), rtol=1e-6)
    # None at all: the default, without a spread.
    elites, found = select_elites(actions, jnp.full(6, jnp.nan), 2, default=-jnp.ones((2, 1)))
    np.testing.assert_array_equal(elites, -np.ones((2, 2, 1)))
    mean, std = moments(elites, found)
    np.testing.assert_array_equal(mean, -np.ones((2, 1)))
    np.testing.assert_array_equal(std, np.zeros((2, 1)))
