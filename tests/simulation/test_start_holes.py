"""Questions whose first state lacks some values are answered, and it is said by what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.models.fitted_model import FittedModel
from twinfold.simulation.simulator import Simulator
from twinfold.simulation.start_holes import complete_start
from twinfold.simulation.what_if import QUERY, answer

STATES = ["s0", "s1", "s2"]


@pytest.fixture
def model(random_model: Any) -> FittedModel:
    """Where the data of agent u0 ended is known, of the others not."""
    model = random_model(posterior=True)
    recent = np.full((len(model.agent_ids), 3), np.nan)
    recent[0] = model.normalizer.state_mean + 0.5 * model.normalizer.state_scale
    return replace(model, recent=recent)


def table(model: FittedModel, agent: str, hole: str) -> pd.DataFrame:
    start = dict(zip(STATES, model.normalizer.state_mean, strict=True))
    rows = [{QUERY: "q", "agent": agent, "t": t, "a0": 5, **start} for t in range(3)]
    df = pd.DataFrame(rows).rename(columns={"agent": model.roles.agent, "t": model.roles.time})
    df = df.rename(columns={"a0": model.roles.action[0]})
    df.loc[0, hole] = np.nan
    return df


def test_the_last_known_value_or_the_mean_stands_for_a_hole(model: FittedModel) -> None:
    mean = model.normalizer.state_mean
    start = np.tile(mean, (3, 1))
    start[0, 1] = start[1, 1] = np.nan
    found, lines = complete_start(model, np.array([0, 1, 1]), start)
    np.testing.assert_array_equal(found[0], [mean[0], model.recent[0, 1], mean[2]])
    np.testing.assert_array_equal(found[1:], np.tile(mean, (2, 1)))
    (first, last_known), (second, of_all) = lines
    assert (first.tolist(), second.tolist()) == ([0], [1])
    assert "'s1'" in last_known
    assert "the agent's last known value" in last_known
    assert "the mean of all agents" in of_all
    whole, nothing = complete_start(model, np.array([0]), found[:1])
    assert nothing == []
    assert whole is not start


@pytest.mark.parametrize(("agent", "words"), [("u0", "last known value"), ("u1", "mean of all")])
def test_a_question_with_a_hole_is_answered_and_said(
    model: FittedModel, agent: str, words: str
) -> None:
    said: list[str] = []
    found = answer(model, table(model, agent, "s1"), said.append)[STATES].to_numpy(float)
    assert np.isfinite(found).all()
    (line,) = [line for line in said if "no value of 's1'" in line]
    assert line.startswith("query 'q': ")
    assert words in line
    start = model.normalizer.state_mean.copy()
    start[1] = model.recent[0, 1] if agent == "u0" else start[1]
    alone = Simulator(model, agent).rollout(start, [5] * 3, lambda line: None)
    np.testing.assert_allclose(found, alone.centre, rtol=1e-5, atol=1e-5)
    start[1] = np.nan
    said.clear()
    again = Simulator(model, agent).rollout(start, [5] * 3, said.append)
    np.testing.assert_array_equal(again.centre, alone.centre)
    assert any(words in line for line in said)
    drawn = Simulator(model, agent).sample(start, [5], n=4, warn=said.append)
    assert np.isfinite(drawn).all()
