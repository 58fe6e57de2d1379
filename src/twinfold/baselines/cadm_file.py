"""A fitted CaDM as one file: its arrays (safetensors) and, in their header, its record (JSON)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.baselines.cadm import random_nets
from twinfold.baselines.cadm_model import CaDM, CaDMInfo
from twinfold.baselines.cadm_settings import CaDMSettings, Variant
from twinfold.data.roles import Roles
from twinfold.errors import RunError
from twinfold.models.normalizer import Normalizer
from twinfold.training.run_format import flatten, unflatten
from twinfold.utils.files import atomic_write_bytes
from twinfold.utils.reading import READING, problem_lines, read_regular

FORMAT = "twinfold-cadm"
VERSION = 1

_STATIC = ("angles", "history", "change_mean", "change_scale")  # of no use here, or known
_NORMALIZER = tuple(name for name in Normalizer.__dataclass_fields__ if name not in _STATIC)


class _Record(BaseModel):
    """Everything of a fitted CaDM that is no array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinfold-cadm"] = FORMAT
    version: Literal[1] = VERSION
    variant: Variant
    seed: Annotated[int, Field(ge=0)]
    config: CaDMSettings
    roles: Roles
    action_levels: tuple[int, ...] | None
    info: CaDMInfo


def save_cadm(model: CaDM, path: Path) -> None:
    """Write a fitted CaDM in one go.

    Raises:
        WriteError: the disk is full.
        UsageError: the file cannot be written.
    """
    levels = None if model.action_levels is None else tuple(model.action_levels.tolist())
    record = _Record(
        variant=model.variant,
        seed=model.seed,
        config=model.config,
        roles=model.roles,
        action_levels=levels,
        info=model.info,
    )
    arrays = {f"nets{name}": value for name, value in flatten(model.nets).items()}
    arrays |= {f"normalizer.{name}": getattr(model.normalizer, name) for name in _NORMALIZER}
    found = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    text = json.dumps(record.model_dump(mode="json"), allow_nan=False)
    atomic_write_bytes(path, safetensors.numpy.save(found, {"record": text}))


def load_cadm(path: Path) -> CaDM:
    """Return the CaDM of a file.

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
    raise RunError(f"{path} holds no fit of CaDM that can be read: {why}")


def _header(data: bytes) -> dict[str, Any]:
    """Return what stands in the header of a safetensors file beside the arrays."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size])["__metadata__"]


def _build(record: _Record, arrays: dict[str, np.ndarray]) -> CaDM:
    """Return the model of a record and its arrays.

    Raises:
        KeyError: an array is missing.
        ValueError: an array does not fit.
    """
    normalizer = Normalizer(
        **{name: arrays[f"normalizer.{name}"] for name in _NORMALIZER},
        angles=tuple(record.roles.state.index(name) for name in record.roles.angle),
    )
    levels, n_state = record.action_levels, len(record.roles.state)
    n_code = len(record.roles.action) if levels is None else len(levels)
    if normalizer.state_mean.shape != (n_state,):
        raise ValueError(f"array 'normalizer.state_mean' must have {n_state} entries")

    def stack(key: Any) -> Any:
        keys = jax.random.split(key, record.config.n_members(record.variant))
        sizes = normalizer.n_inputs, n_code, n_state
        return jax.vmap(lambda k: random_nets(k, record.config, record.variant, *sizes))(keys)

    nets = {
        name.removeprefix("nets"): array for name, array in arrays.items() if name[:4] == "nets"
    }
    return CaDM(
        nets=unflatten(nets, jax.eval_shape(stack, jax.random.key(0))),
        normalizer=normalizer,
        config=record.config,
        variant=record.variant,
        seed=record.seed,
        roles=record.roles,
        action_levels=None if levels is None else np.array(levels, np.int64),
        info=record.info,
    )
