"""Reading run directories, with every check; ``run_writer`` says what is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

from twinfold import __version__
from twinfold.errors import RunError, TwinfoldError
from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_format import (
    FORMAT,
    VERSION,
    build_model,
)


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
    if run.get("version") != VERSION:
        raise RunError(
            f"{folder} has version {run.get('version')} of the run format, this is twinfold "
            f"{__version__}, which reads version {VERSION}; fit again"
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
        return build_model(run, tuple(ids), safetensors.numpy.load(blob))
    except (KeyError, TypeError, ValueError, AttributeError, TwinfoldError) as error:
        raise RunError(f"{folder} is damaged: {error}; restore it or fit again") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from None
