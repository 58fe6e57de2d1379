"""A fit from table to simulators: its quality, what comes back, and what it holds out."""

from __future__ import annotations

import importlib
import itertools
import os
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.data.windows import hold_out
from twinfold.metrics import trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import rollout_members
from twinfold.training import trainer as schedule
from twinfold.training.fit import fit
from twinfold.training.selection_settings import SELECTION

# Where members are trained; the package's `fit` is the function.
NAMES = "twinfold.training.train_on_all", "twinfold.training.trials"
STAGES: list[Any] = [importlib.import_module(name) for name in NAMES]


def of_agents(*models: FittedModel) -> list[Any]:
    """All that is known of agents and of their policy."""
    return [(m.posterior, m.sums, m.sample, m.behaviour) for m in models]


# Quality


def test_it_learns_each_agents_own_response_from_one_trajectory(pumps: Any) -> None:
    """Against predicting no change, and against the same model told nothing about agents."""
    n_agents, horizon = 30, 10
    frame = pumps.table([20] * n_agents)
    config = FitConfig(
        effort="quick",
        linear="none",
        features="separable",
        members=2,
        state_net=(32,),
        action_net=(16,),
        batch_size=64,
        steps=2000,
        schedules=(1.0,),
        shrinkages=(0.001,),
        validation_members=1,
        behaviour_steps=0,
    )
    model = fit(PanelDataset.from_frame(frame, pumps.ROLES), config)
    everyone = frame.assign(everyone="all")
    pooled = fit(
        PanelDataset.from_frame(everyone, {**pumps.ROLES, "agent": "everyone", "episode": "pump"}),
        config,
    )
    # New trajectories of every agent, from the truth.
    rng = np.random.default_rng(1)
    start, actions = rng.normal(size=(n_agents, 2)), rng.uniform(-1, 1, (n_agents, horizon, 1))
    truth, state, own = [], start, pumps.coefficients(n_agents)
    for h in range(horizon):
        state = pumps.respond(own, state, actions[:, h, 0])
        truth.append(state)
    expected, offset = np.stack(truth, axis=1), np.array([0.0, 100.0])

    def error(model: FittedModel, agent: Any) -> float:
        paths = rollout_members(model.members, model.normalizer, agent, start + offset, actions)
        return float(np.sqrt(np.mean((trimmed_mean(paths) - offset - expected) ** 2)))

    own_error = error(model, np.array([model.agent_index(f"P-{n}/ä") for n in range(n_agents)]))
    persistence = float(np.sqrt(np.mean((start[:, None] - expected) ** 2)))
    assert own_error < 0.2 * persistence
    assert own_error < 0.3 * error(pooled, np.zeros(n_agents, int))
    # The wrong agent's twin is no better than the average one: ids and factors belong together.
    shuffled = np.roll(np.arange(n_agents), 1)
    assert own_error < 0.3 * error(model, shuffled)
    validation = model.info.validation
    assert validation["rmse"] < 0.3 * validation["persistence_rmse"]


# What comes back


def test_what_a_fit_tells(tiny: PanelDataset, uninterrupted: FittedModel) -> None:
    model = uninterrupted
    assert model.agent_ids == tuple(f"P-{n}/ä" for n in range(7))
    assert model.time_step == 0.5
    assert model.n_members == 2
    assert model.members.rank == 4
    assert not model.discrete
    assert model.info.transitions == tiny.n_transitions == 77
    assert model.info.fingerprint == tiny.fingerprint()
    assert len(model.info.training_loss) == 2
    validation = model.info.validation
    trials = {trial["steps"]: trial for trial in validation["trials"]}
    assert set(trials) == {300, 1200}
    chosen = min(trials.values(), key=lambda trial: trial["geometric_mean"])
    assert model.info.steps == chosen["steps"]
    assert model.info.shrinkage == chosen["shrinkage"] == 0.01
    assert validation["rmse"] == pytest.approx(chosen["mean"], rel=1e-4)
    assert validation["rmse"] >= chosen["geometric_mean"]
    assert model.band is not None
    assert model.band.shape == (validation["horizon"], 2)
    assert len(validation["rmse_by_horizon"]) == validation["horizon"]
    assert set(model.info.settings) == {"selection", "regression", "posterior"}
    assert model.info.settings["selection"]["few"] == SELECTION.few


def test_a_fit_tells_which_features_it_chose_and_why(tiny: PanelDataset, pumps: Any) -> None:
    lines: list[str] = []
    stages: list[str] = []
    config = pumps.TINY.model_copy(update={"features": "auto", "steps": 200})
    model = fit(tiny, config, log=lines.append, progress=lambda what, *rest: stages.append(what))
    assert list(dict.fromkeys(stages)) == [
        "choosing the features",
        "choosing the schedule",
        "training",
        "solving for agents",
    ]
    compared = model.info.validation["structures"]
    assert [(row["features"], row["rank"]) for row in compared] == [("separable", 4), ("joint", 4)]
    assert model.info.features in ("separable", "joint")
    assert model.members.joint == (model.info.features == "joint")
    assert model.info.rank == model.members.rank == 4
    text = "\n".join(lines)
    assert "choosing the features: 2 structures, 100 steps each" in text
    assert f"chosen: nets with {model.info.features} features of rank 4" in text


def test_polishing_goes_on_where_training_stopped(tiny: PanelDataset, pumps: Any) -> None:
    config = pumps.TINY.model_copy(update={"schedules": (1.0,)})
    plain = fit(tiny, config)
    stages: list[str] = []
    config = config.model_copy(update={"polish": 2})
    polished = fit(tiny, config, progress=lambda what, *rest: stages.append(what))
    assert "polishing" in stages
    same = plain.members.state_layers[0].weight, polished.members.state_layers[0].weight
    np.testing.assert_array_equal(*same)
    assert not np.allclose(plain.members.head.weight, polished.members.head.weight)
    assert one_step_error(polished, tiny) < one_step_error(plain, tiny)


def one_step_error(model: FittedModel, dataset: PanelDataset) -> float:
    data = dataset.transitions()
    paths = rollout_members(
        model.members, model.normalizer, data.agent, data.state, data.action[:, None]
    )
    error = (paths[:, :, 0] - data.next_state) / model.normalizer.target_scale
    return float(np.sqrt(np.mean(error**2)))


def test_a_run_keeps_states_of_the_data_as_they_are(tiny: PanelDataset, pumps: Any) -> None:
    model = fit(tiny, pumps.TINY)
    known = {tuple(row) for row in tiny.transitions().state.tolist()}
    assert len(model.sample.state)
    assert {tuple(row) for row in model.sample.state.tolist()} <= known


def test_the_seed_decides_and_the_order_of_rows_does_not(
    tiny: PanelDataset, uninterrupted: FittedModel, pumps: Any
) -> None:
    rows: Any = pumps.table([12] * 7)[::-1]  # the last agent and the last time first
    rows = pd.concat([rows[::2], rows[1::2]])
    same = fit(PanelDataset.from_frame(rows, pumps.ROLES), pumps.TINY)
    pumps.assert_same(same, uninterrupted)
    for one, other in zip(*map(jax.tree.leaves, of_agents(same, uninterrupted)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert same.info.fingerprint == uninterrupted.info.fingerprint
    other = fit(tiny, pumps.TINY.model_copy(update={"seed": 1}))
    assert not np.array_equal(other.members.agents, uninterrupted.members.agents)
    a, b = uninterrupted.members.agents
    assert not np.allclose(a, b)  # members differ


def test_one_program_trains_everything(
    tiny: PanelDataset, uninterrupted: FittedModel, pumps: Any
) -> None:
    program: Any = schedule.run_chunk
    before = program._cache_size()
    fit(tiny, pumps.TINY.model_copy(update={"members": 3, "steps": 2000, "shrinkages": (0.1, 0.2)}))
    assert program._cache_size() == before


def test_the_log_and_the_progress(tiny: PanelDataset, pumps: Any) -> None:
    lines: list[str] = []
    seen: list[tuple[str, int, int]] = []
    fit(tiny, pumps.TINY, log=lines.append, progress=lambda *record: seen.append(record))
    text = "\n".join(lines)
    assert "7 agents, 77 transitions" in text
    assert "held out" in text
    assert "on all 77 transitions" in text
    stages = [(what, list(group)) for what, group in itertools.groupby(seen, lambda r: r[0])]
    assert [what for what, _ in stages] == [
        "choosing the schedule",
        "training",
        "solving for agents",
    ]
    for _, records in stages:
        assert records[-1][1] == records[-1][2]
    assert all(one[1] <= other[1] for one, other in itertools.pairwise(stages[-1][1]))
    assert stages[1][1][-1][2] == 2 * int(text.split("members for ")[1].split(" steps")[0])


# Held out


def recorded_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[NDArray[Any], Any, Any]]:
    """Rows, normaliser and members of each training stage of the fits to come."""
    stages: list[tuple[NDArray[Any], Any, Any]] = []
    real = STAGES[0].train_members

    def record(problem: Any, rows: Any, normalizer: Any, *rest: Any) -> Any:
        members, losses = real(problem, rows, normalizer, *rest)
        stages.append((rows, normalizer, members))
        return members, losses

    for module in STAGES:
        monkeypatch.setattr(module, "train_members", record)
    return stages


def equal(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_the_held_out_error_is_of_data_never_seen(
    monkeypatch: pytest.MonkeyPatch, pumps: Any
) -> None:
    frame = pumps.table([12] * 7)
    dataset = PanelDataset.from_frame(frame, pumps.ROLES)
    mask, held = hold_out(dataset, 1.0, pumps.TINY.validation_suffix, 1, 1, seed=pumps.TINY.seed)
    assert 0 < held.n_transitions == (~mask).sum()
    stages = recorded_stages(monkeypatch)
    plain = fit(dataset, pumps.TINY)
    # Other ends of the held-out trajectories: every state after the held-out stretches' first.
    data = dataset.transitions()
    after = np.array([(pump, 0.5 * (step + 1)) for pump, step in zip(
        data.agent[~mask], data.step[~mask], strict=True)])  # fmt: skip
    changed = frame.copy()
    for agent, time in after:
        row = (changed["pump"] == f"P-{int(agent)}/ä") & (changed["t"] == time)
        assert row.sum() == 1
        changed.loc[row, ["flow", "pressure"]] += [3.0, -2.0]
    other = fit(PanelDataset.from_frame(changed, pumps.ROLES), pumps.TINY)
    # A state in front of them, for the test's own sake: that one is seen.
    seen = frame.copy()
    seen.loc[0, "flow"] += 1.0
    third = fit(PanelDataset.from_frame(seen, pumps.ROLES), pumps.TINY)

    # For every length three folds, then the final members.
    each = len(stages) // 3
    own, others, thirds = (stages[n * each : (n + 1) * each] for n in range(3))
    final, other_final = own[-1], others[-1]
    np.testing.assert_array_equal(own[0][0], np.flatnonzero(mask))
    for n in range(3):
        assert np.isin(own[n][0], own[0][0]).all()
        assert equal(own[n], others[n])
        assert not equal(own[n], thirds[n])
    assert other.info.validation["rmse"] > plain.info.validation["rmse"]
    # And the final members see everything.
    for stage in (final, other_final):
        np.testing.assert_array_equal(stage[0], np.arange(77))
    assert not equal(final[1:], other_final[1:])
    assert third.info.transitions == 77


def test_nothing_held_out(tiny: PanelDataset, pumps: Any) -> None:
    lines: list[str] = []
    model = fit(tiny, pumps.TINY.model_copy(update={"validation_share": 0}), log=lines.append)
    assert model.band is None
    assert model.info.validation == {"held_out": 0}
    assert model.info.steps == pumps.TINY.steps
    assert any("nothing is held out" in line for line in lines)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_the_number_of_cores_changes_nothing(
    tiny: PanelDataset, uninterrupted: FittedModel, pumps: Any
) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        pumps.assert_same(fit(tiny, pumps.TINY), uninterrupted)
    finally:
        os.sched_setaffinity(0, cores)
