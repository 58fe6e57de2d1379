"""Candidates tried on held-out data: what simple models and nets leave of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt, forget
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.factor_model import Structure
from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear_kinds import KINDS, Ratio
from twinfold.models.rollout import rollout_members
from twinfold.training import model_selection
from twinfold.training.ensemble import TrainingContext
from twinfold.training.fit import fit
from twinfold.training.folds import cut_folds
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run
from twinfold.training.trials import Candidate, Trials, as_used

ROLES = {
    "agent": "id",
    "time": "t",
    "state": ["x"],
    "action": ["a"],
    "action_type": "continuous",
}
SETTINGS: dict[str, Any] = {
    "members": 2,
    "steps": 1000,
    "schedules": (1.0,),
    "shrinkages": (0.3,),
    "state_net": (16,),
    "action_net": (8,),
    "rank": 4,
    "behaviour_steps": 0,
}


def table(kind: str, n_agents: int = 30, n_rows: int = 15, noise: float = 0.1) -> PanelDataset:
    """Agents of one kind of system; ``noise`` in each step."""
    rng = np.random.default_rng(1)
    frames = []
    for n in range(n_agents):
        level, x = rng.normal(), rng.normal()
        rows = []
        for t in range(n_rows):
            a = rng.normal()
            rows.append((f"agent {n}", t, x, a if t < n_rows - 1 else np.nan))
            change = {
                "walk": 0.0,
                "drift": 0.5,
                "pooled": -0.3 * x + 0.5 * a,
                "levels": -0.5 * (x - 3 * level) + 0.5 * a,
                "bent": -0.5 * x + 1.5 * np.sin(2 * x) * np.sign(a) + level * np.cos(2 * a),
            }[kind]
            x = x + change + noise * rng.normal()
        frames.append(pd.DataFrame(rows, columns=["id", "t", "x", "a"]))
    return PanelDataset.from_frame(pd.concat(frames), ROLES)


def fitted(kind: str, **changes: Any) -> tuple[FittedModel, list[str]]:
    lines: list[str] = []
    config = FitConfig(**{**SETTINGS, **changes})
    return fit(table(kind), config, log=lines.append), lines


@pytest.mark.parametrize(
    ("system", "kinds"),
    [
        ("walk", {"no change", "drift"}),
        ("drift", {"drift", "own drift"}),
        ("pooled", {"pooled", "levels"}),
        ("levels", {"levels", "slopes"}),
    ],
)
def test_the_model_is_no_richer_than_the_system(system: str, kinds: set[str]) -> None:
    model, lines = fitted(system)
    found = model.info.validation
    kind = model.info.linear
    if kind == "average":  # mostly of models that are no richer
        parts = next(trial["parts"] for trial in found["trials"] if trial["linear"] == "average")
        kind = max(parts, key=parts.get)
    assert kind in kinds
    assert model.info.rank == 0
    assert model.n_members == 1
    assert any("predicts as well as anything here" in line for line in lines)
    assert found["rmse"] <= found["persistence_rmse"] * 1.02


def test_what_no_line_explains_gets_nets() -> None:
    config = {"effort": "quick", "steps": 3000, "rank": 12}
    config |= {"state_net": (64,), "action_net": (32,)}
    rows = {"n_agents": 40, "n_rows": 30, "noise": 0.0}
    lines: list[str] = []
    settings = FitConfig(**{**SETTINGS, **config})
    model = fit(table("bent", **rows), settings, reserve=0, log=lines.append)
    assert model.info.linear is None
    assert model.info.rank == 12
    assert any("nets predict better than the best simple model" in line for line in lines)


def test_a_simple_model_goes_through_all_that_a_run_can_do(tmp_path: Any) -> None:
    """Saved and loaded, folded for planning, adapted to a new agent, forgotten again."""
    model, _ = fitted("levels")
    save_run(model, tmp_path / "run")
    again = load_run(tmp_path / "run")
    question = np.arange(3), np.zeros((3, 1)), np.full((3, 4, 1), 0.5)
    paths = rollout_members(model.members, model.normalizer, *question)
    np.testing.assert_array_equal(
        rollout_members(again.members, again.normalizer, *question), paths
    )
    assert again.members.linear is not None
    assert again.members.linear.own == model.members.linear.own  # pyright: ignore
    dynamics = again.dynamics("agent 1")

    def one(member: Any) -> Any:
        state, action = jnp.zeros(1), jnp.full(1, 0.5)
        return member.step(member.init(state), member.encode(action))[1]

    folded = jax.vmap(one)(dynamics)
    np.testing.assert_allclose(np.asarray(folded)[:, 0], paths[:, 1, 0, 0], rtol=1e-4, atol=1e-5)
    newcomer = table("levels").to_frame()
    newcomer = newcomer[newcomer["id"] == "agent 1"].assign(id="newcomer", x=lambda f: f["x"] + 0.0)
    adapted = adapt(again, PanelDataset.from_frame(newcomer, ROLES), warn=lambda line: None)
    start, action = question[1][:1], question[2][:1]
    known, new = (
        rollout_members(adapted.members, adapted.normalizer, np.array([n]), start, action)
        for n in (1, 30)
    )
    # The same rows, known in the same way.
    np.testing.assert_allclose(new, known, rtol=1e-3, atol=1e-3)
    assert forget(adapted, ["newcomer"]).agent_ids == model.agent_ids


@pytest.mark.parametrize("linear", ["pooled", "levels", "average"])
def test_nets_can_be_told_to_learn_what_a_linear_model_leaves(linear: Any, tmp_path: Any) -> None:
    model, _ = fitted("levels", linear=linear, rank=3)
    assert model.info.linear == linear
    if model.info.rank:
        assert model.members.rank > 3
        np.testing.assert_array_equal(model.members.agents[..., 0], 1.0)
    save_run(model, tmp_path / "run")
    assert load_run(tmp_path / "run").members.rank == model.members.rank


def test_simple_models_are_tried_as_they_are_fitted() -> None:
    """The held-out paths are those of the linear model alone, refitted to each fold."""
    dataset = table("levels")
    problem = TrainingContext.of(dataset, dataset.transitions(), FitConfig(**SETTINGS))
    folds = cut_folds(dataset, problem)
    assert len(folds) == 3  # there is little data: three places in time
    for fold in folds:
        seen = problem.data.select(fold.rows)
        assert set(fold.held.agent.tolist()) == set(range(30))  # every agent counts
        for n in range(30):
            assert (seen.agent == n).sum() >= 1
    trials = Trials(problem, folds)
    errors = {kind: trials.simple(Candidate(kind)).mean for kind in KINDS[:2]}
    errors["levels"] = trials.simple(Candidate("levels", ratio=Ratio(3.0))).mean
    assert errors["levels"] < 0.7 * min(errors["no change"], errors["drift"])


def test_one_wild_value_does_not_move_the_others() -> None:
    """A value of a million in one agent's row."""
    dataset = table("pooled")
    frame = dataset.to_frame()
    frame.loc[frame.index[37], "x"] = 1e6
    wild = PanelDataset.from_frame(frame, ROLES)
    lines: list[str] = []
    config = FitConfig(**SETTINGS)
    models = [fit(dataset, config), fit(wild, config, log=lines.append)]
    assert any("values far from all others" in line for line in lines)
    assert models[0].band is not None
    steps = len(models[0].band)
    question = np.arange(10, 20), np.zeros((10, 1)), np.full((10, steps, 1), 0.5)
    clean, other = (rollout_members(m.members, m.normalizer, *question)[0] for m in models)
    assert np.all(np.abs(clean - other) < models[0].band)


@pytest.mark.parametrize(("n_agents", "n_rows"), [(1, 2), (1, 8), (2, 3), (3, 2)])
def test_a_handful_of_rows_is_fitted(n_agents: int, n_rows: int) -> None:
    model = fit(table("pooled", n_agents, n_rows), FitConfig(**{**SETTINGS, "steps": 50}))
    question = np.zeros(1, int), np.zeros((1, 1)), np.zeros((1, 5, 1))
    assert np.isfinite(rollout_members(model.members, model.normalizer, *question)).all()


def test_a_state_that_never_changes_stays() -> None:
    frame = table("pooled").to_frame().assign(x=7.0)
    model = fit(PanelDataset.from_frame(frame, ROLES), FitConfig(**SETTINGS))
    question = np.zeros(1, int), np.full((1, 1), 7.0), np.zeros((1, 5, 1))
    paths = rollout_members(model.members, model.normalizer, *question)
    np.testing.assert_allclose(paths, 7.0, atol=1e-3)


# Memory


def springs(n_agents: int = 24, n_rows: int = 24) -> PanelDataset:
    """Masses on springs, pushed; their velocity is not in the table."""
    rng = np.random.default_rng(4)
    frames = []
    for n in range(n_agents):
        stiffness, (x, v), rows = rng.uniform(0.5, 1.5), rng.normal(size=2), []
        for t in range(n_rows):
            a = rng.normal()
            rows.append((f"agent {n}", t, x, a if t < n_rows - 1 else np.nan))
            for _ in range(10):
                v += 0.04 * (a - stiffness * x - 0.1 * v)
                x += 0.04 * v
        frames.append(pd.DataFrame(rows, columns=["id", "t", "x", "a"]))
    return PanelDataset.from_frame(pd.concat(frames), ROLES)


def test_what_one_row_does_not_tell_is_read_from_several() -> None:
    settings = FitConfig(effort="quick", history="auto", rank=0, behaviour_steps=0)
    lines: list[str] = []
    model = fit(springs(), settings, reserve=0, log=lines.append)
    blind = fit(springs(), settings.model_copy(update={"history": 1}), reserve=0)
    assert model.history > 1
    assert model.info.history == model.history
    assert any("rows say what one row does not" in line for line in lines)
    assert model.info.validation["rmse"] < 0.3 * blind.info.validation["rmse"]


def test_nets_find_in_earlier_rows_what_no_line_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of three lengths take turns, and go where the action says."""
    one = replace(model_selection.SELECTION, histories=(2,))
    monkeypatch.setattr(model_selection, "SELECTION", one)
    rng = np.random.default_rng(0)
    sign, phase = rng.choice([-1.0, 1.0], (30, 20)), rng.integers(0, 3, (30, 1))
    size = np.array([2.0, 1.0, 0.5])[(np.arange(20) + phase) % 3]
    x = np.cumsum(sign * size, axis=1) - sign * size
    index = np.arange(30 * 20)
    columns = {"id": index // 20, "t": index % 20, "x": x.ravel(), "a": sign.ravel()}
    roles = {"agent": "id", "time": "t", "state": "x", "action": "a"}
    data = PanelDataset.from_frame(pd.DataFrame(columns), {**roles, "action_type": "continuous"})
    short = {"steps": 1500, "schedules": (1.0,), "shrinkages": (0.1,), "validation_members": 1}
    nets = {"rank": 3, "members": 1, "state_net": (32,), "features": "joint"}
    config = FitConfig(history="auto", behaviour_steps=0, effort="quick", **short, **nets)
    lines: list[str] = []
    model = fit(data, config, reserve=0, log=lines.append)
    assert model.history > 1, lines
    assert "nets" in next(line for line in lines if "chosen:" in line)


def test_what_is_tried_with_a_memory_is_what_is_fitted() -> None:
    settings = FitConfig(linear="pooled", rank=0, behaviour_steps=0, history=4)
    data = springs()
    model = fit(data, settings, reserve=0)
    blind = fit(data, settings.model_copy(update={"history": 1}), reserve=0)
    assert model.info.validation["rmse"] < 0.7 * blind.info.validation["rmse"]
    problem = TrainingContext.of(data, data.transitions(4), settings)
    trials = Trials(problem, cut_folds(data, problem))
    linear = trials.linear(trials.simple(Candidate("pooled")).candidate, 0)
    assert linear is not None
    memory = np.setdiff1d(np.arange(len(linear.shared)), trials._linear[0].features(memory=False))
    assert np.abs(linear.shared[memory]).max() > 0.01


def test_a_memory_of_so_many_rows_can_be_asked_for() -> None:
    settings = FitConfig.parse(SETTINGS | {"history": 3, "steps": 300})
    model = fit(springs(8, 12), settings, reserve=0)
    assert model.history == 3
    assert model.recent.shape == (8, 5)  # a position, and twice how it changed under which push


def test_a_memory_longer_than_any_trajectory_is_refused(tmp_path: Path) -> None:
    settings = FitConfig(linear="pooled", rank=0, behaviour_steps=0, history=12)
    with pytest.raises(UsageError, match=r"history is 12, longer than any trajectory: .* has 11 "):
        fit(springs(8, 12), settings, reserve=0, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    assert fit(springs(8, 13), settings, reserve=0).history == 12


def test_where_one_row_tells_the_state_there_is_no_memory() -> None:
    settings = FitConfig(history="auto", rank=0, behaviour_steps=0)
    for kind in ("pooled", "walk"):
        assert fit(table(kind, 20, 12, noise=0.02), settings, reserve=0).history == 1


def test_a_model_without_memory_among_those_with_one_is_the_same() -> None:
    data = springs(6, 12)
    problem = TrainingContext.of(data, data.transitions(), FitConfig(rank=0))
    longer = problem._replace(data=data.transitions(4))  # of which all count in full
    one, two = (Trials(each, cut_folds(data, each)) for each in (problem, longer))
    for kind in ("pooled", "slopes"):
        candidate = Candidate(kind, ratio=Ratio(0.3, 0.1))
        plain, beside = one.linear(candidate, 0), two.linear(candidate, 0)
        assert plain is not None
        assert beside is not None
        kept = two._linear[0].features(memory=False)
        ridge = one._ridges[0]
        again = candidate.fit_linear(two._linear[0], ridge)
        assert again is not None
        np.testing.assert_allclose(again.shared[kept], plain.shared, atol=1e-9)
        assert not np.delete(again.shared, kept, axis=0).any()


@pytest.mark.parametrize("uneven", [False, True])
def test_several_nets_decide_where_times_are_uneven(uneven: bool) -> None:
    frame: Any = springs(12, 9).to_frame()
    if uneven:
        frame["t"] = frame["t"] ** 1.5
    data = PanelDataset.from_frame(frame, ROLES)
    assert data.uneven == uneven
    config = FitConfig(validation_members=1, behaviour_steps=0, state_net=(8,))
    problem = TrainingContext.of(data, data.transitions(), config)
    trials = Trials(problem, cut_folds(data, problem))
    alone = trials.nets([Candidate("pooled", Structure(False, 2), 20, 1.0)], config, "alone")[0]
    together = as_used(trials, alone)
    assert (together is alone) != uneven
    assert together.candidate == alone.candidate
    assert together.config is config
    if uneven:
        assert np.abs(together.paths[0] - alone.paths[0]).max() > 1e-6
        single = config.model_copy(update={"members": 1})
        assert as_used(trials, alone._replace(config=single)).config is single
