"""What maps of agents show: R2 of made-up covariates, and the error without scikit-learn."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from twinfold.benchmark.studies import agent_maps
from twinfold.benchmark.studies.study_settings import MapSettings
from twinfold.errors import UsageError

SETTINGS = MapSettings(title="", runs=(("cart_pole", "random"),), folds=5)


@pytest.fixture(scope="module")
def agents() -> tuple[Any, Any]:
    """Responses (120, 30) that are linear in a product and a quotient of two covariates."""
    rng = np.random.default_rng(0)
    covariates = rng.uniform([1.0, 0.5], [2.0, 1.5], (120, 2))
    hidden = np.stack([covariates[:, 0] / covariates[:, 1], covariates[:, 0]], axis=1)
    mixing = rng.normal(size=(2, 30))
    return hidden @ mixing, covariates


def test_leading_components_are_those_of_scikit_learn_whitened(agents: Any) -> None:
    scores = agent_maps.leading_components(agents[0], 16, 1e-6)
    assert scores.shape == (120, 2)  # two hidden quantities, whatever is asked for
    expected = PCA(2, whiten=True, svd_solver="full").fit_transform(agents[0])
    expected *= (120 / 119) ** 0.5
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), rtol=1e-6)


def test_a_covariate_is_read_as_far_as_the_form_of_the_reader_allows(agents: Any) -> None:
    scores = agent_maps.leading_components(agents[0], 16, 1e-6)
    covariates = np.column_stack([agents[1], np.random.default_rng(1).normal(size=120)])
    linear = agent_maps.linear_r2(scores, covariates, SETTINGS)
    smooth = agent_maps.smooth_r2(scores, covariates, SETTINGS)
    assert linear[0] > 0.999  # it is one of the hidden quantities
    assert 0.5 < linear[1] < 0.97 < smooth[1]  # it is the quotient of both
    assert max(linear[2], smooth[2]) < 0.2  # noise is not read
    place = agent_maps.place_r2(scores[:, :2], agents[1], SETTINGS)
    assert (place > 0.8).all()


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UsageError, match=r"pip install 'twinfold\[studies\]'"):
        agent_maps.scikit_learn()
