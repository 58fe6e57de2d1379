"""Reading run directories, with every check; ``run_writer`` says what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError

from twinfold import __version__
from twinfold.errors import RunError, TwinfoldError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_format import build_model, parse_record
from twinfold.training.run_schema import FORMAT, READ, VERSION, Seal, check_ids
from twinfold.utils.reading import (
    READING,
    parse_json,
    problem_lines,
    read_json,
    read_regular,
    regular_size,
)
from twinfold.utils.text import clipped, cut


def load_run(path: str | Path) -> FittedModel:
    """Read a run directory.

    Raises:
        RunError: it is missing, unfinished, damaged, changed, or from another version.
    """
    folder = Path(path)
    _check_is_run(folder)
    raw = read_json(folder / "run.json", READING.record, RunError)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise RunError(f"{folder}/run.json was not written by twinfold")
    version = raw.get("version")
    if type(version) is not int or version not in READ:
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
        arrays = _arrays(files["model.safetensors"])
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
    size, what = regular_size(path, RunError), "checksum"
    data = read_regular(path, seal.bytes, RunError) if size == seal.bytes else b""
    if len(data) != seal.bytes:
        what = "size"
    elif hashlib.sha256(data).hexdigest() == seal.sha256:
        return data
    raise RunError(
        f"{path} is damaged (its {what} is not the one in run.json); restore it from a copy or fit "
        "again"
    )


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file.

    Raises:
        SafetensorError: it is none.
        ValueError: it holds numbers of a type that NumPy does not have.
    """
    try:
        return safetensors.numpy.load(data)
    except KeyError as error:
        raise ValueError(f"it has numbers of type {error}, as no run has") from None


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what is wrong with the contents of a file into one line that names it."""
    try:
        yield
    except RunError:
        raise
    except ValidationError as error:
        reason = next(problem_lines(error.errors(), lambda place: "a run has none of that name"))
    except (safetensors.SafetensorError, KeyError, ValueError, TwinfoldError) as error:
        reason = cut(str(error).partition("\n")[0], READING.line)
    else:
        return
    raise RunError(f"{path} is damaged: {reason}; restore it from a copy or fit again")
