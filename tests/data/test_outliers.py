"""Spikes are found whatever the column, and no column of a usual kind has any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import PanelDataset
from twinfold.data.outliers import spike_rows, spikes
from twinfold.data.validate import check

Rng = np.random.Generator
Kind = Callable[[Rng, int, int], Any]

ROLES = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
}  # fmt: skip


def walk(rng: Rng, n_agents: int, length: int) -> Any:
    return rng.normal(size=(n_agents, length)).cumsum(axis=1).ravel()


def own_sizes(rng: Rng, n_agents: int, length: int) -> Any:
    sizes = np.exp(3 * rng.normal(size=n_agents))
    return np.repeat(sizes, length) * np.exp(0.1 * rng.normal(size=n_agents * length))


def one_giant(rng: Rng, n_agents: int, length: int) -> Any:
    sizes = np.r_[1e6, np.exp(rng.normal(size=n_agents - 1))]
    return np.repeat(sizes, length) * np.exp(0.1 * rng.normal(size=n_agents * length))


def growth(rng: Rng, n_agents: int, length: int) -> Any:
    rates = np.repeat(rng.gamma(2, 0.1, n_agents), length)
    return np.exp(rates * np.tile(np.arange(length), n_agents))


KINDS: dict[str, Kind] = {
    "normal": lambda rng, n, t: rng.normal(size=n * t),
    "lognormal": lambda rng, n, t: np.exp(2 * rng.normal(size=n * t)),
    "Student": lambda rng, n, t: rng.standard_t(2, size=n * t),
    "Pareto": lambda rng, n, t: rng.pareto(1.2, size=n * t),
    "counts": lambda rng, n, t: rng.poisson(3, size=n * t).astype(float),
    "rare counts": lambda rng, n, t: rng.poisson(0.01, size=n * t).astype(float),
    "flag": lambda rng, n, t: (rng.random(n * t) < 0.3) * 1.0,
    "rare flag": lambda rng, n, t: (np.arange(n * t) == n * t // 2) * 1.0,
    "rare absence": lambda rng, n, t: 1.0 - (rng.random(n * t) < 0.002),
    "percent flag": lambda rng, n, t: (rng.random(n * t) < 0.05) * 100.0,
    "rain": lambda rng, n, t: (rng.random(n * t) < 0.2) * rng.gamma(0.7, 12.0, n * t),
    "constant": lambda rng, n, t: np.full(n * t, 7.5),
    "rounding": lambda rng, n, t: np.where(rng.random(n * t) < 0.002, 0.1 + 0.2, 0.3),
    "two regimes": lambda rng, n, t: np.repeat([0.0, 1e4], [n * t // 2, n * t - n * t // 2]),
    "walk": walk,
    "own sizes": own_sizes,
    "one giant": one_giant,
    "growth": growth,
}  # fmt: skip

SHAPES = [(3, 20), (8, 300), (100, 20), (500, 22)]


@pytest.mark.parametrize("name", KINDS)
def test_no_false_alarm(name: str) -> None:
    for n_agents, length in SHAPES:
        agent = np.repeat(np.arange(n_agents), length)
        for seed in range(5):
            values = KINDS[name](np.random.default_rng(seed), n_agents, length)
            assert spikes(values, agent).tolist() == [], (n_agents, length, seed)


@pytest.mark.parametrize(
    "name", ["normal", "Student", "counts", "flag", "rare flag", "rain", "constant", "walk"]
)
@pytest.mark.parametrize("height", [1e6, -1e6])
def test_a_spike_is_found(name: str, height: float) -> None:
    for n_agents, length in SHAPES:
        agent = np.repeat(np.arange(n_agents), length)
        values = KINDS[name](np.random.default_rng(1), n_agents, length).astype(float)
        values[n_agents * length // 3] = height
        assert spikes(values, agent).tolist() == [n_agents * length // 3], (n_agents, length)


def test_the_farthest_of_several_comes_first() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    values[[100, 300, 700]] = [1e4, -3e4, 2e4]
    assert spikes(values, np.repeat(np.arange(20), 50)).tolist() == [300, 700, 100]


def test_a_spike_beside_zeros_is_one_line_with_its_place() -> None:
    frame = pd.DataFrame({"id": np.repeat(["A", "B"], 30), "t": np.tile(np.arange(30), 2)})
    frame["a"], frame["x"] = np.random.default_rng(0).normal(size=60), 0.0
    frame.loc[40, "x"] = 1e5
    report = check(frame, ROLES)
    assert report.ok
    assert report.warnings == (
        "column 'x' (state): 1 value far from all others (all 0), 100000 at row 40, agent 'B'; if "
        "that is a mistake, correct it, or drop the row: the trajectory is then split there",
    )
    assert PanelDataset.from_frame(frame, ROLES).warnings == report.warnings


def test_spikes_of_actions_are_told_but_not_of_angles() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.repeat(["A", "B"], 100), "t": np.tile(np.arange(100), 2)})
    frame["a"], frame["x"] = rng.normal(size=200), rng.normal(size=200)
    frame.loc[[3, 150], "a"] = [500.0, -700.0]
    frame.loc[7, "x"] = 2000 * np.pi
    (line,) = check(frame, {**ROLES, "angle": ["x"]}).warnings
    assert line.startswith("column 'a' (action): 2 values far from all others (-")
    assert "the farthest -700 at row 150, agent 'B'" in line


def test_several_doses_beside_zeros_are_no_spikes_and_stay_in_the_fit() -> None:
    """One dose each in long recordings: as rare as slips of the keyboard, and all there is."""
    minutes = np.tile(np.arange(600), 6)
    frame = pd.DataFrame({"id": np.repeat(np.arange(6), 600), "t": minutes,
                          "x": np.random.default_rng(0).normal(size=3600),
                          "a": np.where(minutes == 40, 500.0, 0.0)})  # fmt: skip
    frame.loc[frame["id"] > 2, "a"] = 0.0
    panel = PanelDataset.from_frame(frame, ROLES)
    assert spike_rows(panel).tolist() == []
    assert any("3 of 3594 rows make up 100 % of its variation" in w for w in panel.warnings)
    frame.loc[frame["id"] > 0, "a"] = 0.0  # a single one may be a slip
    panel = PanelDataset.from_frame(frame, ROLES)
    assert spike_rows(panel).tolist() == [40]
    assert any("500 at row 40, agent 0; it carries all that is known" in w for w in panel.warnings)


def test_numbers_for_no_value_are_told_once() -> None:
    frame = pd.DataFrame({"id": np.repeat(np.arange(20), 50), "t": np.tile(np.arange(50), 20),
                          "x": np.random.default_rng(0).normal(100, 5, 1000).round(),
                          "a": np.random.default_rng(1).normal(size=1000)})  # fmt: skip
    frame.loc[[100, 400], "x"] = 9999
    (line,) = check(frame, ROLES).warnings
    assert "9999 in 2 rows" in line
    assert "stands for no value" in line
