"""Bands about predictions: the formula, the walls, members that diverge, and how long they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.models.calibration import Calibration
from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.intervals import (
    band_factor,
    prediction_band,
    trajectory_scores,
    uncalibrated_band,
)

Build = Callable[..., FittedModel]
Z90 = 1.6448536269514722


def wide(model: FittedModel) -> FittedModel:
    """Without walls."""
    far = np.full(len(model.roles.state), np.inf)
    return replace(model, normalizer=replace(model.normalizer, low=-far, high=far))


def some_paths(model: FittedModel, horizon: int, seed: int = 0) -> Any:
    """``(M, H, D)`` near the middle of the states."""
    norm, rng = model.normalizer, np.random.default_rng(seed)
    spread = rng.normal(size=(model.n_members, horizon, len(norm.state_mean)))
    return norm.state_mean + 0.1 * norm.state_scale * spread


def test_the_band_is_the_formula(random_model: Build, reference: Any) -> None:
    """For one question, with what is unknown of the agent and a factor for every step."""
    model, rng = random_model(), np.random.default_rng(1)
    paths = some_paths(model, 12)
    unknown = rng.uniform(0, 0.5, (12, 3))
    middle, lower, upper, sd = prediction_band(model, paths, np.arange(1, 13), unknown)
    expected = reference.band(model, paths, Z90, unknown)
    np.testing.assert_allclose(middle, reference.robust_centre(paths))
    np.testing.assert_allclose(lower, expected[0])
    np.testing.assert_allclose(upper, expected[1])
    assert model.band is not None
    assert len(model.band) < 12  # beyond, the held-out error grows with the horizon
    deviation = 1.4826 * np.median(np.abs(paths - np.median(paths, axis=0)), axis=0)
    np.testing.assert_allclose(sd, np.sqrt(deviation**2 + unknown**2))


def test_the_factor_widens_about_the_centre(random_model: Build) -> None:
    model = wide(random_model())
    paths, steps = some_paths(model, 4), np.arange(1, 5)
    middle, lower, upper, sd = prediction_band(model, paths, steps, 0.2)
    factors = np.array([1.0, 2.0, 0.5, 3.0])
    same, low, high, other = prediction_band(model, paths, steps, 0.2, factors)
    np.testing.assert_array_equal(same, middle)
    np.testing.assert_array_equal(other, sd)  # what is not known does not depend on it
    np.testing.assert_allclose(high - middle, factors[:, None] * (upper - middle))
    np.testing.assert_allclose(middle - low, factors[:, None] * (middle - lower))


def test_the_band_keeps_within_the_walls_and_holds_the_centre(random_model: Build) -> None:
    model = random_model()
    paths = some_paths(model, 7)
    middle, lower, upper, _ = prediction_band(model, paths, np.arange(1, 8), 50.0)
    norm = model.normalizer
    floor, ceiling = norm.limits()
    assert np.all(lower[:, 0] == floor[0])
    assert np.all(upper[:, -1] == ceiling[-1])
    assert np.all((lower <= middle) & (middle <= upper))
    assert np.all(middle - lower[:, [1]] > 0)


def test_one_diverging_member_leaves_the_band_and_two_open_it(random_model: Build) -> None:
    model = wide(random_model())
    paths = np.zeros((3, 2, 3))
    paths[1] = -np.inf
    paths[2, 1] = np.inf
    middle, lower, upper, _ = prediction_band(model, paths, np.array([1, 2]))
    assert np.isfinite(middle).all()
    assert np.isfinite([lower[0], upper[0]]).all()
    assert np.all(lower[1] == -np.inf)
    assert np.all(upper[1] == np.inf)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_centre_that_diverged_has_a_band_that_excludes_nothing(
    random_model: Build, value: float
) -> None:
    model = wide(random_model())
    middle, lower, upper, _ = prediction_band(model, np.full((3, 1, 3), value), np.array([1]))
    assert np.all(middle == value)
    assert np.all(lower == -np.inf)
    assert np.all(upper == np.inf)


def test_without_held_out_errors_what_is_not_known_is_all(random_model: Build) -> None:
    model = random_model(band=False)
    paths, unknown = some_paths(model, 3), np.full((3, 3), 0.3)
    _, half, sd = uncalibrated_band(model, paths, np.arange(1, 4), unknown)
    np.testing.assert_allclose(half, Z90 * sd)
    full = random_model()
    _, wider, _ = uncalibrated_band(full, paths, np.arange(1, 4), unknown)
    assert full.band is not None
    np.testing.assert_allclose(wider, np.hypot(full.band[:3], half))


# How many times wider, and whether that is a promise


def with_scores(model: FittedModel, scores: Any, coverage: float = 0.5) -> FittedModel:
    config = model.config.model_copy(update={"band": coverage})
    found = np.asarray(scores, float)
    kept = Calibration(found, np.zeros((len(found), 7)), np.zeros(len(found), np.int32))
    return replace(model, calibration=kept, config=config)


def test_without_reserved_agents_nothing_is_promised(random_model: Build) -> None:
    assert band_factor(random_model(), 3) == (1.0, False)


def test_the_factor_is_a_promise_as_far_as_agents_reach(random_model: Build) -> None:
    nan = np.nan
    scores = [[1, 2, 3, 4], [2, 3, 3, nan], [0.5, 1, nan, nan]]
    model = with_scores(random_model(), scores)
    # The second smallest of three; the second of two; of one alone, none.
    assert band_factor(model, 1) == (1.0, True)
    assert band_factor(model, 2) == (2.0, True)
    assert band_factor(model, 3) == (3.0, True)
    assert band_factor(model, 4) == (4.0, True)  # the one agent's, at half coverage
    assert band_factor(model, 5) == (4.0, False)  # nobody reached that far
    assert band_factor(model, 10_000) == (4.0, False)
    strict = with_scores(random_model(), scores, 0.7)
    assert band_factor(strict, 1) == (2.0, True)
    assert band_factor(strict, 3) == (3.0, False)  # of two agents no 70 % can be told
    assert band_factor(strict, 4) == (3.0, False)
    never = with_scores(random_model(), scores, 0.9)
    assert band_factor(never, 1) == (1.0, False)
    assert band_factor(with_scores(random_model(), np.zeros((0, 4))), 2) == (1.0, False)


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=30), st.integers(1, 60))
@settings(max_examples=20)
def test_beyond_the_calibrated_horizon_there_is_no_promise(
    random_model: Build, values: list[float], horizon: int
) -> None:
    scores = np.maximum.accumulate(np.resize(values, (len(values), 20)), axis=1)
    model = with_scores(random_model(), scores)
    factor, promised = band_factor(model, horizon)
    assert promised == (horizon <= 20)
    assert factor == band_factor(model, min(horizon, 20))[0]
    assert np.isfinite(factor)


@pytest.mark.parametrize("bad", [0, 1])
def test_predictions_that_diverged_promise_nothing(random_model: Build, bad: int) -> None:
    scores = np.ones((3, 4))
    scores[: 1 + 2 * bad, 2:] = np.inf
    factor, promised = band_factor(with_scores(random_model(), scores), 4)
    assert factor == 1.0
    assert promised == (not bad)  # one of three may


@given(seed=st.integers(0, 2**32), horizon=st.integers(1, 8))
@settings(max_examples=30)
def test_scores_are_the_largest_error_so_far(seed: int, horizon: int) -> None:
    rng = np.random.default_rng(seed)
    error, width = rng.normal(size=(4, horizon, 2)), rng.uniform(0.1, 2, (4, horizon, 2))
    mask = np.arange(horizon) < rng.integers(1, horizon + 1, 4)[:, None]
    scores = trajectory_scores(error, width, mask)
    for s, h in np.ndindex(4, horizon):
        if mask[s, h]:
            worst = max(abs(error[s, t, d]) / width[s, t, d] for t in range(h + 1) for d in (0, 1))
            assert scores[s, h] == worst
            assert h == 0 or scores[s, h] >= scores[s, h - 1]
        else:
            assert np.isnan(scores[s, h])


@pytest.mark.parametrize(
    ("error", "width", "expected"),
    [
        (np.nan, 1.0, np.inf),
        (np.inf, 1.0, np.inf),
        (np.inf, np.inf, np.inf),
        (np.nan, np.inf, np.inf),
        (1.0, np.nan, np.inf),
        (1.0, 0.0, np.inf),
        (0.0, 0.0, 0.0),  # nothing is wrong, however narrow the band
        (7.0, np.inf, 0.0),  # and an endless one holds everything
    ],
)
def test_what_is_not_finite_is_as_wrong_as_can_be(error: Any, width: Any, expected: float) -> None:
    errors, widths = np.full((1, 3, 2), 0.5), np.ones((1, 3, 2))
    errors[0, 1, 0], widths[0, 1, 0] = error, width
    scores = trajectory_scores(errors, widths, np.array([[True, True, True]]))
    assert scores[0, 0] == 0.5
    assert scores[0, 1] == scores[0, 2] == max(expected, 0.5)
    cut = trajectory_scores(errors, widths, np.array([[True, False, False]]))
    assert cut[0, 0] == 0.5  # what lies beyond the end does not count
    assert np.isnan(cut[0, 1:]).all()
