"""What is saved is what is loaded; a damaged file is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.baselines import MOReL, fit_morel, load_morel, save_morel
from twinfold.errors import RunError


@pytest.fixture(scope="module")
def model(walkers: Any, uphill: Any, quick: Any) -> MOReL:
    return fit_morel(walkers([4, 9]), uphill, None, quick(), 3, source={"task": "walk"})


def test_a_loaded_model_is_the_saved_one(model: MOReL, tmp_path: Path) -> None:
    path = tmp_path / "new" / "fit.safetensors"
    save_morel(model, path)
    assert [file.name for file in path.parent.iterdir()] == ["fit.safetensors"]
    found = load_morel(path)
    for name in ("config", "seed", "roles", "info", "method"):
        assert getattr(found, name) == getattr(model, name)
    assert found.method == "morel-p"
    np.testing.assert_array_equal(found.action_levels, model.action_levels)
    before, after = (
        jax.tree.leaves((m.nets, m.normalizer, m.trained.policy)) for m in (model, found)
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    states, pushes = np.arange(3.0)[:, None], np.ones((3, 4), int)
    np.testing.assert_array_equal(found.act(states), model.act(states))
    np.testing.assert_array_equal(found.rollout(states, pushes), model.rollout(states, pushes))


@pytest.mark.parametrize(
    "damage",
    [
        None,
        (b"twinfold-morel", b"twinfold-other"),
        (b'\\"members\\": 3', b'\\"members\\": 4'),
        (b'\\"n_state\\": 1', b'\\"n_state\\": 2'),
        (b'\\"action_levels\\": [0, 1]', b'\\"action_levels\\": [00000]'),
    ],
)
def test_a_damaged_file_is_told_in_one_line(
    model: MOReL, tmp_path: Path, damage: tuple[bytes, bytes] | None
) -> None:
    path = tmp_path / "fit.safetensors"
    save_morel(model, path)
    data = path.read_bytes()
    assert damage is None or damage[0] in data
    path.write_bytes(b"" if damage is None else data.replace(*damage, 1))
    with pytest.raises(RunError, match=r"holds no fit of MOReL that can be read: .+") as caught:
        load_morel(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match=r"cannot read .*gone"):
        load_morel(tmp_path / "gone")
