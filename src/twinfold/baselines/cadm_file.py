"""A fitted CaDM as one file: its arrays (safetensors) and, in their header, its record (JSON)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from twinfold.baselines.cadm import random_nets
from twinfold.baselines.cadm_model import CaDM, CaDMInfo
from twinfold.baselines.cadm_settings import CaDMSettings, Variant
from twinfold.baselines.normalizer_arrays import normalizer_arrays, normalizer_of
from twinfold.data.roles import Roles
from twinfold.training.run_format import flatten, unflatten
from twinfold.utils.array_file import Arrays, load_arrays, save_arrays, under

FORMAT = "twinfold-cadm"
VERSION = 2


class _Record(BaseModel):
    """Everything of a fitted CaDM that is no array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinfold-cadm"] = FORMAT
    version: Literal[2] = VERSION
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
    arrays |= normalizer_arrays(model.normalizer)
    save_arrays(path, record, arrays)


def load_cadm(path: Path) -> CaDM:
    """Return the CaDM of a file.

    Raises:
        RunError: the file is missing, damaged, or of another version.
    """
    return load_arrays(path, "fit of CaDM", _Record, _build)


def _build(record: _Record, arrays: Arrays) -> CaDM:
    """Return the model of a record and its arrays.

    Raises:
        KeyError: an array is missing.
        ValueError: an array does not fit.
    """
    normalizer = normalizer_of(arrays, record.roles)
    levels, n_state = record.action_levels, len(record.roles.state)
    n_code = len(record.roles.action) if levels is None else len(levels)

    def stack(key: Any) -> Any:
        keys = jax.random.split(key, record.config.n_members(record.variant))
        sizes = normalizer.n_inputs, n_code, n_state
        return jax.vmap(lambda k: random_nets(k, record.config, record.variant, *sizes))(keys)

    return CaDM(
        nets=unflatten(under(arrays, "nets"), jax.eval_shape(stack, jax.random.key(0))),
        normalizer=normalizer,
        config=record.config,
        variant=record.variant,
        seed=record.seed,
        roles=record.roles,
        action_levels=None if levels is None else np.array(levels, np.int64),
        info=record.info,
    )
