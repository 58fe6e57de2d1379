"""Additive models: chosen where they say more; predicted, adapted to and kept as others are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold import FitConfig, PanelDataset, answer, fit
from twinfold.adaptation.adapt import adapt
from twinfold.errors import RunError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import rollout_members
from twinfold.training.ensemble import TrainingContext
from twinfold.training.folds import cut_folds
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run
from twinfold.training.simple_models import best_simple
from twinfold.training.trials import Candidate, Trials

FAST = FitConfig(linear="additive slopes", rank=0, behaviour_steps=0)


def table(kink: float, seed: int = 0, uneven: bool = False, words: bool = False) -> pd.DataFrame:
    """Agents with levels of their own; what is above zero decays by ``kink`` more."""
    rng, rows = np.random.default_rng(seed), []
    for n in range(30):
        level, x, t = 0.3 * rng.normal(), 2 * rng.normal(), 0.0
        for _ in range(14):
            a: Any = int(rng.integers(0, 3)) if words else rng.normal()
            rows.append((f"a{n}", t, x, ("low", "mid", "high")[a] if words else a))
            h = float(rng.choice([0.5, 1.0, 2.0])) if uneven else 1.0
            rate = 0.2 + kink * (x > 0)
            x = x * np.exp(-rate * h) + (0.5 * (a - words) + level) * h + 0.05 * rng.normal()
            t += h
    return pd.DataFrame(rows, columns=["id", "t", "x", "a"])


def panel_of(frame: pd.DataFrame) -> PanelDataset:
    kind = "continuous" if frame["a"].dtype.kind == "f" else "discrete"
    roles = {"agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": kind}
    return PanelDataset.from_frame(frame, roles)


KINDS = [{}, {"uneven": True, "words": True}]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def fitted(request: pytest.FixtureRequest) -> tuple[pd.DataFrame, FittedModel]:
    frame = table(0.8, **request.param)
    return frame, fit(panel_of(frame), FAST, reserve=0)


def test_a_member_folded_for_an_agent_predicts_as_the_rollout_does(
    fitted: tuple[pd.DataFrame, FittedModel],
) -> None:
    _, model = fitted
    assert model.members.linear is not None
    assert model.members.linear.ramps is not None
    actions: Any = np.array([0, 2, 1, 2]) if model.discrete else np.array([[-3.0], [0], [9], [1]])
    start = np.array([1.5])
    paths = rollout_members(
        model.members, model.normalizer, np.array([4]), start[None], actions[None]
    )[0, 0]
    stack = model.dynamics(model.agent_ids[4])
    member = jax.tree.map(lambda leaf: leaf[0], stack)
    carry, found = member.init(jnp.asarray(start, jnp.float32)), []
    for action in actions:
        carry, after = member.step(carry, member.encode(jnp.asarray(action)))
        found.append(after)
    np.testing.assert_allclose(np.array(found), paths, rtol=1e-3, atol=1e-3)


def test_it_is_kept_with_a_run_and_agents_are_adapted_to(
    fitted: tuple[pd.DataFrame, FittedModel], tmp_path: Path
) -> None:
    frame, model = fitted
    save_run(model, tmp_path / "run")
    again = load_run(tmp_path / "run")
    for one, two in zip(
        jax.tree.leaves(model.members), jax.tree.leaves(again.members), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    new = frame[frame["id"] == "a3"].assign(id="new")
    known = adapt(again, panel_of(new), warn=lambda line: None)
    questions = frame[frame["id"] == "a3"].tail(5).assign(query_id=0)
    questions.loc[questions.index[1:], "x"] = np.nan
    old = answer(model, questions, lambda line: None)
    same = answer(known, questions.assign(id="new"), lambda line: None)
    np.testing.assert_allclose(same["x"], old["x"], atol=0.02)
    truth = frame["x"].to_numpy()[frame["id"] == "a3"][-4:]
    assert np.abs(old["x"].to_numpy()[:4] - truth).max() < 0.8


def test_ramps_of_another_shape_are_refused(
    fitted: tuple[pd.DataFrame, FittedModel], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    _, model = fitted
    save_run(model, tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    arrays = load_file(path)
    arrays["members.linear.ramps.gain"] = arrays["members.linear.ramps.gain"][:, :, :-1].copy()
    save_file(arrays, path)
    with pytest.raises(RunError):
        load_run(tmp_path / "run")


def tried(kink: float) -> tuple[Any, dict[Any, float]]:
    """The best simple model, and the held-out errors of all."""
    panel = panel_of(table(kink))
    problem = TrainingContext.of(panel, panel.transitions(), FitConfig(rank=0))
    trials = Trials(problem, cut_folds(panel, problem))
    best, found = best_simple(trials, trials.simple(Candidate("no change")), lambda line: None)
    assert best is not None
    return best.candidate, {trial.candidate.linear: trial.mean for trial in found}


def test_what_bends_is_found_and_what_does_not_is_left_to_linear_models() -> None:
    bent, errors = tried(0.8)
    assert bent.additive
    assert errors["additive slopes"] < 0.7 * errors["slopes"]
    straight, errors = tried(0.0)
    assert errors["slopes"] < errors["additive slopes"]
    assert not straight.additive
