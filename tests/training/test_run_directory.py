"""Run directories: what is written is what is read, damage is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from hypothesis import given, settings, strategies as st

from twinfold.adaptation.adapt import adapt, forget
from twinfold.config import FitConfig
from twinfold.errors import RunError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import predict_paths, rollout_members
from twinfold.training.run_directory import load_run
from twinfold.training.run_schema import VERSION
from twinfold.training.run_writer import RunWriter, save_run
from twinfold.uncertainty.conformal import calibrate

Build = Callable[..., FittedModel]
FILES = ["agents.json", "config.toml", "metrics.jsonl", "model.safetensors", "run.json"]


def assert_same(got: FittedModel, expected: FittedModel) -> None:
    """Every array bit for bit, everything else equal and of the same type."""
    for a, b in (
        (got.members, expected.members),
        (got.normalizer, expected.normalizer),
        (got.ranges, expected.ranges),
        (got.action_levels, expected.action_levels),
        (got.band, expected.band),
        (got.posterior, expected.posterior),
        (got.sample, expected.sample),
        (got.sums, expected.sums),
        (got.calibration, expected.calibration),
    ):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        for leaf, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            assert np.asarray(leaf).dtype == np.asarray(other).dtype  # a count is a plain int
            np.testing.assert_array_equal(leaf, other)
    assert got.agent_ids == expected.agent_ids
    assert [type(x) for x in got.agent_ids] == [type(x) for x in expected.agent_ids]
    assert (got.config, got.roles, got.info) == (expected.config, expected.roles, expected.info)
    assert got.time_step == expected.time_step
    assert type(got.time_step) is type(expected.time_step)


@pytest.fixture
def run(random_model: Build, tmp_path: Path) -> Path:
    save_run(random_model(), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "settings_",
    [
        {},
        {"discrete": False, "band": False},
        {"discrete": False, "n_state": 1, "n_action": 1, "state_net": (8, 8), "action_net": ()},
        {"members": 1, "n_agents": 1, "activation": "tanh", "learning_rate": 1e-5},
        {"time_step": pd.Timedelta("1h 30min 0.25s")},
        {"time_step": pd.Timedelta(1, "ns")},
        {"agent_ids": ("007", "7", "é/ü", "", "3f0c8a5e-58e1-4f0e-8d7c-0a1b2c3d4e5f")},
        {"agent_ids": (5, -1, 2**60, 0, 3)},
        {"agent_ids": (0.5, 1.25, -3.0, 1e300, 2.0)},
        {"features": "joint", "rank": "auto"},
        {"features": "joint", "angles": (2, 0), "direct": (1,), "discrete": False},
        {"angles": (1,), "state_net": (8, 4)},
        {"posterior": True, "lengths": (12, 1, 3)},
        {"posterior": True, "discrete": False, "members": 1, "features": "joint"},
    ],
)
def test_saving_and_loading_is_the_identity(
    random_model: Build, settings_: dict[str, Any], tmp_path: Path
) -> None:
    model = random_model(**settings_)
    save_run(model, tmp_path / "a" / "run")
    again = load_run(tmp_path / "a" / "run")
    assert_same(again, model)
    assert sorted(path.name for path in (tmp_path / "a" / "run").iterdir()) == FILES
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run"]
    save_run(again, tmp_path / "b")
    blobs = [(tmp_path / p / "model.safetensors").read_bytes() for p in ("a/run", "b")]
    assert blobs[0] == blobs[1]


def test_what_calibration_and_adaptation_add_survives(
    random_model: Build, courses: Any, tmp_path: Path
) -> None:
    model = random_model(posterior=True)
    factors = np.random.default_rng(0).normal(size=(4, 3))
    panels = [
        courses.panel(model, [8, 5], factors[rows], ids=ids, seed=7)
        for rows, ids in ((slice(2), ["a", "b"]), (slice(2, 4), ["c", "d"]))
    ]
    model = adapt(calibrate(model, panels[0]), panels[1], warn=lambda line: None)
    assert model.calibration is not None
    assert np.isnan(model.calibration.scores).any()
    save_run(model, tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert_same(again, model)
    # And what follows is the same: more data, less of it, predictions.
    more = courses.panel(model, [4, 3], factors[:2], ids=["e", "u2"], seed=8)
    one, other = (adapt(m, more, warn=lambda line: None) for m in (again, model))
    np.testing.assert_array_equal(one.members.agents, other.members.agents)
    for left in (again, model):
        assert forget(left, ["a", "d"]).agent_ids == (*random_model().agent_ids, "b", "c")
    asked = np.zeros(1, int), model.normalizer.state_mean[None], np.array([[0, 3, 1]], np.int32)
    for a, b in zip(predict_paths(again, *asked), predict_paths(model, *asked), strict=True):
        np.testing.assert_array_equal(a, b)


def test_predictions_survive_bit_for_bit(random_model: Build, run: Path) -> None:
    rng = np.random.default_rng(0)
    question = np.arange(5), rng.normal(size=(5, 3)), rng.integers(0, 4, (5, 8))
    paths = [
        rollout_members(model.members, model.normalizer, *question)
        for model in (random_model(), load_run(run))
    ]
    np.testing.assert_array_equal(paths[0], paths[1])


def test_the_written_config_is_the_config(random_model: Build, tmp_path: Path) -> None:
    config = {
        "state_net": (8, 4),
        "learning_rate": 1e-07,
        "schedules": (0.5, 1.0),
        "activation": "silu",
        "seed": 2**32 - 1,
        "action_net": (),
    }
    model = random_model(**config)
    save_run(model, tmp_path / "run")
    assert FitConfig.load(tmp_path / "run" / "config.toml") == model.config


@pytest.mark.parametrize("length", [0, 7, 500, -1])
def test_a_truncated_model_is_an_error(run: Path, length: int) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RunError, match=r"model\.safetensors is damaged .*restore it .* or fit"):
        load_run(run)


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=25)
def test_any_flipped_bit_is_noticed(
    random_model: Build, tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flip") / "run"
    save_run(random_model(), folder)
    path = folder / "model.safetensors"
    blob = bytearray(path.read_bytes())
    blob[int(where * len(blob))] ^= 1 << bit
    path.write_bytes(bytes(blob))
    with pytest.raises(RunError, match="damaged"):
        load_run(folder)


@pytest.mark.parametrize("name", ["run.json", "agents.json", "model.safetensors"])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        load_run(run)


@pytest.mark.parametrize("name", ["run.json", "agents.json"])
@pytest.mark.parametrize("content", [b"", b'{"format": ', b"\xff\xfe\x00"])
def test_unreadable_json_is_named(run: Path, name: str, content: bytes) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        load_run(run)


@pytest.fixture
def edit(seal: Any) -> Callable[..., None]:
    """Change parts of ``run.json`` so that its checksum fits; None leaves a part out."""

    def change(run: Path, **changes: Any) -> None:
        record = json.loads((run / "run.json").read_text()) | changes
        seal(run, {name: value for name, value in record.items() if value is not None})

    return change


def test_another_version_is_refused(run: Path, edit: Any) -> None:
    edit(run, version=VERSION + 1)
    told = rf"has version {VERSION + 1} .* reads version {VERSION}; fit again"
    with pytest.raises(RunError, match=told):
        load_run(run)


@pytest.mark.parametrize("version", [1, 2, 7, "8", True, None, [8]])
def test_an_older_version_is_refused(run: Path, edit: Any, version: Any) -> None:
    edit(run, version=version)
    with pytest.raises(RunError, match=rf"reads version {VERSION}; fit again"):
        load_run(run)


@pytest.mark.parametrize("content", [{"format": "other"}, {}, [1], "text", 3])
def test_a_foreign_run_json_is_refused(run: Path, content: Any) -> None:
    (run / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="was not written by twinfold"):
        load_run(run)


@pytest.mark.parametrize("name", ["roles", "config", "time_step", "info"])
def test_a_run_json_without_a_part_is_damaged(run: Path, edit: Any, name: str) -> None:
    edit(run, **{name: None})
    with pytest.raises(RunError, match=rf"run\.json is damaged: setting '{name}' is missing"):
        load_run(run)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"info": {"features": "separable", "rank": 4}}, "array .* of shape"),
        ({"info": {"features": "joint", "rank": 3}}, "array .* of shape"),
        ({"info": {"features": "separable"}}, "info.rank .*is 0"),
        ({"info": {"features": "separable", "rank": "auto"}}, "'info.rank' cannot be 'auto'"),
        ({"info": {"features": "separable", "rank": True}}, "'info.rank' cannot be True"),
        (
            {"info": {"features": "separable", "rank": 10**12}},
            "'info.rank' cannot be 1000000000000",
        ),
        ({"info": {"rank": 3, "own": [[0, 0]]}}, "info.own .*cannot hold"),
        ({"info": {"rank": 3, "validation": {"rmse": "small"}}}, "'info.validation.*' cannot be"),
        ({"config": {"members": 2, "rank": 3, "state_net": [16]}}, "of shape"),
        ({"config": {"colour": "red"}}, "unknown setting 'colour'"),
        ({"roles": {"agent": "unit"}}, "role 'time' is missing"),
        ({"time_step": {"timedelta": "soon"}}, "'time_step' cannot be .*soon"),
        ({"time_step": {"timedelta": "-1h"}}, "must be positive"),
        ({"time_step": {"timedelta": "NaT"}}, "must be positive"),
        ({"time_step": "soon"}, "'time_step"),
        ({"time_step": 0}, "'time_step"),
        ({"time_step": True}, "'time_step"),
    ],
)
def test_a_run_json_that_does_not_fit_the_arrays_is_damaged(
    run: Path, edit: Any, changes: dict[str, Any], told: str
) -> None:
    edit(run, **changes)
    with pytest.raises(RunError, match=rf"is damaged: .*{told}.*; restore it .* or fit again") as e:
        load_run(run)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["a"], "must be"),
        ([f"u{n}" for n in range(6)], "must be"),
        (["a", "b", "c", "d", "a"], "agent 'a' is in it twice"),
        (5, "must be a list"),
    ],
)
def test_agents_that_do_not_fit_the_arrays_are_damage(
    run: Path, seal: Any, ids: Any, told: str
) -> None:
    (run / "agents.json").write_text(json.dumps(ids))
    seal(run)
    with pytest.raises(RunError, match=rf"is damaged: .*({told})"):
        load_run(run)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b" "])
@pytest.mark.parametrize("name", ["model.safetensors", "agents.json", "config.toml"])
def test_a_file_of_another_size_is_damage(run: Path, name: str, change: Any) -> None:
    (run / name).write_bytes(change((run / name).read_bytes()))
    with pytest.raises(
        RunError, match=rf"{name} is damaged .its size is not the one .* restore it"
    ):
        load_run(run)


def test_numbers_that_single_precision_does_not_hold_are_damage(run: Path, seal: Any) -> None:
    arrays = safetensors.numpy.load_file(run / "model.safetensors")
    arrays["normalizer.target_mean"] = arrays["normalizer.target_mean"] + 1e300
    safetensors.numpy.save_file(arrays, run / "model.safetensors")
    seal(run)
    with pytest.raises(RunError, match=r"'normalizer\.target_mean' in .* is too large; restore"):
        load_run(run)


def test_numbers_of_a_type_that_numpy_has_not_are_damage(run: Path, seal: Any) -> None:
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    content = len(header).to_bytes(8, "little") + header + b"\0\0"
    (run / "model.safetensors").write_bytes(content)
    seal(run)
    with pytest.raises(RunError, match="is damaged: it has numbers of type 'BF16', as no run has"):
        load_run(run)


@pytest.mark.parametrize("name", FILES[:2] + FILES[3:])
def test_a_file_that_was_changed_is_named(run: Path, name: str) -> None:
    """Numbers for numbers, ids for ids: nothing but a checksum can tell."""
    text = (run / name).read_bytes()
    for old, new in ((b"u1", b"u9"), (b"relu", b"silu"), (b"0.1", b"0.2")):
        text = text.replace(old, new)
    (run / name).write_bytes(text)
    if name == "model.safetensors":
        (run / name).write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    with pytest.raises(RunError, match=rf"{name}.*damaged.*checksum"):
        load_run(run)


def test_a_log_and_blanks_may_change(random_model: Build, run: Path) -> None:
    (run / "metrics.jsonl").write_text("mine")
    (run / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text()), indent=4))
    assert_same(load_run(run), random_model())


@pytest.mark.parametrize("name", FILES[:2] + FILES[3:])
@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "link to nothing"])
def test_only_regular_files_are_opened(run: Path, name: str, kind: str) -> None:
    (run / name).unlink()
    {
        "pipe": os.mkfifo,
        "directory": Path.mkdir,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "link to nothing": lambda path: path.symlink_to("gone"),
    }[kind](run / name)
    told = "No such file" if kind == "link to nothing" else f"it is a {kind}"
    with pytest.raises(RunError, match=rf"cannot read .*{name}: {told}"):
        load_run(run)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run directory .*; `twinfold fit DATA --out"):
        load_run(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="no run directory"):
        load_run(tmp_path / "file")
    with pytest.raises(RunError, match=r"is not a run directory: it has no run\.json"):
        load_run(tmp_path)


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run", FitConfig(), "data").close()
    with pytest.raises(RunError, match=r"did not finish; the same `twinfold fit` command goes on"):
        load_run(tmp_path / "run")
