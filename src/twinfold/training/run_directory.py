"""Run directories: written in one piece, read with every check, resumed if interrupted.

    RUN/run.json           settings, roles, ranges, provenance, measured errors, checksum
    RUN/agents.json        the user's agent ids in the order of the factors
    RUN/model.safetensors  all arrays
    RUN/config.toml        the resolved settings, to fit again with
    RUN/metrics.jsonl      losses during training and held-out errors

While a fit runs everything is in ``RUN.partial``; it becomes ``RUN`` by one rename at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors
import safetensors.numpy
from pydantic import ValidationError

from twinfold import __version__
from twinfold.config import FitConfig
from twinfold.errors import RunError, TwinfoldError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_format import (
    build_model,
    flatten,
    parse_record,
    unflatten,
    write_model,
)
from twinfold.training.run_schema import FORMAT, VERSION, Seal, check_ids
from twinfold.training.train_step import TrainState
from twinfold.utils.files import atomic_write_bytes, atomic_write_text
from twinfold.utils.reading import READING, parse_json, problem_lines, read_json, read_regular
from twinfold.utils.text import clipped, cut


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
        arrays = {"step": np.array(step), "loss": np.asarray(loss), **flatten(state)}
        path = self.partial / f"state-{_short(name)}.safetensors"
        atomic_write_bytes(path, safetensors.numpy.save(arrays))
        self.metric({"job": name, "step": step, "loss": [float(value) for value in loss]})

    def load_state(self, name: str, like: TrainState) -> tuple[int, np.ndarray, TrainState] | None:
        """Return the kept state of a group of members; None if there is none, or it is damaged."""
        path = self.partial / f"state-{_short(name)}.safetensors"
        if not path.exists():
            return None
        try:
            arrays = safetensors.numpy.load(path.read_bytes())
            return int(arrays["step"]), arrays["loss"], unflatten(arrays, like)
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
        self.metric({"validation": model.info.validation})
        write_model(self.partial, model)
        for path in self.partial.glob("state-*.safetensors"):
            path.unlink()
        (self.partial / "identity.json").unlink()
        (self.partial / "lock").unlink()
        os.rename(self.partial, self.out)
        self.close()


def save_run(model: FittedModel, out: str | Path) -> None:
    """Write a fitted model to a new run directory.

    Raises:
        UsageError: ``out`` exists or cannot be written.
        RunError: an interrupted fit is in ``<out>.partial``.
    """
    writer = RunWriter(out, model.config, model.info.fingerprint)
    try:
        if writer.resumed:
            raise RunError(f"{writer.partial} holds an interrupted fit; finish it or remove it")
        writer.finish(model)
    finally:
        writer.close()


def load_run(path: str | Path) -> FittedModel:
    """Read a run directory.

    Raises:
        RunError: it is missing, unfinished, damaged, changed, or from another version.
    """
    folder = Path(path)
    _check_is_run(folder)
    raw = _read_json(folder / "run.json")
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise RunError(f"{folder}/run.json was not written by twinfold")
    version = raw.get("version")
    if type(version) is not int or version != VERSION:
        raise RunError(
            f"{folder} has version {clipped(version)} of the run format, this is twinfold "
            f"{__version__}, which reads version {VERSION}; fit again"
        )
    with _damage(folder / "run.json"):
        record = parse_record(raw)
    files = {name: _sealed(folder / name, seal) for name, seal in record.files.items()}
    with _damage(folder / "agents.json"):
        ids = check_ids(parse_json(files["agents.json"], f"{folder}/agents.json", RunError))
    with _damage(folder / "model.safetensors"):
        arrays = safetensors.numpy.load(files["model.safetensors"])
    with _damage(folder):
        return build_model(record, ids, arrays)


def _check_is_run(folder: Path) -> None:
    """Refuse what is no run directory at all."""
    if not os.path.isdir(folder):
        partial = folder.with_name(folder.name + ".partial")
        if os.path.isdir(partial):
            raise RunError(
                f"the fit of {folder} did not finish; the same `twinfold fit` command goes on "
                "where it stopped"
            )
        raise RunError(f"no run directory {folder}; `twinfold fit DATA --out {folder}` makes one")
    if not os.path.lexists(folder / "run.json"):
        raise RunError(f"{folder} is not a run directory: it has no run.json")


def _sealed(path: Path, seal: Seal) -> bytes:
    """Return a file that is as it was written."""
    data = read_regular(path, seal.bytes, RunError)
    if len(data) < seal.bytes or hashlib.sha256(data).hexdigest() != seal.sha256:
        raise RunError(
            f"{path} is damaged (its checksum is not the one in run.json); restore it from a copy "
            "or fit again"
        )
    return data


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what is wrong with the contents of a file into one line that names it."""
    try:
        yield
    except RunError:
        raise
    except ValidationError as error:
        reason = next(problem_lines(error, lambda place: "a run has none of that name"))
    except (safetensors.SafetensorError, KeyError, ValueError, TwinfoldError) as error:
        reason = cut(str(error).partition("\n")[0], READING.line)
    else:
        return
    raise RunError(f"{path} is damaged: {reason}; restore it from a copy or fit again")


def _read_json(path: Path) -> Any:
    return read_json(path, READING.record, RunError)


def _short(name: str) -> str:
    """Return a file name for a group of jobs, however many."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _lock(path: Path) -> IO[str]:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunError(f"another fit is writing to {path.parent}") from None
    return file
