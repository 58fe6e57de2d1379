"""What nets fill in, against the filter of linear models and against the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from twinfold import FitConfig, PanelDataset, fit
from twinfold.adaptation.fill_missing import fill_missing
from twinfold.models.filling import Own, filled_in, filtered_linear
from twinfold.models.linear import fit_linear
from twinfold.models.linear_kinds import Ratio
from twinfold.models.linear_sums import linear_data
from twinfold.models.net_filling import filtered_by_nets
from twinfold.training.ensemble import TrainingContext, fresh_member, stacked
from twinfold.training.refilling import refilled
from twinfold.training.trials import NO_NETS

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x", "v"], "action": "u", "action_type": "continuous",
}  # fmt: skip
N, T = 30, 40


def springs(cubic: float, missing: float = 0.3) -> tuple[PanelDataset, Any]:
    """Springs that differ, of a force that grows with the cube; the panel, and its true states."""
    rng = np.random.default_rng(0)
    k, u = rng.uniform(0.5, 3, N), rng.normal(size=(N, T))
    state = np.zeros((N, T, 2))
    state[:, 0] = rng.normal(size=(N, 2))
    for t in range(T - 1):
        x, v = state[:, t].T
        v = v + 0.2 * (-k * x - cubic * x**3 - 0.3 * v + u[:, t])
        state[:, t + 1] = np.stack([x + 0.2 * v, v], axis=1)
    state = state.reshape(-1, 2)
    seen = np.where(rng.random(state.shape) < missing, np.nan, state)
    df = pd.DataFrame(
        {"id": np.repeat(np.arange(N), T), "t": np.tile(np.arange(T), N),
         "x": seen[:, 0], "v": seen[:, 1], "u": u.ravel()}
    )  # fmt: skip
    return PanelDataset.from_frame(df, ROLES), state


def test_a_member_without_nets_fills_in_as_its_linear_model_does() -> None:
    panel = filled_in(springs(0.0)[0])
    problem = TrainingContext.of(panel, panel.transitions(), FitConfig())
    norm = problem.normalizer(np.arange(len(problem.data), dtype=np.int32))
    linear = fit_linear(linear_data(norm, problem.data, N, 0), "slopes", Ratio(1.0, 1.0, 1.0))
    members = stacked([fresh_member(problem, norm, 0, NO_NETS, linear)] * 3)
    noise, weights = np.array([0.1, 0.2]), linear.coefficients(np.arange(N))
    own = Own(norm, weights, noise, 0, np.zeros((N, 2, weights.shape[1], weights.shape[1])))
    expected = filtered_linear(panel, own)
    found = filtered_by_nets(panel, norm, members, noise, panel.agent)
    np.testing.assert_allclose(found.filled.state, expected.filled.state, atol=1e-4)
    np.testing.assert_allclose(found.filled.trust, expected.filled.trust, atol=1e-3)
    np.testing.assert_allclose(found.noise, expected.noise, rtol=1e-2)


def refilled_springs(cubic: float) -> tuple[PanelDataset, PanelDataset, Any, bool]:
    """The panel filled in by linear models, that by ``refilled``, the truth, whether by nets."""
    panel, truth = springs(cubic)
    panel = filled_in(panel)
    config = FitConfig(
        effort="quick", steps=2500, schedules=(1.0,), shrinkages=(0.1,), state_net=(64,)
    )
    problem = TrainingContext.of(panel, panel.transitions(), config)
    found, by_nets = refilled(panel, problem, lambda line: None)
    return panel, found, truth, by_nets


def test_nets_fill_in_what_no_linear_model_can() -> None:
    before, after, truth, by_nets = refilled_springs(1.0)
    assert by_nets
    missing = before.missing
    assert missing is not None
    assert before.filled is not None
    assert after.filled is not None
    worse, better = (
        np.median(np.abs(part.filled.state - truth)[missing])
        for part in (before, after)
        if part.filled is not None
    )
    assert better < 0.7 * worse
    known = ~missing
    np.testing.assert_array_equal(after.filled.state[known], before.state[known])


def test_linear_models_stay_where_nets_are_not_far_better() -> None:
    before, after, _, by_nets = refilled_springs(0.0)
    assert not by_nets
    assert after is before


def test_a_panel_without_holes_is_left_as_it_is() -> None:
    panel, _ = springs(1.0, missing=0.0)
    problem = TrainingContext.of(panel, panel.transitions(), FitConfig())
    assert refilled(panel, problem, lambda line: None) == (panel, False)
    assert replace(panel).transitions().smoothed is None


def test_nets_fill_in_the_data_of_new_agents_where_they_did_in_the_fit() -> None:
    panel, truth = springs(1.0)
    new = np.isin(panel.agent, np.arange(N - 4, N))
    frame = pd.DataFrame(
        {"id": panel.agent, "t": np.tile(np.arange(T), N), "x": panel.state[:, 0],
         "v": panel.state[:, 1], "u": panel.action[:, 0]}
    )  # fmt: skip
    config = FitConfig(
        effort="quick", steps=2500, schedules=(1.0,), shrinkages=(0.1,), state_net=(64,),
        members=3, linear="none", behaviour_steps=0,
    )  # fmt: skip
    model = fit(PanelDataset.from_frame(frame[~new], ROLES), config, reserve=0)
    assert model.info.filled_by_nets
    asked = PanelDataset.from_frame(frame[new], ROLES)
    plain = model.info.changed(filled_by_nets=False)
    errors = []
    for info in (model.info, plain):
        filled = fill_missing(replace(model, info=info), asked).filled
        assert filled is not None
        hole = np.isnan(asked.state)
        errors.append(np.median(np.abs(filled.state - truth[new])[hole]))
    assert errors[0] < 0.7 * errors[1]
