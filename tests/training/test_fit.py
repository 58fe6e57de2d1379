"""A fit from table to simulators: its quality, what it holds out, and what interrupts it."""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.data.windows import hold_out
from twinfold.errors import InvalidDataError, RunError, UsageError
from twinfold.metrics import trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import rollout_members
from twinfold.simulation.simulator import Simulator
from twinfold.training import trainer as schedule
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import RunWriter
from twinfold.training.selection_settings import SELECTION
from twinfold.uncertainty.conformal import reserve

# Where members are trained; the package's `fit` is the function.
NAMES = "twinfold.training.train_on_all", "twinfold.training.trials"
STAGES: list[Any] = [importlib.import_module(name) for name in NAMES]

ROLES = {
    "agent": "pump",
    "time": "t",
    "state": ["flow", "pressure"],
    "action": ["speed"],
    "action_type": "continuous",
}
TINY = FitConfig(
    linear="none",
    features="separable",
    rank=4,
    members=2,
    state_net=(8,),
    action_net=(8,),
    batch_size=16,
    steps=1200,
    schedules=(0.25, 1.0),
    shrinkages=(0.01,),
    validation_members=1,
    behaviour_steps=100,
)


def coefficients(n_agents: int) -> NDArray[np.float64]:
    """``(N, 2)``: how an agent's action moves its two states. Some respond the other way."""
    return np.random.default_rng(7).uniform(-1, 1, (n_agents, 2)) * [0.5, 0.3]


def respond(own: Any, state: Any, action: Any) -> Any:
    """The truth, ``(..., 2)``: linear, with the agent in the response to the action."""
    flow, pressure = state[..., 0], state[..., 1]
    return np.stack(
        [
            0.9 * flow + 0.1 * pressure + own[..., 0] * action,
            0.95 * pressure - 0.1 * flow + own[..., 1] * action,
        ],
        axis=-1,
    )


def table(lengths: list[int], seed: int = 0, names: Any = None) -> pd.DataFrame:
    """One trajectory per agent with so many rows, last action null."""
    rng = np.random.default_rng(seed)
    frames = []
    for n, (length, own) in enumerate(zip(lengths, coefficients(len(lengths)), strict=True)):
        state, action = rng.normal(size=2), rng.uniform(-1, 1, length)
        states = [state]
        for a in action[:-1]:
            states.append(respond(own, states[-1], a))
        values = np.array(states)
        action[-1] = np.nan
        frames.append(
            pd.DataFrame(
                {
                    "pump": f"P-{n}/ä" if names is None else names[n],
                    "t": np.arange(length) * 0.5,
                    "flow": values[:, 0],
                    "pressure": 100 + values[:, 1],
                    "speed": action,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def panel(lengths: list[int], **options: Any) -> PanelDataset:
    return PanelDataset.from_frame(table(lengths, **options), ROLES)


@pytest.fixture(scope="module")
def tiny() -> PanelDataset:
    return panel([12] * 7)


@pytest.fixture(scope="module")
def uninterrupted(tiny: PanelDataset) -> FittedModel:
    return fit(tiny, TINY)


def leaves(model: FittedModel) -> list[Any]:
    return jax.tree.leaves((model.members, model.normalizer, model.ranges, model.band))


def of_agents(*models: FittedModel) -> list[Any]:
    """All that is known of agents and of their policy."""
    return [(m.posterior, m.sums, m.sample, m.behaviour) for m in models]


def assert_same(got: FittedModel, expected: FittedModel) -> None:
    """The same to the last bit."""
    for leaf, other in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)
    assert got.agent_ids == expected.agent_ids
    assert got.info.validation == expected.info.validation
    assert got.info.training_loss == expected.info.training_loss


# Quality


def test_it_learns_each_agents_own_response_from_one_trajectory() -> None:
    """Against predicting no change, and against the same model told nothing about agents."""
    n_agents, horizon = 30, 10
    frame = table([20] * n_agents)
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
    model = fit(PanelDataset.from_frame(frame, ROLES), config)
    everyone = frame.assign(everyone="all")
    pooled = fit(
        PanelDataset.from_frame(everyone, {**ROLES, "agent": "everyone", "episode": "pump"}), config
    )
    # New trajectories of every agent, from the truth.
    rng = np.random.default_rng(1)
    start, actions = rng.normal(size=(n_agents, 2)), rng.uniform(-1, 1, (n_agents, horizon, 1))
    truth, state, own = [], start, coefficients(n_agents)
    for h in range(horizon):
        state = respond(own, state, actions[:, h, 0])
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


def test_a_fit_tells_which_features_it_chose_and_why(tiny: PanelDataset) -> None:
    lines: list[str] = []
    stages: list[str] = []
    config = TINY.model_copy(update={"features": "auto", "steps": 200})
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


def test_polishing_goes_on_where_training_stopped(tiny: PanelDataset) -> None:
    config = TINY.model_copy(update={"schedules": (1.0,)})
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


def test_a_run_keeps_states_of_the_data_as_they_are(tiny: PanelDataset) -> None:
    model = fit(tiny, TINY)
    known = {tuple(row) for row in tiny.transitions().state.tolist()}
    assert len(model.sample.state)
    assert {tuple(row) for row in model.sample.state.tolist()} <= known


def test_the_seed_decides_and_the_order_of_rows_does_not(
    tiny: PanelDataset, uninterrupted: FittedModel
) -> None:
    rows: Any = table([12] * 7)[::-1]  # the last agent and the last time first
    rows = pd.concat([rows[::2], rows[1::2]])
    same = fit(PanelDataset.from_frame(rows, ROLES), TINY)
    assert_same(same, uninterrupted)
    for one, other in zip(*map(jax.tree.leaves, of_agents(same, uninterrupted)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert same.info.fingerprint == uninterrupted.info.fingerprint
    other = fit(tiny, TINY.model_copy(update={"seed": 1}))
    assert not np.array_equal(other.members.agents, uninterrupted.members.agents)
    a, b = uninterrupted.members.agents
    assert not np.allclose(a, b)  # members differ


def test_one_program_trains_everything(tiny: PanelDataset, uninterrupted: FittedModel) -> None:
    program: Any = schedule.run_chunk
    before = program._cache_size()
    fit(tiny, TINY.model_copy(update={"members": 3, "steps": 2000, "shrinkages": (0.1, 0.2)}))
    assert program._cache_size() == before


def test_the_log_and_the_progress(tiny: PanelDataset) -> None:
    lines: list[str] = []
    seen: list[tuple[str, int, int]] = []
    fit(tiny, TINY, log=lines.append, progress=lambda *record: seen.append(record))
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


def test_the_held_out_error_is_of_data_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table([12] * 7)
    dataset = PanelDataset.from_frame(frame, ROLES)
    mask, held = hold_out(dataset, 1.0, TINY.validation_suffix, 1, 1, seed=TINY.seed)
    assert 0 < held.n_transitions == (~mask).sum()
    stages = recorded_stages(monkeypatch)
    plain = fit(dataset, TINY)
    # Other ends of the held-out trajectories: every state after the held-out stretches' first.
    data = dataset.transitions()
    after = np.array([(pump, 0.5 * (step + 1)) for pump, step in zip(
        data.agent[~mask], data.step[~mask], strict=True)])  # fmt: skip
    changed = frame.copy()
    for agent, time in after:
        row = (changed["pump"] == f"P-{int(agent)}/ä") & (changed["t"] == time)
        assert row.sum() == 1
        changed.loc[row, ["flow", "pressure"]] += [3.0, -2.0]
    other = fit(PanelDataset.from_frame(changed, ROLES), TINY)
    # A state in front of them, for the test's own sake: that one is seen.
    seen = frame.copy()
    seen.loc[0, "flow"] += 1.0
    third = fit(PanelDataset.from_frame(seen, ROLES), TINY)

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


def test_nothing_held_out(tiny: PanelDataset) -> None:
    lines: list[str] = []
    model = fit(tiny, TINY.model_copy(update={"validation_share": 0}), log=lines.append)
    assert model.band is None
    assert model.info.validation == {"held_out": 0}
    assert model.info.steps == TINY.steps
    assert any("nothing is held out" in line for line in lines)


# Panels of every shape


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
def test_small_and_uneven_panels(lengths: list[int], held_out: bool) -> None:
    dataset = panel(lengths)
    model = fit(dataset, TINY.model_copy(update={"steps": 300}))
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


def test_a_constant_state_stays_constant() -> None:
    frame = table([12] * 7).assign(constant=42.5)
    roles = {**ROLES, "state": ["flow", "constant", "pressure"]}
    dataset = PanelDataset.from_frame(frame, roles)
    model = fit(dataset, TINY.model_copy(update={"steps": 300}))
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
def test_ids_reach_the_run_and_come_back_as_given(names: list[Any], tmp_path: Path) -> None:
    config = TINY.model_copy(update={"steps": 10, "validation_share": 0})
    fit(panel([5] * 5, names=names), config, out=tmp_path / "run")
    model = load_run(tmp_path / "run")
    assert model.agent_ids == tuple(names)
    assert [model.agent_index(name) for name in names] == list(range(5))


# Reserved agents


@pytest.fixture(scope="module")
def parts() -> tuple[PanelDataset, PanelDataset]:
    """Seven agents to fit and five to calibrate on."""
    return reserve(panel([12] * 12), 5)


def test_reserved_agents_calibrate_the_band_and_are_known(
    parts: tuple[PanelDataset, PanelDataset], tmp_path: Path
) -> None:
    used, reserved = parts
    config = TINY.model_copy(update={"steps": 300, "band": 0.6})
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
    parts: tuple[PanelDataset, PanelDataset], tmp_path: Path
) -> None:
    used, reserved = parts
    out = tmp_path / "run"
    config = TINY.model_copy(update={"steps": 300})
    with pytest.raises(KeyboardInterrupt):
        fit(used, config, out=out, reserve=reserved, progress=stop_at("training", 0))
    fewer = reserved.select_agents(reserved.agent_ids[:4])
    for other in (None, fewer):
        with pytest.raises(RunError, match="other data or with other settings"):
            fit(used, config, out=out, reserve=0 if other is None else other)
    lines: list[str] = []
    model = fit(used, config, out=out, reserve=reserved, log=lines.append)
    assert any("interrupted fit" in line for line in lines)
    whole = fit(used, config, reserve=reserved)
    assert_same(model, whole)
    assert model.calibration is not None
    assert whole.calibration is not None
    np.testing.assert_array_equal(model.calibration.scores, whole.calibration.scores)


def test_an_agent_is_not_fitted_and_reserved_at_once(
    parts: tuple[PanelDataset, PanelDataset], tmp_path: Path
) -> None:
    used, reserved = parts
    mixed = panel([12] * 12).select_agents([*reserved.agent_ids, used.agent_ids[3]])
    with pytest.raises(UsageError, match=f"agent {used.agent_ids[3]!r} is among those to fit and"):
        fit(used, TINY, out=tmp_path / "run", reserve=mixed)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (1e-41, r"column 'flow' \(state\): values differ by .*e-41 at the most, too little"),
        (1e38, r"column 'flow' \(state\): .*e\+3. is too large in 60 rows"),
    ],
)
def test_units_that_float32_cannot_hold_are_refused_before_training(
    tmp_path: Path, size: float, words: str
) -> None:
    rows = table([12] * 5)
    rows["flow"] *= size
    with pytest.raises(InvalidDataError, match=words):
        fit(PanelDataset.from_frame(rows, ROLES), TINY, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_reserved_agent_with_a_value_beyond_reach_is_named_before_training(
    parts: tuple[PanelDataset, PanelDataset],
) -> None:
    used, reserved = parts
    rows = reserved.to_frame()
    rows.loc[3, "pressure"] = 1e30
    with pytest.raises(InvalidDataError, match=r"column 'pressure', agent 'P-.*: 1e.30 is .* too"):
        fit(used, TINY, reserve=PanelDataset.from_frame(rows, ROLES))


# Runs and interruptions


def test_a_run_directory_holds_the_model(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "run"
    model = fit(tiny, TINY, out=out, source={"made": "here"})
    assert_same(model, uninterrupted)
    again = load_run(out)
    assert_same(again, uninterrupted)
    assert again.info.source == {"made": "here"}
    assert [path.name for path in out.parent.iterdir()] == ["run"]
    with pytest.raises(UsageError, match="exists"):
        fit(tiny, TINY, out=out)
    assert_same(load_run(out), uninterrupted)


def stop_at(stage: str, share: float) -> Callable[[str, int, int], None]:
    """Raises KeyboardInterrupt once so much of a stage is done."""

    def progress(what: str, done: int, total: int) -> None:
        if what.startswith(stage) and done >= share * total:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(
    ("stage", "share"), [("choosing", 0), ("choosing", 0.3), ("training", 0), ("training", 0.4)]
)
def test_an_interrupted_fit_goes_on_to_the_same_result(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path, stage: str, share: float
) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, TINY, out=out, progress=stop_at(stage, share))
    assert not out.exists()
    assert (tmp_path / "run.partial").is_dir()
    with pytest.raises(RunError, match="did not finish"):
        load_run(out)
    lines: list[str] = []
    seen: list[tuple[str, float]] = []
    model = fit(
        tiny, TINY, out=out, log=lines.append, progress=lambda w, d, n: seen.append((w, d / n))
    )
    assert any("interrupted fit" in line for line in lines)
    # The first report already counts what was done before.
    assert share <= next((done for what, done in seen if what.startswith(stage)), 1.0)
    assert_same(model, uninterrupted)
    assert_same(load_run(out), uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_fit_can_be_interrupted_again_and_again(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path
) -> None:
    kept = []  # as a notebook keeps the last traceback, and with it everything the fit held
    for stop in [("choosing", 0), ("choosing", 0), ("training", 0), ("training", 0)]:
        with pytest.raises(KeyboardInterrupt) as caught:
            fit(tiny, TINY, out=tmp_path / "run", progress=stop_at(*stop))
        kept.append(caught)
    assert_same(fit(tiny, TINY, out=tmp_path / "run"), uninterrupted)


def test_a_killed_process_leaves_what_another_can_finish(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path
) -> None:
    tiny.to_frame().to_parquet(tmp_path / "pumps.parquet")
    script = textwrap.dedent(
        f"""
        import os, signal
        import pandas as pd
        from twinfold.config import FitConfig
        from twinfold.data.panel import PanelDataset
        from twinfold.training.fit import fit

        stages = set()

        def progress(what, done, total):
            stages.add(what)
            if len(stages) == 2:  # the choice is made, the members are on their way
                os.kill(os.getpid(), signal.SIGKILL)

        dataset = PanelDataset.from_frame(pd.read_parquet("pumps.parquet"), {ROLES!r})
        config = FitConfig.parse({TINY.model_dump()!r})
        fit(dataset, config, out="run", progress=progress)
        """
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run").exists()
    seen: list[tuple[str, int, int]] = []
    model = fit(tiny, TINY, out=tmp_path / "run", progress=lambda *r: seen.append(r))
    # The choice was not made again: that stage had nothing left to do and reported nothing.
    assert {what for what, _, _ in seen} == {"training", "solving for agents"}
    assert_same(model, uninterrupted)
    assert_same(load_run(tmp_path / "run"), uninterrupted)
    assert not (tmp_path / "run.partial").exists()


def interrupted(dataset: PanelDataset, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(dataset, TINY, out=out, progress=stop_at("choosing", 0))


def test_a_partial_run_of_other_settings_or_data_is_refused(
    tiny: PanelDataset, uninterrupted: FittedModel, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    interrupted(tiny, out)
    frame: Any = tiny.to_frame()
    others = [
        (tiny, TINY.model_copy(update={"steps": 1300})),
        (panel([12] * 7, seed=1), TINY),
        (PanelDataset.from_frame(frame[frame["t"] != 2.0], ROLES), TINY),
    ]
    for dataset, config in others:
        with pytest.raises(RunError, match="other data or with other settings"):
            fit(dataset, config, out=out)
    assert not out.exists()
    # Rows in another order are the same data, and so are agents.
    shuffled = frame.sample(frac=1, random_state=0)
    assert_same(fit(PanelDataset.from_frame(shuffled, ROLES), TINY, out=out), uninterrupted)


def test_another_time_step_is_other_data(tmp_path: Path) -> None:
    frame = table([12] * 7)
    frame.loc[frame["t"] >= 3.0, "t"] += 0.5  # a pause in every trajectory
    interrupted(PanelDataset.from_frame(frame, ROLES), tmp_path / "run")
    joined = PanelDataset.from_frame(frame, ROLES, time_step=1.0)
    with pytest.raises(RunError, match="other data"):
        fit(joined, TINY, out=tmp_path / "run")


def test_two_fits_do_not_write_to_one_run(tiny: PanelDataset, tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", TINY, "whatever")
    with pytest.raises(RunError, match="another command is writing"):
        fit(tiny, TINY, out=tmp_path / "run")
    writer.close()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_the_number_of_cores_changes_nothing(
    tiny: PanelDataset, uninterrupted: FittedModel
) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert_same(fit(tiny, TINY), uninterrupted)
    finally:
        os.sched_setaffinity(0, cores)


def holes_of(panel: PanelDataset, share: float = 0.3) -> PanelDataset:
    df = panel.to_frame()
    rng = np.random.default_rng(0)
    for name in panel.roles.state:
        df[name] = df[name].mask(rng.random(len(df)) < share)
    return PanelDataset.from_frame(df, panel.roles)


def test_a_table_with_holes_goes_through_all_that_a_run_can_do(tmp_path: Path) -> None:
    from twinfold.adaptation.adapt import adapt
    from twinfold.validation.validate import validate

    own = coefficients(24)
    rng = np.random.default_rng(1)
    rows = []
    for n in range(24):
        state = rng.normal(size=2)
        for t in range(25):
            action = rng.normal()
            rows.append((n, t, *state, action if t < 24 else np.nan))
            state = respond(own[n], state, action)
    df = pd.DataFrame(rows, columns=["pump", "t", "flow", "pressure", "speed"])
    whole = PanelDataset.from_frame(df, ROLES)
    panel = holes_of(whole)
    some, others = reserve(panel, 4)
    model = fit(some, FitConfig(rank=0, behaviour_steps=0), out=tmp_path / "run", reserve=others)
    again = load_run(tmp_path / "run")
    assert again.sums.by_column
    np.testing.assert_array_equal(again.sums.gram, model.sums.gram)
    np.testing.assert_array_equal(
        again.posterior.evidence.missing, model.posterior.evidence.missing
    )
    assert again.posterior.evidence.missing.sum() > 0
    full = fit(whole, FitConfig(rank=0, behaviour_steps=0), reserve=0)
    error = []
    start, actions = np.array([[0.5, -0.5]] * 20), rng.normal(size=(20, 10, 1))
    for fitted in (model, full):
        agents = fitted.agent_indices(some.agent_ids)
        paths = trimmed_mean(
            rollout_members(fitted.members, fitted.normalizer, agents, start, actions)
        )
        state, true = start, []
        for h in range(10):
            state = respond(own[[int(agent) for agent in some.agent_ids]], state, actions[:, h, 0])
            true.append(state)
        error.append(np.sqrt(np.mean((paths - np.stack(true, axis=1)) ** 2)))
    assert error[0] < 3 * error[1] + 0.02
    report = validate(model, holes_of(whole, 0.2), seed=0)
    assert report.verdict is not None
    added = adapt(again, holes_of(whole.select_agents([3]), 0.5), warn=lambda line: None)
    assert np.isfinite(np.asarray(added.members.agents)).all()
