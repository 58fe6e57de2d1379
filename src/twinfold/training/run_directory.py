"""Run directories: written in one piece, read with every check, resumed if interrupted.

    RUN/run.json           settings, roles, ranges, provenance, measured errors, checksum
    RUN/agents.json        the user's agent ids in the order of the factors
    RUN/model.safetensors  all arrays
    RUN/config.toml        the resolved settings, to fit again with
    RUN/metrics.jsonl      losses during training and held-out errors

While a fit runs everything is in ``RUN.partial``; it becomes ``RUN`` by one rename at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from twinfold import __version__
from twinfold.config import FitConfig
from twinfold.data.panel import DataRanges
from twinfold.data.roles import Roles
from twinfold.errors import RunError, TwinfoldError, UsageError
from twinfold.models.behaviour_policy import init_behaviour
from twinfold.models.factor_model import Structure, init_factor_model
from twinfold.models.fitted_model import FittedModel
from twinfold.models.linear import LinearData
from twinfold.models.linear_terms import LinearTerms
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Evidence, Posterior, Prior, no_walls
from twinfold.models.static_prior import StaticPrior
from twinfold.training.train_step import TrainState
from twinfold.utils.files import atomic_write_bytes, atomic_write_text

FORMAT = "twinfold-run"
VERSION = 7
_READABLE = (3, 4, 5, 6, 7)  # 3 has no posterior: it predicts and plans, but does not adapt
_NORMALIZER = tuple(name for name in Normalizer.__dataclass_fields__ if name != "angles")
_OPTIONAL = (  # arrays that a model may lack, stored under the names of its fields
    "action_levels",
    "band",
    "sample_agent",
    "sample_action",
    "conformal",
    "reference",
    "calibration_agent",
)

Tree = TypeVar("Tree")


def check_free(out: str | Path) -> None:
    """Refuse a run directory that exists.

    Raises:
        UsageError: ``out`` exists.
    """
    if os.path.lexists(out):
        raise UsageError(f"{out} exists; choose another directory or remove it")


class RunWriter:
    """Keeps a running fit in ``<out>.partial`` and turns it into a run directory at the end."""

    def __init__(self, out: str | Path, config: FitConfig, data: str) -> None:
        """Start a run directory, or go on with an interrupted one.

        Args:
            out: the run directory to be.
            config: settings of the fit.
            data: digest of the data; a partial run of other data is refused.

        Raises:
            UsageError: ``out`` exists or cannot be written.
            RunError: the partial run belongs to other data or settings, or is being written to.
        """
        self.out = Path(out)
        self.partial = self.out.with_name(self.out.name + ".partial")
        check_free(self.out)
        identity = {"config": config.model_dump(mode="json"), "data": data}
        identity_path = self.partial / "identity.json"
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.partial / "lock")
        except OSError as error:
            raise UsageError(f"cannot write {self.partial}: {error.strerror}") from None
        try:
            self.resumed = identity_path.exists()
            if not self.resumed:
                atomic_write_text(identity_path, json.dumps(identity))
            elif _read_json(identity_path) != json.loads(json.dumps(identity)):
                raise RunError(
                    f"{self.partial} holds an interrupted fit of other data or with other "
                    f"settings; repeat the command it belongs to, or remove {self.partial}"
                )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others write. Not left to the garbage collector: tracebacks keep objects alive."""
        self._lock.close()

    def save_state(self, name: str, step: int, loss: np.ndarray, state: TrainState) -> None:
        """Keep the state of one group of members, and a line of metrics."""
        arrays = {"step": np.array(step), "loss": np.asarray(loss), **_flatten(state)}
        path = self.partial / f"state-{_short(name)}.safetensors"
        atomic_write_bytes(path, safetensors.numpy.save(arrays))
        self.metric({"job": name, "step": step, "loss": [float(value) for value in loss]})

    def load_state(self, name: str, like: TrainState) -> tuple[int, np.ndarray, TrainState] | None:
        """The kept state of a group of members, or None. A damaged one is trained again."""
        path = self.partial / f"state-{_short(name)}.safetensors"
        if not path.exists():
            return None
        try:
            arrays = safetensors.numpy.load(path.read_bytes())
            return int(arrays["step"]), arrays["loss"], _unflatten(arrays, like)
        except (safetensors.SafetensorError, KeyError, ValueError):
            return None

    def metric(self, record: dict[str, Any]) -> None:
        """Append one record to ``metrics.jsonl``."""
        with (self.partial / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def finish(self, model: FittedModel) -> None:
        """Write the run and give it its name.

        Raises:
            UsageError: ``out`` has come into being meanwhile; the partial run stays.
        """
        check_free(self.out)
        self.metric({"validation": model.info.get("validation")})
        _write_model(self.partial, model)
        for path in self.partial.glob("state-*.safetensors"):
            path.unlink()
        (self.partial / "identity.json").unlink()
        (self.partial / "lock").unlink()
        os.rename(self.partial, self.out)
        self.close()


def _write_model(folder: Path, model: FittedModel) -> None:
    arrays = {
        **{f"members{name}": value for name, value in _flatten(model.members).items()},
        **{f"normalizer.{name}": getattr(model.normalizer, name) for name in _NORMALIZER},
        **{f"ranges.{name}": getattr(model.ranges, name) for name in DataRanges._fields},
    }
    arrays["sample"] = model.sample
    arrays |= {name: getattr(model, name) for name in _OPTIONAL if getattr(model, name) is not None}
    if model.behaviour is not None:
        arrays |= {f"behaviour{name}": value for name, value in _flatten(model.behaviour).items()}
    if model.posterior is not None:
        arrays |= _posterior_arrays(model.posterior)
    if model.added_ranges is not None:
        arrays |= {f"added.{name}": value for name, value in model.added_ranges._asdict().items()}
    if model.sums is not None:
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
        "info": model.info,
    }
    atomic_write_bytes(folder / "model.safetensors", blob)
    atomic_write_text(folder / "agents.json", json.dumps(list(model.agent_ids)))
    # For these values (numbers, text, lists of numbers) JSON and TOML are spelled alike.
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in config.items()]
    atomic_write_text(folder / "config.toml", "".join(lines))
    atomic_write_text(folder / "run.json", json.dumps(run, indent=1))


def save_run(model: FittedModel, out: str | Path) -> None:
    """Write a fitted model to a new run directory.

    Raises:
        UsageError: ``out`` exists or cannot be written.
        RunError: an interrupted fit is in ``<out>.partial``.
    """
    writer = RunWriter(out, model.config, str(model.info.get("fingerprint", "")))
    try:
        if writer.resumed:
            raise RunError(f"{writer.partial} holds an interrupted fit; finish it or remove it")
        writer.finish(model)
    finally:
        writer.close()


def load_run(path: str | Path) -> FittedModel:
    """Read a run directory.

    Raises:
        RunError: it is missing, unfinished, damaged, or from another version.
    """
    folder = Path(path)
    if not folder.is_dir():
        partial = folder.with_name(folder.name + ".partial")
        if partial.is_dir():
            raise RunError(
                f"the fit of {folder} did not finish; the same `twinfold fit` command goes on "
                "where it stopped"
            )
        raise RunError(f"no run directory {folder}; `twinfold fit DATA --out {folder}` makes one")
    if not (folder / "run.json").is_file():
        raise RunError(f"{folder} is not a run directory: it has no run.json")
    run = _read_json(folder / "run.json")
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise RunError(f"{folder}/run.json was not written by twinfold")
    if run.get("version") not in _READABLE:
        raise RunError(
            f"{folder} has version {run.get('version')} of the run format, this is twinfold "
            f"{__version__}, which reads versions {_READABLE[0]} to {VERSION}; fit again"
        )
    try:
        blob = (folder / "model.safetensors").read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {folder}/model.safetensors: {error.strerror}") from None
    if hashlib.sha256(blob).hexdigest() != run.get("sha256"):
        raise RunError(
            f"{folder}/model.safetensors is damaged (its checksum is not the one in run.json); "
            "restore it from a copy or fit again"
        )
    ids = _read_json(folder / "agents.json")
    try:
        return _build_model(run, tuple(ids), safetensors.numpy.load(blob))
    except (KeyError, TypeError, ValueError, AttributeError, TwinfoldError) as error:
        raise RunError(f"{folder} is damaged: {error}; restore it or fit again") from None


def _build_model(
    run: dict[str, Any], agent_ids: tuple[Any, ...], arrays: dict[str, np.ndarray]
) -> FittedModel:
    config = FitConfig.parse(run["config"])
    roles = Roles.parse(run["roles"])
    levels = arrays.get("action_levels")
    action_size = len(roles.action) if levels is None else len(levels)
    normalizer = Normalizer(
        **{name: arrays[f"normalizer.{name}"] for name in _NORMALIZER},
        angles=tuple(roles.state.index(name) for name in roles.angle),
    )
    structure = Structure(run["info"]["features"] == "joint", int(run["info"]["rank"]))
    shared = arrays.get("members.linear.shared")
    linear = None
    if shared is not None:
        own = tuple((int(i), int(d)) for i, d in run["info"]["own"])
        linear = LinearTerms(jnp.zeros(shared.shape[1:]), own)
    n_members, _, rank = arrays["members.agents"].shape
    if n_members != (config.members if structure.rank else 1):
        raise ValueError(f"there are {n_members} members, not {config.members}")

    def fresh(keys: jax.Array) -> Any:
        return jax.vmap(
            lambda key: init_factor_model(
                key,
                config,
                len(agent_ids),
                len(roles.state),
                action_size,
                levels is not None,
                structure,
                normalizer.n_inputs,
                linear,
            )
        )(keys)

    like = jax.eval_shape(
        fresh, jax.eval_shape(lambda: jax.random.split(jax.random.key(0), n_members))
    )
    prefix = "members"
    stored = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
    behaviour = None
    prefix = "behaviour"
    own = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
    if own:
        behaviour = _unflatten(
            own,
            jax.eval_shape(
                lambda: init_behaviour(
                    jax.random.key(0),
                    normalizer.n_inputs,
                    jnp.zeros((len(agent_ids), rank)),
                    action_size,
                )
            ),
        )
    return FittedModel(
        members=_unflatten(stored, like),
        normalizer=normalizer,
        config=config,
        roles=roles,
        agent_ids=agent_ids,
        time_step=_load_time_step(run["time_step"]),
        ranges=_ranges(arrays, "ranges"),
        sample=arrays["sample"],
        behaviour=behaviour,
        posterior=_load_posterior(arrays),
        sums=_load_sums(arrays, normalizer),
        added_ranges=_ranges(arrays, "added") if "added.state_low" in arrays else None,
        info=run["info"],
        **{name: arrays.get(name) for name in _OPTIONAL},  # pyright: ignore[reportArgumentType]
    )


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


def _load_posterior(arrays: dict[str, np.ndarray]) -> Posterior | None:
    if "trained" not in arrays:
        return None
    noise = arrays["prior.noise"]  # earlier runs know no walls
    arrays = {"prior.limit_noise": noise, "prior.walls": no_walls(noise.shape[1]), **arrays}
    prior = Prior(*(arrays[f"prior.{name}"] for name in Prior._fields))
    gram = _unpacked(arrays["evidence.gram"], prior.mean.shape[-1])
    others = (arrays[f"evidence.{name}"] for name in Evidence._fields[1:])
    values = arrays.get("static_values")
    static = None
    if values is not None:
        static = StaticPrior(*(arrays[f"static.{name}"] for name in StaticPrior._fields))
    return Posterior(prior, Evidence(gram, *others), arrays["trained"], static, values)


def _load_sums(arrays: dict[str, np.ndarray], normalizer: Normalizer) -> LinearData | None:
    if "sums.gram" not in arrays:
        return None
    moment, energy = arrays["sums.moment"], arrays["sums.energy"]
    return LinearData.of(
        normalizer, _unpacked(arrays["sums.gram"], moment.shape[1]), moment, energy
    )


def _packed(symmetric: np.ndarray) -> np.ndarray:
    """One half of symmetric matrices: 100,000 agents are a few hundred megabytes."""
    rows, columns = np.tril_indices(symmetric.shape[-1])
    return symmetric[..., rows, columns]


def _unpacked(packed: np.ndarray, size: int) -> np.ndarray:
    """Symmetric matrices ``(..., size, size)``."""
    rows, columns = np.tril_indices(size)
    whole = np.empty((*packed.shape[:-1], size, size))
    whole[..., rows, columns] = packed
    whole[..., columns, rows] = packed
    return whole


def _flatten(tree: Any) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _unflatten(arrays: dict[str, np.ndarray], like: Tree) -> Tree:
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


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from None


def _short(name: str) -> str:
    """A file name for a group of jobs, however many."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _lock(path: Path) -> IO[str]:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunError(f"another fit is writing to {path.parent}") from None
    return file
