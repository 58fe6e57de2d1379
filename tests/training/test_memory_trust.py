"""How much transitions count of which not all earlier steps are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from twinfold import FitConfig, PanelDataset, Simulator, Tracker, adapt, fit, load_run
from twinfold.models.linear import fit_linear
from twinfold.models.linear_kinds import Ratio
from twinfold.models.linear_sums import linear_data
from twinfold.models.run_info import RunInfo
from twinfold.training.ensemble import TrainingContext

ROLES = {"agent": "id", "time": "t", "state": "x", "action": "u", "action_type": "continuous"}


def pendulums(n: int, length: int, noise: float, seed: int = 0) -> PanelDataset:
    """Of each the deflection and the push, not the speed; of noise alone if that is infinite."""
    rng, tables = np.random.default_rng(seed), []
    for k in range(n):
        pull, drag, (x, v) = rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.6), rng.normal(size=2)
        push, path = rng.normal(size=length), []
        for u in push:
            path.append(x)
            v += u - pull * x - drag * v
            x += v
        x = np.array(path) if np.isfinite(noise) else np.zeros(length)
        x = x + min(noise, 1.0) * rng.normal(size=length)
        tables.append(pd.DataFrame({"id": f"p{seed}-{k}", "t": range(length), "x": x, "u": push}))
    return PanelDataset.from_frame(pd.concat(tables), ROLES)


def problem_of(data: PanelDataset, history: int) -> TrainingContext:
    config = FitConfig(rank=0, behaviour_steps=0)
    return TrainingContext.of(data, data.transitions(), config).with_history(data, history)


def test_where_the_memory_tells_much_those_without_it_count_little() -> None:
    problem = problem_of(pendulums(12, 30, 0.01), 3)
    assert len(problem.trust) == 2
    assert max(problem.trust) < 0.01
    known, weight = problem.data.steps_known, problem.data.weight
    assert weight is not None
    assert (weight[known == 2] == 1).all()
    for steps, trust in enumerate(problem.trust):
        assert (weight[known == steps] == trust).all()
        assert (known == steps).sum() == 12


@pytest.mark.parametrize("length", [4, 30])
def test_of_noise_all_count(length: int) -> None:
    trust = problem_of(pendulums(40, length, np.inf), 3).trust
    assert all(0.5 < each <= 1 for each in trust)


def test_of_a_handful_all_count_in_full() -> None:
    problem = problem_of(pendulums(3, 9, 0.01), 3)
    assert problem.trust == ()
    assert problem.data.weight is None
    assert problem_of(pendulums(12, 30, 0.01), 1).trust == ()


def test_sums_are_those_of_rows_taken_by_their_weight() -> None:
    problem = problem_of(pendulums(4, 30, 0.01), 3)
    rows = np.arange(len(problem.data), dtype=np.int32)
    normalizer = problem.normalizer(rows)
    sums = problem.linear_data(normalizer, rows, ramps=False)
    by_column = replace(problem.data, present=np.ones(problem.data.state.shape, bool))
    slow = linear_data(normalizer, by_column, problem.n_agents, problem.n_levels)
    assert not sums.by_column
    assert slow.by_column
    for ratio in (Ratio(), Ratio(3.0, 3.0, 0.3, 3.0)):
        found, expected = (fit_linear(each, "slopes", ratio, 1.0) for each in (sums, slow))
        np.testing.assert_allclose(found.shared, expected.shared, atol=1e-9)
        np.testing.assert_allclose(found.factors, expected.factors, atol=1e-9)
        np.testing.assert_allclose(found.noise, expected.noise, atol=1e-9)


def test_known_and_new_agents_are_predicted_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Than if all counted alike; and the run keeps what they count."""
    data, late = pendulums(20, 30, 0.001), pendulums(8, 30, 0.001, seed=1)
    frame: Any = late.to_frame()
    new = PanelDataset.from_frame(frame[frame["t"] < 12], ROLES)
    settings = FitConfig(rank=0, behaviour_steps=0, linear="slopes", history=3)
    model = fit(data, settings, reserve=0, out=tmp_path / "run")
    again: Any = load_run(tmp_path / "run")
    assert again.info.memory_trust == model.info.memory_trust
    assert len(model.info.memory_trust) == 2
    monkeypatch.setattr("twinfold.training.ensemble.memory_trust", lambda *_: ())
    alike = fit(data, settings, reserve=0)
    assert alike.info.memory_trust == ()
    assert model.info.validation["rmse"] < 0.7 * alike.info.validation["rmse"]
    errors = []
    begins = [np.flatnonzero(late.agent == n)[11] for n in range(8)]
    for each in (again, alike):
        wider, left = adapt(each, new), []
        for agent, begin in zip(late.agent_ids, begins, strict=True):
            before = np.c_[late.state, late.action][begin - 2 : begin]
            told = late.state[begin], late.action[begin : begin + 10]
            path = Simulator(wider, agent).rollout(*told, before=before).centre
            left.append(path - late.state[begin + 1 : begin + 11])
        errors.append(np.sqrt(np.mean(np.square(left))))
    assert errors[0] < 0.7 * errors[1]


def test_one_at_a_time_they_count_as_all_at_once() -> None:
    settings = FitConfig(rank=0, behaviour_steps=0, linear="slopes", history=3)
    model = fit(pendulums(20, 30, 0.01), settings, reserve=0)
    assert model.info.memory_trust
    new = pendulums(1, 9, 0.01, seed=1)
    tracker = Tracker(model, "p1-0")
    for row in range(8):
        tracker.observe(new.state[row], new.action[row], new.state[row + 1])
    wider = adapt(model, new)
    evidence = wider.posterior.evidence.take(np.array([20]))
    np.testing.assert_allclose(tracker.evidence.gram, evidence.gram, rtol=1e-5)
    np.testing.assert_allclose(tracker.evidence.moment, evidence.moment, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(tracker.updated().sums.gram[20], wider.sums.gram[20], rtol=1e-9)


def test_a_record_has_one_for_each_step() -> None:
    assert RunInfo(history=3, memory_trust=(0.1, 1.0)).memory_trust == (0.1, 1.0)
    for trust in ((0.1,), (0.0, 1.0), (0.5, 1.5)):
        with pytest.raises(ValidationError):
            RunInfo(history=3, memory_trust=trust)
