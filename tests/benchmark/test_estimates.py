from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from twinfold.benchmark.episodes import return_figures
from twinfold.benchmark.estimates import diverged, estimate, last_finite, values_of


def made(kind: str, **figures: Any) -> dict[str, Any]:
    return {"kind": kind, "figures": figures, "error": None}


def test_nothing_measured_is_nothing() -> None:
    assert estimate([]) is None


def test_one_error_has_the_interval_of_its_record() -> None:
    found = estimate([made("prediction", rmse_mean=1.0, rmse_low=0.9, rmse_high=1.2)])
    assert found is not None
    assert (found.value, found.low, found.high) == (1.0, 0.9, 1.2)


def test_an_older_return_has_students_interval() -> None:
    returns = np.array([3.0, 5.0, 4.0, 9.0])
    found = estimate([made("return", mean=returns.mean(), std=returns.std(), n=4)])
    theirs = stats.ttest_1samp(returns, 0.0).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    alone = estimate([made("return", mean=3.0, std=0.0, n=1)])
    assert alone is not None
    assert math.isnan(alone.low)


def test_older_fits_have_students_interval_of_their_means() -> None:
    records = [made("prediction", rmse_mean=value) for value in (1.0, 2.0, 4.0)]
    theirs = stats.ttest_1samp([1.0, 2.0, 4.0], 0.0).confidence_interval(0.95)
    found = estimate(records)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_fits_with_every_value_are_drawn() -> None:
    records = [made("return", mean=float(k), std=0.0, n=2, values=[k, k]) for k in (0, 1)]
    found = estimate(records)
    assert found is not None
    assert (found.low, found.value, found.high) == (0.0, 0.5, 1.0)
    assert values_of([*records, made("return", mean=1.0)]) is None


def test_a_return_that_diverged_says_the_mean_of_the_others() -> None:
    figures = return_figures(np.array([1.0, np.nan, 3.0]))
    assert figures["last_finite"] == {"mean": 2.0, "episodes": 2}
    record = made("return", **(figures | {"mean": None, "values": [1.0, None, 3.0]}))
    assert diverged(record)
    assert last_finite([record]) == ["2 over the 2 episodes that are finite"]
    found = estimate([record])
    assert found is not None
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert "diverged" not in return_figures(np.array([1.0]))
    older = made("return", mean=None)
    assert diverged(older)
    assert last_finite([older]) == []
    assert not diverged({**older, "error": "it was not there"})
    none = made("return", mean=None, last_finite={"mean": None, "episodes": 0})
    assert last_finite([none]) == ["nothing finite"]
