"""Agents that a random model does not know, and what two models say of the same agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import solve
from twinfold.models.rollout import predict_paths


def _fresh(model: FittedModel, number: int, seed: int = 3) -> Any:
    """Factors of agents that the model does not know."""
    return np.random.default_rng(seed).normal(size=(number, model.members.rank))


def _newcomers(
    model: FittedModel, courses: Any, lengths: list[int], **options: Any
) -> PanelDataset:
    """A panel of so many transitions of each of them."""
    options = {"ids": [f"new {n}" for n in range(len(lengths))], "seed": 5} | options
    return courses.panel(model, lengths, _fresh(model, len(lengths)), **options)


def _covariance(model: FittedModel) -> Any:
    return solve(model.posterior.prior, model.posterior.evidence)[1]


def _predictions(model: FittedModel, agents: Any, horizon: int = 6) -> Any:
    """Every agent from the same start under the same actions."""
    rng, number = np.random.default_rng(0), len(agents)
    actions: Any = rng.integers(0, 4, horizon).astype(np.int32)
    if not model.discrete:
        actions = rng.normal(size=(horizon, len(model.roles.action)))
    index = np.array([model.agent_index(agent) for agent in agents])
    start = np.tile(model.normalizer.state_mean, (number, 1))
    return predict_paths(model, index, start, np.stack([actions] * number))


def _assert_same_agents(got: FittedModel, expected: FittedModel, agents: Any) -> None:
    """All that is known of some agents, and what is predicted of them, to the last bit."""
    mine, theirs = ([m.agent_index(a) for a in agents] for m in (got, expected))
    np.testing.assert_array_equal(
        np.asarray(got.members.agents)[:, mine], np.asarray(expected.members.agents)[:, theirs]
    )
    one, other = got.posterior.take(np.array(mine)), expected.posterior.take(np.array(theirs))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    if expected.behaviour is not None:
        assert got.behaviour is not None
        np.testing.assert_array_equal(
            np.asarray(got.behaviour.factors)[mine], np.asarray(expected.behaviour.factors)[theirs]
        )
    for a, b in zip(_predictions(got, agents), _predictions(expected, agents), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="session")
def fresh() -> Callable[..., Any]:
    """Factors of agents that a model does not know: ``fresh(model, number, seed)``."""
    return _fresh


@pytest.fixture(scope="session")
def newcomers() -> Callable[..., Any]:
    """A panel of such agents: ``newcomers(model, courses, lengths, ids=..., noise=...)``."""
    return _newcomers


@pytest.fixture(scope="session")
def covariance() -> Callable[..., Any]:
    """The covariances of all agents' factors, ``(M, N, r, r)``."""
    return _covariance


@pytest.fixture(scope="session")
def predictions() -> Callable[..., Any]:
    """What a model predicts of some agents: ``predictions(model, agents, horizon)``."""
    return _predictions


@pytest.fixture(scope="session")
def assert_same_agents() -> Callable[..., Any]:
    """Two models say the same of some agents, to the last bit."""
    return _assert_same_agents
