"""Writing run directories: in one piece, resumed if interrupted, never into a foreign directory.

    RUN/run.json           settings, roles, ranges, provenance, measured errors, checksum
    RUN/agents.json        the user's agent ids in the order of the factors
    RUN/model.safetensors  all arrays
    RUN/config.toml        the resolved settings, to fit again with
    RUN/metrics.jsonl      what began the run, losses during training and held-out errors

Until the end everything is in ``RUN.partial``; it becomes ``RUN`` by one rename, after which there
is nothing to tidy up. The first line of ``metrics.jsonl`` tells whose directory it is, and who has
that file locked is at work in it: a partial run needs no file of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from twinfold.config import FitConfig
from twinfold.errors import RunError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_format import flatten, unflatten, write_model
from twinfold.training.train_step import TrainState
from twinfold.utils.files import (
    append_line,
    atomic_write_bytes,
    check_name,
    drop_torn_line,
    is_temporary,
    locked_file,
    write_errors,
)

_METRICS = "metrics.jsonl"
_FILES = ("run.json", "agents.json", "model.safetensors", "config.toml", _METRICS)
_SAVE = json.dumps({"begun": "save"})  # the first line of the metrics of a run that was not fitted


def check_free(out: str | Path) -> None:
    """Refuse a run directory that exists, or cannot.

    Raises:
        UsageError: ``out`` exists, or no directory can have that name.
    """
    check_name(out)
    if os.path.lexists(out):
        raise UsageError(f"{out} exists; choose another directory or remove it")


class RunWriter:
    """Keeps a run in ``<out>.partial``, locked, and turns it into a run directory at the end.

    Attributes:
        out: the run directory to be.
        partial: where it is until then.
        resumed: whether an interrupted fit of the same data and settings was there.
    """

    def __init__(self, out: str | Path, config: FitConfig | None = None, data: str = "") -> None:
        """Start a run directory, or go on with an interrupted one.

        Args:
            out: the run directory to be.
            config: settings of the fit; None to save a model that is there already. What is left
                of an interrupted saving is made anew.
            data: digest of the data; a partial run of other data is refused.

        Raises:
            UsageError: ``out`` exists or cannot be written.
            RunError: the partial run belongs to another fit, or is being written to, or the
                directory is none of twinfold's.
        """
        check_free(out)
        self.out = Path(out)
        self.partial = self.out.with_name(self.out.name + ".partial")
        self._open = contextlib.ExitStack()
        try:
            with write_errors(self.partial):
                self.partial.mkdir(parents=True, exist_ok=True)
                _check_directory(self.partial)
                self._metrics = self._open.enter_context(_locked(self.partial / _METRICS))
                self.resumed = self._begin(_SAVE if config is None else _fit_line(config, data))
        except BaseException:
            self.close()
            with contextlib.suppress(OSError):
                self.partial.rmdir()  # if it is empty
            raise

    def close(self) -> None:
        """Let others write. Not left to the garbage collector: tracebacks keep objects alive."""
        self._open.close()

    def save_state(self, name: str, step: int, loss: np.ndarray, state: TrainState) -> None:
        """Keep the state of one group of members, and a line of metrics."""
        self.metric({"job": name, "step": step, "loss": [float(value) for value in loss]})
        arrays = {"step": np.array(step), "loss": np.asarray(loss), **flatten(state)}
        atomic_write_bytes(self._state_path(name), safetensors.numpy.save(arrays))

    def load_state(self, name: str, like: TrainState) -> tuple[int, np.ndarray, TrainState] | None:
        """Return the kept state of a group of members; None if there is none, or it is damaged."""
        path = self._state_path(name)
        if not path.exists():
            return None
        try:
            arrays = safetensors.numpy.load(path.read_bytes())
            return int(arrays["step"]), arrays["loss"], unflatten(arrays, like)
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError):
            return None

    def metric(self, record: dict[str, Any]) -> None:
        """Append one record to ``metrics.jsonl``, unless it is there from before a kill."""
        line = json.dumps(record)
        if line.encode() in self._lines().splitlines():
            return
        with write_errors(self.partial / _METRICS):
            append_line(self._metrics, line)

    def finish(self, model: FittedModel) -> None:
        """Write the run and give it its name.

        Raises:
            UsageError: ``out`` has come into being meanwhile; the partial run stays.
        """
        check_free(self.out)
        with write_errors(self.partial):
            self.metric({"validation": model.info.validation})
            write_model(self.partial, model)
            _empty(self.partial, _FILES)
        with write_errors(self.out):
            os.rename(self.partial, self.out)
        self.close()

    def discard(self) -> None:
        """Remove the partial run."""
        with contextlib.suppress(OSError):
            _empty(self.partial, (_METRICS,))
            _empty(self.partial)  # last, as it says whose the directory is
            self.partial.rmdir()

    def _begin(self, line: str) -> bool:
        """Return whether an interrupted fit that began with this line is there; if not, begin."""
        first, ended, _ = self._lines().partition(b"\n")
        if first == line.encode() and ended and line != _SAVE:
            drop_torn_line(self._metrics)
            return True
        began = _what_began(first)
        if began == "fit":
            raise RunError(
                f"{self.partial} holds an interrupted fit"
                + (" of other data or with other settings" if line != _SAVE else "")
                + f"; repeat the command it belongs to, or remove {self.partial}"
            )
        # A line without an end was being written when its command was killed.
        if began != "save" and (ended or not line.encode().startswith(first)):
            raise RunError(_foreign(self.partial, _METRICS))
        _empty(self.partial, (_METRICS,))
        try:
            os.ftruncate(self._metrics, 0)
            append_line(self._metrics, line)
        except OSError:
            self.discard()
            raise
        return False

    def _lines(self) -> bytes:
        return os.pread(self._metrics, os.fstat(self._metrics).st_size, 0)

    def _state_path(self, name: str) -> Path:
        """Return the file of a group of jobs, however many they are."""
        return self.partial / f"state-{hashlib.sha256(name.encode()).hexdigest()[:16]}.safetensors"


def save_run(model: FittedModel, out: str | Path) -> None:
    """Write a fitted model to a new run directory.

    Raises:
        WriteError: the disk is full; nothing stays.
        UsageError: ``out`` exists or cannot be written.
        RunError: an interrupted fit is in ``<out>.partial``.
    """
    writer = RunWriter(out)
    try:
        writer.finish(model)
    except BaseException:
        writer.discard()
        raise
    finally:
        writer.close()


def _fit_line(config: FitConfig, data: str) -> str:
    """Return the first line of the metrics of a fit."""
    identity = json.dumps({"config": config.model_dump(mode="json"), "data": data})
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return json.dumps({"begun": "fit", "identity": digest})


def _what_began(line: bytes) -> str | None:
    """Return what a first line of metrics says, "fit" or "save"; None if it is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record.get("begun") if isinstance(record, dict) else None


def _check_directory(folder: Path) -> None:
    """Refuse to write into a directory that twinfold did not make.

    Raises:
        RunError: it is one, or a link to one.
    """
    if folder.is_symlink():
        raise RunError(f"{folder} is a link; remove it, or choose another run directory")
    with os.scandir(folder) as entries:
        regular = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    foreign = [name for name in regular if not (regular[name] and _is_own(name))]
    if regular and _METRICS not in regular:  # which is made first
        foreign += regular
    if foreign:
        raise RunError(_foreign(folder, min(foreign)))


def _is_own(name: str) -> bool:
    own = name in _FILES or is_temporary(name)
    return own or re.fullmatch(r"state-[0-9a-f]{16}\.safetensors", name) is not None


def _foreign(folder: Path, name: str) -> str:
    return (
        f"{folder} holds {name!r}, which no interrupted run of twinfold left there; choose another "
        f"run directory, or remove {folder}"
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    try:
        with locked_file(path, wait=False) as descriptor:
            yield descriptor
    except BlockingIOError:
        raise RunError(f"another command is writing to {path.parent}") from None


def _empty(folder: Path, kept: Sequence[str] = ()) -> None:
    """Remove the files of a directory of ours, but for those to keep."""
    for name in sorted({*os.listdir(folder)} - {*kept}):
        os.unlink(folder / name)
