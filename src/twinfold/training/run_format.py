"""The files of a run directory: a fitted model as named arrays and JSON, and back.

Of symmetric matrices one half is kept: 100,000 agents are a few hundred megabytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from twinfold.config import FitConfig
from twinfold.data.panel import DataRanges
from twinfold.data.roles import Roles
from twinfold.models.behaviour_policy import Behaviour, init_behaviour
from twinfold.models.factor_model import FactorModel, Structure, init_factor_model
from twinfold.models.fitted_model import Calibration, DataSample, FittedModel
from twinfold.models.linear import LinearData
from twinfold.models.linear_terms import LinearTerms
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Evidence, Posterior
from twinfold.models.prior import Prior
from twinfold.models.run_info import RunInfo
from twinfold.models.static_prior import StaticPrior
from twinfold.utils.files import atomic_write_bytes, atomic_write_text

FORMAT = "twinfold-run"
VERSION = 7
_NORMALIZER = tuple(name for name in Normalizer.__dataclass_fields__ if name != "angles")
_OPTIONAL = ("action_levels", "band")  # arrays that a model may lack, under their fields' names

Tree = TypeVar("Tree")


def write_model(folder: Path, model: FittedModel) -> None:
    """Write a model's files into a folder, each in one piece."""
    arrays = {
        **{f"members{name}": value for name, value in flatten(model.members).items()},
        **{f"normalizer.{name}": getattr(model.normalizer, name) for name in _NORMALIZER},
        **{f"ranges.{name}": getattr(model.ranges, name) for name in DataRanges._fields},
    }
    arrays |= {f"sample.{name}": value for name, value in model.sample._asdict().items()}
    arrays |= {name: getattr(model, name) for name in _OPTIONAL if getattr(model, name) is not None}
    if model.behaviour is not None:
        arrays |= {f"behaviour{name}": value for name, value in flatten(model.behaviour).items()}
    if model.calibration is not None:
        arrays |= {f"calibration.{k}": value for k, value in model.calibration._asdict().items()}
    arrays |= _posterior_arrays(model.posterior)
    if model.added_ranges is not None:
        arrays |= {f"added.{name}": value for name, value in model.added_ranges._asdict().items()}
    arrays |= {f"sums.{name}": getattr(model.sums, name) for name in ("moment", "energy")}
    arrays["sums.gram"] = _packed(model.sums.gram)
    blob = safetensors.numpy.save({k: np.array(v, order="C") for k, v in arrays.items()})
    config = model.config.model_dump(mode="json")
    run = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": hashlib.sha256(blob).hexdigest(),
        "roles": model.roles.model_dump(mode="json"),
        "time_step": _dump_time_step(model.time_step),
        "config": config,
        "info": model.info.to_dict(),
    }
    atomic_write_bytes(folder / "model.safetensors", blob)
    atomic_write_text(folder / "agents.json", json.dumps(list(model.agent_ids)))
    # For these values (numbers, text, lists of numbers) JSON and TOML are spelled alike.
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in config.items()]
    atomic_write_text(folder / "config.toml", "".join(lines))
    atomic_write_text(folder / "run.json", json.dumps(run, indent=1))


def build_model(
    run: dict[str, Any], agent_ids: tuple[Any, ...], arrays: dict[str, np.ndarray]
) -> FittedModel:
    """Return the model that ``run.json``, the agents' ids and the arrays hold."""
    config, info = FitConfig.parse(run["config"]), RunInfo.model_validate(run["info"])
    roles = Roles.parse(run["roles"])
    normalizer = Normalizer(
        **{name: arrays[f"normalizer.{name}"] for name in _NORMALIZER},
        angles=tuple(roles.state.index(name) for name in roles.angle),
    )
    return FittedModel(
        members=_load_members(arrays, config, info, roles, normalizer, len(agent_ids)),
        normalizer=normalizer,
        config=config,
        roles=roles,
        agent_ids=agent_ids,
        time_step=_load_time_step(run["time_step"]),
        ranges=_ranges(arrays, "ranges"),
        sample=DataSample(*(arrays[f"sample.{name}"] for name in DataSample._fields)),
        behaviour=_load_behaviour(arrays, roles, normalizer, len(agent_ids)),
        posterior=_load_posterior(arrays),
        sums=_load_sums(arrays, normalizer),
        added_ranges=_ranges(arrays, "added") if "added.state_low" in arrays else None,
        calibration=_load_calibration(arrays),
        info=info,
        **{name: arrays.get(name) for name in _OPTIONAL},  # pyright: ignore[reportArgumentType]
    )


def _load_members(
    arrays: dict[str, np.ndarray],
    config: FitConfig,
    info: RunInfo,
    roles: Roles,
    normalizer: Normalizer,
    n_agents: int,
) -> FactorModel:
    """Return the stack of members, of the structure that the record of the run says."""
    n_members = len(arrays["members.agents"])
    structure = Structure(info.features == "joint", info.rank)
    if n_members != (config.members if structure.rank else 1):
        raise ValueError(f"there are {n_members} members, not {config.members}")
    shared, levels = arrays.get("members.linear.shared"), arrays.get("action_levels")
    linear = None
    if shared is not None:
        linear = LinearTerms(jnp.zeros(shared.shape[1:]), info.own)
    action_size = len(roles.action) if levels is None else len(levels)

    def fresh(key: jax.Array) -> FactorModel:
        return init_factor_model(
            key,
            config,
            n_agents,
            len(roles.state),
            action_size,
            levels is not None,
            structure,
            normalizer.n_inputs,
            linear,
        )

    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), n_members))
    return unflatten(_under(arrays, "members"), jax.eval_shape(jax.vmap(fresh), keys))


def _load_behaviour(
    arrays: dict[str, np.ndarray], roles: Roles, normalizer: Normalizer, n_agents: int
) -> Behaviour | None:
    """Return the policy of the data; None if the run has none."""
    stored = _under(arrays, "behaviour")
    if not stored:
        return None

    def fresh() -> Behaviour:
        factors = jnp.zeros((n_agents, arrays["members.agents"].shape[2]))
        return init_behaviour(jax.random.key(0), normalizer.n_inputs, factors, len(roles.action))

    return unflatten(stored, jax.eval_shape(fresh))


def _under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def _ranges(arrays: dict[str, np.ndarray], prefix: str) -> DataRanges:
    return DataRanges(*(arrays[f"{prefix}.{name}"] for name in DataRanges._fields))


def _posterior_arrays(posterior: Posterior) -> dict[str, np.ndarray]:
    prior, evidence, trained, static, values = posterior
    described: dict[str, np.ndarray] = {}
    if static is not None and values is not None:
        described = {f"static.{name}": value for name, value in static._asdict().items()}
        described["static_values"] = values
    return {
        **described,
        **{f"prior.{name}": value for name, value in prior._asdict().items()},
        **{f"evidence.{name}": value for name, value in evidence._asdict().items()},
        "evidence.gram": _packed(evidence.gram),
        "trained": trained,
    }


def _load_calibration(arrays: dict[str, np.ndarray]) -> Calibration | None:
    if "calibration.scores" not in arrays:
        return None
    return Calibration(*(arrays[f"calibration.{name}"] for name in Calibration._fields))


def _load_posterior(arrays: dict[str, np.ndarray]) -> Posterior:
    prior = Prior(*(arrays[f"prior.{name}"] for name in Prior._fields))
    gram = _unpacked(arrays["evidence.gram"], prior.mean.shape[-1])
    others = (arrays[f"evidence.{name}"] for name in Evidence._fields[1:])
    values = arrays.get("static_values")
    static = None
    if values is not None:
        static = StaticPrior(*(arrays[f"static.{name}"] for name in StaticPrior._fields))
    return Posterior(prior, Evidence(gram, *others), arrays["trained"], static, values)


def _load_sums(arrays: dict[str, np.ndarray], normalizer: Normalizer) -> LinearData:
    moment, energy = arrays["sums.moment"], arrays["sums.energy"]
    return LinearData.of(
        normalizer, _unpacked(arrays["sums.gram"], moment.shape[1]), moment, energy
    )


def _packed(symmetric: np.ndarray) -> np.ndarray:
    """Return one half of symmetric matrices: 100,000 agents are a few hundred megabytes."""
    rows, columns = np.tril_indices(symmetric.shape[-1])
    return symmetric[..., rows, columns]


def _unpacked(packed: np.ndarray, size: int) -> np.ndarray:
    """Return symmetric matrices ``(..., size, size)``."""
    rows, columns = np.tril_indices(size)
    whole = np.empty((*packed.shape[:-1], size, size))
    whole[..., rows, columns] = packed
    whole[..., columns, rows] = packed
    return whole


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a tree by their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


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
        out.append(jnp.asarray(array, leaf.dtype))
    return jax.tree_util.tree_unflatten(structure, out)


def _dump_time_step(step: Any) -> Any:
    return float(step) if isinstance(step, int | float | np.number) else {"timedelta": str(step)}


def _load_time_step(value: Any) -> Any:
    if isinstance(value, dict):
        import pandas as pd

        return pd.Timedelta(value["timedelta"])
    return float(value)
