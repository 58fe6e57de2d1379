"""Arrays with a record of them in one file: safetensors, the record as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ValidationError

from twinfold.errors import RunError
from twinfold.utils.files import atomic_write_bytes
from twinfold.utils.reading import READING, problem_lines, read_regular

Arrays = dict[str, np.ndarray]
Record = TypeVar("Record", bound=BaseModel)
Built = TypeVar("Built")


def save_arrays(path: Path, record: BaseModel, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and their record in one go.

    Args:
        path: of the file; its folder is made if missing.
        record: everything that is no array.
        arrays: by name.

    Raises:
        WriteError: the disk is full.
        UsageError: the file cannot be written.
    """
    found = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    text = json.dumps(record.model_dump(mode="json"), allow_nan=False)
    atomic_write_bytes(path, safetensors.numpy.save(found, {"record": text}))


def load_arrays(
    path: Path, what: str, kind: type[Record], build: Callable[[Record, Arrays], Built]
) -> Built:
    """Return what is made of a file's record and its arrays.

    Args:
        path: of the file.
        what: it should hold, for the message.
        kind: of the record.
        build: makes the result; a KeyError, ValueError or TypeError says that they do not fit.

    Raises:
        RunError: the file is missing, damaged, or of another version.
    """
    data = read_regular(path, READING.records, RunError)
    try:
        arrays = safetensors.numpy.load(data)
        size = int.from_bytes(data[:8], "little")
        text = json.loads(data[8 : 8 + size])["__metadata__"]["record"]
        return build(kind.model_validate_json(text), arrays)
    except ValidationError as error:
        why = next(
            problem_lines(error.errors(), lambda place: "another version may have written it")
        )
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        why = str(error).partition("\n")[0]
    raise RunError(f"{path} holds no {what} that can be read: {why}")


def under(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
