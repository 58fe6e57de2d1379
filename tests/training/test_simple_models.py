"""Simple models: how much agents differ, up to any number of times the noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models.linear_kinds import LINEAR, Ratio, ratios, wide_ratios, wider
from twinfold.training.ensemble import TrainingContext
from twinfold.training.fit import fit
from twinfold.training.folds import cut_folds
from twinfold.training.run_directory import load_run
from twinfold.training.selection_settings import SELECTION
from twinfold.training.simple_models import best_simple, simplest
from twinfold.training.trials import Candidate, Trials

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip


def trials(spread: float, noise: float, seed: int = 0, counts: float | None = None) -> Trials:
    """Linear agents whose levels and slopes differ by ``spread``; ``counts``: each transition."""
    rng, rows = np.random.default_rng(seed), []
    for n in range(24):
        keep, gain, level = 0.6 + 0.1 * spread * rng.normal(), *(spread * rng.normal(size=2) + 1)
        x = rng.normal()
        for t in range(14):
            a = rng.normal()
            rows.append((n, t, x, a))
            x = keep * x + gain * a + level + noise * rng.normal()
    panel = PanelDataset.from_frame(pd.DataFrame(rows, columns=["id", "t", "x", "a"]), ROLES)
    problem = TrainingContext.of(panel, panel.transitions(), FitConfig(rank=0))
    if counts is not None:
        data = replace(problem.data, weight=np.full(problem.data.state.shape, counts))
        problem = problem._replace(data=data)
    return Trials(problem, cut_folds(panel, problem))


def slopes_of(tried: Trials) -> tuple[Any, Any]:
    """The best linear model with own slopes, and the best of the usual menu."""
    _, found = best_simple(tried, tried.simple(Candidate("no change")), lambda _: None)
    usual = [tried.simple(Candidate("slopes", ratio=ratio)) for ratio in ratios("slopes")]
    (slopes,) = [trial for trial in found if trial.candidate.linear == "slopes"]
    return slopes, usual[simplest(tried, usual)]


@pytest.mark.parametrize("noise", [0.1, 1e-4])
def test_agents_may_differ_by_far_more_than_the_noise(noise: float) -> None:
    best, usual = slopes_of(trials(1.0, noise))
    assert best.candidate.ratio.level > LINEAR.own[-1]
    assert best.mean < 0.8 * usual.mean


def test_agents_that_share_nothing_may_differ_by_a_little_less_error() -> None:
    """Slopes and effects of either sign: one model for all says no more than no change."""
    rng, rows = np.random.default_rng(302), []
    for n in range(40):
        keep, (gain, level), a = rng.uniform(0.1, 0.9), rng.normal(size=2), rng.normal(size=9)
        x = level / (1 - keep) + 0.8 * rng.normal()
        for t in range(9):
            rows.append((n, t, x + 0.4 * rng.normal(), a[t]))
            x = keep * x + gain * a[t] + level
    panel = PanelDataset.from_frame(pd.DataFrame(rows, columns=["id", "t", "x", "a"]), ROLES)
    problem = TrainingContext.of(panel, panel.transitions(), FitConfig(rank=0))
    best, usual = slopes_of(Trials(problem, cut_folds(panel, problem)))
    assert max(best.candidate.ratio[:3]) > LINEAR.own[-1]
    assert SELECTION.far_less < best.mean / usual.mean < SELECTION.less


def test_next_to_no_noise_does_not_look_like_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a little less error is enough there."""
    tried = trials(0.5, 0.1)
    idle = tried.simple(Candidate("no change"))
    best, usual = slopes_of(tried)
    assert best.mean < SELECTION.low_noise * idle.mean
    assert best.candidate != usual.candidate
    assert SELECTION.far_less < best.mean / usual.mean < SELECTION.less
    noisy = replace(SELECTION, low_noise=0.0)
    monkeypatch.setattr("twinfold.training.simple_models.SELECTION", noisy)
    assert slopes_of(tried)[0].candidate == usual.candidate


def test_agents_that_hardly_differ_keep_the_usual_menu() -> None:
    best, usual = slopes_of(trials(0.1, 0.5))
    assert best.candidate == usual.candidate


def test_wider_menus_go_on_where_the_last_ended() -> None:
    for memory in (False, True):
        for ratio in wide_ratios("slopes", memory):
            ends = LINEAR.own[-1], LINEAR.own[-1], LINEAR.own_action[-1]
            assert any(value > end for value, end in zip(ratio, ends, strict=False))
            assert max(ratio.state, ratio.action) <= LINEAR.apart * ratio.level
            assert ratio.memory == (ratio.state if memory else 0.0)
    assert wide_ratios("pooled") == []
    ends = Ratio(LINEAR.wide[-1], LINEAR.wide[-1], LINEAR.wide_action[-1])
    more = wider(ends)
    assert len(more) == 4
    assert all(np.all(np.greater_equal(ratio, ends)) and ratio != ends for ratio in more)
    assert wider(Ratio(3.0, 3.0, 3.0)) == []
    assert wider(Ratio(LINEAR.widest, LINEAR.widest, LINEAR.widest)) == []


@pytest.mark.parametrize("counts", [None, 1.0, 0.05])
def test_no_change_is_kept_where_what_was_observed_counts_for_next_to_nothing(counts: Any) -> None:
    tried = trials(0.0, 1.0, counts=counts)
    thin = counts is not None and counts < 1
    assert (tried.problem.evidence < SELECTION.handful) == thin
    idle, lines = tried.simple(Candidate("no change")), []
    best, found = best_simple(tried, idle, lines.append)
    assert best is not None
    # A little better by what is held out, which is filled in by such models as well.
    assert SELECTION.far_less < min(trial.mean for trial in found) / idle.mean < 1
    assert (best is idle) == thin
    assert any("too few to prefer any" in line for line in lines) == thin


def test_far_less_error_is_believed_of_little_too() -> None:
    tried = trials(0.0, 0.1, counts=0.05)
    best, _ = best_simple(tried, tried.simple(Candidate("no change")), lambda _: None)
    assert best is not None
    assert best.candidate.linear != "no change"


@pytest.mark.parametrize("acts", [True, False])
def test_what_acted_is_remembered_where_it_tells_something(acts: bool, tmp_path: Path) -> None:
    """Of an oscillation that a push reaches a row late, or never does."""
    # Half a standard error errs now and then: with seed 0 a push that does nothing is remembered.
    rng, rows = np.random.default_rng(2), []
    for agent in range(12):
        push, x = rng.normal(size=26), np.zeros(26)
        x[:2] = rng.normal(size=2)
        for t in range(1, 25):
            x[t + 1] = 1.6 * x[t] - 0.8 * x[t - 1] + acts * 0.5 * push[t - 1] + 0.05 * rng.normal()
        rows.append(pd.DataFrame({"id": agent, "t": range(26), "x": x, "push": push}))
    roles = {"agent": "id", "time": "t", "state": "x", "action": "push"}
    panel = PanelDataset.from_frame(pd.concat(rows), {**roles, "action_type": "continuous"})
    settings = FitConfig(history="auto", rank=0, behaviour_steps=0)
    said: list[str] = []
    model = fit(panel, settings, reserve=0, log=said.append, out=tmp_path / "run")
    assert model.history > 1
    assert len(model.normalizer.acted_mean) == acts
    assert any("rows (how the state changed alone)" in line for line in said) != acts
    loaded = load_run(tmp_path / "run")
    np.testing.assert_array_equal(loaded.normalizer.acted_mean, model.normalizer.acted_mean)
    trials = model.info.validation["trials"]
    assert any(trial.get("changes_alone", False) for trial in trials) != acts


@pytest.mark.parametrize(
    ("drift", "average", "chosen"),
    [
        (0.95, 0.97, "average"),
        (0.95, 1.02, "drift"),
        (0.80, 0.97, "drift"),
        (1.00, 0.97, "average"),
        (1.01, 0.97, "no change"),
        (1.00, 1.02, "no change"),
    ],
)
def test_an_average_worse_than_no_change_guards_against_nothing(
    monkeypatch: pytest.MonkeyPatch, drift: float, average: float, chosen: str
) -> None:
    found = trials(1.0, 0.1)
    idle = found.simple(Candidate("no change"))
    times = {"drift": drift, "average": average}

    def simple(candidate: Candidate) -> Any:
        errors = [times.get(str(candidate.linear), 1.2) * each for each in idle.errors]
        return idle._replace(candidate=candidate, errors=errors)

    monkeypatch.setattr(found, "simple", simple)
    best, _ = best_simple(found, idle, lambda _: None)
    assert best is not None
    assert best.candidate.linear == chosen
