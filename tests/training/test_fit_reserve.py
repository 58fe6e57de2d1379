"""A fit with reserved agents: the band, what is kept of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError, RunError, UsageError
from twinfold.metrics import trimmed_mean
from twinfold.models.rollout import rollout_members
from twinfold.simulation.simulator import Simulator
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.uncertainty.conformal import reserve


@pytest.fixture(scope="module")
def parts(pumps: Any) -> tuple[PanelDataset, PanelDataset]:
    """Seven agents to fit and five to calibrate on."""
    return reserve(pumps.panel([12] * 12), 5)


def test_reserved_agents_calibrate_the_band_and_are_known(
    parts: tuple[PanelDataset, PanelDataset], tmp_path: Path, pumps: Any
) -> None:
    used, reserved = parts
    config = pumps.TINY.model_copy(update={"steps": 300, "band": 0.6})
    lines: list[str] = []
    model = fit(used, config, reserve=reserved, out=tmp_path / "run", log=lines.append)
    alone = fit(used, config)
    assert any("calibrated on 5 agents that the nets have not seen" in line for line in lines)
    assert model.agent_ids == used.agent_ids + reserved.agent_ids
    for got, expected in zip(
        jax.tree.leaves((model.members, model.normalizer, model.band)),
        jax.tree.leaves((alone.members, alone.normalizer, alone.band)),
        strict=True,
    ):  # nothing but the factors of more agents
        np.testing.assert_array_equal(got[:, :7] if np.shape(got) == (2, 12, 4) else got, expected)
    assert model.posterior.trained.tolist() == [True] * 7 + [False] * 5
    assert model.info.agents == 7
    assert model.info.reserved_agents == 5
    assert model.calibration is not None
    assert np.isfinite(model.calibration.scores[:, :5]).all()  # half of eleven transitions
    assert np.isnan(model.calibration.scores[:, 5:]).all()
    assert np.all(np.diff(model.calibration.scores[:, :5], axis=1) >= 0)
    simulator = Simulator(model, reserved.agent_ids[2])
    state, actions = reserved.state[0], [0.1, -0.3, 0.2, 0.0, 0.4]
    rollouts = [simulator.rollout(state, actions[:h], lambda line: None) for h in (4, 5)]
    rollouts.append(simulator.rollout(state, [*actions, 0.1], lambda line: None))
    assert [rollout.simultaneous for rollout in rollouts] == [True, True, False]
    assert not Simulator(alone, used.agent_ids[2]).rollout(state, actions[:4]).simultaneous
    again = load_run(tmp_path / "run")
    assert again.calibration is not None
    np.testing.assert_array_equal(again.calibration.scores, model.calibration.scores)
    np.testing.assert_array_equal(again.members.agents, model.members.agents)
    # A twin of an agent that the nets have never seen, from its eleven transitions.
    data = reserved.transitions()
    index = np.array([model.agent_index(name) for name in reserved.agent_ids])

    def error(agent: Any) -> float:
        paths = rollout_members(
            model.members, model.normalizer, agent, data.state, data.action[:, None]
        )
        return float(np.sqrt(np.mean((trimmed_mean(paths)[:, 0] - data.next_state) ** 2)))

    assert error(index[data.agent]) < 0.7 * error(np.roll(index, 1)[data.agent])


def test_a_partial_run_with_other_reserved_agents_is_refused(
    parts: tuple[PanelDataset, PanelDataset], tmp_path: Path, pumps: Any
) -> None:
    used, reserved = parts
    out = tmp_path / "run"
    config = pumps.TINY.model_copy(update={"steps": 300})
    with pytest.raises(KeyboardInterrupt):
        fit(used, config, out=out, reserve=reserved, progress=pumps.stop_at("training", 0))
    fewer = reserved.select_agents(reserved.agent_ids[:4])
    for other in (None, fewer):
        with pytest.raises(RunError, match="other data or with other settings"):
            fit(used, config, out=out, reserve=0 if other is None else other)
    lines: list[str] = []
    model = fit(used, config, out=out, reserve=reserved, log=lines.append)
    assert any("interrupted fit" in line for line in lines)
    whole = fit(used, config, reserve=reserved)
    pumps.assert_same(model, whole)
    assert model.calibration is not None
    assert whole.calibration is not None
    np.testing.assert_array_equal(model.calibration.scores, whole.calibration.scores)


def test_an_agent_is_not_fitted_and_reserved_at_once(
    parts: tuple[PanelDataset, PanelDataset], tmp_path: Path, pumps: Any
) -> None:
    used, reserved = parts
    mixed = pumps.panel([12] * 12).select_agents([*reserved.agent_ids, used.agent_ids[3]])
    with pytest.raises(UsageError, match=f"agent {used.agent_ids[3]!r} is among those to fit and"):
        fit(used, pumps.TINY, out=tmp_path / "run", reserve=mixed)
    assert not list(tmp_path.iterdir())


def test_a_reserved_agent_with_a_value_beyond_reach_is_named_before_training(
    parts: tuple[PanelDataset, PanelDataset], pumps: Any
) -> None:
    used, reserved = parts
    rows = reserved.to_frame()
    rows.loc[3, "pressure"] = 1e30
    with pytest.raises(InvalidDataError, match=r"column 'pressure', agent 'P-.*: 1e.30 is .* too"):
        fit(used, pumps.TINY, reserve=PanelDataset.from_frame(rows, pumps.ROLES))
