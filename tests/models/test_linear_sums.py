"""Sums of panels with missing values: every column of the target has its own rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, strategies as st

from twinfold.data.transitions import Transitions
from twinfold.models.linear import best_ridge, fit_linear
from twinfold.models.linear_kinds import KINDS, ratios
from twinfold.models.linear_sums import LinearData, find_ramps, linear_data, linear_features_of
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.models.own_linear import own_deviations, own_linear

N = 5


def sample(seed: int = 0, rows: int = 60) -> Transitions:
    rng = np.random.default_rng(seed)
    agent = np.sort(rng.integers(0, N, rows)).astype(np.int32)
    state, action = rng.normal(size=(rows, 2)), rng.normal(size=(rows, 1))
    slope = 1 + 0.2 * np.arange(N)[agent][:, None]
    after = (
        0.7 * state * slope + action @ np.array([[1.0, -0.5]]) + 0.1 * rng.normal(size=(rows, 2))
    )
    step = np.arange(rows, dtype=np.int32)
    return Transitions(agent, state, action, after, agent, step)


def masked(data: Transitions, seed: int = 1) -> Transitions:
    rng = np.random.default_rng(seed)
    shape = data.state.shape
    weight = np.where(rng.random(shape) < 0.4, 0.0, rng.uniform(0.2, 1, shape))
    return replace(data, weight=weight, present=rng.random(shape) < 0.7)


def sums_of(norm: Normalizer, data: Transitions) -> LinearData:
    return linear_data(norm, data, N, 0)


def with_ramps(norm: Normalizer, data: Transitions) -> LinearData:
    return linear_data(norm, data, N, 0, find_ramps(norm, data, 0))


@given(st.integers(0, 1000))
def test_sums_are_those_of_the_observed_terms_alone(seed: int) -> None:
    data = masked(sample(seed), seed)
    assert data.weight is not None
    norm = fit_normalizer(sample(seed))
    phi = linear_features_of(norm, norm.carry(data.state), data.action, 0)
    y = norm.encode_target(data.state, data.next_state)
    # What stands in the place of a missing value does not matter.
    other = replace(data, next_state=np.where(data.weight > 0, data.next_state, 1e3))
    for found in (sums_of(norm, data), sums_of(norm, other)):
        for n in range(N):
            for d in range(2):
                rows = (data.agent == n) & (data.weight[:, d] > 0)
                w = data.weight[rows, d]
                x = phi[rows]
                np.testing.assert_allclose(found.gram[n, d], (x.T * w) @ x, atol=1e-9)
                np.testing.assert_allclose(found.moment[n, :, d], (x.T * w) @ y[rows, d], atol=1e-9)
                np.testing.assert_allclose(found.energy[n, d], w @ y[rows, d] ** 2, atol=1e-9)
                assert np.isclose(found.counts[n, d], w.sum())


def test_with_all_weights_one_every_fit_is_that_of_a_full_table() -> None:
    data = sample()
    norm = fit_normalizer(data)
    weighted = replace(data, weight=np.ones((60, 2)))
    both = with_ramps(norm, data), with_ramps(norm, weighted)
    full, split = sums_of(norm, data), sums_of(norm, weighted)
    assert split.by_column
    np.testing.assert_allclose(split.count, full.count)
    assert best_ridge(split) == best_ridge(full)
    for kind in KINDS:
        one, two = (fit_linear(sums, kind, ratios(kind)[-1]) for sums in both)
        for a, b in zip(one[:5], two[:5], strict=True):  # no static columns
            np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-9, atol=1e-12)
    pooled = fit_linear(full, "pooled").shared
    np.testing.assert_allclose(own_deviations(split, pooled), own_deviations(full, pooled))


def test_a_column_is_fitted_as_a_table_of_its_rows_alone_would_be() -> None:
    data = sample()
    weight = np.ones((60, 2))
    weight[::3, 0] = 0
    norm = fit_normalizer(data)
    found = fit_linear(sums_of(norm, replace(data, weight=weight)), "pooled", ridge=0.1)
    alone = fit_linear(sums_of(norm, data.select(weight[:, 0] > 0)), "pooled", ridge=0.1)
    full = fit_linear(sums_of(norm, data), "pooled", ridge=0.1)
    np.testing.assert_allclose(found.shared[:, 0], alone.shared[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.shared[:, 1], full.shared[:, 1], rtol=1e-9)
    np.testing.assert_allclose(found.noise, [alone.noise[0], full.noise[1]], rtol=1e-9)


def test_sums_add_up_join_and_are_replaced_whatever_their_form() -> None:
    data = sample()
    norm = fit_normalizer(data)
    full, holes = sums_of(norm, data), sums_of(norm, masked(data))
    both: Any = full.add(np.arange(N), holes)
    np.testing.assert_allclose(both.gram, full.split().gram + holes.gram)
    np.testing.assert_allclose(both.energy, full.energy + holes.energy)
    joined = holes.join(full)
    np.testing.assert_array_equal(joined.take(np.arange(N, 2 * N)).gram, full.split().gram)
    put = full.put(np.array([1]), holes.take(np.array([2])))
    np.testing.assert_array_equal(put.gram[1], holes.gram[2])
    np.testing.assert_array_equal(put.gram[0], full.split().gram[0])
    plain = full.join(full)
    assert not plain.by_column


def test_own_models_are_found_where_agents_differ_in_one_coefficient() -> None:
    data = sample(rows=600)
    norm = fit_normalizer(data)
    sums = sums_of(norm, data)
    found = own_linear(sums, fit_linear(sums, "pooled").shared)
    phi = linear_features_of(norm, norm.carry(data.state), data.action, 0)
    y = norm.encode_target(data.state, data.next_state)
    error = y - np.einsum("kq,kqd->kd", phi, found.weights[data.agent])
    assert (error.std(axis=0) * norm.target_scale < 0.11).all()
    # Of the four coefficients of a column only that of its own state differs between agents.
    assert (found.spread.argmax(axis=1) == [1, 2]).all()
    assert found.open.shape == (N, 2, 4, 4)
