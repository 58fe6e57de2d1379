"""What stands for missing values, against a Kalman filter in plain loops and against the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from twinfold.data import PanelDataset
from twinfold.data.filled import interpolated
from twinfold.models.filling import Own, filled_in, filtered_linear
from twinfold.models.linear import fit_linear
from twinfold.models.linear_sums import linear_data, linear_features_of
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.models.own_linear import own_linear
from twinfold.models.state_filter import FILTER

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x", "v"], "action": "u", "action_type": "continuous",
}  # fmt: skip
N, T = 12, 30


def springs(missing: float, noise: float = 0.0, seed: int = 0) -> tuple[PanelDataset, Any]:
    """Linear agents that differ; the panel, and the states without holes, ``(R, D)``."""
    rng = np.random.default_rng(seed)
    k, c = rng.uniform(0.5, 3, N), rng.uniform(0.1, 0.6, N)
    state, u = np.zeros((N, T, 2)), rng.normal(size=(N, T))
    state[:, 0] = rng.normal(size=(N, 2))
    for t in range(T - 1):
        x, v = state[:, t].T
        v = v + 0.2 * (-k * x - c * v + u[:, t])
        state[:, t + 1] = np.stack([x + 0.2 * v, v], axis=1)
    state = (state + noise * rng.normal(size=state.shape)).reshape(-1, 2)
    seen = np.where(rng.random(state.shape) < missing, np.nan, state)
    df = pd.DataFrame(
        {"id": np.repeat(np.arange(N), T), "t": np.tile(np.arange(T), N),
         "x": seen[:, 0], "v": seen[:, 1], "u": u.ravel()}
    )  # fmt: skip
    return PanelDataset.from_frame(df, ROLES), state


def own_models(panel: PanelDataset) -> Own:
    data = replace(panel, state=interpolated(panel).state).transitions()
    norm = fit_normalizer(data)
    sums = linear_data(norm, data, N, 0)
    found = own_linear(sums, fit_linear(sums, "pooled").shared)
    return Own(norm, found.weights, np.array([0.2, 0.1]), 0, found.open)


def test_a_panel_without_holes_is_given_back_as_it_is() -> None:
    panel, _ = springs(0.0)
    assert filled_in(panel) is panel


def test_the_filter_is_that_of_a_plain_loop() -> None:
    panel, _ = springs(0.35, noise=0.05)
    own = own_models(panel)
    norm, found = own.normalizer, filtered_linear(panel, own).filled
    sigma = np.square(own.noise * norm.target_scale / norm.state_scale)
    standard = norm.encode_state(panel.state)

    def step(n: int, m: NDArray[Any], row: int) -> NDArray[Any]:
        phi = linear_features_of(norm, m[None], panel.action[[row]], 0)[0]
        return norm.advance(m[None], (phi @ own.weights[n])[None])[0]

    for n in range(N):
        rows = np.flatnonzero(panel.agent == n)
        known = [standard[rows, d][~np.isnan(standard[rows, d])] for d in range(2)]
        m = np.array([x.mean() for x in known])
        P = np.diag([x.var() for x in known])
        for row in rows:
            seen = ~np.isnan(standard[row])
            if seen.any():
                H = np.eye(2)[seen]
                gain = P @ H.T @ np.linalg.pinv(H @ P @ H.T)
                m = m + gain @ (standard[row][seen] - m[seen])
                m[seen] = standard[row][seen]
                P = P - gain @ H @ P
            np.testing.assert_allclose(norm.encode_state(found.state[row]), m, rtol=1e-6, atol=1e-7)
            if row == rows[-1]:
                break
            after = step(n, m, int(row))
            A = np.stack(
                [(step(n, m + 1e-5 * e, int(row)) - after) / 1e-5 for e in np.eye(2)], axis=1
            )
            P = A @ P @ A.T
            trust = sigma / (sigma + np.diag(P)) if not seen.all() else np.ones(2)
            np.testing.assert_allclose(found.trust[row], trust, rtol=1e-4, atol=1e-6)
            phi = linear_features_of(norm, m[None], panel.action[[row]], 0)[0]
            leverage = np.einsum("q,dqr,r->d", phi, own.open[n], phi)
            P = P + np.diag(sigma * (FILTER.handed_on + leverage))
            m = after


def test_without_noise_what_is_filled_in_is_the_truth_once_the_state_is_known() -> None:
    panel, truth = springs(0.3)
    missing = panel.missing
    assert missing is not None
    filled = filled_in(panel).filled
    assert filled is not None
    known = ~np.isnan(panel.state)
    anchored = np.zeros_like(known)
    for n in range(N):
        rows = panel.agent == n
        anchored[rows] = np.maximum.accumulate(known[rows]).all(axis=1, keepdims=True)
    there = missing & anchored
    better = np.abs(filled.state - truth)[there]
    worse = np.abs(interpolated(panel).state - truth)[there]
    assert np.median(better) < 0.02 * np.median(worse)
    np.testing.assert_array_equal(filled.state[known], panel.state[known])
    assert (filled.trust[known.all(axis=1)] == 1).all()
    unknown = ~anchored.any(axis=1)
    assert np.median(filled.trust[unknown]) < 0.01


def test_what_comes_later_does_not_matter_to_what_stands_for_a_value() -> None:
    panel, _ = springs(0.35, noise=0.05)
    own = own_models(panel)
    usual = filtered_linear(panel, own)
    late = np.tile(np.arange(T) >= 20, N)
    # Another order of later values: each agent's mean and variance, to begin with, stay.
    state = panel.state.copy()
    for n in range(N):
        rows = np.flatnonzero(late & (panel.agent == n))
        state[rows] = state[rows[::-1]]
    other = filtered_linear(replace(panel, state=state), own)
    np.testing.assert_allclose(other.filled.state[~late], usual.filled.state[~late], atol=1e-9)
    smooth = [part.filled.smoothed for part in (usual, other)]
    assert smooth[0] is not None
    assert smooth[1] is not None
    assert np.abs(smooth[1].state - smooth[0].state)[~late].max() > 1e-3  # but to the smoothed one


def test_what_nets_learn_from_has_nothing_of_rows_left_out() -> None:
    panel, _ = springs(0.35, noise=0.05)
    own, late = own_models(panel), np.tile(np.arange(T) > 20, N)
    state = panel.state.copy()
    for n in range(N):  # as above: other values of the same mean and variance
        rows = np.flatnonzero(late & (panel.agent == n))
        state[rows] = state[rows[::-1]]
    early = np.flatnonzero(np.tile(np.arange(T - 1) < 20, N))
    learned, differ = [], []
    for each in (panel, replace(panel, state=state)):
        filled = filtered_linear(each, own).filled
        data = replace(each, filled=filled).transitions()
        learned.append(data.to_learn_from(early).select(early))
        differ.append(data.to_learn_from(np.arange(len(data))).select(early))
        smoothed = np.abs(learned[-1].state - data.state[early]) > 1e-6
        assert smoothed.mean() > 0.1  # of most rows what comes later is given, and has its say
    for name in ("state", "next_state", "weight"):
        one, two = (getattr(each, name) for each in learned)
        np.testing.assert_allclose(one, two, atol=1e-9)
    assert np.abs(differ[0].state - differ[1].state).max() > 1e-3


def test_of_what_was_observed_nothing_is_changed_and_all_of_it_counts() -> None:
    panel, _ = springs(0.35)
    filled = filtered_linear(panel, own_models(panel)).filled
    smoothed, known = filled.smoothed, ~np.isnan(panel.state)
    assert smoothed is not None
    np.testing.assert_array_equal(smoothed.state[known], panel.state[known])
    inner = np.flatnonzero(panel.segment[1:] == panel.segment[:-1])
    whole = inner[known[inner].all(axis=1)]
    assert (smoothed.weight[whole][known[whole + 1]] == 1).all()
    assert (smoothed.weight >= 0).all()
    assert (smoothed.weight <= 1).all()
    # The last row of a trajectory has none after it that would tell what was not observed.
    last = inner[np.r_[np.diff(inner) > 1, True]]
    np.testing.assert_allclose(smoothed.weight[last][~known[last + 1]], 0.0, atol=0.2)


def test_a_column_measured_every_fourth_row_is_followed_between() -> None:
    panel, truth = springs(0.0)
    state = panel.state.copy()
    state[panel.time % 4 != 0, 1] = np.nan
    panel = replace(panel, state=state)
    filled = filled_in(panel).filled
    assert filled is not None
    hole = np.isnan(state[:, 1]) & (panel.time > 4)
    error = np.abs(filled.state - truth)[hole, 1]
    held = pd.Series(state[:, 1]).ffill().to_numpy()
    assert np.median(error) < 0.1 * np.median(np.abs(held - truth[:, 1])[hole])


@pytest.mark.parametrize("levels", [True, False])
def test_a_hopeless_table_is_filled_with_numbers(levels: bool) -> None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {"id": np.repeat([0, 1], 5), "t": np.tile(np.arange(5), 2),
         "x": np.where(rng.random(10) < 0.7, np.nan, 1.0), "v": 2.0,
         "u": rng.integers(0, 2, 10) if levels else rng.normal(size=10)}
    )  # fmt: skip
    df.loc[0, "x"] = 1.0
    kind = "discrete" if levels else "continuous"
    filled = filled_in(PanelDataset.from_frame(df, ROLES | {"action_type": kind})).filled
    assert filled is not None
    assert np.isfinite(filled.state).all()
    assert ((filled.trust > 0) & (filled.trust <= 1)).all()
