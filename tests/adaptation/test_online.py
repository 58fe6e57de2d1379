"""One agent followed as its data comes in: whatever the order, what a table would have given."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.adaptation.adapt import adapt
from twinfold.adaptation.online import Tracker
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import Posterior, solve
from twinfold.models.state_filter import FILTER

Build = Callable[..., FittedModel]
KINDS: list[dict[str, Any]] = [
    {},
    {"discrete": False, "features": "joint", "angles": (1,), "members": 2},
]


def known(model: FittedModel) -> Posterior:
    assert model.posterior is not None
    return model.posterior


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def ignore(line: str) -> None:
    pass


def course(model: FittedModel, courses: Any, agent: str, length: int = 9) -> Any:
    factors = np.random.default_rng(3).normal(size=(1, 3))
    return courses.panel(model, [length], factors, ids=[agent], seed=5)


def feed(tracker: Tracker, panel: Any, order: Any) -> None:
    data = panel.transitions()
    for k in order:
        action = data.action[k]
        level = action if panel.action_levels is None else int(panel.action_levels[action])
        tracker.observe(data.state[k], level, data.next_state[k])


def close(got: Any, expected: Any) -> bool:
    """To the rounding of float32 features."""
    return np.allclose(got, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("agent", ["new", "u3"])
@given(order=st.permutations(range(9)))
@settings(max_examples=4)
def test_one_at_a_time_in_any_order_is_all_at_once(
    random_model: Build, courses: Any, kind: dict[str, Any], agent: str, order: list[int]
) -> None:
    model = random_model(posterior=True, **kind)
    panel = course(model, courses, agent)
    tracker = Tracker(model, agent)
    feed(tracker, panel, order)
    batch = adapt(model, panel, warn=ignore)
    index = np.array([batch.agent_index(agent)])
    mean, covariance = solve(known(batch).prior, known(batch).evidence.take(index))
    assert close(tracker.factors, mean[:, 0])
    assert close(tracker.covariance, covariance[:, 0])
    streamed = tracker.updated()
    assert streamed.agent_ids == batch.agent_ids
    assert close(streamed.members.agents, np.asarray(batch.members.agents))
    assert known(streamed).evidence.count.tolist() == known(batch).evidence.count.tolist()
    assert known(streamed).trained.tolist() == known(batch).trained.tolist()


def test_a_tracker_begins_at_what_is_known_and_leaves_the_model_alone(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    before = bits((known(model), np.asarray(model.members.agents)))
    for agent, index in (("u3", 3), ("new", None)):
        tracker = Tracker(model, agent)
        if index is None:
            np.testing.assert_array_equal(tracker.factors, known(model).prior.mean)
        else:
            expected = np.asarray(model.members.agents)[:, index]
            np.testing.assert_allclose(tracker.factors, expected, rtol=1e-5, atol=1e-5)
        feed(tracker, course(model, courses, agent), range(9))
        tracker.updated()
    assert bits((known(model), np.asarray(model.members.agents))) == before


def test_other_agents_do_not_change_by_a_bit(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    tracker = Tracker(model, "u3")
    feed(tracker, course(model, courses, "u3"), range(9))
    updated, others = tracker.updated(), [0, 1, 2, 4]
    np.testing.assert_array_equal(
        np.asarray(updated.members.agents)[:, others], np.asarray(model.members.agents)[:, others]
    )
    for a, b in zip(
        known(updated).evidence.take(np.array(others)),
        known(model).evidence.take(np.array(others)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_tracked_agent_can_be_tracked_on(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    panel = course(model, courses, "new")
    whole, first = Tracker(model, "new"), Tracker(model, "new")
    feed(whole, panel, range(9))
    feed(first, panel, range(4))
    second = Tracker(first.updated(), "new")
    feed(second, panel, range(4, 9))
    assert close(second.factors, whole.factors)
    assert close(second.covariance, whole.covariance)


def test_numbers_and_their_text_name_the_same_agent(random_model: Build) -> None:
    model = random_model(posterior=True, agent_ids=(3, 5, 7, 9, 11))
    assert Tracker(model, "5").agent_id == 5
    assert Tracker(model, "5").updated().agent_ids == model.agent_ids
    assert Tracker(model, 6).updated().agent_ids == (*model.agent_ids, 6)


STATE = [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("transition", "words"),
    [
        ((STATE[:2], 5, STATE), "needs 3 values: s0, s1, s2"),
        ((STATE, 5, STATE[:2]), "needs 3 values"),
        ((STATE, 6, STATE), "unknown action 6; the levels: -1, 0, 5, 7"),
        ((STATE, "left", STATE), "unknown action 'left'"),
        ((STATE, np.nan, STATE), "unknown action nan"),
        (([0.1, -np.inf, 0.3], 5, STATE), "agent 'u3': a value of the transition is not finite"),
        ((STATE, 5, [0.1, np.inf, 0.3]), "not finite"),
        ((["x", 0.2, 0.3], 5, STATE), r"a state must be numbers, not \['x', 0.2, 0.3\]"),
        (([0.1, 1e40, 0.3], 5, STATE), "agent 'u3': 's1' is 1e.40, .* too far to compute with"),
        ((STATE, 5, [-1e15, 0.1, 0.3]), "agent 'u3': 's0' is -1e.15, .* too far to compute with"),
    ],
)
def test_what_cannot_be_is_named_and_not_counted(
    random_model: Build, transition: Any, words: str
) -> None:
    tracker = Tracker(random_model(posterior=True), "u3")
    before = bits(tracker.evidence)
    with pytest.raises(UsageError, match=words):
        tracker.observe(*transition)
    assert bits(tracker.evidence) == before


def test_a_gross_error_leaves_numbers(random_model: Build) -> None:
    tracker = Tracker(random_model(posterior=True), "new")
    tracker.observe(STATE, 5, [0.1, 1e10, 0.3])
    tracker.observe([0.1, 1e10, 0.3], 5, STATE)
    assert np.isfinite(tracker.factors).all()
    assert np.linalg.eigvalsh(tracker.covariance).min() > 0
    assert np.isfinite(np.asarray(tracker.updated().members.agents)).all()


def test_continuous_actions_are_checked_too(random_model: Build) -> None:
    tracker = Tracker(random_model(posterior=True, **KINDS[1]), "u3")
    with pytest.raises(UsageError, match="an action needs 2 values"):
        tracker.observe(STATE, [0.1], STATE)
    with pytest.raises(UsageError, match="not finite"):
        tracker.observe(STATE, [0.1, np.nan], STATE)
    with pytest.raises(UsageError, match=r"agent 'u3': 'a1' is 1e.20, .* too far"):
        tracker.observe(STATE, [0.1, 1e20], STATE)
    tracker.observe(STATE, [0.1, 0.2], STATE)
    assert tracker.evidence.count.tolist() == [13]


def test_what_is_missing_counts_nowhere_and_what_is_predicted_stands_for_it(
    random_model: Build,
) -> None:
    """Against the same transitions with what stands for the holes, terms of these left out."""
    model = random_model(posterior=True)
    path = [[0.1, 0.2, 0.3], [0.2, np.nan, 0.1], [0.3, 0.1, np.nan], [0.1, 0.0, 0.2]]
    tracker = Tracker(model, "new")
    for before, after in itertools.pairwise(path):
        tracker.observe(before, 5, after)
    assert tracker.evidence.count.tolist() == [3]
    assert tracker.evidence.missing.tolist() == [2]
    assert np.isfinite(tracker.factors).all()
    known = tracker.updated()
    assert known.sums.by_column
    some = 1 / (1 + FILTER.handed_on)  # a step from what was predicted one step before
    np.testing.assert_allclose(known.sums.counts[-1], [1 + 2 * some, 2 * some, 1 + some])
    # The second column was not observed after the first step: its terms are those of two steps.
    alone = Tracker(model, "other")
    alone.observe(path[0], 5, path[1])
    assert alone.evidence.missing.tolist() == [1]
    full = Tracker(model, "full")
    guess = alone._recent[:3]
    full.observe(path[0], 5, guess)
    target = full._sums.moment[0] - alone._sums.moment[0]
    np.testing.assert_allclose(target[:, [0, 2]], 0, atol=1e-12)
    assert np.abs(target[:, 1]).max() > 0
    np.testing.assert_array_equal(known.recent[-1], path[-1])


def test_a_state_that_is_not_known_at_all_hardly_counts(random_model: Build) -> None:
    model = random_model(posterior=True)
    blind, seeing = Tracker(model, "a"), Tracker(model, "b")
    blind.observe([np.nan] * 3, 5, STATE)
    seeing.observe(model.normalizer.state_mean, 5, STATE)
    size = [np.abs(tracker.evidence.gram).max() for tracker in (blind, seeing)]
    assert size[0] < 1e-3 * size[1]
