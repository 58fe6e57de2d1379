"""Fits of panels of every shape: few rows, uneven ones, constant columns, odd ids and units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError
from twinfold.metrics import trimmed_mean
from twinfold.models.rollout import rollout_members
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.uncertainty.conformal import reserve


@pytest.mark.parametrize(
    ("lengths", "held_out"),
    [
        ([25], True),  # one agent
        ([2], False),  # one agent, one transition
        ([2] * 6, False),  # one transition per agent
        ([3], True),
        ([2, 60, 3, 2, 7], True),  # very uneven
    ],
)
def test_small_and_uneven_panels(lengths: list[int], held_out: bool, pumps: Any) -> None:
    dataset = pumps.panel(lengths)
    model = fit(dataset, pumps.TINY.model_copy(update={"steps": 300}))
    assert model.agent_ids == tuple(f"P-{n}/ä" for n in range(len(lengths)))
    assert (model.band is not None) == held_out
    assert model.info.transitions == sum(lengths) - len(lengths)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(model.members))
    data = dataset.transitions()
    paths = rollout_members(
        model.members, model.normalizer, data.agent, data.state, data.action[:, None]
    )
    error = trimmed_mean(paths)[:, 0] - data.next_state
    assert np.abs(error).max() < 3  # seen in training; states are of size one


def test_a_constant_state_stays_constant(pumps: Any) -> None:
    frame = pumps.table([12] * 7).assign(constant=42.5)
    roles = {**pumps.ROLES, "state": ["flow", "constant", "pressure"]}
    dataset = PanelDataset.from_frame(frame, roles)
    model = fit(dataset, pumps.TINY.model_copy(update={"steps": 300}))
    actions = np.zeros((1, 20, 1))
    paths = rollout_members(
        model.members, model.normalizer, np.array([2]), dataset.state[:1], actions
    )
    np.testing.assert_allclose(paths[..., 1], 42.5, atol=0.01)


@pytest.mark.parametrize(
    "names",
    [
        [f"{n:08d}-58e1-4f0e-8d7c-0a1b2c3d4e5f" for n in range(5)],
        [3, 7, 12, 50, 100],
        ["007", "07", "7", "A b", "ü,;"],
    ],
)
def test_ids_reach_the_run_and_come_back_as_given(
    names: list[Any], tmp_path: Path, pumps: Any
) -> None:
    config = pumps.TINY.model_copy(update={"steps": 10, "validation_share": 0})
    fit(pumps.panel([5] * 5, names=names), config, out=tmp_path / "run")
    model = load_run(tmp_path / "run")
    assert model.agent_ids == tuple(names)
    assert [model.agent_index(name) for name in names] == list(range(5))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (1e-41, r"column 'flow' \(state\): values differ by .*e-41 at the most, too little"),
        (1e38, r"column 'flow' \(state\): .*e\+3. is too large in 60 rows"),
    ],
)
def test_units_that_float32_cannot_hold_are_refused_before_training(
    tmp_path: Path, size: float, words: str, pumps: Any
) -> None:
    rows = pumps.table([12] * 5)
    rows["flow"] *= size
    with pytest.raises(InvalidDataError, match=words):
        fit(PanelDataset.from_frame(rows, pumps.ROLES), pumps.TINY, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def holes_of(panel: PanelDataset, share: float = 0.3) -> PanelDataset:
    df = panel.to_frame()
    rng = np.random.default_rng(0)
    for name in panel.roles.state:
        df[name] = df[name].mask(rng.random(len(df)) < share)
    return PanelDataset.from_frame(df, panel.roles)


def test_a_table_with_holes_goes_through_all_that_a_run_can_do(tmp_path: Path, pumps: Any) -> None:
    from twinfold.adaptation.adapt import adapt
    from twinfold.validation.validate import validate

    own = pumps.coefficients(24)
    rng = np.random.default_rng(1)
    rows = []
    for n in range(24):
        state = rng.normal(size=2)
        for t in range(25):
            action = rng.normal()
            rows.append((n, t, *state, action if t < 24 else np.nan))
            state = pumps.respond(own[n], state, action)
    df = pd.DataFrame(rows, columns=["pump", "t", "flow", "pressure", "speed"])
    whole = PanelDataset.from_frame(df, pumps.ROLES)
    panel = holes_of(whole)
    some, others = reserve(panel, 4)
    config = FitConfig(effort="quick", rank=0, behaviour_steps=0)
    model = fit(some, config, out=tmp_path / "run", reserve=others)
    again = load_run(tmp_path / "run")
    assert again.sums.by_column
    np.testing.assert_array_equal(again.sums.gram, model.sums.gram)
    np.testing.assert_array_equal(
        again.posterior.evidence.missing, model.posterior.evidence.missing
    )
    assert again.posterior.evidence.missing.sum() > 0
    full = fit(whole, config, reserve=0)
    error = []
    start, actions = np.array([[0.5, -0.5]] * 20), rng.normal(size=(20, 10, 1))
    for fitted in (model, full):
        agents = fitted.agent_indices(some.agent_ids)
        paths = trimmed_mean(
            rollout_members(fitted.members, fitted.normalizer, agents, start, actions)
        )
        state, true = start, []
        for h in range(10):
            state = pumps.respond(
                own[[int(agent) for agent in some.agent_ids]], state, actions[:, h, 0]
            )
            true.append(state)
        error.append(np.sqrt(np.mean((paths - np.stack(true, axis=1)) ** 2)))
    assert error[0] < 3 * error[1] + 0.02
    report = validate(model, holes_of(whole, 0.2), seed=0)
    assert report.verdict is not None
    added = adapt(again, holes_of(whole.select_agents([3]), 0.5), warn=lambda line: None)
    assert np.isfinite(np.asarray(added.members.agents)).all()
