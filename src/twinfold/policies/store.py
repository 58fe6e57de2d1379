"""A policy on disk: its network (safetensors) and its recipe (JSON) side by side.

``<task>-<name>.safetensors`` holds ``weight_0, bias_0, weight_1, ...``; the JSON of the same name
says how the network was made and what it earns. The behaviour policies of a task are named 0, 1,
..., the test policy ``test``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save

from twinfold.errors import UsageError
from twinfold.utils.files import atomic_paths

if TYPE_CHECKING:
    from twinfold.policies.nets import Layers

SHIPPED = Path(__file__).parent / "data"


def policy_files(folder: Path, task: str, name: str) -> tuple[Path, Path]:
    """Return where the network and the recipe of a policy are."""
    return folder / f"{task}-{name}.safetensors", folder / f"{task}-{name}.json"


def save_policy(folder: Path, record: dict[str, Any], layers: Layers) -> None:
    """Write a policy: network and recipe replace older ones together.

    Args:
        folder: made if missing.
        record: the recipe, with the keys ``task`` and ``name``.
        layers: the network.
    """
    network, recipe = policy_files(folder, record["task"], record["name"])
    tensors: dict[str, np.ndarray] = {}
    for i, (weight, bias) in enumerate(layers):
        tensors[f"weight_{i}"] = np.ascontiguousarray(weight, dtype=np.float32)
        tensors[f"bias_{i}"] = np.ascontiguousarray(bias, dtype=np.float32)
    with atomic_paths(network, recipe) as (weights, text):
        weights.write_bytes(save(tensors))
        text.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def load_record(folder: Path, task: str, name: str) -> dict[str, Any]:
    """Return the recipe and the measured returns of a policy.

    Raises:
        UsageError: if it is missing or cannot be read.
    """
    path = policy_files(folder, task, name)[1]
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the policy {path}: {error}") from None


def load_layers(folder: Path, task: str, name: str) -> Layers:
    """Return the network of a policy.

    Raises:
        UsageError: if it is missing or cannot be read.
    """
    path = policy_files(folder, task, name)[0]
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises its own type, which is not public
        raise UsageError(f"cannot read the policy {path}: {error}") from None
    return tuple((tensors[f"weight_{i}"], tensors[f"bias_{i}"]) for i in range(len(tensors) // 2))


def behaviour_names(folder: Path, task: str) -> list[str]:
    """Return the numbers of a task's behaviour policies in a folder, in order.

    Raises:
        UsageError: if there is none.
    """
    names = [path.stem.removeprefix(f"{task}-") for path in folder.glob(f"{task}-*.json")]
    numbers = sorted((name for name in names if name.isdigit()), key=int)
    if not numbers:
        raise UsageError(
            f"task {task!r} has no trained policies in {folder}; make them with: "
            f"twinfold policies train --task {task}"
        )
    return numbers


def shipped_records(tasks: Iterable[str]) -> list[dict[str, Any]]:
    """Return recipes and measured returns of the policies of the package, task by task."""
    return [
        load_record(SHIPPED, task, name)
        for task in tasks
        for name in [*behaviour_names(SHIPPED, task), "test"]
    ]
