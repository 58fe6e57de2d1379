"""Calibrated bands: who is reserved, the scores against loops, and the promise by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.adaptation.adapt import adapt, with_transitions
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.data.windows import split_ends
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import Posterior
from twinfold.simulation.simulator import Simulator
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.uncertainty.conformal import (
    calibrate,
    default_reserved,
    reserve,
    split_reserved,
)
from twinfold.uncertainty.intervals import conformal_factor

Build = Callable[..., FittedModel]

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip


def known(model: FittedModel) -> Posterior:
    assert model.posterior is not None
    return model.posterior


def ignore(line: str) -> None:
    pass


# Who is reserved


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, 0), (59, 0), (60, 20), (209, 20), (219, 21), (999, 99), (1000, 100), (10**6, 100)],
)
def test_a_tenth_is_reserved_within_limits(number: int, expected: int) -> None:
    assert default_reserved(number) == expected


def visits(rows: list[int]) -> PanelDataset:
    """Agents of so many rows."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": np.repeat(np.arange(len(rows)), rows)})
    table["t"] = table.groupby("id").cumcount()
    table["x"], table["a"] = rng.normal(size=(2, len(table)))
    return PanelDataset.from_frame(table, ROLES)


def test_agents_of_a_single_transition_are_not_reserved_where_there_are_others() -> None:
    panel = visits([2] * 30 + [6] * 70)
    _, reserved = split_reserved(panel, "auto")
    assert reserved is not None
    assert reserved.n_agents == 20
    assert not set(reserved.agent_ids) & set(range(30))
    assert split_reserved(visits([2] * 100 + [6] * 59), "auto")[1] is None


@pytest.mark.parametrize("wanted", ["auto", 20])
def test_a_panel_of_single_transitions_makes_a_run_that_can_be_read(
    wanted: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    config = FitConfig(rank=0, behaviour_steps=0)
    model = fit(visits([2] * 80), config, out=tmp_path / "run", reserve=wanted, log=said.append)
    assert model.calibration is None
    again = load_run(tmp_path / "run")
    assert again.calibration is None
    assert again.band is not None
    warned = [line for line in said if "none has two transitions" in line]
    assert len(warned) == (wanted != "auto")


@given(number=st.integers(1, 8), seed=st.integers(0, 100))
@settings(max_examples=15)
def test_every_agent_is_fitted_or_reserved(
    random_model: Build, courses: Any, number: int, seed: int
) -> None:
    model = random_model()
    ids = [f"z{n}" for n in range(9)]
    panel = courses.panel(model, range(1, 10), np.ones((9, 3)), ids=ids)
    used, reserved = reserve(panel, number, seed)
    assert reserved.n_agents == number
    assert sorted(used.agent_ids + reserved.agent_ids) == sorted(ids)
    assert used.n_transitions + reserved.n_transitions == panel.n_transitions == 45
    for part in (used, reserved):
        order = [ids.index(str(name)) for name in part.agent_ids]
        assert order == sorted(order)
        counts = np.bincount(part.transitions().agent).tolist()
        assert counts == [n + 1 for n in order]  # each with its own data
        assert part.action_levels is panel.action_levels
    again = reserve(panel, number, seed)[1]
    assert again.agent_ids == reserved.agent_ids


def test_the_seed_decides_who_is_reserved(random_model: Build, courses: Any) -> None:
    panel = courses.panel(random_model(), [2] * 9, np.ones((9, 3)), ids=range(9))
    drawn = {reserve(panel, 3, seed)[1].agent_ids for seed in range(20)}
    assert len(drawn) > 10
    assert set().union(*drawn) == set(range(9))


# The factor


@given(
    values=st.lists(st.floats(0, 100), max_size=25),
    coverage=st.sampled_from([0.1, 0.5, 0.8, 0.9, 0.95]),
    gone=st.integers(0, 5),
)
@settings(max_examples=60)
def test_the_factor_is_the_least_score_that_enough_agents_stay_below(
    values: list[float], coverage: float, gone: int
) -> None:
    scores = np.array([[0.0, x] for x in values] + [[0.0, np.nan]] * gone).reshape(-1, 2)
    factor, number = conformal_factor(scores, coverage, 2)
    assert number == len(values)
    needed = coverage * (len(values) + 1) - 1e-9
    enough = [q for q in values if sum(x <= q for x in values) >= needed]
    assert factor == min(enough, default=math.inf)
    assert conformal_factor(scores, coverage, 9) == (factor, number)


@pytest.mark.parametrize(("number", "coverage"), [(9, 0.9), (20, 0.9), (33, 0.8), (5, 0.5)])
def test_exchangeable_agents_are_held_as_often_as_promised(number: int, coverage: float) -> None:
    """And not much more often: by 1 / (n + 1) at the most."""
    rng, trials = np.random.default_rng(number), 6000
    held = 0
    for _ in range(trials):
        scores = rng.exponential(size=number + 1) ** 2
        held += scores[-1] <= conformal_factor(scores[:-1, None], coverage, 1)[0]
    error = 3 * math.sqrt(coverage * (1 - coverage) / trials)
    assert coverage - error <= held / trials <= coverage + 1 / (number + 1) + error


# The scores of a model


def without_walls(model: FittedModel) -> FittedModel:
    far = np.full(len(model.roles.state), np.inf)
    return replace(model, normalizer=replace(model.normalizer, low=-far, high=far))


@pytest.mark.parametrize("kind", [{}, {"discrete": False, "features": "joint", "angles": (1,)}])
def test_scores_are_those_of_new_agents_whose_end_is_hidden(
    random_model: Build, courses: Any, kind: dict[str, Any]
) -> None:
    model = without_walls(random_model(posterior=True, **kind))
    factors = np.random.default_rng(3).normal(size=(4, 3))
    lengths, ids = [11, 6, 1, 3], ["a", "b", "c", "d"]
    panel = courses.panel(model, lengths, factors, ids=ids, seed=6)
    data = courses.transitions(model, panel)
    calibrated = calibrate(model, panel)
    assert calibrated.calibration is not None
    scores = calibrated.calibration.scores
    assert scores.shape == (3, 50)  # one agent has a single transition
    before, _ = split_ends(data)
    partly = with_transitions(model, panel.agent_ids, before)
    for row, name in enumerate(["a", "b", "d"]):
        own = np.flatnonzero(data.agent == ids.index(name))
        window = len(own) // 2
        own = own[-window:]
        actions: Any = data.action[own]
        if model.action_levels is not None:
            actions = model.action_levels[actions]
        else:
            low, high = model.ranges.action_low, model.ranges.action_high
            wide = low.min() - 100, high.max() + 100
            partly = replace(
                partly,
                ranges=model.ranges._replace(
                    action_low=np.full(2, wide[0]), action_high=np.full(2, wide[1])
                ),
            )
        rollout = Simulator(partly, name).rollout(data.state[own[0]], actions, ignore)
        away = np.abs(rollout.centre - data.next_state[own])
        for d in map(model.roles.state.index, model.roles.angle):
            away[:, d] = np.abs((away[:, d] + np.pi) % (2 * np.pi) - np.pi)
        worst = np.maximum.accumulate((away / (rollout.upper - rollout.centre)).max(axis=1))
        np.testing.assert_allclose(scores[row, :window], worst, rtol=1e-3)
        assert np.isnan(scores[row, window:]).all()


def test_reserved_agents_are_then_known_by_all_of_their_data(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    factors = np.random.default_rng(3).normal(size=(3, 3))
    panel = courses.panel(model, [11, 6, 1], factors, ids=["a", "b", "c"], seed=6)
    calibrated = calibrate(model, panel)
    adapted = adapt(model, panel, warn=ignore)
    assert calibrated.agent_ids == adapted.agent_ids
    np.testing.assert_array_equal(calibrated.members.agents, adapted.members.agents)
    assert known(calibrated).evidence.count.tolist() == [12] * 5 + [11, 6, 1]
    assert known(calibrated).trained.tolist() == [True] * 5 + [False] * 3
    assert calibrated.info.reserved_agents == 3
    with pytest.raises(UsageError, match="has had this data already"):
        adapt(calibrated, panel, warn=ignore)


def test_levels_of_reserved_agents_are_matched_by_value(random_model: Build, courses: Any) -> None:
    """A table of theirs in which not every level occurs counts them otherwise than the model."""
    model = random_model(posterior=True)
    frame = courses.table(model, [30], np.ones((1, 3)), ids=["a"], seed=5)
    frame = frame[: int(np.argmax(frame["a0"] == -1))]
    frame.loc[frame.index[-1], "a0"] = None
    panel = PanelDataset.from_frame(frame, model.roles)
    assert panel.action_levels is not None
    assert -1 not in panel.action_levels.tolist()
    one, other = calibrate(model, panel), adapt(model, panel, warn=ignore)
    np.testing.assert_array_equal(one.members.agents, other.members.agents)


def test_the_calibrated_band_is_the_plain_one_as_many_times_wider(
    random_model: Build, courses: Any
) -> None:
    model = without_walls(random_model(posterior=True))
    factors = np.random.default_rng(3).normal(size=(12, 3))
    ids = [f"r{n}" for n in range(12)]
    calibrated = calibrate(model, courses.panel(model, [12] * 12, factors, ids=ids, seed=6))
    assert calibrated.calibration is not None
    state, levels = model.normalizer.state_mean, [5, 0, -1, 7]
    plain, wide = (
        Simulator(m, "u1").rollout(state, levels, ignore)
        for m in (replace(calibrated, calibration=None), calibrated)
    )
    assert (plain.simultaneous, wide.simultaneous) == (False, True)
    factor = sorted(calibrated.calibration.scores[:, 3])[math.ceil(13 * 0.9) - 1]
    np.testing.assert_array_equal(wide.centre, plain.centre)
    np.testing.assert_allclose(wide.upper - wide.centre, factor * (plain.upper - plain.centre))
    far = Simulator(calibrated, "u1").rollout(state, [5] * 7, ignore)  # the ends have six steps
    assert not far.simultaneous


def test_reserved_agents_without_an_end_promise_nothing(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    panel = courses.panel(model, [1, 1], np.ones((2, 3)), ids=["a", "b"])
    calibrated = calibrate(model, panel)
    assert calibrated.calibration is None
    assert calibrated.agent_ids == (*model.agent_ids, "a", "b")
    rollout = Simulator(calibrated, "a").rollout(model.normalizer.state_mean, [5, 0], ignore)
    assert not rollout.simultaneous
    assert np.isfinite(rollout.upper).all()
