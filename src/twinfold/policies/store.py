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
from safetensors import SafetensorError
from safetensors.numpy import load, save

from twinfold.errors import UsageError
from twinfold.utils.files import atomic_paths
from twinfold.utils.reading import READING, read_json, read_regular
from twinfold.utils.text import clipped

if TYPE_CHECKING:
    from twinfold.policies.nets import Layers

SHIPPED = Path(__file__).parent / "data"
_REMEDY = "install twinfold anew, or train the policies again: twinfold policies train"


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
        UsageError: if it is missing, cannot be read, or is no recipe of that policy.
    """
    path = policy_files(folder, task, name)[1]
    record = read_json(path, READING.record, UsageError)
    if not isinstance(record, dict) or (record.get("task"), record.get("name")) != (task, name):
        raise UsageError(f"{path} is no recipe of policy {name!r} of task {task!r}; {_REMEDY}")
    agent = record.get("agent")
    if not isinstance(agent, dict) or {*map(type, agent.values())} - {int, float}:
        raise UsageError(f"{path}: agent cannot be {clipped(agent)}: its physics are numbers")
    return record


def load_layers(folder: Path, task: str, name: str) -> Layers:
    """Return the network of a policy.

    Raises:
        UsageError: if it is missing, cannot be read, or is no network.
    """
    path = policy_files(folder, task, name)[0]
    if not (path.exists() or any(folder.glob(f"{task}-*.json"))):
        raise _none_trained(folder, task)
    data = read_regular(path, READING.record, UsageError)
    try:
        tensors = load(data)
        layers = tuple(
            (tensors[f"weight_{i}"], tensors[f"bias_{i}"]) for i in range(len(tensors) // 2)
        )
        _check_network(tensors, layers)
    except (SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"{path} is no network of a policy: {error}; {_REMEDY}") from None
    return layers


def _check_network(tensors: dict[str, np.ndarray], layers: Layers) -> None:
    """Raise ValueError unless these are all arrays, finite, and each layer fits the one before."""
    if not layers or len(tensors) != 2 * len(layers):
        raise ValueError(f"its arrays are {clipped(sorted(tensors))}")
    size = None
    for i, (weight, bias) in enumerate(layers):
        fits = weight.ndim == 2 and size in (None, weight.shape[0]) and weight.size
        if not fits or bias.shape != weight.shape[1:]:
            raise ValueError(f"layer {i} has the shapes {weight.shape} and {bias.shape}")
        for values in (weight, bias):
            if values.dtype != np.float32 or not np.isfinite(values).all():
                raise ValueError(f"layer {i} must be finite float32 numbers")
        size = weight.shape[1]


def behaviour_names(folder: Path, task: str) -> list[str]:
    """Return the numbers of a task's behaviour policies in a folder, in order.

    Raises:
        UsageError: if there is none.
    """
    names = [path.stem.removeprefix(f"{task}-") for path in folder.glob(f"{task}-*.json")]
    numbers = sorted((name for name in names if name.isdigit()), key=int)
    if not numbers:
        raise _none_trained(folder, task)
    return numbers


def _none_trained(folder: Path, task: str) -> UsageError:
    return UsageError(
        f"task {task!r} has no trained policies in {folder}; make them with: "
        f"twinfold policies train --task {task}"
    )


def shipped_records(tasks: Iterable[str]) -> list[dict[str, Any]]:
    """Return recipes and measured returns of the policies of the package, task by task."""
    return [
        load_record(SHIPPED, task, name)
        for task in tasks
        for name in [*behaviour_names(SHIPPED, task), "test"]
    ]
