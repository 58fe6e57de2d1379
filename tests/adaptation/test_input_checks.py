"""What is told of new data before it counts, what is refused, and how agents are named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt, agent_misfit, forget, with_transitions
from twinfold.adaptation.adaptation_settings import ADAPTATION
from twinfold.adaptation.online import Tracker
from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.fitted_model import FittedModel

Build = Callable[..., FittedModel]


# Doubts


def test_an_agent_without_a_transition_is_the_average_one(
    random_model: Build, courses: Any, fresh: Any, covariance: Any, predictions: Any
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9, 0], fresh(model, 2), ids=["a", "single"], seed=5)
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    (line,) = [line for line in heard if "no transition" in line]
    assert line.startswith("agent 'single': ")
    index = adapted.agent_index("single")
    prior = adapted.posterior.prior
    np.testing.assert_array_equal(adapted.members.agents[:, index], prior.mean.astype(np.float32))
    np.testing.assert_allclose(
        covariance(adapted)[:, index], np.linalg.inv(prior.precision), rtol=1e-6, atol=1e-9
    )
    unknown = predictions(adapted, ["single", "a"])[1]
    assert np.median(unknown[0]) > np.median(unknown[1]) > 0


def test_a_known_agent_without_new_transitions_is_not_called_average(
    random_model: Build, courses: Any, fresh: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9, 0], fresh(model, 2), ids=["a", "u3"], seed=5)
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    assert not [line for line in heard if "average" in line]
    assert_same_agents(adapted, model, model.agent_ids)


def test_contradictory_rows_are_told_and_widen_the_band(
    random_model: Build, courses: Any, fresh: Any, covariance: Any
) -> None:
    model = random_model(posterior=True, members=1)
    frame = courses.table(model, [20, 20], fresh(model, 2), ids=["plain", "torn"], seed=5)
    torn = frame["unit"] == "torn"
    rng = np.random.default_rng(0)
    noise = rng.choice([-9, 9], (int(torn.sum()), 3)) * model.normalizer.target_scale
    frame.loc[torn, list(model.roles.state)] += noise
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    (line,) = [line for line in heard if "does not fit" in line]
    assert line.startswith("agent 'torn': ")
    plain, bad = (adapted.agent_index(name) for name in ("plain", "torn"))
    phi = agent_misfit(adapted)[0]
    assert phi[bad] > ADAPTATION.misfit > 10 * phi[plain]
    trace = np.trace(covariance(adapted)[0], axis1=1, axis2=2)
    assert trace[bad] > 10 * trace[plain]


def test_values_far_outside_the_training_data_are_told(
    random_model: Build, courses: Any, fresh: Any
) -> None:
    model = random_model(posterior=True, discrete=False)
    frame = courses.table(model, [9, 9], fresh(model, 2) * 0.3, ids=["a", "b"], seed=5)
    heard: list[str] = []
    adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    before = [line for line in heard if "'s0'" in line or "'a1'" in line]
    assert not before
    heard.clear()
    frame.loc[frame["unit"] == "b", "s0"] += 1000.0
    frame.loc[12, "a1"] = -500.0
    adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    (line,) = [line for line in heard if "outside the range" in line]
    low, high = model.ranges.state_low[0], model.ranges.state_high[0]
    assert re.match(r"\d+ states and 1 action of 2 agents lie outside the range of the", line)
    assert re.search(
        rf"the worst, agent 'b', step 8 .*'s0' is 100\d.* has {low:g} to {high:g}", line
    )
    with pytest.raises(InvalidDataError, match="and 1 action of 2 agents lie outside the"):
        adapt(
            model, PanelDataset.from_frame(frame, model.roles), strict=True, warn=lambda line: None
        )


def test_ranges_hold_what_the_model_was_given_and_forgets(
    random_model: Build, courses: Any, fresh: Any
) -> None:
    model = random_model(posterior=True, discrete=False)
    frame = courses.table(model, [9, 9], fresh(model, 2), ids=["a", "b"], seed=5)
    frame.loc[frame["unit"] == "b", "s0"] += 1000.0
    panel = PanelDataset.from_frame(frame, model.roles)
    adapted = adapt(model, panel, warn=lambda line: None)
    whole = model.ranges.union(panel.data_ranges())
    for mine, expected in zip(adapted.known_ranges, whole, strict=True):
        np.testing.assert_allclose(mine, expected)
    assert adapted.ranges is model.ranges  # plans keep to what the nets have seen
    one = forget(adapted, ["a"])
    assert one.known_ranges.state_high[0] == whole.state_high[0]
    assert forget(one, ["b"]).added_ranges is None
    for mine, expected in zip(forget(one, ["b"]).known_ranges, model.ranges, strict=True):
        np.testing.assert_array_equal(mine, expected)
    tracker, data = Tracker(model, "b"), panel.select_agents(["b"]).transitions()
    for row in zip(data.state, data.action, data.next_state, strict=True):
        tracker.observe(*row)
    added = tracker.updated().added_ranges
    assert added is not None
    assert adapted.added_ranges is not None
    for mine, expected in zip(added, adapted.added_ranges, strict=True):
        np.testing.assert_allclose(mine[-1], expected[-1])


def test_without_a_listener_doubts_are_python_warnings(
    random_model: Build, courses: Any, fresh: Any
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["s1"] += 1000.0
    with pytest.warns(UserWarning, match="outside the range of the data .*'s1' is"):
        adapt(model, PanelDataset.from_frame(frame, model.roles))


# Refusals


def test_data_counted_twice_is_refused(random_model: Build, courses: Any, newcomers: Any) -> None:
    model = random_model(posterior=True)
    own = courses.panel(model, [12] * 5, courses.factors(model))
    with pytest.raises(UsageError, match="has had this data already"):
        adapt(model, own, warn=lambda line: None)
    panel = newcomers(model, courses, [4, 3])
    adapted = adapt(model, panel, warn=lambda line: None)
    backwards = panel.select_agents(reversed(panel.agent_ids))  # the same in another order
    with pytest.raises(UsageError, match="has had this data already"):
        adapt(adapted, backwards, warn=lambda line: None)
    assert len(adapt(model, backwards, warn=lambda line: None).agent_ids) == 7


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        ({"s1": "S1"}, {"state": ("s0", "S1", "s2")}, r"state columns are 's0', 's1', 's2', those"),
        ({}, {"state": ("s1", "s0", "s2")}, "same order"),
        ({}, {"state": ("s0", "s1")}, r"those of the data 's0', 's1'; .*The columns: 's0', 's1'"),
        (
            {"a0": "dose"},
            {"action": ("dose",)},
            "action columns are 'a0', those of the data 'dose'",
        ),
        ({}, {"angle": ("s1",)}, "angle columns are none, those of the data 's1'"),
        ({}, {"action_type": "continuous"}, "action is continuous, but .* fitted to discrete"),
    ],
)
def test_other_columns_are_named(
    random_model: Build,
    courses: Any,
    names: dict[str, str],
    changes: dict[str, Any],
    words: str,
    fresh: Any,
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    roles = {**model.roles.model_dump(), **changes}
    with pytest.raises(UsageError, match=words):
        adapt(
            model,
            PanelDataset.from_frame(frame.rename(columns=names), roles),
            warn=lambda line: None,
        )


def test_other_names_of_agent_and_time_are_fine(
    random_model: Build, courses: Any, fresh: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    roles = {**model.roles.model_dump(), "agent": "who", "time": "when"}
    one = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=lambda line: None)
    frame = frame.rename(columns={"unit": "who", "t": "when"})
    other = adapt(model, PanelDataset.from_frame(frame, roles), warn=lambda line: None)
    assert_same_agents(other, one, one.agent_ids)


@pytest.mark.parametrize(
    ("mine", "factor", "start"),
    [
        (1.0, 2.0, None),
        (1.0, 0.5, None),
        (1.0, 1.5, None),
        (1.0, 1.0, "2026-01-01"),
        (pd.Timedelta("1h"), 1.0, None),
    ],
)
def test_another_time_step_is_refused(
    random_model: Build, courses: Any, mine: Any, factor: float, start: str | None, fresh: Any
) -> None:
    model = replace(random_model(posterior=True), time_step=mine)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["t"] = frame["t"] * factor
    if start is not None:
        frame["t"] = pd.Timestamp(start) + pd.to_timedelta(frame["t"], unit="h")
    with pytest.raises(UsageError, match=r"time between two rows is .* in the model's data"):
        adapt(model, PanelDataset.from_frame(frame, model.roles), warn=lambda line: None)


@pytest.mark.parametrize(
    ("mine", "factor", "doubtful"),
    [(1.0, 1.0299999999999994, False), (357.0, 349.0, False), (1.0, 1.4, True), (1.0, 0.6, True)],
)
def test_a_time_step_that_is_nearly_the_models_will_do(
    random_model: Build, courses: Any, mine: float, factor: float, doubtful: bool, fresh: Any
) -> None:
    model = replace(random_model(posterior=True), time_step=mine)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["t"] = frame["t"] * factor
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    assert adapted.agent_ids[-1] == "a"
    told = [line for line in heard if line.startswith("the time between two rows is")]
    assert len(told) == doubtful
    if doubtful:
        assert f"in the model's data {mine:g}: taken as one step all the same" in told[0]


def test_dates_an_hour_apart_are_an_hour_apart(
    random_model: Build, courses: Any, fresh: Any
) -> None:
    model = replace(random_model(posterior=True), time_step=pd.Timedelta("1h"))
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["t"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["t"] * 60, unit="min")
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=lambda line: None)
    assert adapted.agent_ids[-1] == "a"


def test_an_unknown_level_is_named_with_its_place(
    random_model: Build, courses: Any, fresh: Any
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [4, 9], fresh(model, 2), ids=["a", "b"], seed=5)
    frame.loc[(frame["unit"] == "b") & frame["t"].isin([2, 5]), "a0"] = 6
    with pytest.raises(
        InvalidDataError,
        match=r"column 'a0', agent 'b', step 2 .*\(and 1 more rows\): action 6 .*: -1, 0, 5, 7",
    ):
        adapt(model, PanelDataset.from_frame(frame, model.roles), warn=lambda line: None)


def test_agents_whose_factors_would_be_no_numbers_are_named(
    random_model: Build, courses: Any, newcomers: Any
) -> None:
    """A net may make too much of what it can be given."""
    model = random_model(posterior=True)
    data = courses.transitions(model, newcomers(model, courses, [4, 4]))
    data.next_state[5] = np.nan
    with pytest.raises(InvalidDataError, match="of the data of agent 'new 1': its values are too"):
        with_transitions(model, ("new 0", "new 1"), data)


def test_levels_are_matched_by_value_not_by_place(
    random_model: Build, courses: Any, fresh: Any, assert_same_agents: Any
) -> None:
    """A table in which not every level occurs counts them otherwise than the model."""
    model = random_model(posterior=True)
    frame = courses.table(model, [30], fresh(model, 1), ids=["a"], seed=5)
    frame = frame[: int(np.argmax(frame["a0"] == -1))]  # up to the first -1
    frame.loc[frame.index[-1], "a0"] = None
    panel = PanelDataset.from_frame(frame, model.roles)
    assert panel.action_levels is not None
    assert -1 not in panel.action_levels.tolist()
    adapted = adapt(model, panel, warn=lambda line: None)
    expected = with_transitions(model, ("a",), courses.transitions(model, panel))
    assert_same_agents(adapted, expected, adapted.agent_ids)


# Ids


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ((1, 2, 3, 4, 5), [2, 9], (1, 2, 3, 4, 5, 9)),
        ((1, 2, 3, 4, 5), ["2", "x"], (1, 2, 3, 4, 5, "x")),
        (("1", "2", "3", "4", "5"), [2, 9], ("1", "2", "3", "4", "5", 9)),
        (("001", "2", "3", "4", "5"), [1, 2], ("001", "2", "3", "4", "5", 1)),
    ],
)
def test_numbers_and_their_text_name_the_same_agent(
    random_model: Build, courses: Any, mine: Any, theirs: Any, expected: Any, newcomers: Any
) -> None:
    model = random_model(posterior=True, agent_ids=mine)
    adapted = adapt(model, newcomers(model, courses, [4, 3], ids=theirs), warn=lambda line: None)
    assert adapted.agent_ids == expected
    assert [type(x) for x in adapted.agent_ids] == [type(x) for x in expected]
    added = adapted.posterior.evidence.count - np.resize([12] * 5 + [0], 6)
    assert added[[adapted.agent_index(name) for name in theirs]].tolist() == [4, 3]
    assert added.sum() == 7
