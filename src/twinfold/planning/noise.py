"""Parts that the planners for continuous actions share: noise with a colour, and elites."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinfold.planning.planner import usable


def coloured_noise(key: Array, beta: float, shape: tuple[int, ...]) -> Float[Array, "B H A"]:
    """Return Gaussian noise along plans whose power spectrum falls as ``frequency ** -beta``.

    Every value has mean 0 and variance 1, whatever the colour; every plan and action coordinate is
    independent of the others. ``beta = 0`` is white noise; the larger it is, the longer an action
    is held (Pinneri et al. 2020; Timmer and Koenig 1995). The constant part of a plan counts as
    its lowest frequency.

    Args:
        key: randomness.
        beta: exponent, at least 0.
        shape: (B plans, H steps, A coordinates).
    """
    n_plans, horizon, n_coordinates = shape
    if beta == 0 or horizon == 1:
        return jax.random.normal(key, shape, jnp.float32)
    frequency = np.maximum(np.fft.rfftfreq(horizon), 1 / horizon)
    # Frequencies between the first and the last one of an even horizon stand for two: +f and -f.
    pairs = np.full(len(frequency), 2.0)
    pairs[0] = 1.0
    if horizon % 2 == 0:
        pairs[-1] = 1.0
    power = frequency**-beta
    amplitude = horizon * np.sqrt(power / (pairs * power).sum())  # (F,)
    real = pairs == 1.0
    drawn = 2, n_plans, n_coordinates, len(frequency)
    white = jax.random.normal(key, drawn, jnp.float32)
    part = np.where(real, 1.0, np.sqrt(0.5))
    spectrum = jax.lax.complex(
        white[0] * jnp.asarray(amplitude * part, jnp.float32),
        white[1] * jnp.asarray(np.where(real, 0.0, amplitude * part), jnp.float32),
    )
    return jnp.swapaxes(jnp.fft.irfft(spectrum, n=horizon, axis=-1), 1, 2)


def within(
    proposals: Float[Array, "P H A"] | None, low: Float[Array, " A"], high: Float[Array, " A"]
) -> Float[Array, "P H A"] | None:
    """Return plans from elsewhere, clipped to the bounds; what is not finite becomes the middle.

    A policy that is followed in a simulator that diverges proposes NaN, which would spoil means.
    """
    if proposals is None:
        return None
    usable_actions = jnp.where(jnp.isfinite(proposals), proposals, (low + high) / 2)
    return jnp.clip(usable_actions, low, high)


def middle_plan(low: Array, high: Array, horizon: int) -> Float[Array, "H A"]:
    """Return the plan that stays in the middle of the range."""
    return jnp.broadcast_to((low + high) / 2, (horizon, *low.shape))


def count_elites(candidates: int, share: float) -> int:
    """Return how many candidates are elites: at least 2, at most half of them."""
    return min(candidates // 2, max(2, round(share * candidates)))


def select_elites(
    actions: Float[Array, "B H A"], scores: Float[Array, " B"], n_elites: int, default: Array
) -> tuple[Float[Array, "K H A"], Float[Array, " K"]]:
    """Return the best candidates, best first, and their scores.

    A candidate without a finite score is never an elite: its place is taken by the best one, and
    by ``default`` if there is none. Its score is then ``-inf``.

    Args:
        actions: candidates.
        scores: one each, larger is better.
        n_elites: K.
        default: plan ``(H, A)``.
    """
    top_scores, top = jax.lax.top_k(usable(scores), n_elites)
    found = jnp.isfinite(top_scores)
    best = jnp.where(found[0], actions[top[0]], default)
    return jnp.where(found[:, None, None], actions[top], best), top_scores


def moments(
    elites: Float[Array, "K H A"], scores: Float[Array, " K"]
) -> tuple[Float[Array, "H A"], Float[Array, "H A"]]:
    """Return mean and standard deviation of the elites that have a score.

    Without any, the mean is that of the default plan and the standard deviation zero.
    """
    weight = jnp.isfinite(scores).astype(jnp.float32)
    weight = jnp.where(weight.sum() > 0, weight, 1.0)[:, None, None]
    mean = (weight * elites).sum(axis=0) / weight.sum()
    return mean, jnp.sqrt((weight * (elites - mean) ** 2).sum(axis=0) / weight.sum())


def blend(old: Array, new: Array, momentum: float) -> Array:
    """Return the new value with a share ``momentum`` of the old one."""
    return momentum * old + (1 - momentum) * new
