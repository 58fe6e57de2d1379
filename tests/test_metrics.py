"""Metrics against loops, SciPy and scikit-learn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import trim_mean
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from twinfold import metrics
from twinfold.errors import UsageError

Floats = npt.NDArray[np.float64]
seeds = st.integers(0, 10**6)


def draw(seed: int) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Six trajectories of unequal lengths, NaN after the end, one constant coordinate in one."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(6, 9, 3)) * [1.0, 10.0, 0.1]
    predicted = true + rng.normal(size=true.shape)
    true[2, :, 1] = 0.5
    mask = np.arange(9) < rng.integers(2, 10, size=(6, 1))
    true[~mask] = np.nan
    return predicted, true, mask


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_errors_equal_those_of_each_trajectory_alone(seed: int):
    predicted, true, mask = draw(seed)
    errors, fits = metrics.rmse(predicted, true, mask), metrics.r2(predicted, true, mask)
    for i in range(len(true)):
        p, t = predicted[i][mask[i]], true[i][mask[i]]
        np.testing.assert_allclose(errors[i], np.sqrt(np.mean((p - t) ** 2)))
        expected = r2_score(t, p, multioutput="variance_weighted")
        np.testing.assert_allclose(fits[i], expected)


@given(seed=seeds, scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
@settings(max_examples=30, deadline=None)
def test_units(seed: int, scale: float, shift: float):
    """RMSE is in the units of the data, R2 has none."""
    predicted, true, mask = draw(seed)
    moved = predicted * scale + shift, true * scale + shift, mask
    np.testing.assert_allclose(
        metrics.rmse(*moved), scale * metrics.rmse(predicted, true, mask), rtol=1e-6
    )
    np.testing.assert_allclose(
        np.delete(metrics.r2(*moved), 2), np.delete(metrics.r2(predicted, true, mask), 2), rtol=1e-4
    )


def test_perfect_and_useless_predictions():
    _, true, mask = draw(0)
    np.testing.assert_array_equal(metrics.rmse(true, true, mask), 0.0)
    np.testing.assert_array_equal(metrics.r2(true, true, mask), 1.0)
    true = np.arange(12.0).reshape(1, 6, 2)
    np.testing.assert_allclose(metrics.r2(np.full_like(true, true.mean()), true), [-3 / 140])


def test_trajectories_without_a_step_or_variation_have_no_score():
    true = np.ones((2, 4, 2))
    mask = np.array([[False] * 4, [True] * 4])
    assert np.isnan(metrics.rmse(true + 1, true, mask)).tolist() == [True, False]
    assert np.isnan(metrics.r2(true + 1, true, mask)).all()


def test_a_prediction_that_is_not_a_number_is_an_error_that_is_not_a_number():
    predicted, true, mask = draw(0)
    predicted[1, 0, 0] = np.nan
    assert np.flatnonzero(np.isnan(metrics.rmse(predicted, true, mask))).tolist() == [1]


@pytest.mark.parametrize(
    ("predicted", "true", "mask"),
    [((3, 2), (2, 3), None), ((4,), (4,), None), ((5, 3, 2), (5, 3, 2), (5, 2))],
)
def test_shapes_that_do_not_fit(
    predicted: tuple[int, ...], true: tuple[int, ...], mask: tuple[int, ...] | None
):
    values = np.zeros(predicted), np.zeros(true), None if mask is None else np.zeros(mask)
    for metric in (metrics.rmse, metrics.r2):
        with pytest.raises(UsageError, match=r"\("):
            metric(*values)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
@settings(deadline=None)
def test_iqm_is_the_trimmed_mean(values: list[float]):
    np.testing.assert_allclose(metrics.iqm(values), trim_mean(values, 0.25), atol=1e-8)


def test_iqm_along_an_axis():
    values = np.random.default_rng(0).normal(size=(7, 11))
    np.testing.assert_allclose(metrics.iqm(values, axis=0), trim_mean(values, 0.25, axis=0))
    np.testing.assert_allclose(metrics.iqm(values), trim_mean(values, 0.25, axis=1))


def test_iqm_ignores_outliers_but_not_failures():
    assert metrics.iqm([1, 2, 3, 1e9]) == 2.5
    assert np.isnan(metrics.iqm([1, 2, 3, np.nan]))
    assert np.isnan(metrics.iqm([]))


def test_a_bootstrap_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        low, high = metrics.bootstrap_interval(
            rng.normal(5.0, 2.0, 60), np.mean, level=0.9, n_resamples=300, seed=seed
        )
        hits += low <= 5.0 <= high
    assert 0.82 <= hits / 200 <= 0.96


def test_strata_keep_their_size():
    """Between strata nothing is drawn, so differences between strata do not widen the interval."""
    values = np.repeat([0.0, 100.0, 200.0], 10) + np.tile(np.arange(10.0), 3)
    strata = np.repeat(["a", "b", "c"], 10)
    low, high = metrics.bootstrap_interval(values, np.mean, strata=strata)
    assert 102 < low < 104.5 < high < 107
    wide = metrics.bootstrap_interval(values, np.mean)
    assert wide[1] - wide[0] > 10 * (high - low)
    each = np.array(["a", "b", "c", "d"])
    assert metrics.bootstrap_interval([1.0, 5.0, 2.0, 8.0], np.mean, strata=each) == (4.0, 4.0)


def test_a_bootstrap_repeats_itself_whatever_the_memory(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(1).normal(size=50)
    first = metrics.bootstrap_interval(values, seed=3)
    assert metrics.bootstrap_interval(values, seed=3) == first
    assert metrics.bootstrap_interval(values, seed=4) != first
    monkeypatch.setattr(metrics, "_CHUNK", 999)
    # Chunks only regroup the draws of a single stratum.
    assert metrics.bootstrap_interval(values, seed=3) == first


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.zeros((2, 2)), {}),
        (np.zeros(3), {"level": 1.0}),
        (np.zeros(3), {"n_resamples": 0}),
        (np.zeros(3), {"strata": [1, 2]}),
    ],
)
def test_bootstraps_that_cannot_be(values: Floats, options: dict[str, object]):
    with pytest.raises(UsageError):
        metrics.bootstrap_interval(values, **options)  # pyright: ignore[reportArgumentType]


def test_a_summary():
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 30.0]])
    summary = metrics.summarise(values)
    assert list(summary) == ["mean", "std", "iqm", "low", "high", "n"]
    assert summary["mean"] == pytest.approx(7.5)
    assert summary["std"] == pytest.approx(np.std(values))
    assert summary["iqm"] == pytest.approx(3.5)
    assert 1.0 <= summary["low"] < 3.5 < summary["high"] <= 30.0
    assert summary["n"] == 6
    fixed = metrics.summarise(values, strata=np.arange(6).reshape(3, 2))
    assert fixed["low"] == fixed["high"] == pytest.approx(3.5)


def test_summaries_of_little_or_of_failures():
    one = metrics.summarise([4.0])
    assert one == {"mean": 4.0, "std": 0.0, "iqm": 4.0, "low": 4.0, "high": 4.0, "n": 1}
    assert metrics.summarise([])["n"] == 0
    assert np.isnan(metrics.summarise([])["mean"])
    failed = metrics.summarise([1.0, np.nan])
    assert np.isnan(list(failed.values())[:-1]).all()
    with pytest.raises(UsageError):
        metrics.summarise([1.0, 2.0], strata=[1])


def test_metrics_need_numpy_only():
    code = (
        "import sys, twinfold.metrics;"
        "sys.exit(any(name in sys.modules for name in ('jax', 'scipy', 'pandas', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(seeds, st.integers(3, 40), st.integers(2, 6))
def test_components_are_those_of_scikit_learn_up_to_sign(seed: int, n: int, r: int) -> None:
    factors = np.random.default_rng(seed).normal(size=(n, r)) * 3.0 ** np.arange(r)
    points, shares = metrics.principal_components(factors)
    reference = PCA(2, svd_solver="full").fit(factors)
    np.testing.assert_allclose(np.abs(points), np.abs(reference.transform(factors)), atol=1e-8)
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_, atol=1e-10)


@given(seeds)
def test_the_map_does_not_depend_on_the_coordinates_orientation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(12, 3)) * (1.0, 4.0, 16.0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = factors @ rotation + rng.normal(size=3)
    np.testing.assert_allclose(
        metrics.principal_components(factors)[0], metrics.principal_components(moved)[0], atol=1e-8
    )


@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (2, 2), (1, 1)])
def test_few_agents_or_factors_give_a_map_all_the_same(shape: tuple[int, int]) -> None:
    points, shares = metrics.principal_components(np.random.default_rng(0).normal(size=shape))
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    assert np.isfinite(shares).all()


def test_equal_agents_share_a_point() -> None:
    points, shares = metrics.principal_components(np.ones((4, 3)))
    np.testing.assert_array_equal(points, 0.0)
    np.testing.assert_array_equal(shares, 0.0)


@pytest.mark.parametrize("factors", [np.zeros(3), np.zeros((0, 2)), np.array([[1.0], [np.nan]])])
def test_factors_that_cannot_be_mapped_are_refused(factors) -> None:
    with pytest.raises(UsageError):
        metrics.principal_components(factors)
