"""Ends of trajectories: a partition of the data, and how far predictions of them go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinfold.data.panel import Transitions
from twinfold.data.windows import split_ends
from twinfold.uncertainty.intervals import course_scores


def numbered(lengths: list[list[int]], discrete: bool = False) -> Transitions:
    """Trajectories of so many transitions by agent; every value tells its row."""
    agent = [n for n, own in enumerate(lengths) for k in own for _ in range(k)]
    flat = [k for own in lengths for k in own]
    step = [t for k in flat for t in range(k)]
    segment = [s for s, k in enumerate(flat) for _ in range(k)]
    row = np.arange(1.0, len(agent) + 1)
    return Transitions(
        agent=np.array(agent, np.int32),
        state=np.stack([row, -row], axis=1),
        action=row.astype(np.int32) if discrete else row[:, None] + 0.5,
        next_state=np.stack([row + 0.25, -row], axis=1),
        segment=np.array(segment, np.int32),
        step=np.array(step, np.int32),
    )


LENGTHS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=4)


@given(lengths=LENGTHS, horizon=st.integers(1, 6), discrete=st.booleans())
@settings(max_examples=30)
def test_the_pieces_are_the_data(lengths: list[list[int]], horizon: int, discrete: bool) -> None:
    data = numbered(lengths, discrete)
    before, ends = split_ends(data, horizon)
    used = ends.next_state[ends.mask]
    together = np.sort(np.concatenate([before.next_state[:, 0], used[:, 0]]))
    np.testing.assert_array_equal(together, data.next_state[:, 0])
    # Half of each agent's last trajectory, at most the horizon; none of a single transition.
    expected = {n: min(horizon, own[-1] // 2) for n, own in enumerate(lengths) if own[-1] > 1}
    assert dict(zip(ends.agent.tolist(), ends.mask.sum(axis=1).tolist(), strict=True)) == expected
    assert ends.mask.shape == (len(expected), horizon)
    assert np.all(np.diff(ends.mask.astype(int), axis=1) <= 0)  # from the first step on
    for s, n in enumerate(ends.agent):
        rows = np.flatnonzero(data.agent == n)[-int(ends.mask[s].sum()) :]
        number = len(rows)
        np.testing.assert_array_equal(ends.state[s], data.state[rows[0]])
        np.testing.assert_array_equal(ends.action[s, :number], data.action[rows])
        np.testing.assert_array_equal(ends.next_state[s, :number], data.next_state[rows])
        assert not ends.action[s, number:].any()
        assert not ends.next_state[s, number:].any()
    assert ends.action.dtype == data.action.dtype
    np.testing.assert_array_equal(before.agent, np.sort(before.agent))


def test_data_of_single_transitions_has_no_ends() -> None:
    data = numbered([[1], [1], [3, 1]])
    before, ends = split_ends(data, 5)
    assert len(ends.agent) == 0
    assert (ends.action.shape, ends.next_state.shape) == ((0, 5, 1), (0, 5, 2))
    np.testing.assert_array_equal(before.state, data.state)


@given(seed=st.integers(0, 2**32), horizon=st.integers(1, 8))
@settings(max_examples=30)
def test_scores_are_the_largest_error_so_far(seed: int, horizon: int) -> None:
    rng = np.random.default_rng(seed)
    error, width = rng.normal(size=(4, horizon, 2)), rng.uniform(0.1, 2, (4, horizon, 2))
    mask = np.arange(horizon) < rng.integers(1, horizon + 1, 4)[:, None]
    scores = course_scores(error, width, mask)
    for s, h in np.ndindex(4, horizon):
        if mask[s, h]:
            worst = max(abs(error[s, t, d]) / width[s, t, d] for t in range(h + 1) for d in (0, 1))
            assert scores[s, h] == worst
            assert h == 0 or scores[s, h] >= scores[s, h - 1]
        else:
            assert np.isnan(scores[s, h])


@pytest.mark.parametrize(
    ("error", "width", "expected"),
    [
        (np.nan, 1.0, np.inf),
        (np.inf, 1.0, np.inf),
        (np.inf, np.inf, np.inf),
        (np.nan, np.inf, np.inf),
        (1.0, np.nan, np.inf),
        (1.0, 0.0, np.inf),
        (0.0, 0.0, 0.0),  # nothing is wrong, however narrow the band
        (7.0, np.inf, 0.0),  # and an endless one holds everything
    ],
)
def test_what_is_not_finite_is_as_wrong_as_can_be(error: Any, width: Any, expected: float) -> None:
    errors, widths = np.full((1, 3, 2), 0.5), np.ones((1, 3, 2))
    errors[0, 1, 0], widths[0, 1, 0] = error, width
    scores = course_scores(errors, widths, np.array([[True, True, True]]))
    assert scores[0, 0] == 0.5
    assert scores[0, 1] == scores[0, 2] == max(expected, 0.5)
    cut = course_scores(errors, widths, np.array([[True, False, False]]))
    assert cut[0, 0] == 0.5  # what lies beyond the end does not count
    assert np.isnan(cut[0, 1:]).all()
