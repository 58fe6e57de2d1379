from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from twinfold.benchmark.statistics import (
    BootstrapSettings,
    Estimate,
    interval,
    probability_of_improvement,
)
from twinfold.errors import UsageError
from twinfold.metrics import iqm

FEW = BootstrapSettings(resamples=50)
VALUES = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=40))
def test_the_interquartile_mean_is_scipys_trimmed_mean(values: list[float]) -> None:
    ours = interval([[values]], iqm, FEW).value
    assert ours == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-9, abs=1e-9)


def test_the_interval_of_one_fit_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=60)
    ours = interval([[values]], np.mean, BootstrapSettings(resamples=20_000))
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)
    assert ours.value == pytest.approx(values.mean())


def test_agents_are_strata_and_fits_are_drawn_whole() -> None:
    # Agents that differ by a thousand and have no spread: nothing is drawn between them.
    apart = interval([[[1.0, 1.0]], [[1001.0, 1001.0]]])
    assert (apart.low, apart.value, apart.high) == (501.0, 501.0, 501.0)
    # Two fits without spread inside: a resample is 0, 1/2 or 1, each end by a quarter of the draws.
    fits = interval([[[0.0] * 50, [1.0] * 50]])
    assert (fits.low, fits.value, fits.high) == (0.0, 0.5, 1.0)
    # One fit with these hundred values has a short interval.
    flat = interval([[[0.0] * 50 + [1.0] * 50]])
    assert 0.35 < flat.low < 0.45 < 0.55 < flat.high < 0.65


def test_a_fit_counts_as_much_as_another_with_more_episodes() -> None:
    assert interval([[[0.0], [1.0] * 9]]).value == 0.5


def test_equal_seeds_give_equal_intervals_and_chunks_change_nothing_but_memory() -> None:
    values = [[np.random.default_rng(1).normal(size=30)]]
    assert interval(values) == interval(values)
    small = interval(values, settings=BootstrapSettings(chunk=100, resamples=500))
    whole = interval(values, settings=BootstrapSettings(resamples=500))
    assert small.low == pytest.approx(whole.low, abs=0.1)


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES)
def test_the_probability_of_improvement_is_u_over_the_pairs(x: list, y: list) -> None:
    u = stats.mannwhitneyu(x, y, method="asymptotic").statistic
    found = probability_of_improvement([[x]], [[y]], settings=FEW)
    assert found.value == pytest.approx(u / (len(x) * len(y)))
    other = probability_of_improvement([[x]], [[y]], lower_is_better=True, settings=FEW)
    assert other.value == pytest.approx(1.0 - found.value)


def test_improvement_by_hand() -> None:
    # Agent 0: 3 of 4 pairs are won. Agent 1: one is won, one is even, of 2.
    found = probability_of_improvement([[[2.0, 5.0]], [[1.0]]], [[[1.0, 3.0]], [[0.0, 1.0]]])
    assert found.value == pytest.approx((0.75 + 0.75) / 2)
    sure = probability_of_improvement([[[5.0, 6.0]]], [[[1.0, 2.0]]])
    assert (sure.low, sure.value, sure.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("lower", [True, False])
def test_what_is_not_finite_is_worse_than_what_is(lower: bool) -> None:
    broken, whole = [[[np.nan, np.nan]]], [[[1.0, 2.0]]]
    assert probability_of_improvement(broken, whole, lower, FEW).value == 0.0
    assert probability_of_improvement(whole, broken, lower, FEW).value == 1.0
    assert probability_of_improvement(broken, broken, lower, FEW).value == 0.5
    assert np.isnan(interval(broken).low)


def test_intervals_that_touch_are_not_apart() -> None:
    assert Estimate(1.0, 0.5, 1.5).apart(Estimate(3.0, 2.0, 4.0))
    assert Estimate(3.0, 2.0, 4.0).apart(Estimate(1.0, 0.5, 1.5))
    assert not Estimate(1.0, 0.5, 2.0).apart(Estimate(3.0, 2.0, 4.0))
    assert not Estimate(1.0, float("nan"), float("nan")).apart(Estimate(3.0, 2.0, 4.0))


def test_what_cannot_be_compared_is_told() -> None:
    with pytest.raises(UsageError, match="the values of one agent"):
        interval([])
    with pytest.raises(UsageError, match="every agent and fit needs a value"):
        interval([[[1.0], []]])
    with pytest.raises(UsageError, match="not by 1 and 2"):
        probability_of_improvement([[[1.0]]], [[[1.0]], [[2.0]]])


def test_the_coverage_of_the_mean_is_near_the_level() -> None:
    rng = np.random.default_rng(0)
    hits = [
        (found := interval([[rng.normal(size=20)]], settings=BootstrapSettings(resamples=300))).low
        <= 0.0
        <= found.high
        for _ in range(300)
    ]
    assert 0.88 < np.mean(hits) < 0.98
