"""Arrays that no fit could have written are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from twinfold.errors import RunError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_arrays import packed, unpacked
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

Change = Callable[[dict[str, np.ndarray]], Any]


@pytest.fixture
def run(random_model: Callable[..., FittedModel], tmp_path: Path) -> Path:
    save_run(random_model(posterior=True), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def change(seal: Any) -> Callable[[Path, Change], None]:
    """Change arrays of a run in such a way that its checksums fit."""

    def run(folder: Path, how: Change) -> None:
        path = folder / "model.safetensors"
        arrays = {k: v.copy() for k, v in safetensors.numpy.load(path.read_bytes()).items()}
        how(arrays)
        path.write_bytes(safetensors.numpy.save(arrays))
        seal(folder)

    return run


def put(name: str, number: float) -> Change:
    """Put a number in the place of the first one of an array."""

    def how(arrays: dict[str, np.ndarray]) -> None:
        arrays[name].flat[0] = number

    return how


def shape(name: str, make: Callable[[np.ndarray], Any]) -> Change:
    """Replace an array."""

    def how(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = np.array(make(arrays[name]), order="C")

    return how


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (put("normalizer.state_mean", np.nan), "'normalizer.state_mean'.* must be finite"),
        (put("normalizer.target_scale", 0.0), "'normalizer.target_scale'.* must be .*positive"),
        (put("normalizer.low", np.nan), "'normalizer.low'.* must be limits, not NaN"),
        (put("ranges.state_low", -np.inf), "'ranges.state_low'.* must be finite"),
        (put("sample.agent", 5), "'sample.agent'.* must be indices of agents, or -1"),
        (put("sample.action", 4), "'sample.action'.* must be indices of levels"),
        (put("action_levels", 99), "'action_levels'.* must be increasing"),
        (put("band", -1.0), "'band'.* must be not negative"),
        (put("prior.precision", -1.0), "'prior.precision'.* must be symmetric and positive"),
        (put("prior.noise", 0.0), "'prior.noise'.* must be finite and positive"),
        (put("evidence.gram", -1e9), "'evidence.gram'.* must be"),
        (put("evidence.energy", -1.0), "'evidence.energy'.* must be finite and not negative"),
        (put("evidence.count", -1), "'evidence.count'.* must be finite and not negative"),
        (put("sums.gram", np.inf), "'sums.gram'.* must be sums of squares"),
        (put("sums.energy", -1.0), "'sums.energy'.* must be"),
        (shape("trained", lambda a: a[:-1]), r"'trained'.* must be bool of shape \(5,\), not bool"),
        (shape("trained", lambda a: a[None]), r"not bool of shape \(1, 5\)"),
        (shape("trained", lambda a: a.astype("int64")), "not int64"),
        (shape("prior.mean", lambda a: a[..., :-1]), r"'prior.mean' .*\(3, 3\), not .*\(3, 2\)"),
        (shape("band", lambda a: np.float64(1)), r"not float64 of shape \(\)"),
        (shape("band", lambda a: a[:0]), r"'band' .*\(1, 3\), not float64 of shape \(0, 3\)"),
        (shape("members.agents", lambda a: a[:0]), r"'members.agents' .*\(3, 5, 3\)"),
        (shape("members.agents", lambda a: a.astype("float64")), "not float64"),
        (shape("members.agents", lambda a: a * np.float32(np.nan)), "all members .*not finite"),
        (lambda arrays: arrays.pop("trained"), "has no array 'trained'"),
        (lambda arrays: arrays.pop("action_levels"), "action_levels"),
        (lambda arrays: arrays.update(more=np.zeros(1)), "an array 'more' that no such run has"),
        (lambda arrays: arrays.update({"added.state_low": np.zeros((5, 3))}), "no array 'added"),
        (lambda arrays: arrays.clear(), "more layers than there are arrays"),
    ],
)
def test_an_array_that_cannot_be_is_named(run: Path, change: Any, how: Change, told: str) -> None:
    change(run, how)
    with pytest.raises(RunError, match=rf"is damaged: .*{told}.*; restore it .*or fit") as caught:
        load_run(run)
    assert "\n" not in str(caught.value)


def test_one_member_may_have_diverged(run: Path, change: Any) -> None:
    def how(arrays: dict[str, np.ndarray]) -> None:
        arrays["members.head.weight"][1] = np.nan
        arrays["evidence.moment"][1] = np.nan
        arrays["evidence.gram"][1] = np.nan

    change(run, how)
    assert np.isnan(load_run(run).members.head.weight[1]).all()
    change(run, put("evidence.moment", np.nan))  # of a member that has not
    with pytest.raises(RunError, match=r"'evidence\.moment'.* must be finite"):
        load_run(run)


def test_matrices_that_rounding_has_made_singular_pass(run: Path, change: Any) -> None:
    def how(arrays: dict[str, np.ndarray]) -> None:
        row = np.array([1e8, 1.0, 1e-8])
        arrays["evidence.gram"][:] = packed(np.outer(row, row))

    change(run, how)
    load_run(run)


def test_half_of_a_symmetric_matrix_is_enough() -> None:
    root = np.random.default_rng(0).normal(size=(2, 5, 4, 4))
    whole = root + np.swapaxes(root, -1, -2)
    assert packed(whole).shape == (2, 5, 10)
    np.testing.assert_array_equal(unpacked(packed(whole), 4), whole)
