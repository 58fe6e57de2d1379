from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st
from sklearn.linear_model import LinearRegression

from twinfold.report.agent_map import explained

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_explained_is_the_regressions_r2_in_any_coordinates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(60, 3))
    covariates = factors[:, :2] + rng.normal(size=(60, 2))
    change = rng.normal(size=(3, 3)) + 4.0 * np.eye(3)
    found = explained(factors @ change + 1.0, covariates)
    for c in range(2):
        model = LinearRegression().fit(factors, covariates[:, c])
        np.testing.assert_allclose(found[c], model.score(factors, covariates[:, c]), atol=1e-8)


def test_few_agents_explain_nothing() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(explained(rng.normal(size=(39, 3)), rng.normal(size=(39, 2)))).all()
