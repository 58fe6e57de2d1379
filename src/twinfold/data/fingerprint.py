"""A digest of a data set, equal for equal tables whatever the order of their rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinfold.data.levels import coded_names

if TYPE_CHECKING:
    from twinfold.data.panel import PanelDataset


def fingerprint(panel: PanelDataset) -> str:
    """Return what :meth:`PanelDataset.fingerprint` says of a panel."""
    names = [str(name) for name in panel.agent_ids]
    by_name = np.argsort(np.asarray(names, dtype=object), kind="stable")
    place = np.empty(panel.n_agents, dtype=np.int64)
    place[by_name] = np.arange(panel.n_agents)
    rows = np.argsort(place[panel.agent], kind="stable")
    # Without such columns as before there were those roles: old records still hold.
    later = ("angle", "carried", "exogenous")
    absent = {"static", "calendar", *(name for name in later if not getattr(panel.roles, name))}
    digest = hashlib.sha256(panel.roles.model_dump_json(exclude=absent).encode())
    counts = np.bincount(panel.agent, minlength=panel.n_agents)
    for i in by_name:
        digest.update(f"{names[i]}\0{counts[i]}\0".encode())
    if panel.episode is not None:
        digest.update("\0".join(str(name) for name in panel.episode_ids).encode())
        digest.update(panel.episode[rows].astype("<i4").tobytes())
    if panel.time.dtype.kind in "mM":
        digest.update(panel.time[rows].view("<i8").tobytes())
    else:
        digest.update(_canonical(panel.dates[rows]))
    digest.update(_canonical(panel.state[rows]))
    if panel.action_levels is not None:
        levels = np.append(panel.action_levels.astype(np.float64), np.nan)
        digest.update(_canonical(levels[panel.action[rows].astype(np.int32)]))
    else:
        digest.update(_canonical(panel.action[rows]))
    for values in (panel.reward, panel.terminated, panel.truncated):
        digest.update(b"-" if values is None else _canonical(values[rows]))
    if panel.exogenous is not None:
        digest.update(_canonical(panel.exogenous[rows]))
        digest.update(repr(coded_names(panel.roles.exogenous, panel.levels)).encode())
    return digest.hexdigest()


def _canonical(values: NDArray[Any]) -> bytes:
    """Bytes that do not depend on the kind of number, of zero or of NaN."""
    numbers = values.astype("<f8") + 0.0  # -0.0 + 0.0 is 0.0
    numbers[np.isnan(numbers)] = np.nan
    return numbers.tobytes()
