"""Ranks of tensors: counted right, bounded right, and 3 for MountainCar without clipping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinfold.benchmark.studies.model_rank import (
    UNFOLDINGS,
    prediction_tensors,
    rank_fit,
    run_rank,
    singular_values,
)
from twinfold.benchmark.studies.study_data import study_task
from twinfold.benchmark.studies.study_settings import RankSettings

SETTINGS = RankSettings(
    title="",
    runs=(("unclipped_mountain_car", "random"),),
    agents=12,
    trajectories=2,
    steps=5,
    length=8,
    grid=40,
    fit={
        "effort": "quick",
        "members": 2,
        "state_net": [8],
        "steps": 200,
        "schedules": [1.0],
        "shrinkages": [0.1],
    },
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    task = study_task("unclipped_mountain_car")
    folder: Path = tmp_path_factory.mktemp("fits")
    return rank_fit(task, "random", 2, SETTINGS, folder, lambda line: None), task


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_singular_values_are_as_many_as_the_terms_of_a_tensor(rank: int) -> None:
    rng = np.random.default_rng(rank)
    u, v, w = (rng.normal(size=shape) for shape in ((9, rank), (8, 2, rank), (7, rank)))
    tensor = np.einsum("nl,sdl,al->nsad", u, v, w)
    for name in UNFOLDINGS:
        values = singular_values(tensor, name)
        assert (values > 1e-10 * values[0]).sum() == rank


def test_an_unfolding_is_a_matrix_of_its_rows() -> None:
    tensor = np.random.default_rng(0).normal(size=(3, 4, 2, 5))
    rows = {
        "agents": [tensor[n].ravel() for n in range(3)],
        "states": [tensor[:, g, :, d].ravel() for g in range(4) for d in range(5)],
        "actions": [tensor[:, :, a].ravel() for a in range(2)],
    }
    for name, matrix in rows.items():
        expected = np.linalg.svd(np.array(matrix), compute_uv=False)
        np.testing.assert_allclose(singular_values(tensor, name), expected, atol=1e-12)


def test_the_true_tensor_has_rank_3_and_a_model_of_rank_2_has_2(fitted: Any) -> None:
    model, task = fitted
    assert model.members.rank == 2  # nets alone, nothing linear beside them
    record = run_rank(model, task, SETTINGS)
    ranks = {name: found["numerical_rank"] for name, found in record["true"].items()}
    assert ranks == {"agents": 2, "states": 3, "actions": 2}
    learned, true = prediction_tensors(model, task, SETTINGS)
    assert learned.shape == (2, *true.shape) == (2, 12, 40, 3, 2)
    for name in UNFOLDINGS:
        values = singular_values(learned[0], name)
        assert (values > 1e-5 * values[0]).sum() <= 2
    assert record["tensor_error"] >= record["least_error"] > 0.01


def test_the_tensor_is_what_the_model_predicts(fitted: Any) -> None:
    model, task = fitted
    learned, true = prediction_tensors(model, task, SETTINGS)
    from twinfold.models.rollout import agent_responses

    rng = np.random.default_rng((SETTINGS.seed, 71))
    state = model.sample.state[rng.permutation(len(model.sample.state))[: SETTINGS.grid]]
    rows, action = np.repeat(state, 3, axis=0), np.tile(np.arange(3, dtype=np.int32), len(state))
    answers = agent_responses(model, np.arange(12), rows, action)
    # Predictions are kept within what the data allows; those far inside are as they are.
    close = np.isclose(answers, learned.reshape(answers.shape), atol=1e-3)
    assert close.mean() > 0.9
    gravity = np.array([0.0001, 0.0005, 0.001])
    after = rows[:, 1] + (action - 1) * 0.001 - gravity[:, None] * np.cos(3 * rows[:, 0])
    target = (after - rows[:, 1] - model.normalizer.target_mean[1]) / (
        model.normalizer.target_scale[1]
    )
    np.testing.assert_allclose(true[:3, :, :, 1].reshape(3, -1), target, atol=1e-5)
