"""Where the data of agents ended, through fitting, adapting and forgetting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twinfold.adaptation.adapt import adapt, forget
from twinfold.adaptation.online import Tracker
from twinfold.errors import RunError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.recent import last_starts, last_times
from twinfold.models.rollout import predict_paths
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

Build = Callable[..., FittedModel]


def ignore(line: str) -> None:
    pass


@pytest.fixture(params=[{}, {"history": 3}, {"history": 3, "changes_alone": True}], ids=str)
def model(request: Any, random_model: Build) -> FittedModel:
    return random_model(**request.param, angles=(1,), posterior=True, members=2)


def width(model: FittedModel) -> int:
    """B, numbers that are remembered of a step."""
    return 3 + len(model.normalizer.acted_mean)


def course(model: FittedModel, models: Any, agent: str, length: int = 6, seed: int = 5) -> Any:
    factors = np.random.default_rng(3).normal(size=(1, 3))
    return models.panel_of(model, [length], factors, ids=[agent], seed=seed)


def test_it_is_the_last_row_and_the_steps_before_it(model: FittedModel, models: Any) -> None:
    panel = course(model, models, "u1")
    data = models.transitions_of(model, panel)
    found = last_starts(data, 1, panel.roles)
    np.testing.assert_array_equal(found[0, :3], panel.state[-1])
    for back in range(1, model.history):
        change = panel.state[-back] - panel.state[-back - 1]
        change[1] = np.arctan2(np.sin(change[1]), np.cos(change[1]))
        step = found[0, 3:].reshape(-1, width(model))[back - 1]
        np.testing.assert_allclose(step[:3], change, atol=1e-12)
        if width(model) > 3:
            np.testing.assert_array_equal(step[3:], np.arange(4) == data.action[-back])


def test_an_agent_without_a_transition_ended_nowhere(model: FittedModel, models: Any) -> None:
    data = models.transitions_of(model, course(model, models, "u1"))
    found = last_starts(data, 3, model.roles)
    assert np.isnan(found[1:]).all()
    empty = last_starts(data.select(np.zeros(0, int)), 2, model.roles)
    assert empty.shape == (2, 3 + width(model) * (model.history - 1))
    assert np.isnan(empty).all()


def test_times_are_those_of_the_last_rows_that_follow_another(
    model: FittedModel, models: Any
) -> None:
    factors = np.random.default_rng(3).normal(size=(3, 3))
    panel = models.panel_of(model, [6, 1, 4], factors, ids=["a", "b", "c"], seed=5)
    ends = [panel.time[panel.agent == n].max() for n in range(3)]
    np.testing.assert_array_equal(last_times(panel), ends)
    alone = replace(panel, segment=np.arange(len(panel.segment), dtype=np.int32))
    assert np.isnan(last_times(alone)).all()


def test_new_data_moves_it_and_forgetting_drops_it(model: FittedModel, models: Any) -> None:
    panel = course(model, models, "new")
    adapted = adapt(model, panel, warn=ignore)
    np.testing.assert_array_equal(adapted.recent[:-1], model.recent)
    expected = last_starts(models.transitions_of(model, panel), 1, panel.roles)[0]
    np.testing.assert_array_equal(adapted.recent[-1], expected)
    assert adapted.ended is not None
    np.testing.assert_array_equal(adapted.ended, [*[np.nan] * 5, panel.time[-1]])
    again = adapt(adapted, course(model, models, "u2", 9, seed=7), warn=ignore)
    assert again.ended is not None
    last = np.array([np.nan, np.nan, 9, np.nan, np.nan, panel.time[-1]])
    np.testing.assert_array_equal(again.ended, last)
    left = forget(again, ["u0", "u1"])
    np.testing.assert_array_equal(left.recent, again.recent[2:])
    np.testing.assert_array_equal(left.ended, last[2:])


def test_a_tracker_ends_where_it_was_led(model: FittedModel, models: Any) -> None:
    panel = course(model, models, "u3")
    data, tracker = panel.transitions(), Tracker(model, "u3")
    for k in range(len(data)):
        level = int(panel.action_levels[data.action[k]])
        tracker.observe(data.state[k], level, data.next_state[k])
    at_once = adapt(model, panel, warn=ignore)
    followed = tracker.updated()
    np.testing.assert_allclose(followed.recent, at_once.recent, atol=1e-12)
    assert followed.ended is not None
    assert np.isnan(followed.ended).all()  # it is told no times
    # The memory of what was observed is that of the table.
    mine, theirs = (np.asarray(x.members.agents) for x in (followed, at_once))
    np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


def test_a_run_keeps_it(model: FittedModel, tmp_path: Any) -> None:
    model = replace(model, ended=np.arange(5.0))
    save_run(model, tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    assert loaded.history == model.history
    assert loaded.ended is not None
    np.testing.assert_array_equal(loaded.ended, np.arange(5))
    np.testing.assert_array_equal(loaded.recent, model.recent)
    mean = loaded.normalizer.acted_mean
    np.testing.assert_array_equal(mean, model.normalizer.acted_mean)
    asked = np.array([1]), model.recent[[1]], np.array([[0, 3, 1, 2]])
    pairs = zip(predict_paths(loaded, *asked), predict_paths(model, *asked), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)


def test_a_memory_of_other_numbers_is_no_run(random_model: Build, tmp_path: Any) -> None:
    model = random_model(history=2)
    three = {name: getattr(model.normalizer, name)[:3] for name in ("acted_mean", "acted_scale")}
    save_run(replace(model, normalizer=replace(model.normalizer, **three)), tmp_path / "run")
    with pytest.raises(RunError, match="differ in what a memory holds"):
        load_run(tmp_path / "run")
