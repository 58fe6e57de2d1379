"""A fitted MOReL as one file: its arrays (safetensors) and, in their header, its record (JSON)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from twinfold.baselines.morel import random_net
from twinfold.baselines.morel_model import MOReL, MOReLInfo
from twinfold.baselines.morel_settings import MOReLSettings
from twinfold.baselines.normalizer_arrays import normalizer_arrays, normalizer_of
from twinfold.data.roles import Roles
from twinfold.policy_learning.policy_file import PolicyRecord, arrays_of, built, record_of
from twinfold.training.run_format import flatten, unflatten
from twinfold.utils.array_file import Arrays, load_arrays, save_arrays, under


class _Record(BaseModel):
    """Everything of a fitted MOReL that is no array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinfold-morel"] = "twinfold-morel"
    version: Literal[1] = 1
    seed: Annotated[int, Field(ge=0)]
    config: MOReLSettings
    roles: Roles
    action_levels: tuple[int, ...] | None
    policy: PolicyRecord
    info: MOReLInfo


def save_morel(model: MOReL, path: Path) -> None:
    """Write a fitted MOReL in one go.

    Args:
        model: what is written.
        path: of the file; its folder is made if missing.

    Raises:
        WriteError: the disk is full.
        UsageError: the file cannot be written.
    """
    levels = None if model.action_levels is None else tuple(model.action_levels.tolist())
    record = _Record(
        seed=model.seed,
        config=model.config,
        roles=model.roles,
        action_levels=levels,
        policy=record_of(model.trained),
        info=model.info,
    )
    arrays = {f"ensemble{name}": value for name, value in flatten(model.nets).items()}
    arrays |= normalizer_arrays(model.normalizer)
    arrays |= {f"policy.{name}": value for name, value in arrays_of(model.trained).items()}
    save_arrays(path, record, arrays)


def load_morel(path: Path) -> MOReL:
    """Return the MOReL of a file.

    Raises:
        RunError: the file is missing, damaged, or of another version.
    """
    return load_arrays(path, "fit of MOReL", _Record, _build)


def _build(record: _Record, arrays: Arrays) -> MOReL:
    """Return the model of a record and its arrays.

    Raises:
        KeyError: an array is missing.
        ValueError: an array does not fit.
    """
    normalizer = normalizer_of(arrays, record.roles)
    levels, n_state = record.action_levels, len(record.roles.state)
    n_code = len(record.roles.action) if levels is None else len(levels)

    def stack(key: Any) -> Any:
        keys = jax.random.split(key, record.config.members)
        sizes = normalizer.n_inputs + n_code, n_state
        return jax.vmap(lambda k: random_net(k, record.config.hidden, *sizes))(keys)

    trained = built(record.policy, under(arrays, "policy."))
    if record.policy.n_state != n_state or trained.policy.actions.size != n_code:
        raise ValueError("the policy does not fit the columns")
    like = jax.eval_shape(stack, jax.random.key(0))
    return MOReL(
        nets=unflatten(under(arrays, "ensemble"), like),
        normalizer=normalizer,
        trained=trained,
        config=record.config,
        seed=record.seed,
        roles=record.roles,
        action_levels=None if levels is None else np.array(levels, np.int64),
        info=record.info,
    )
