"""What is held out to choose a model: all ends, and where times are uneven agents in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import FitConfig, PanelDataset
from twinfold.training.ensemble import TrainingContext
from twinfold.training.folds import Fold, cut_folds
from twinfold.training.selection_settings import SELECTION

ROLES = {"agent": "who", "time": "t", "state": "x", "action": "a", "action_type": "continuous"}
ROWS = 20


def panel(agents: int, uneven: bool) -> PanelDataset:
    """Visits of all agents, ever further apart if times are uneven."""
    rng = np.random.default_rng(0)
    times = np.cumsum(np.linspace(0.3, 3.0, ROWS)) if uneven else np.arange(float(ROWS))
    frame = pd.DataFrame({"who": np.repeat(np.arange(agents), ROWS), "t": np.tile(times, agents)})
    frame["x"], frame["a"] = rng.normal(size=(2, len(frame)))
    return PanelDataset.from_frame(frame, ROLES)


def folds_of(data: PanelDataset, **settings: Any) -> tuple[TrainingContext, list[Fold]]:
    problem = TrainingContext.of(data, data.transitions(), FitConfig(**settings))
    return problem, cut_folds(data, problem)


def test_of_uneven_visits_every_agent_is_also_predicted_by_others_that_are_known_whole() -> None:
    problem, (ends, *turns) = folds_of(panel(12, uneven=True))
    assert set(ends.held.agent.tolist()) == set(range(12))
    halves = [set(fold.held.agent.tolist()) for fold in turns]
    assert sorted(map(len, halves)) == [6, 6]
    assert halves[0] | halves[1] == set(range(12))
    for fold, half in zip(turns, halves, strict=True):
        seen = np.bincount(problem.data.agent[fold.rows], minlength=12)
        held = np.bincount(fold.held.agent, fold.held.mask.sum(axis=1), minlength=12)
        for n in range(12):
            assert seen[n] + held[n] == ROWS - 1
            share = SELECTION.late if n in half else 0.0
            assert held[n] == round(share * (ROWS - 1))
    assert max(ends.normalizer.known_high) < min(max(f.normalizer.known_high) for f in turns)


@pytest.mark.parametrize(("agents", "uneven"), [(12, False), (9, True)])
def test_other_data_is_cut_at_three_places_in_time(agents: int, uneven: bool) -> None:
    problem, folds = folds_of(panel(agents, uneven))
    assert len(folds) == len(SELECTION.origins)
    for fold in folds:
        assert set(fold.held.agent.tolist()) == set(range(agents))
    known = [len(fold.rows) for fold in folds]
    assert known == sorted(known, reverse=True)
    assert known[0] < len(problem.data)


@pytest.mark.parametrize("more", [0, 5])
def test_agents_of_single_transitions_are_held_out_as_a_whole_in_turn(more: int) -> None:
    """Two visits each, and a few agents of many."""
    rng = np.random.default_rng(0)
    rows = [2] * 12 + [ROWS] * more
    frame = pd.DataFrame({"who": np.repeat(np.arange(len(rows)), rows)})
    frame["t"] = frame.groupby("who").cumcount()
    frame["x"], frame["a"] = rng.normal(size=(2, len(frame)))
    problem, folds = folds_of(PanelDataset.from_frame(frame, ROLES))
    whole = [fold for fold in folds if fold.whole_agents]
    assert len(whole) == SELECTION.turns
    assert len(folds) == len(whole) + (more > 0)
    held = [fold.held.agent.tolist() for fold in whole]
    assert sorted({n for agents in held for n in agents}) == list(range(len(rows)))
    assert sum(len(set(agents)) for agents in held) == len(rows)
    for fold in whole:
        assert not set(fold.held.agent.tolist()) & set(problem.data.agent[fold.rows].tolist())
        assert fold.held.n_transitions + len(fold.rows) == len(problem.data)


@pytest.mark.parametrize(("rows", "whole"), [(3, True), (4, True), (5, False)])
def test_agents_of_few_transitions_have_no_several_places_to_cut(rows: int, whole: bool) -> None:
    frame = pd.DataFrame({"who": np.repeat(np.arange(12), rows)})
    frame["t"] = frame.groupby("who").cumcount()
    frame["x"], frame["a"] = np.random.default_rng(0).normal(size=(2, len(frame)))
    _, folds = folds_of(PanelDataset.from_frame(frame, ROLES))
    assert any(fold.whole_agents for fold in folds) is whole
    assert len(folds) == (1 + SELECTION.turns if whole else 2)  # the first two places are the same
    assert len({fold.rows.tobytes() for fold in folds}) == len(folds)


def test_a_quick_fit_cuts_the_ends_alone() -> None:
    _, folds = folds_of(panel(12, uneven=True), effort="quick")
    assert len(folds) == 1
    assert len(folds[0].held.agent) == 12


def test_models_are_compared_from_starts_that_were_observed_where_these_are_many() -> None:
    whole = panel(60, uneven=False)
    state, holes = whole.state.copy(), np.random.default_rng(1).random(whole.state.shape)
    for share, many in ((0.3, True), (0.95, False)):
        data = replace(whole, state=np.where(holes < share, np.nan, state))
        fold = folds_of(data)[1][0]
        assert fold.held.present is not None
        known: Any = fold.held.present[:, 0].all(axis=1)
        assert (known.sum() >= SELECTION.known_starts) == many
        expected = np.flatnonzero(known) if many else np.arange(len(known))
        np.testing.assert_array_equal(fold.compared, expected)
        assert len(fold.rmse(fold.held.next_state)) == len(expected)
    np.testing.assert_array_equal(folds_of(whole)[1][0].compared, np.arange(60))
