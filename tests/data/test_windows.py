"""Windows: what is cut off and what is left are the data; whole suffixes, seen by nobody else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.data import PanelDataset, Roles, Transitions, hold_out
from twinfold.data.windows import split_ends
from twinfold.errors import UsageError

ROLES = Roles(agent="id", time="t", state=("x", "y"), action=("u",), action_type="discrete")


def panel(
    lengths: list[int], gap_after: int | None = None, continuous: bool = False
) -> PanelDataset:
    """Agents with so many transitions each; x numbers the rows, so that rows can be recognised."""
    frames = []
    for name, length in enumerate(lengths):
        t = np.arange(length + 1)
        if gap_after is not None:
            t = t + 10 * (t > gap_after)
        frames.append(pd.DataFrame({"id": name, "t": t}))
    df = pd.concat(frames, ignore_index=True)
    df["x"] = np.arange(len(df), dtype=float)
    df["y"] = -1.0
    df["u"] = df["x"] % 3
    roles = ROLES.model_copy(update={"action_type": "continuous"}) if continuous else ROLES
    return PanelDataset.from_frame(df, roles)


@given(
    st.lists(st.integers(1, 150), min_size=1, max_size=12),
    st.sampled_from([None, 2, 20]),
    st.integers(0, 9),
    st.booleans(),
)
def test_stretches_and_training_part_the_data(
    lengths: list[int], gap_after: int | None, seed: int, continuous: bool
) -> None:
    data = panel(lengths, gap_after, continuous)
    found = data.transitions()
    train, held = hold_out(data, seed=seed)
    assert train.shape == (len(found),)
    assert held.n_transitions == (~train).sum()  # nothing dropped, nothing twice
    assert held.mask.shape[1] <= 50
    # x counts rows: every stretch steps through consecutive held-out rows of its agent
    out = {state: k for k, state in enumerate(found.state[:, 0]) if not train[k]}
    seen = []
    for s in range(len(held.agent)):
        length = int(held.mask[s].sum())
        assert held.mask[s, :length].all()
        path = np.r_[held.state[s, 0], held.next_state[s, :length, 0]]
        assert np.all(np.diff(path) == 1)
        rows = [out[x] for x in path[:-1]]
        assert np.all(found.agent[rows] == held.agent[s])
        np.testing.assert_array_equal(held.action[s, :length], found.action[rows])
        assert not held.action[s, length:].any()
        assert not held.next_state[s, length:].any()
        seen += rows
    assert sorted(seen) == sorted(out.values())
    for agent in range(data.n_agents):  # a suffix: no training row after a held-out one
        kept = train[found.agent == agent]
        assert kept[0]
        assert np.all(np.diff(kept.astype(int)) <= 0)


def test_shares() -> None:
    data = panel([40] * 50)
    train, held = hold_out(data, seed=0)
    assert len(np.unique(held.agent)) == 10
    assert held.mask.sum(axis=1).tolist() == [12] * 10
    assert (~train).sum() == 120
    assert held.state.shape == (10, 2)
    assert held.next_state.shape == (10, 12, 2)
    again, _ = hold_out(data, seed=0)
    other, _ = hold_out(data, seed=1)
    assert np.array_equal(train, again)
    assert not np.array_equal(train, other)


@pytest.mark.parametrize("agents", [1, 4])
def test_few_agents_all_take_part(agents: int) -> None:
    _, held = hold_out(panel([30] * agents))
    assert len(np.unique(held.agent)) == agents


def test_long_suffixes_are_cut_evenly_and_drawn() -> None:
    _, held = hold_out(panel([340]), suffix=0.3)  # 102 held out
    assert held.mask.sum(axis=1).tolist() == [34, 34, 34]
    train, held = hold_out(panel([1000] * 4), max_windows=7, longest=20)
    assert held.mask.shape == (7, 20)
    assert (~train).sum() == 1200  # those not drawn are not trained on either


def test_short_agents() -> None:
    train, held = hold_out(panel([5] * 9 + [6] * 9))
    assert set(held.agent) <= set(range(9, 18))  # 3 + 3 fit the longer ones only
    assert len(held.agent) == 5
    _, held = hold_out(panel([2] * 9))
    assert held.mask.sum() == 5  # one each, rather than none
    train, held = hold_out(panel([1] * 9))
    assert train.all()
    assert len(held.agent) == 0
    assert held.state.shape == (0, 2)
    assert held.next_state.shape[0] == 0


def test_continuous_actions_keep_their_columns() -> None:
    _, held = hold_out(panel([30] * 6, continuous=True))
    assert held.action.shape == (5, 9, 1)
    assert held.action.dtype == np.float64


def test_values_out_of_range() -> None:
    data = panel([9])
    for name, value in {"share": 0.0, "suffix": 1.0, "min_prefix": 0, "longest": 0}.items():
        with pytest.raises(UsageError, match=name):
            hold_out(data, **{name: value})  # pyright: ignore[reportArgumentType]


# Ends


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
