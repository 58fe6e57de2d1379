"""Predictions as they are handed out: names of columns, and what is left where support lacks."""

from __future__ import annotations

import numpy as np

from twinfold.simulation.prediction import Prediction
from twinfold.uncertainty.support import BORROWED, OWN, Support


def of(*scores: float) -> Prediction:
    """Return a prediction of two columns, a state for each score."""
    score = np.array(scores)
    values = np.arange(1.0, 1 + 2 * len(score)).reshape(-1, 2)
    basis = np.where(score > 0.5, OWN, BORROWED).astype(np.int8)
    return Prediction(values, values - 1, values + 1, Support(score, score, basis))


def test_names_of_the_band_give_way_to_names_in_use() -> None:
    names = list(of(1.0).columns(["a", "a_lower"], ["a_upper", "basis"]))
    band = ["a_lower_", "a_upper_", "a_lower_lower", "a_lower_upper"]
    assert names == ["a", "a_lower", *band, "support", "basis_"]


def test_what_has_less_support_is_erased() -> None:
    found = of(0.9, 0.2, 0.5)
    assert found.abstain(0.5).tolist() == [False, True, False]
    for values in found[:3]:
        assert np.isnan(values).tolist() == [[False] * 2, [True] * 2, [False] * 2]
    columns = found.columns(["a", "b"], [])
    np.testing.assert_array_equal(columns["a_upper"], [2, np.nan, 6])
    assert columns["support"].tolist() == [0.9, 0.2, 0.5]  # what it was is still told
