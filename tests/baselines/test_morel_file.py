"""What is saved is what is loaded; a damaged file is told."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from twinfold.baselines import MOReL, load_morel, save_morel
from twinfold.errors import RunError


def test_a_loaded_model_is_the_saved_one(climber: MOReL, tmp_path: Path) -> None:
    path = tmp_path / "new" / "fit.safetensors"
    save_morel(climber, path)
    assert [file.name for file in path.parent.iterdir()] == ["fit.safetensors"]
    found = load_morel(path)
    for name in ("config", "seed", "roles", "info", "method"):
        assert getattr(found, name) == getattr(climber, name)
    np.testing.assert_array_equal(found.action_levels, climber.action_levels)
    before, after = (
        jax.tree.leaves((m.nets, m.normalizer, m.trained.policy)) for m in (climber, found)
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    states, pushes = np.arange(3.0)[:, None], np.ones((3, 4), int)
    np.testing.assert_array_equal(found.act(states), climber.act(states))
    np.testing.assert_array_equal(found.rollout(states, pushes), climber.rollout(states, pushes))


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
    climber: MOReL, tmp_path: Path, damage: tuple[bytes, bytes] | None
) -> None:
    path = tmp_path / "fit.safetensors"
    save_morel(climber, path)
    data = path.read_bytes()
    assert damage is None or damage[0] in data
    path.write_bytes(b"" if damage is None else data.replace(*damage, 1))
    with pytest.raises(RunError, match=r"holds no fit of MOReL that can be read: .+") as caught:
        load_morel(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match=r"cannot read .*gone"):
        load_morel(tmp_path / "gone")
