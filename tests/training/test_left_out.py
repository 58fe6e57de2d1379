"""Models without some of the agents: their band is calibrated on these as well."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from twinfold import FitConfig, PanelDataset, UsageError, fit
from twinfold.models.factor_model import Structure
from twinfold.models.fitted_model import FittedModel
from twinfold.training.ensemble import TrainingContext
from twinfold.training.left_out import left_out_in_turn
from twinfold.training.model_selection import Choice, select_model
from twinfold.training.selection_settings import SELECTION

ROLES = {
    "agent": "id",
    "time": "t",
    "state": ["x"],
    "action": ["u"],
    "action_type": "continuous",
}
CONFIG = FitConfig(linear="slopes", rank=0, behaviour_steps=0)


def table(n_agents: int = 30, rows: int = 9, seed: int = 0) -> pd.DataFrame:
    """Levels of the agents' own, and noise."""
    rng, found = np.random.default_rng(seed), []
    for agent in range(n_agents):
        level, x, u = rng.normal(), np.zeros(rows), rng.normal(size=rows)
        for t in range(rows - 1):
            x[t + 1] = 0.6 * x[t] + level + 0.5 * u[t] + 0.3 * rng.normal()
        found.append(pd.DataFrame({"id": agent, "t": np.arange(rows), "x": x, "u": u}))
    return pd.concat(found, ignore_index=True)


@pytest.fixture(scope="module")
def parts() -> tuple[PanelDataset, FittedModel, Choice]:
    panel = PanelDataset.from_frame(table(), ROLES)
    problem = TrainingContext.of(panel, panel.transitions(), CONFIG)
    choice = select_model(panel, problem, lambda line: None)
    return panel, fit(panel, CONFIG, reserve=0), choice


def arrays(model: FittedModel) -> list[Any]:
    """Return all that was learned."""
    parts = (model.members, model.normalizer, model.posterior, model.sums)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(parts)]


def test_every_agent_is_left_out_once(parts: tuple[PanelDataset, FittedModel, Choice]) -> None:
    panel, model, choice = parts
    pairs = list(left_out_in_turn(model, panel, panel, choice))
    assert len(pairs) == SELECTION.left_out_groups
    out = [name for _, group in pairs for name in group.agent_ids]
    assert sorted(out) == sorted(panel.agent_ids)
    for without, group in pairs:
        assert set(without.agent_ids) == set(panel.agent_ids) - set(group.agent_ids)
        with pytest.raises(UsageError, match="unknown agent"):
            without.agent_indices(group.agent_ids[:1])


def test_nothing_of_the_agents_left_out_is_in_their_model(
    parts: tuple[PanelDataset, FittedModel, Choice],
) -> None:
    panel, model, choice = parts
    first, group = next(iter(left_out_in_turn(model, panel, panel, choice)))
    frame = table()
    frame.loc[frame["id"].isin(group.agent_ids), "x"] += 100.0
    other = PanelDataset.from_frame(frame, ROLES)
    again = next(iter(left_out_in_turn(model, other, other, choice)))[0]
    for one, two in zip(arrays(first), arrays(again), strict=True):
        np.testing.assert_array_equal(one, two)


def test_nets_are_not_trained_again(parts: tuple[PanelDataset, FittedModel, Choice]) -> None:
    panel, model, choice = parts
    nets = choice.candidate._replace(structure=Structure(joint=False, rank=2))
    assert not list(left_out_in_turn(model, panel, panel, choice._replace(candidate=nets)))
    much = replace(model, info=model.info.changed(transitions=SELECTION.few + 1))
    assert not list(left_out_in_turn(much, panel, panel, choice))


def test_the_band_is_calibrated_on_all_agents() -> None:
    panel, lines = PanelDataset.from_frame(table(), ROLES), []
    model = fit(panel, CONFIG, reserve=6, log=lines.append)
    calibration = model.calibration
    assert calibration is not None
    assert sorted(calibration.agent) == list(range(30))
    reserved = {model.agent_ids[n] for n in calibration.agent[:6]}
    assert reserved == set(model.agent_ids[24:])
    assert any("calibrated on 30 agents, each predicted by a fit without" in line for line in lines)
    left = calibration.scores[6:]
    assert np.isfinite(left).any(axis=1).all()
    # Agents of one kind: their scores are alike.
    assert 0.5 < np.nanmedian(left) / np.nanmedian(calibration.scores[:6]) < 2
