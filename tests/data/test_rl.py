"""Data sets of reinforcement learning go to panels and back without loss, by the real libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pandas as pd
import pytest
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from twinfold.data import PanelDataset, episode_table, panel_of_episodes
from twinfold.data.rl.convert import write_episodes
from twinfold.data.rl.d3rlpy_format import to_d3rlpy
from twinfold.errors import InvalidDataError, UsageError


def panel(kind: str = "continuous", dates: bool = False) -> PanelDataset:
    """Agents with two episodes, one with a gap; ids of text, static columns, a zone."""
    rng = np.random.default_rng(0)
    t = np.array([0, 1, 2, 3, 0, 1, 2, 0, 1, 5, 6, 7])
    frame = pd.DataFrame({
        "robot": ["Zoë"] * 7 + ["007"] * 5, "trial": ["e2"] * 4 + ["e10"] * 3 + ["e1"] * 5,
        "when": pd.Timestamp("2026-10-24", tz="Europe/Berlin") + pd.to_timedelta(t, unit="h")
        if dates else t,
        "x": rng.normal(size=12), "y": rng.normal(size=12), "r": rng.normal(size=12),
        "a": rng.normal(size=12) if kind == "continuous" else rng.integers(-1, 2, 12),
        "b": rng.normal(size=12), "end": np.isin(np.arange(12), [3, 11]),
        "cut": np.arange(12) == 6, "mass": [1.5] * 7 + [np.nan] * 5,
    })  # fmt: skip
    roles = {
        "agent": "robot", "episode": "trial", "time": "when", "state": ["x", "y"],
        "action": ["a", "b"] if kind == "continuous" else ["a"], "action_type": kind,
        "reward": "r", "terminated": "end", "truncated": "cut", "static": ["mass"],
    }  # fmt: skip
    return PanelDataset.from_frame(frame, roles)


CASES = [("continuous", False), ("discrete", True)]


@pytest.mark.parametrize(("kind", "dates"), CASES)
@pytest.mark.parametrize("form", ["minari", "d3rlpy", "parquet"])
def test_a_panel_comes_back_as_it_was(tmp_path: Path, form: Any, kind: str, dates: bool) -> None:
    before = panel(kind, dates)
    place = tmp_path / {"minari": "set", "d3rlpy": "set.h5", "parquet": "set.parquet"}[form]
    write_episodes(before, place, form)
    if form == "parquet":
        from twinfold import load_panel

        after = load_panel(place)
    else:
        after = panel_of_episodes(place)
    assert after.fingerprint() == before.fingerprint()
    assert after.roles == before.roles
    assert after.time_zone == before.time_zone
    np.testing.assert_array_equal(after.static, before.static)
    if form == "minari":
        with pytest.raises(UsageError, match="exists already"):
            write_episodes(before, place, form)


@pytest.mark.parametrize("kind", ["words", "mixed", "none"])
@pytest.mark.parametrize("form", ["minari", "d3rlpy"])
def test_words_amounts_exogenous_columns_and_uneven_times(
    tmp_path: Path, form: Any, kind: str
) -> None:
    rng, n = np.random.default_rng(0), 60
    frame = pd.DataFrame({
        "id": np.repeat(["a", "b", "c"], 20), "t": np.tile(np.cumsum(rng.uniform(0.2, 2, 20)), 3),
        "x": rng.normal(size=n), "mode": rng.choice(["fill", "drain"], n),
        "amount": rng.normal(size=n), "day": rng.choice(["Mon", "Tue"], n),
        "rain": rng.normal(size=n), "site": np.repeat(["north", "south", "north"], 20),
    })  # fmt: skip
    acts = {"words": ["mode"], "mixed": ["mode", "amount"], "none": []}[kind]
    kinds = {"words": "discrete", "mixed": ["discrete", "continuous"], "none": "none"}[kind]
    roles = {"agent": "id", "time": "t", "state": ["x"], "action": acts, "action_type": kinds,
             "exogenous": ["day", "rain"], "static": ["site"]}  # fmt: skip
    before = PanelDataset.from_frame(frame, roles)
    assert before.uneven
    write_episodes(before, tmp_path / "set.h5", form)
    after = panel_of_episodes(tmp_path / "set.h5")
    assert after.fingerprint() == before.fingerprint()
    assert (after.roles, after.levels, after.uneven) == (before.roles, before.levels, True)
    np.testing.assert_array_equal(after.static, before.static)


def test_minari_reads_what_was_written_and_is_read(tmp_path: Path) -> None:
    before = panel("discrete")
    write_episodes(before, tmp_path / "set", "minari")
    dataset = minari.MinariDataset(tmp_path / "set" / "data")
    assert dataset.total_episodes == 4  # a gap splits one
    assert dataset.total_steps == before.n_transitions
    first = next(iter(dataset.iterate_episodes([0])))
    np.testing.assert_array_equal(first.observations, before.state[: len(first.observations)])
    assert panel_of_episodes(dataset).fingerprint() == before.fingerprint()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what the library would rather be told
def test_a_set_that_minari_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    rng = np.random.default_rng(0)
    body = rng.normal(size=(2, 6, 2))
    buffers = [
        EpisodeBuffer(
            id=i,
            observations={"goal": rng.normal(size=(6, 1)), "body": body[i]},
            actions=list(rng.normal(size=(5, 2))),
            rewards=list(rng.normal(size=5)),
            terminations=[False] * 4 + [i == 0],
            truncations=[False] * 4 + [i == 1],
            infos={},
        )
        for i in range(2)
    ]
    space: dict[str, gym.Space[Any]] = {
        "goal": gym.spaces.Box(-9, 9, (1,)),
        "body": gym.spaces.Box(-9, 9, (2,)),
    }
    minari.create_dataset_from_buffers(
        "room/panel-v0", buffers, observation_space=gym.spaces.Dict(space),
        action_space=gym.spaces.Box(-9, 9, (2,)), data_format="hdf5",
    )  # fmt: skip
    for source in (tmp_path / "room" / "panel-v0", minari.load_dataset("room/panel-v0")):
        found = panel_of_episodes(source)
        assert found.agent_ids == (0,)
        assert found.n_transitions == 10
        assert found.terminated is not None
        assert found.terminated.sum() == 1
        apart = panel_of_episodes(source, each=True)
        assert apart.agent_ids == (0, 1)
    np.testing.assert_array_equal(found.state[:6, 0], body[0, :, 0])


def test_d3rlpy_reads_what_was_written_and_is_read(tmp_path: Path) -> None:
    d3rlpy = pytest.importorskip("d3rlpy")
    before = panel()
    write_episodes(before, tmp_path / "set.h5", "d3rlpy")
    with open(tmp_path / "set.h5", "rb") as file:
        buffer = d3rlpy.dataset.ReplayBuffer.load(file, d3rlpy.dataset.InfiniteBuffer())
    made = to_d3rlpy(before)
    assert buffer.transition_count == made.transition_count == before.n_transitions
    for ours, theirs in zip(buffer.episodes, made.episodes, strict=True):
        np.testing.assert_array_equal(ours.observations, theirs.observations)
        np.testing.assert_array_equal(ours.rewards, theirs.rewards)
        assert ours.terminated == theirs.terminated
    # The transitions that its algorithms learn from are ours, in its single precision.
    data, picker = before.transitions(), d3rlpy.dataset.BasicTransitionPicker()
    seen = [picker(e, i) for e in buffer.episodes for i in range(e.transition_count)]
    np.testing.assert_allclose([s.observation for s in seen], data.state, rtol=1e-6)
    np.testing.assert_allclose([s.action for s in seen], data.action, rtol=1e-6)
    going_on = [not s.terminal for s in seen]
    np.testing.assert_allclose(
        [s.next_observation for s in seen if not s.terminal], data.next_state[going_on], rtol=1e-6
    )
    # What d3rlpy writes anew has lost ids, times and last states; the rest is there.
    with open(tmp_path / "again.h5", "w+b") as file:
        buffer.dump(file)
    for source in (tmp_path / "again.h5", buffer):
        table, roles = episode_table(source, each=True)
        assert roles.state == ("obs_0", "obs_1")
        assert len(table) == len(before.state) - 2
        assert panel_of_episodes(source, each=True).n_transitions == before.n_transitions - 2


@pytest.mark.parametrize("after", [False, True])
def test_arrays_of_d4rl(tmp_path: Path, after: bool) -> None:
    rng = np.random.default_rng(0)
    state = rng.normal(size=(9, 2))
    arrays = {"observations": state, "actions": rng.normal(size=(9, 1)),
              "rewards": rng.normal(size=9), "terminals": np.arange(9) == 3,
              "timeouts": np.arange(9) == 6}  # fmt: skip
    if after:
        arrays["next_observations"] = np.r_[state[1:], rng.normal(size=(1, 2))]
        arrays["next_observations"][[3, 6]] = [[7.0, 8.0], [9.0, 10.0]]
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
    for source in (arrays, tmp_path / "a.hdf5"):
        found = panel_of_episodes(source)
        assert found.n_transitions == (9 if after else 6)
        assert found.n_segments == 3
        if after:
            assert found.state[4].tolist() == [7.0, 8.0]
    assert found.terminated is not None
    assert np.flatnonzero(found.terminated).tolist() == [4 if after else 3]


def test_an_episode_of_one_step_has_no_transition(tmp_path: Path) -> None:
    arrays = {"observations": np.arange(12.0).reshape(6, 2), "actions": np.arange(6.0)[:, None],
              "rewards": np.zeros(6), "terminals": np.array([1, 0, 0, 1, 0, 0])}  # fmt: skip
    found = panel_of_episodes(arrays, each=True)
    assert found.n_transitions == 3
    assert found.transitions().state[:, 0].tolist() == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("kind", [np.int64, np.bool_])
def test_whole_numbers_in_several_columns_are_choices(kind: Any) -> None:
    acted = np.random.default_rng(0).integers(0, 2, (8, 2)).astype(kind)
    arrays = {"observations": np.arange(16.0).reshape(8, 2), "actions": acted,
              "rewards": np.zeros(8), "terminals": np.arange(8) == 3}  # fmt: skip
    found = panel_of_episodes(arrays, each=True)
    assert found.roles.action_type == "discrete"
    assert found.action_code.user_values(found.transitions().action, one=False).tolist() == [
        [int(a) for a in row] for i, row in enumerate(acted) if i not in (3, 7)
    ]
    with pytest.raises(InvalidDataError, match="episode 0: actions of type <U1; give numbers"):
        panel_of_episodes({**arrays, "actions": np.array(["a"] * 8)})


def _arrays(h5: Any, **other: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = {"observations": rng.normal(size=(9, 2)), "actions": rng.normal(size=(9, 1))}
    for name, value in {
        **arrays,
        "rewards": np.zeros(9),
        "terminals": np.zeros(9),
        **other,
    }.items():
        h5[name] = value


def _groups(h5: Any) -> None:
    for name in ("observations", "actions", "rewards", "terminals"):
        h5.create_group(name)


def _huge(h5: Any) -> None:
    for name, shape in (("observations", (10**12, 2)), ("actions", (10**12,))):
        h5.create_dataset(name, shape=shape, dtype="f8", chunks=True)
    h5["rewards"] = h5["terminals"] = np.zeros(9)


def _numbered(h5: Any) -> None:
    h5["version"], h5["num_episodes"] = "5.0", "many"


@pytest.mark.parametrize(
    "fill",
    [
        lambda h5: _arrays(h5, rewards=np.float64(1)),
        lambda h5: _arrays(h5, rewards=h5py.SoftLink("/rewards")),
        lambda h5: _arrays(h5, rewards=h5py.ExternalLink("/etc/passwd", "/x")),
        lambda h5: _arrays(h5, next_observations=np.zeros((3, 5))),
        _groups,
        _huge,
        _numbered,
    ],
)
def test_a_file_that_holds_something_else_is_told_in_a_line(tmp_path: Path, fill: Any) -> None:
    with h5py.File(tmp_path / "set.h5", "w") as h5:
        fill(h5)
    with pytest.raises(InvalidDataError) as caught:
        panel_of_episodes(tmp_path / "set.h5")
    (line,) = caught.value.problems
    assert "set.h5" in line
    assert "\n" not in line


@pytest.mark.parametrize("content", ["{", "[]", "[" * 9999, '{"a": NaN}'])
def test_metadata_that_are_none_are_told(tmp_path: Path, content: str) -> None:
    write_episodes(panel(), tmp_path / "set", "minari")
    (tmp_path / "set" / "data" / "metadata.json").write_text(content)
    with pytest.raises(InvalidDataError, match=r"metadata\.json"):
        panel_of_episodes(tmp_path / "set")


def test_a_data_set_of_minari_is_written_by_a_relative_path_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_episodes(panel(), Path("set"), "minari")
    assert panel_of_episodes(Path("set")).fingerprint() == panel().fingerprint()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MinariStorage, "update_metadata", full)
    with pytest.raises(OSError, match="No space"):
        write_episodes(panel(), Path("other"), "minari")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_is_no_such_data_set_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no file of HDF5")
    with pytest.raises(InvalidDataError, match="no readable file of HDF5"):
        panel_of_episodes(tmp_path / "a.h5")
    with pytest.raises(UsageError, match="No such file"):
        panel_of_episodes(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("x", data=[1.0])
    with pytest.raises(UsageError, match="is no data set of Minari"):
        panel_of_episodes(tmp_path / "c.h5")
    with pytest.raises(InvalidDataError, match="no array 'rewards'"):
        panel_of_episodes({"observations": [[1.0]], "actions": [[1.0]], "terminals": [True]})
    with pytest.raises(InvalidDataError, match="vectors of numbers are needed"):
        panel_of_episodes({"observations": np.zeros((2, 4, 4)), "actions": [[1.0]],
                           "rewards": [1.0], "terminals": [True]})  # fmt: skip
    with pytest.raises(UsageError, match="a set is no data set"):
        panel_of_episodes({1})


def test_what_a_killed_export_left_goes_with_the_next_one(tmp_path: Path) -> None:
    left = tmp_path / ".set.minari-partial" / "data"
    left.mkdir(parents=True)
    (left / "main_data.hdf5").write_bytes(b"half")
    write_episodes(panel(), tmp_path / "set", "minari")
    assert [part.name for part in tmp_path.iterdir()] == ["set"]
    minari.MinariDataset(tmp_path / "set" / "data")


def test_an_unknown_format_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    """A place given for the format was written as a file of d3rlpy under the format's name."""
    with pytest.raises(UsageError, match="unknown format 'd4rl'; valid: parquet, minari, d3rlpy"):
        write_episodes(panel(), tmp_path / "x", "d4rl")  # pyright: ignore
    assert not list(tmp_path.iterdir())


def trajectories() -> list[dict[str, Any]]:
    """Of one, four and two actions: the state after the last known, in an array beside, or not."""
    rng = np.random.default_rng(0)
    return [
        {"observations": rng.normal(size=(2, 3)), "actions": [1], "terminated": True},
        {
            "observations": rng.normal(size=(4, 3)),
            "next_observations": rng.normal(size=(4, 3)),
            "actions": np.array([0, 1, 1, 0]),
            "terminals": [0, 0, 0, 0],
        },
        {"observations": rng.normal(size=(3, 3)), "actions": [0, 0, 1], "terminals": [0, 0, 1]},
    ]


def test_a_list_of_trajectories_is_a_panel_with_an_agent_for_each() -> None:
    given = trajectories()
    found = panel_of_episodes(given, each=True).transitions()
    states = [given[0]["observations"], np.vstack([given[1]["observations"],
              given[1]["next_observations"][-1:]]), given[2]["observations"]]  # fmt: skip
    np.testing.assert_array_equal(found.state, np.concatenate([each[:-1] for each in states]))
    np.testing.assert_array_equal(found.next_state, np.concatenate([each[1:] for each in states]))
    np.testing.assert_array_equal(found.agent, [0, 1, 1, 1, 1, 2, 2])
    # The last action of the third has no state after it.
    np.testing.assert_array_equal(found.action, [1, 0, 1, 1, 0, 0, 0])
    table, roles = episode_table(given, each=True)
    ends = table.groupby(roles.agent, sort=False)[[roles.terminated, roles.truncated]].any()
    np.testing.assert_array_equal(ends, [[True, False], [False, True], [True, False]])


def test_rewards_of_trajectories_are_kept() -> None:
    given = [{**each, "rewards": np.arange(len(each["actions"]))} for each in trajectories()]
    table, roles = episode_table(tuple(given), each=True)
    earned = table[roles.reward].dropna()
    np.testing.assert_array_equal(earned, [0, 0, 1, 2, 3, 0, 1])  # as the actions


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"actions": ...}, "trajectory 1: no array 'actions'; there are observations"),
        ({"observations": np.zeros((7, 3))}, "trajectory 1: 7 observations and 4 actions"),
        ({"actions": []}, "trajectory 1: 4 observations and 0 actions"),
        ({"actions": 1.0}, "trajectory 1: 4 observations and 0 actions"),
        ({"rewards": [1.0]}, "trajectory 1: 1 rewards and 4 actions"),
        ({"observations": [["a"]] * 4}, "trajectory 1, observations: .*vectors of numbers"),
    ],
)
def test_a_trajectory_that_does_not_fit_is_named(changes: dict[str, Any], told: str) -> None:
    given = trajectories()
    whole = {**given[1], **changes}
    given[1] = {name: value for name, value in whole.items() if value is not ...}
    with pytest.raises(InvalidDataError, match=told):
        panel_of_episodes(given, each=True)


def test_a_list_of_something_else_is_told() -> None:
    with pytest.raises(InvalidDataError, match="trajectory 1 is of type int; a mapping of arrays"):
        panel_of_episodes([trajectories()[0], 3], each=True)
