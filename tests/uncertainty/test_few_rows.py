"""Bands of agents known by few rows: scores against simulators, and what they promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinfold.adaptation.adapt import adapt, with_transitions
from twinfold.benchmark.collect import collect
from twinfold.data.panel import PanelDataset
from twinfold.data.windows import split_ends
from twinfold.models.calibration import Calibration, FewRows
from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.simulator import Simulator
from twinfold.tasks import get_task
from twinfold.training import save_run
from twinfold.training.run_directory import load_run
from twinfold.uncertainty.conformal import calibrate
from twinfold.uncertainty.few_rows import FEW_ROWS
from twinfold.uncertainty.intervals import band_factor, conformal_factor

Build = Callable[..., FittedModel]


def ignore(line: str) -> None:
    pass


def without_walls(model: FittedModel) -> FittedModel:
    far = np.full(len(model.roles.state), np.inf)
    return replace(model, normalizer=replace(model.normalizer, low=-far, high=far))


def panel_of(model: FittedModel, courses: Any, n: int, seed: int = 3, length: int = 12) -> Any:
    """Data of n agents that the model does not know, called r0, r1, ..."""
    factors = np.random.default_rng(seed).normal(size=(n, 3))
    return courses.panel(model, [length] * n, factors, ids=[f"r{i}" for i in range(n)], seed=seed)


def few_of(model: FittedModel) -> FewRows:
    assert model.calibration is not None
    assert model.calibration.few is not None
    return model.calibration.few


def test_scores_are_those_of_agents_known_by_as_many_rows(
    random_model: Build, courses: Any
) -> None:
    model = without_walls(random_model(posterior=True))
    panel = panel_of(model, courses, 3)
    data = courses.transitions(model, panel)
    found = few_of(calibrate(model, panel))
    assert found.counts.tolist() == [0, 1, 3, 6]  # half of twelve transitions is what is usual
    before, ends = split_ends(data)
    assert model.action_levels is not None
    for row, count in enumerate(found.counts):
        own = [np.flatnonzero(before.agent == n) for n in range(3)]
        last = before.select(np.concatenate([some[len(some) - count :] for some in own]))
        partly = with_transitions(model, panel.agent_ids, last)
        for n in range(3):
            actions = model.action_levels[ends.action[n, :6]]
            rollout = Simulator(partly, f"r{n}").rollout(ends.start[n], actions, ignore)
            away = np.abs(rollout.centre - ends.truth[n, :6])
            worst = np.maximum.accumulate((away / (rollout.upper - rollout.centre)).max(axis=1))
            np.testing.assert_allclose(found.scores[row, n, :6], worst, rtol=1e-3)
    assert np.isnan(found.scores[:, :, 6:]).all()


def test_a_band_holds_for_agents_of_whom_little_is_known(small_cart_pole: FittedModel) -> None:
    def renamed(n: int, seed: int, letter: str) -> PanelDataset:
        panel = collect(get_task("cart_pole"), "random", n, seed)
        return replace(panel, agent_ids=tuple(f"{letter}{i}" for i in range(n)))

    calibrated = calibrate(small_cart_pole, renamed(60, 11, "a"))
    others = few_of(calibrate(small_cart_pole, renamed(150, 12, "b")))
    reached = ~np.isnan(others.scores[0, :, 4])
    # 60 calibration agents: within three standard deviations of the beta-binomial rate.
    least = 0.9 - 3 * np.sqrt(0.09 / 60 + 0.09 / reached.sum())
    for row, count in enumerate(others.counts):
        factor, promised = band_factor(calibrated, 5, int(count))
        assert promised
        assert (others.scores[row, reached, 4] <= factor).mean() > least
    plain, _ = band_factor(calibrated, 5)  # of agents known by half a trajectory
    assert (others.scores[0, reached, 4] <= plain).mean() < 0.5


def test_who_is_known_by_less_never_has_the_narrower_band() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=(3, 40, 5)) * np.array([2.0, 1.0, 3.0])[:, None, None]
    scores = np.maximum.accumulate(scores, axis=2)
    few = FewRows(np.array([1, 3, 20], np.int32), scores)
    kept = Calibration(scores[-1], np.zeros((40, 7)), np.zeros(40, np.int32), few)
    alone = [conformal_factor(one, 0.9, 5)[0] for one in scores]

    def factor(count: int) -> float:
        return max(conformal_factor(one, 0.9, 5)[0] for one in kept.known_by(count))

    assert [factor(count) for count in (0, 1, 2, 3, 19)] == [max(alone)] * 5
    assert factor(20) == factor(1000) == alone[2]
    swapped = kept._replace(few=few._replace(scores=scores[[2, 0, 1]]), scores=scores[1])
    assert swapped.known_by(2).shape == (3, 40, 5)
    assert swapped.known_by(3).shape == (2, 40, 5)
    assert swapped.known_by(50).shape == (1, 40, 5)


@pytest.mark.parametrize("count", [0, 1, 2, 6, 11])
def test_answers_are_as_wide_as_what_is_known_of_their_agent(
    random_model: Build, courses: Any, count: int
) -> None:
    model = without_walls(random_model(posterior=True))
    calibrated = calibrate(model, panel_of(model, courses, 20))
    knows = calibrated
    if count:
        panel = courses.panel(model, [count], np.ones((1, 3)), ids=["new"], seed=5)
        knows = adapt(calibrated, panel, warn=ignore)
    else:
        nothing = courses.transitions(model, panel_of(model, courses, 1)).select([])
        knows = with_transitions(calibrated, ("new",), nothing)
    plain = replace(knows, calibration=None)
    state, levels = model.normalizer.state_mean, [5, 0, -1, 7]
    wide, narrow = (Simulator(m, "new").rollout(state, levels, ignore) for m in (knows, plain))
    factor, promised = band_factor(calibrated, 4, count)
    assert wide.simultaneous == promised
    np.testing.assert_allclose(wide.upper - wide.centre, factor * (narrow.upper - narrow.centre))


def test_a_run_keeps_what_few_rows_ask_for(
    random_model: Build, courses: Any, tmp_path: Path
) -> None:
    calibrated = calibrate(random_model(posterior=True), panel_of(random_model(), courses, 12))
    save_run(calibrated, tmp_path / "run")
    found, kept = few_of(load_run(tmp_path / "run")), few_of(calibrated)
    np.testing.assert_array_equal(found.counts, kept.counts)
    np.testing.assert_array_equal(found.scores, kept.scores)
    assert calibrated.calibration is not None
    some = calibrated.calibration.take(calibrated.calibration.agent[2:5])
    assert some is not None
    assert some.few is not None
    np.testing.assert_array_equal(some.few.scores, kept.scores[:, 2:5])
    old = replace(calibrated, calibration=calibrated.calibration._replace(few=None))
    assert band_factor(old, 4, 1) == band_factor(old, 4)


def test_where_agents_are_never_known_by_more_there_is_nothing_to_calibrate(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    assert calibrate(model, panel_of(model, courses, 5, length=3)).calibration is not None
    few = few_of(calibrate(model, panel_of(model, courses, 5, length=3)))
    assert few.counts.tolist() == [0, 1, 2]
    assert max(FEW_ROWS.counts) > 2
