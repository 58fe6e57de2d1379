"""Errors on what was held out: clipped, by horizon, of angles; and bands made of them."""

from __future__ import annotations

import statistics
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from twinfold.data.windows import Windows
from twinfold.training.folds import Fold
from twinfold.training.holdout_band import error_by_horizon, held_out_band


def fold_of(next_state: Any, mask: Any, scale: Any = 1.0, angles: tuple[int, ...] = ()) -> Fold:
    number, horizon, n_state = next_state.shape
    held = Windows(
        agent=np.zeros(number, np.int32),
        state=np.zeros((number, n_state)),
        action=np.zeros((number, horizon), np.int32),
        next_state=next_state,
        mask=mask,
    )
    normalizer: Any = SimpleNamespace(state_scale=scale)
    return Fold(np.zeros(0, np.int32), normalizer, held, angles)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
@pytest.mark.parametrize("number", [1, 8, 200])
def test_the_band_covers_and_widens(number: int, coverage: float) -> None:
    rng = np.random.default_rng(number)
    horizon = 6
    mask = np.arange(horizon) < rng.integers(1, horizon + 1, number)[:, None]
    mask[0] = True
    truth = rng.normal(size=(number, horizon, 2)) * np.arange(1, horizon + 1)[:, None]
    paths = np.where(mask[..., None], 0.0, np.nan)  # what lies beyond a stretch is ignored
    paths = np.broadcast_to(paths, truth.shape)
    fold = fold_of(np.where(mask[..., None], truth, 0), mask)
    band = held_out_band([fold], [paths], coverage)
    assert np.all(np.diff(band, axis=0) >= 0)
    held = (np.abs(truth) <= band * (1 + 1e-12)) | ~mask[..., None]
    rank = min(number, int(np.ceil((number + 1) * coverage)))
    assert held.all(axis=(1, 2)).sum() == rank  # whole windows, not one more than must be
    # The first step has only its own errors: its form is their quantile.
    form = band[0] / np.sort(np.abs(truth[:, 0]), axis=0)[rank - 1]
    np.testing.assert_allclose(form[0], form[1])
    # What is not known of the agents is no error of the model.
    sd = rng.uniform(0.1, 2.0, truth.shape)
    rest = held_out_band([fold], [paths], coverage, [sd])
    whole = np.hypot(rest, statistics.NormalDist().inv_cdf(0.5 + coverage / 2) * sd)
    held = (np.abs(truth) <= whole * (1 + 1e-9)) | ~mask[..., None]
    assert held.all(axis=(1, 2)).sum() >= rank


@pytest.mark.parametrize("angles", [(), (1,)])
def test_a_diverging_prediction_is_the_worst_and_no_more(angles: tuple[int, ...]) -> None:
    truth = np.ones((3, 4, 2))
    mask = np.ones((3, 4), bool)
    mask[1, 2:] = False
    fold = fold_of(truth, mask, np.array([1.0, 2.0]), angles)
    paths = truth + np.array([0.5, 1.0])  # half a standard deviation in either coordinate
    np.testing.assert_allclose(fold.rmse(paths), 0.5)
    assert error_by_horizon([fold], [paths]) == [0.5] * 4
    paths[1, 2:] = np.nan  # beyond the stretch
    np.testing.assert_allclose(fold.rmse(paths), 0.5)
    for bad in (np.nan, np.inf, 1e30):
        paths[0, 1] = bad
        np.testing.assert_allclose(fold.rmse(paths), [10, 0.5, 0.5])
        assert error_by_horizon([fold], [paths])[1] == pytest.approx(
            np.sqrt((100 + 0.25 + 0.25) / 3), rel=1e-3
        )
        assert np.all(held_out_band([fold], [paths], 0.9)[1:, 0] >= 1e29)


def test_errors_of_angles_are_the_short_way_round() -> None:
    truth = np.array([[[3.0, 3.0], [-3.0, -3.0], [0.5, 0.5]]])
    paths = np.array([[[-3.0, -3.0], [3.0, 3.0], [0.5 - 8 * np.pi, 0.5 - 8 * np.pi]]])
    fold = fold_of(truth, np.ones((1, 3), bool), angles=(1,))
    short = 2 * np.pi - 6
    np.testing.assert_allclose(
        fold.difference(paths)[0], [[-6, short], [6, -short], [-8 * np.pi, 0]], atol=1e-9
    )
    band = held_out_band([fold], [paths], 0.5)
    np.testing.assert_allclose(band[:, 1], short)
    np.testing.assert_allclose(band[0, 0], 6)
    only_angle = fold_of(truth[..., 1:], np.ones((1, 3), bool), angles=(0,))
    np.testing.assert_allclose(only_angle.rmse(paths[..., 1:]), short * np.sqrt(2 / 3))
    assert error_by_horizon([only_angle], [paths[..., 1:]]) == [
        pytest.approx(short, rel=1e-3),
        pytest.approx(short, rel=1e-3),
        pytest.approx(0, abs=1e-6),
    ]
    assert paths[0, 0, 1] == -3.0  # nobody's array was changed


def holes(share: float = 0.4, number: int = 40, horizon: int = 5) -> tuple[Fold, Any, Any]:
    """A fold with values that were not observed, the predictions, and which values count."""
    rng = np.random.default_rng(0)
    mask = np.arange(horizon) < rng.integers(2, horizon + 1, number)[:, None]
    mask[0] = True
    truth = rng.normal(size=(number, horizon, 2))
    fold = fold_of(np.where(mask[..., None], truth, 0), mask)
    weight = (rng.random(truth.shape) >= share) * 0.7
    weight[:, 0, 0] = 1.0
    held = fold.held._replace(weight=weight)
    return fold._replace(held=held), 0 * truth, held.counted


def test_only_observed_values_count_in_errors_and_band() -> None:
    fold, paths, counted = holes()
    away = fold._replace(
        held=fold.held._replace(next_state=np.where(counted, fold.held.next_state, 1e3))
    )
    squares = np.where(counted, fold.held.next_state**2, 0)
    for one in (fold, away):
        rmse = one.rmse(paths)
        expected = np.sqrt(squares.sum(axis=(1, 2)) / counted.sum(axis=(1, 2)))
        np.testing.assert_allclose(rmse, expected)
        steps = counted.any(axis=2)
        by_step = squares.sum(axis=2) / np.maximum(counted.sum(axis=2), 1)
        np.testing.assert_allclose(
            error_by_horizon([one], [paths]),
            np.sqrt((by_step * steps).sum(axis=0) / steps.sum(axis=0)),
            rtol=1e-3,
        )
        band = held_out_band([one], [paths], 0.8)
        held = (np.abs(one.held.next_state) <= band * (1 + 1e-12)) | ~counted
        assert held.all(axis=(1, 2)).sum() == int(np.ceil(41 * 0.8))
        assert np.all(np.diff(band, axis=0) >= 0)


def test_a_column_that_was_never_observed_has_no_limits_and_one_seen_late_those_of_then() -> None:
    fold, paths, _ = holes(0.0)
    assert fold.held.weight is not None
    weight = fold.held.weight.copy()
    weight[:, :2, 1] = 0
    late = held_out_band([fold._replace(held=fold.held._replace(weight=weight))], [paths], 0.8)
    assert np.isfinite(late).all()
    np.testing.assert_array_equal(late[0, 1], late[2, 1])
    weight[..., 1] = 0
    never = held_out_band([fold._replace(held=fold.held._replace(weight=weight))], [paths], 0.8)
    assert np.isfinite(never[:, 0]).all()
    assert np.isinf(never[:, 1]).all()
