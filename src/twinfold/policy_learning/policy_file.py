"""A trained policy as one file: arrays (safetensors) and, in their header, a record (JSON)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from twinfold.policy_learning.actor_critic import ActionSpace, Policy, StateScale, random_policy
from twinfold.policy_learning.policy import PolicyInfo, TrainedPolicy
from twinfold.policy_learning.settings import PolicyLearningSettings
from twinfold.training.run_format import flatten, unflatten
from twinfold.utils.array_file import Arrays, load_arrays, save_arrays, under

Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]


class PolicyRecord(BaseModel):
    """Everything of a trained policy that is no array.

    Attributes:
        settings: what it was trained with.
        n_levels: of a discrete action; 0 for continuous ones.
        n_state: columns of the state.
        angles: those of them that are angles.
        info: how the training went.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: PolicyLearningSettings
    n_levels: Count
    n_state: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
    angles: tuple[Count, ...]
    info: PolicyInfo


class _File(BaseModel):
    """The record of a file that holds a policy and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["twinfold-policy"] = "twinfold-policy"
    version: Literal[1] = 1
    policy: PolicyRecord


def save_policy(policy: TrainedPolicy, path: Path) -> None:
    """Write a trained policy in one go.

    Args:
        policy: what is written.
        path: of the file; its folder is made if missing.

    Raises:
        WriteError: the disk is full.
        UsageError: the file cannot be written.
    """
    save_arrays(path, _File(policy=record_of(policy)), arrays_of(policy))


def load_policy(path: Path) -> TrainedPolicy:
    """Return the trained policy of a file.

    Raises:
        RunError: the file is missing, damaged, or of another version.
    """
    return load_arrays(
        path, "trained policy", _File, lambda record, arrays: built(record.policy, arrays)
    )


def record_of(policy: TrainedPolicy) -> PolicyRecord:
    """Return the record of a trained policy."""
    return PolicyRecord(
        settings=policy.settings,
        n_levels=policy.policy.actions.n_levels,
        n_state=policy.policy.scale.mean.shape[-1],
        angles=policy.policy.scale.angles,
        info=policy.info,
    )


def arrays_of(policy: TrainedPolicy) -> dict[str, np.ndarray]:
    """Return the arrays of a trained policy by name."""
    scale, actions = policy.policy.scale, policy.policy.actions
    return {
        **{f"nets{name}": value for name, value in flatten(policy.policy.nets).items()},
        "state.mean": np.asarray(scale.mean),
        "state.scale": np.asarray(scale.scale),
        "action.low": np.asarray(actions.low),
        "action.high": np.asarray(actions.high),
    }


def built(record: PolicyRecord, arrays: Arrays) -> TrainedPolicy:
    """Return the policy of a record and its arrays.

    Raises:
        KeyError: an array is missing.
        ValueError: an array does not fit.
    """
    for name in ("state.mean", "state.scale"):
        if arrays[name].shape != (record.n_state,):
            raise ValueError(f"array {name!r} must have {record.n_state} entries")
    low, high = arrays["action.low"], arrays["action.high"]
    if low.ndim != 1 or low.shape != high.shape or bool(record.n_levels) == bool(low.size):
        raise ValueError("arrays 'action.low' and 'action.high' do not fit the actions")
    if any(angle >= record.n_state for angle in record.angles):
        raise ValueError(f"an angle is no column of {record.n_state}")
    scale = StateScale(arrays["state.mean"], arrays["state.scale"], record.angles)
    actions = ActionSpace(record.n_levels, low, high)

    def like(key: Any) -> Any:
        return random_policy(key, record.settings, scale, actions).nets

    nets = unflatten(under(arrays, "nets"), jax.eval_shape(like, jax.random.key(0)))
    return TrainedPolicy(Policy(nets, scale, actions), record.settings, record.info)
