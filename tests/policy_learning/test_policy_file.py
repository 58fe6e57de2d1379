"""What is saved is what is loaded; a damaged file is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.errors import RunError
from twinfold.policy_learning import StateScale, load_policy, save_policy


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_a_loaded_policy_is_the_saved_one(kind: str, made: Any, tmp_path: Path) -> None:
    trained = made(kind, scale=StateScale([0.5], [2.0], (0,)))
    path = tmp_path / "new" / "policy.safetensors"
    save_policy(trained, path)
    assert [file.name for file in path.parent.iterdir()] == ["policy.safetensors"]
    found = load_policy(path)
    assert (found.settings, found.info) == (trained.settings, trained.info)
    assert found.policy.scale.angles == (0,)
    before, after = (jax.tree.leaves(p.policy) for p in (trained, found))
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    states = np.linspace(-3, 3, 5)[:, None]
    np.testing.assert_array_equal(found.act(states), trained.act(states))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", None),
        (b'"version": 1', b'"version": 2'),
        (b'\\"n_state\\": 1', b'\\"n_state\\": 2'),
        (b'\\"n_levels\\": 3', b'\\"n_levels\\": 4'),
        (b'\\"hidden\\": [16]', b'\\"hidden\\": [17]'),
        (b'\\"angles\\": []', b'\\"angles\\": 12'),
    ],
)
def test_a_damaged_file_is_told_in_one_line(
    old: bytes, new: bytes | None, made: Any, tmp_path: Path
) -> None:
    path = tmp_path / "policy.safetensors"
    save_policy(made(), path)
    data = path.read_bytes()
    old = old.replace(b'"version"', b'\\"version\\"')
    new = None if new is None else new.replace(b'"version"', b'\\"version\\"')
    assert old in data
    path.write_bytes(data[:100] if new is None else data.replace(old, new, 1))
    with pytest.raises(RunError, match=r"holds no trained policy that can be read: .+") as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*gone"):
        load_policy(tmp_path / "gone")
