"""What is saved is what is loaded; a damaged file is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.baselines import load_offline, save_offline
from twinfold.errors import RunError

STATES = np.random.default_rng(0).normal(size=(30, 3))


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
@pytest.mark.parametrize("algorithm", ["bcq", "cql"])
def test_a_loaded_policy_is_the_saved_one(
    offline_policy: Any, algorithm: str, kind: str, tmp_path: Path
) -> None:
    policy = offline_policy(algorithm, kind, agents=(3, "x"), augmented=5)
    path = tmp_path / "new" / "policy.safetensors"
    save_offline(policy, path)
    assert [file.name for file in path.parent.iterdir()] == ["policy.safetensors"]
    found = load_offline(path)
    for name in ("algorithm", "task", "settings", "seed", "augmentation", "info", "method"):
        assert getattr(found, name) == getattr(policy, name)
    before, after = (jax.tree.leaves(p.actor) for p in (policy, found))
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    np.testing.assert_array_equal(found.act(STATES), policy.act(STATES))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, b""),
        (None, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "),
        (b'\\"cql\\"', b'\\"sac\\"'),
        (b'\\"n_state\\": 3', b'\\"n_state\\": 4'),
        (b'\\"hidden\\": [8]', b'\\"hidden\\": [9]'),
        (b".rule.values[0]", b".rule.values[7]"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(
    offline_policy: Any, tmp_path: Path, old: bytes | None, new: bytes
) -> None:
    path = tmp_path / "policy.safetensors"
    save_offline(offline_policy("cql", "discrete"), path)
    data = path.read_bytes()
    assert old is None or old in data
    path.write_bytes(new if old is None else data.replace(old, new, 1))
    with pytest.raises(RunError, match=r"holds no learned policy that can be read: .+") as caught:
        load_offline(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*gone"):
        load_offline(tmp_path / "gone")
