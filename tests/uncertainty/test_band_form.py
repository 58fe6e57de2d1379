"""The form of a band by calibration agents: known growth is found, and what is not known stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.band_form import FORM, log_form, refined_band, with_band
from twinfold.uncertainty.conformal import calibrate
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout

Build = Callable[..., FittedModel]


def errors(n: int, true: Any, seed: int = 0) -> NDArray[np.float64]:
    """Errors of n agents in half-widths of a band that should be ``true`` times as wide."""
    return np.abs(np.random.default_rng(seed).normal(size=(n, *np.shape(true)))) * true


def growth(steps: int, powers: Any, levels: Any) -> NDArray[np.float64]:
    """Half-widths ``levels * h ** powers``, ``(H, D)``."""
    return np.asarray(levels) * np.arange(1.0, steps + 1)[:, None] ** np.asarray(powers)


def test_growth_and_columns_are_found_and_the_level_is_left() -> None:
    true = growth(6, [-0.5, 0.3], [2.0, 1.0])
    found = log_form(errors(20_000, true))
    expected = np.log(true) - np.log(true).mean()
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(log_form(7.0 * errors(20_000, true)), found)
    np.testing.assert_allclose(found.mean(), 0.0, atol=1e-9)


@given(st.integers(0, 60))
def test_few_agents_count_as_far_as_they_are_many(n: int) -> None:
    true = growth(4, [1.0], [1.0])
    one = np.ones((n, 1, 1)) * true  # all agents alike: by their number alone
    whole = np.log(true) - np.log(true).mean()
    np.testing.assert_allclose(log_form(one), whole * n / (n + FORM.prior_agents), atol=1e-9)


def test_beyond_the_longest_end_the_band_keeps_its_growth() -> None:
    ratio = errors(50, growth(8, [-1.0], [1.0]))
    ratio[:, 3:] = np.nan
    found = log_form(ratio)
    assert found[0, 0] > found[1, 0] > found[2, 0]
    np.testing.assert_array_equal(found[3:], np.repeat(found[2:3], 5, axis=0))


def test_of_ends_of_one_length_the_growth_is_not_known() -> None:
    ratio = errors(40, growth(5, [0.0, 0.0], [1.0, 3.0]))
    ratio[:, [0, 1, 3, 4]] = np.nan
    found = log_form(ratio)
    np.testing.assert_allclose(found, np.repeat(found[:1], 5, axis=0), atol=1e-6)
    assert found[0, 1] > found[0, 0]


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_a_column_that_never_errs_or_was_never_seen_is_left(bad: float) -> None:
    ratio = errors(40, growth(5, [0.5, 0.5], [1.0, 1.0]))
    alone = log_form(ratio[..., :1])
    ratio[..., 1] = bad
    found = log_form(ratio)
    np.testing.assert_array_equal(found[:, 1], 0.0)
    np.testing.assert_allclose(found[:, :1], alone)
    np.testing.assert_array_equal(log_form(np.full((3, 4, 2), bad)), 0.0)


def test_one_gross_error_does_not_make_the_form() -> None:
    ratio = errors(200, growth(3, [0.0], [1.0]))
    spoilt = ratio.copy()
    spoilt[0, 0, 0] = 1e9
    assert np.abs(log_form(spoilt) - log_form(ratio)).max() < 0.7


def panel_of(model: FittedModel, courses: Any) -> Any:
    """Data of four agents that the model does not know."""
    factors = np.random.default_rng(3).normal(size=(4, 3))
    return courses.panel(model, [11, 6, 9, 12], factors, ids=["a", "b", "c", "d"], seed=6)


def test_scores_by_another_band_are_those_of_a_model_that_has_it(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    assert model.band is not None
    panel = panel_of(model, courses)
    new = model.band * growth(len(model.band), 0.3, np.linspace(0.5, 2, model.band.shape[1]))
    before = evaluate_holdout(model, panel, refit_from_prefix=True)
    expected = evaluate_holdout(replace(model, band=new), panel, refit_from_prefix=True)
    found = with_band(before, model.band, new)
    for name in ("width", "scores", "statistics"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9)
    same = with_band(before, model.band, model.band)
    np.testing.assert_allclose(same.scores, before.scores, rtol=1e-9)


def test_the_form_is_learned_where_agents_are_left_out_in_turn(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    assert model.band is not None
    panel = panel_of(model, courses)
    reserved, other = (panel.select_agents(list(names)) for names in ("ab", "cd"))
    found = [evaluate_holdout(model, one, refit_from_prefix=True) for one in (reserved, other)]
    band = refined_band(model.band, found)
    assert np.all(np.diff(band, axis=0) >= 0)
    assert not np.allclose(band[: len(model.band)], model.band)

    calibrated = calibrate(model, reserved, [(model, other)])
    assert calibrated.band is not None
    assert calibrated.calibration is not None
    np.testing.assert_allclose(calibrated.band, band)
    expected = np.concatenate([with_band(one, model.band, band).scores for one in found])
    np.testing.assert_allclose(calibrated.calibration.scores, expected)

    plain = calibrate(model, reserved)  # of reserved agents alone the promise is exact
    assert plain.band is not None
    np.testing.assert_array_equal(plain.band, model.band)
