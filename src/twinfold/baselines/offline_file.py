"""A learned policy as one file: arrays (safetensors) and, in their header, its record (JSON)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import numpy as np
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.baselines.offline_policy import OfflineInfo, OfflinePolicy, blank_actor
from twinfold.baselines.offline_settings import Algorithm, AugmentationSettings, OfflineSettings
from twinfold.errors import RunError
from twinfold.training.run_format import flatten, unflatten
from twinfold.utils.files import atomic_write_bytes
from twinfold.utils.reading import READING, problem_lines, read_regular

FORMAT = "twinfold-offline"
VERSION = 1


class _Record(BaseModel):
    """Everything of a learned policy that is no array.

    Attributes:
        n_state: state columns.
        n_actions: levels of a discrete action, columns of a continuous one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinfold-offline"] = FORMAT
    version: Literal[1] = VERSION
    algorithm: Algorithm
    task: str
    seed: Annotated[int, Field(ge=0)]
    discrete: bool
    n_state: Annotated[int, Field(ge=1, le=100_000)]
    n_actions: Annotated[int, Field(ge=1, le=100_000)]
    settings: OfflineSettings
    augmentation: AugmentationSettings | None
    info: OfflineInfo


def save_offline(policy: OfflinePolicy, path: Path) -> None:
    """Write a learned policy in one go.

    Raises:
        WriteError: the disk is full.
        UsageError: the file cannot be written.
    """
    action = jax.eval_shape(policy.actor, policy.actor.state_mean)
    n_levels = _n_levels(policy) if policy.discrete else 0
    record = _Record(
        algorithm=policy.algorithm,
        task=policy.task,
        seed=policy.seed,
        discrete=policy.discrete,
        n_state=len(policy.actor.state_mean),
        n_actions=n_levels or action.shape[0],
        settings=policy.settings,
        augmentation=policy.augmentation,
        info=policy.info,
    )
    arrays = {
        name: np.ascontiguousarray(value, np.float32)
        for name, value in flatten(policy.actor).items()
    }
    text = json.dumps(record.model_dump(mode="json"), allow_nan=False)
    atomic_write_bytes(path, safetensors.numpy.save(arrays, {"record": text}))


def load_offline(path: Path) -> OfflinePolicy:
    """Return the policy of a file; it acts without the library that trained it.

    Raises:
        RunError: the file is missing, damaged, or of another version.
    """
    data = read_regular(path, READING.records, RunError)
    try:
        arrays = safetensors.numpy.load(data)
        record = _Record.model_validate_json(_header(data)["record"])
        return _build(record, arrays)
    except ValidationError as error:
        why = next(
            problem_lines(error.errors(), lambda place: "another version may have written it")
        )
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        why = str(error).partition("\n")[0]
    raise RunError(f"{path} holds no learned policy that can be read: {why}")


def _n_levels(policy: OfflinePolicy) -> int:
    """Return K of a discrete policy: the outputs of its values."""
    values: Any = policy.actor.rule.values  # pyright: ignore[reportAttributeAccessIssue]
    return values[-1].bias.shape[0]


def _header(data: bytes) -> dict[str, Any]:
    """Return what stands in the header of a safetensors file beside the arrays."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size])["__metadata__"]


def _build(record: _Record, arrays: dict[str, np.ndarray]) -> OfflinePolicy:
    """Return the policy of a record and its arrays.

    Raises:
        KeyError: an array is missing.
        ValueError: an array does not fit.
    """
    shapes = eqx.filter_eval_shape(
        lambda: blank_actor(
            record.algorithm, record.settings, record.n_state, record.n_actions, record.discrete
        )
    )
    return OfflinePolicy(
        actor=unflatten(arrays, shapes),
        algorithm=record.algorithm,
        task=record.task,
        settings=record.settings,
        seed=record.seed,
        augmentation=record.augmentation,
        info=record.info,
    )
