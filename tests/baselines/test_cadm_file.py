"""What is saved is what is loaded; a damaged file is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.baselines import CaDM, fit_cadm, load_cadm, save_cadm
from twinfold.errors import RunError


@pytest.fixture(scope="module")
def model(walkers: Any, small: Any) -> CaDM:
    return fit_cadm(walkers([4, 9]), small(), "pe-ts", 3, source={"task": "walk"})


def test_a_loaded_model_is_the_saved_one(model: CaDM, tmp_path: Path) -> None:
    path = tmp_path / "new" / "fit.safetensors"
    save_cadm(model, path)
    assert [file.name for file in path.parent.iterdir()] == ["fit.safetensors"]
    found = load_cadm(path)
    for name in ("config", "variant", "seed", "roles", "info"):
        assert getattr(found, name) == getattr(model, name)
    np.testing.assert_array_equal(found.action_levels, model.action_levels)
    before, after = (jax.tree.leaves((m.nets, m.normalizer)) for m in (model, found))
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    walk, pushes = np.arange(5.0)[None, :, None], np.ones((1, 4), int)
    paths = [m.rollout(walk[:, -1], pushes, m.histories(walk, pushes)) for m in (model, found)]
    np.testing.assert_array_equal(paths[0], paths[1])
    # Four particles of two members: each draws its own noise.
    assert len(np.unique(paths[0][:, 0, -1, 0])) == 4


@pytest.mark.parametrize("damage", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", None])
def test_a_damaged_file_is_told_in_one_line(
    model: CaDM, tmp_path: Path, damage: bytes | None
) -> None:
    path = tmp_path / "fit.safetensors"
    save_cadm(model, path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"pe-ts", b"other", 1) if damage is None else damage)
    with pytest.raises(RunError, match=r"holds no fit of CaDM that can be read: .+") as caught:
        load_cadm(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match=r"cannot read .*gone"):
        load_cadm(tmp_path / "gone")
