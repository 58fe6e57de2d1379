"""The files of a run directory: a fitted model as named arrays and JSON, and back.

Of symmetric matrices one half is kept: 100,000 agents are a few hundred megabytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import safetensors.numpy

from twinfold.data.transitions import DataRanges
from twinfold.models.calibration import Calibration, FewRows
from twinfold.models.fitted_model import DataSample, FittedModel
from twinfold.models.learned_goal import LearnedGoal, SmoothFunction
from twinfold.models.linear_sums import LinearData
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Evidence, Posterior
from twinfold.models.prior import Prior
from twinfold.models.static_curve import StaticCurve
from twinfold.models.static_prior import StaticPrior
from twinfold.models.world_noise import WorldNoise
from twinfold.training.net_shapes import behaviour_like, members_like
from twinfold.training.run_arrays import check_arrays, packed, unpacked
from twinfold.training.run_schema import (
    FORMAT,
    VERSION,
    Arrays,
    RunRecord,
    schema_of,
    sizes_of,
)
from twinfold.utils.device import on_device
from twinfold.utils.files import atomic_write_bytes, atomic_write_text

_STATIC = ("angles", "history", "uneven")  # follow from roles and settings
_NORMALIZER = tuple(name for name in Normalizer.__dataclass_fields__ if name not in _STATIC)
_KNOWN = tuple(name for name in _NORMALIZER if name.startswith("known"))  # of known inputs, if any
_ACTED = ("acted_mean", "acted_scale")  # of a memory that holds more than changes
_OPTIONAL = (
    "action_levels",
    "band",
    "ended",
    "wander",
)  # arrays that a model may lack, under their fields' names

Tree = TypeVar("Tree")


def write_model(folder: Path, model: FittedModel) -> None:
    """Write a model's files into a folder, each in one piece."""
    arrays = {
        **{f"members{name}": value for name, value in flatten(model.members).items()},
        **{
            f"normalizer.{name}": getattr(model.normalizer, name)
            for name in _NORMALIZER
            if (model.normalizer.n_known or name not in _KNOWN)
            and (model.normalizer.acted_mean.size or name not in _ACTED)
        },
        **{f"ranges.{name}": getattr(model.ranges, name) for name in DataRanges._fields},
    }
    sample = model.sample._asdict().items()
    arrays |= {f"sample.{name}": value for name, value in sample if value is not None}
    arrays |= {name: getattr(model, name) for name in _OPTIONAL if getattr(model, name) is not None}
    if model.behaviour is not None:
        arrays |= {f"behaviour{name}": value for name, value in flatten(model.behaviour).items()}
    if model.calibration is not None:
        parts = model.calibration._asdict()
        few = parts.pop("few")
        arrays |= {f"calibration.{name}": value for name, value in parts.items()}
        arrays |= {} if few is None else {f"few.{k}": value for k, value in few._asdict().items()}
    arrays |= _posterior_arrays(model.posterior) | _goal_arrays(model.goal)
    if model.noise is not None:
        arrays |= {f"noise.{name}": value for name, value in model.noise._asdict().items()}
    if model.added_ranges is not None:
        arrays |= {f"added.{name}": value for name, value in model.added_ranges._asdict().items()}
    arrays |= {f"sums.{name}": getattr(model.sums, name) for name in ("moment", "energy")}
    arrays |= {"sums.gram": packed(model.sums.gram), "recent": model.recent}
    if model.sums.rows is not None:
        arrays["sums.rows"] = model.sums.rows
    config = model.config.model_dump(mode="json")
    # For these values (numbers, text, lists of numbers) JSON and TOML are spelled alike.
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in config.items()]
    files = {
        "model.safetensors": safetensors.numpy.save(
            {name: np.array(value, order="C") for name, value in arrays.items()}
        ),
        "agents.json": json.dumps(list(model.agent_ids)).encode(),
        "config.toml": "".join(lines).encode(),
    }
    record = {
        "format": FORMAT,
        "version": VERSION,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
        "roles": model.roles.model_dump(mode="json"),
        "time_step": _dump_time_step(model.time_step),
        **({"uneven": True} if model.uneven else {}),
        **({"levels": model.levels} if model.levels else {}),
        "config": config,
        "info": model.info.to_dict(),
    }
    for name, data in files.items():
        atomic_write_bytes(folder / name, data)
    record["sha256"] = digest(record)
    atomic_write_text(folder / "run.json", json.dumps(record, indent=1))


def digest(record: Mapping[str, Any]) -> str:
    """Return the checksum of ``run.json``: of its contents but for this, however it is laid out."""
    rest = {name: value for name, value in record.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse_record(record: dict[str, Any]) -> RunRecord:
    """Return the contents of ``run.json``, of this version.

    Raises:
        ValueError: it was changed after it was written, or something in it cannot be.
        UsageError: a setting or a role cannot be.
    """
    if digest(record) != record.get("sha256"):
        raise ValueError("its contents are not those that its checksum is of")
    return RunRecord.model_validate(record)


def build_model(record: RunRecord, agent_ids: tuple[Any, ...], arrays: Arrays) -> FittedModel:
    """Return the model that ``run.json``, the agents' ids and the arrays hold.

    Raises:
        ValueError: they do not fit each other, or a value cannot be.
    """
    config, info, roles = record.config, record.info, record.roles
    size = sizes_of(record, arrays, len(agent_ids))
    members, behaviour = members_like(record, arrays, size), behaviour_like(arrays, size)
    nets = {f"members{name}": like for name, like in _by_path(members).items()}
    nets |= {f"behaviour{name}": like for name, like in _by_path(behaviour).items()}
    check_arrays(arrays, schema_of(arrays, size, nets), size)
    normalizer = Normalizer(
        **{
            name: arrays[f"normalizer.{name}"]
            for name in _NORMALIZER
            if f"normalizer.{name}" in arrays
        },
        angles=tuple(roles.state.index(name) for name in roles.angle),
        history=info.history,
        uneven=record.uneven,
    )
    return FittedModel(
        members=unflatten(_under(arrays, "members"), members),
        normalizer=normalizer,
        config=config,
        roles=roles,
        agent_ids=agent_ids,
        time_step=record.time_step,
        ranges=_ranges(arrays, "ranges"),
        sample=DataSample(*(arrays.get(f"sample.{name}") for name in DataSample._fields)),  # pyright: ignore[reportArgumentType]
        levels=record.levels,
        behaviour=unflatten(_under(arrays, "behaviour"), behaviour),
        posterior=_load_posterior(arrays),
        sums=_load_sums(arrays, normalizer),
        recent=arrays["recent"],
        added_ranges=_ranges(arrays, "added") if "added.state_low" in arrays else None,
        calibration=_load_calibration(arrays),
        goal=_load_goal(arrays),
        noise=_load_noise(arrays),
        info=info,
        **{name: arrays.get(name) for name in _OPTIONAL},  # pyright: ignore[reportArgumentType]
    )


def _under(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def _ranges(arrays: Arrays, prefix: str) -> DataRanges:
    return DataRanges(*(arrays[f"{prefix}.{name}"] for name in DataRanges._fields))


def _posterior_arrays(posterior: Posterior) -> dict[str, np.ndarray]:
    prior, evidence, trained, static, values = posterior
    described: dict[str, np.ndarray] = {}
    if static is not None:
        parts = static._replace(curve=None)._asdict().items()
        described = {f"static.{name}": value for name, value in parts if value is not None}
        curve = {} if static.curve is None else static.curve._asdict()
        described |= {f"static.curve.{name}": value for name, value in curve.items()}
    if values is not None:
        described["static_values"] = values
    arrays = {
        **described,
        **{f"prior.{name}": value for name, value in prior._asdict().items()},
        **{f"evidence.{name}": value for name, value in evidence._asdict().items()},
        "evidence.gram": packed(evidence.gram),
        "trained": trained,
    }
    if not evidence.missing.any():
        del arrays["evidence.missing"]
    return arrays


def _goal_arrays(goal: LearnedGoal | None) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    if goal is not None and goal.reward is not None:
        found |= {f"goal.reward.{name}": value for name, value in goal.reward._asdict().items()}
        found["goal.reward.explained"] = np.array(goal.explained)
    if goal is not None and goal.end is not None:
        found |= {f"goal.end.{name}": value for name, value in goal.end._asdict().items()}
    return found


def _load_goal(arrays: Arrays) -> LearnedGoal | None:
    def function(part: str) -> SmoothFunction | None:
        if f"goal.{part}.mean" not in arrays:
            return None
        return SmoothFunction(*(arrays[f"goal.{part}.{name}"] for name in SmoothFunction._fields))

    reward, end = function("reward"), function("end")
    if reward is None and end is None:
        return None
    explained = 0.0 if reward is None else float(arrays["goal.reward.explained"])
    return LearnedGoal(reward, explained, end)


def _load_noise(arrays: Arrays) -> WorldNoise | None:
    if "noise.process" not in arrays:
        return None
    return WorldNoise(*(arrays[f"noise.{name}"] for name in WorldNoise._fields))


def _load_calibration(arrays: Arrays) -> Calibration | None:
    if "calibration.scores" not in arrays:
        return None
    few = FewRows(arrays["few.counts"], arrays["few.scores"]) if "few.counts" in arrays else None
    scores, statistics, agent = (arrays[f"calibration.{x}"] for x in Calibration._fields[:3])
    return Calibration(scores, statistics, agent, few)


def _load_posterior(arrays: Arrays) -> Posterior:
    prior = Prior(*(arrays[f"prior.{name}"] for name in Prior._fields))
    gram = unpacked(arrays["evidence.gram"], prior.mean.shape[-1])
    moment, energy, count = (arrays[f"evidence.{name}"] for name in Evidence._fields[1:4])
    missing = arrays.get("evidence.missing", np.zeros_like(count))
    values = arrays.get("static_values")
    static = None
    if "static.weights" in arrays:
        static = StaticPrior(*(arrays.get(f"static.{name}") for name in StaticPrior._fields))  # pyright: ignore[reportArgumentType]
        if "static.curve.degree" in arrays:
            parts = (arrays[f"static.curve.{name}"] for name in StaticCurve._fields)
            static = static._replace(curve=StaticCurve(*parts))
    evidence = Evidence(gram, moment, energy, count, missing)
    return Posterior(prior, evidence, arrays["trained"], static, values)


def _load_sums(arrays: Arrays, normalizer: Normalizer) -> LinearData:
    moment, energy = arrays["sums.moment"], arrays["sums.energy"]
    gram = unpacked(arrays["sums.gram"], moment.shape[1])
    return LinearData.of(normalizer, gram, moment, energy, arrays.get("sums.rows"))


def _by_path(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a tree by their paths."""
    return {path: np.asarray(leaf) for path, leaf in _by_path(tree).items()}


def unflatten(arrays: dict[str, np.ndarray], like: Tree) -> Tree:
    """Return a tree of the form of another from arrays by their paths.

    Raises:
        KeyError: an array is missing.
        ValueError: one has another shape.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    out = []
    for path, leaf in leaves:
        array = arrays[jax.tree_util.keystr(path)]
        if array.shape != leaf.shape:
            raise ValueError(
                f"{jax.tree_util.keystr(path)} has shape {array.shape}, not {leaf.shape}"
            )
        out.append(on_device(array, leaf.dtype))
    return jax.tree_util.tree_unflatten(structure, out)


def _dump_time_step(step: Any) -> Any:
    return float(step) if isinstance(step, int | float | np.number) else {"timedelta": str(step)}
