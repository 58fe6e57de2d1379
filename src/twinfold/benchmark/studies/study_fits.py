"""Fits of the studies: kept in a folder under the digest of their data and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.config import FitConfig

if TYPE_CHECKING:
    from twinfold.baselines.cadm_model import CaDM
    from twinfold.baselines.cadm_settings import CaDMSettings, Variant
    from twinfold.data.panel import PanelDataset
    from twinfold.models.fitted_model import FittedModel

Log = Callable[[str], None]


def fitted(
    panel: PanelDataset,
    config: FitConfig,
    source: Mapping[str, Any],
    folder: Path,
    label: str,
    log: Log,
) -> FittedModel:
    """Return the simulators of a panel's agents, from the folder or fitted anew.

    No agent is reserved: as in the paper, the nets see every agent of the panel.

    Args:
        panel: the data.
        config: settings of the fit.
        source: where the data came from.
        folder: of the fits.
        label: begins the name of the run directory.
        log: receives one line per thing worth knowing.

    Raises:
        RunError: the fit in the folder is damaged.
    """
    from twinfold.training.fit import fit
    from twinfold.training.run_directory import load_run

    out = folder / f"{label}-{_digest(panel, config.model_dump_json())}"
    if out.exists():
        log(f"the fit is there: {out}")
        return load_run(out)
    return fit(panel, config, out=out, reserve=0, source=source, log=lambda line: log(f"  {line}"))


def fitted_cadm(
    panel: PanelDataset,
    settings: CaDMSettings,
    variant: Variant,
    seed: int,
    source: Mapping[str, Any],
    folder: Path,
    label: str,
    log: Log,
) -> CaDM:
    """Return the CaDM of a panel, from the folder or fitted anew.

    Args:
        panel: the data.
        settings: of CaDM.
        variant: vanilla or PE-TS.
        seed: of weights and batches.
        source: where the data came from.
        folder: of the fits.
        label: begins the name of the file.
        log: receives one line per thing worth knowing.

    Raises:
        RunError: the fit in the folder is damaged.
    """
    from twinfold.baselines import fit_cadm, load_cadm, save_cadm

    values = json.dumps({"variant": variant, "seed": seed, **settings.model_dump(mode="json")})
    out = folder / f"{label}-{variant}-{_digest(panel, values)}.safetensors"
    if out.exists():
        log(f"the fit is there: {out}")
        return load_cadm(out)
    model = fit_cadm(panel, settings, variant, seed, source=dict(source))
    folder.mkdir(parents=True, exist_ok=True)
    save_cadm(model, out)
    log(f"fitted in {model.info.seconds:.1f} s: {out}")
    return model


def _digest(panel: PanelDataset, settings: str) -> str:
    """Return the first of a SHA-256 (hex) of data, static columns and settings."""
    digest = hashlib.sha256((panel.fingerprint() + settings).encode())
    if panel.static is not None:
        digest.update(panel.static.tobytes())
    return digest.hexdigest()[:12]


def fit_summary(model: FittedModel | CaDM) -> dict[str, Any]:
    """Return what a fit was made from, what it chose and what it took, for a record."""
    info = model.info
    found = {"agents": info.agents, "transitions": info.transitions, "seconds": info.seconds}
    for name in ("linear", "features", "rank", "steps", "shrinkage"):
        if (value := getattr(info, name, None)) is not None:
            found[name] = value
    return found
