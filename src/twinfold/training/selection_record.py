"""Words and records for the choice of a model and what was learned; nothing is decided here."""

from __future__ import annotations

from typing import Any

import numpy as np

from twinfold.data.panel import PanelDataset
from twinfold.models.calibration import Calibration
from twinfold.models.linear_kinds import WORDS
from twinfold.models.static_prior import STATIC, StaticPrior
from twinfold.training.folds import Fold
from twinfold.training.holdout_band import error_by_horizon
from twinfold.training.trials import Candidate, Trial
from twinfold.utils.text import counted


def held_out_counts(folds: list[Fold]) -> dict[str, int]:
    """Return how many transitions, agents, steps ahead, windows and folds are held out."""
    whole = sum(fold.whole_agents for fold in folds)
    return {
        "held_out": sum(fold.held.n_transitions for fold in folds),
        "held_out_agents": len(np.unique(np.concatenate([fold.held.agent for fold in folds]))),
        "horizon": max(fold.held.mask.shape[1] for fold in folds),
        "windows": sum(len(fold.held.agent) for fold in folds),
        "folds": len(folds),
        **({"whole_agents": whole} if whole else {}),
    }


def held_out_line(counts: dict[str, int]) -> str:
    """Return what is held out, in a sentence."""
    places = f", over {counts['folds']} cuts together" if counts["folds"] > 1 else ""
    last = "" if "whole_agents" in counts else "the last "
    agents, steps = counted(counts["held_out_agents"], "agent"), counted(counts["horizon"], "step")
    what = f"{last}{counted(counts['held_out'], 'transition')} of {agents}"
    how = ", mostly agents as a whole" if "whole_agents" in counts else ""
    return f"{what} are held out{places}{how}, predicted up to {steps} ahead"


def chosen_lines(chosen: Trial, idle: Trial, n_tried: int, counts: dict[str, int]) -> list[str]:
    """Return the model that was chosen, what it was chosen from, and what is doubtful about it."""
    lines = [
        f"  chosen: {described(chosen.candidate)} (errors are in standard deviations of the state; "
        f"predicting no change has a mean of {idle.mean:.4g}"
        + ("; nets are compared by geometric means)" if chosen.candidate.steps else ")")
    ]
    if n_tried:
        folds = counted(counts["folds"], "fold")
        lines.append(f"  tried in all: {counted(n_tried, 'model')}, {folds} each")
    n_windows, coverage = counts["windows"], chosen.config.band
    if np.ceil((n_windows + 1) * coverage) > n_windows:
        lines.append(
            f"warning: only {n_windows} held-out windows: the band is the largest error seen in "
            f"them, too few for a {100 * coverage:.0f} % band"
        )
    if chosen.mean > idle.mean:
        lines.append(
            "warning: held-out predictions are worse than predicting no change; do not rely on it"
        )
    return lines


def described(candidate: Candidate) -> str:
    """Return a candidate in words."""
    linear, structure, steps, shrinkage, *_ = candidate
    words = "" if linear is None else WORDS[linear]
    memory = f", of the last {candidate.history} rows" if candidate.history > 1 else ""
    memory += " (how the state changed alone)" if candidate.changes_alone else ""
    if candidate.parts:
        parts = sorted(candidate.parts, reverse=True)
        shares = "; ".join(f"{WORDS[part.kind]} {100 * part.weight:.0f} %" for part in parts)
        words += f" ({shares})"
    if not structure.rank:
        return f"{words}, no nets{memory}"
    nets = f"nets with {structure}, {steps} steps, shrinkage {shrinkage:g}"
    return (nets if linear is None else f"{words}, and {nets}") + memory


def validation_record(
    folds: list[Fold],
    counts: dict[str, int],
    chosen: Trial,
    idle: Trial,
    tried: list[Trial],
    compared: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return what was measured, plain values.

    Args:
        folds: what was held out.
        counts: of these, as ``held_out_counts`` has them.
        chosen: the trial of the model that was chosen.
        idle: the trial of predicting no change.
        tried: all trials that were compared.
        compared: the structures of nets that were.
    """
    kind = chosen.candidate._replace(steps=0)
    return {
        **counts,
        "unit": "standard deviations of the state; over windows, of the RMSE over steps",
        "trials": [_trial_row(trial) for trial in tried],
        "by_steps": {
            str(trial.candidate.steps): float(f"{trial.typical:.6g}")
            for trial in tried
            if trial.config is chosen.config and trial.candidate._replace(steps=0) == kind
        },
        "structures": compared,
        "rmse": round(chosen.mean, 6),
        "persistence_rmse": round(idle.mean, 6),
        "rmse_by_horizon": error_by_horizon(folds, chosen.paths),
    }


def _trial_row(trial: Trial) -> dict[str, Any]:
    """Return a trial as it is recorded."""
    tried, structure = trial.candidate, trial.candidate.structure
    return {
        "linear": tried.linear,
        "own_to_noise": list(tried.ratio),
        "parts": {part.kind: float(f"{part.weight:.3g}") for part in tried.parts},
        "features": "joint" if structure.joint else "separable" if structure.rank else None,
        "rank": structure.rank,
        "steps": tried.steps,
        "shrinkage": tried.shrinkage,
        "history": tried.history,
        **({"changes_alone": True} if tried.changes_alone else {}),
        **({"reads_static": True} if tried.reads_static else {}),
        "geometric_mean": float(f"{trial.typical:.6g}"),
        "mean": float(f"{trial.mean:.6g}"),
    }


def calibration_line(calibration: Calibration | None, reserved: PanelDataset) -> str:
    """Return on whom the band is calibrated, in a sentence."""
    if calibration is None:
        return (
            f"warning: of {counted(reserved.n_agents, 'reserved agent')} none has two transitions: "
            "the band is that of held-out windows, calibrated on none"
        )
    many = len(calibration.agent)
    if many > reserved.n_agents:
        return f"the band is calibrated on {many} agents, each predicted by a fit without its data"
    return f"the band is calibrated on {counted(many, 'agent')} that the nets have not seen"


def static_line(dataset: PanelDataset, static: StaticPrior | None, with_linear: bool) -> str:
    """Return how much of the agents' differences static columns explain, in a sentence.

    Args:
        dataset: the panel.
        static: what they say; None for nothing.
        with_linear: whether that was found with the linear model.
    """
    assert dataset.static is not None
    names = ", ".join(map(repr, dataset.roles.static))
    lacking = np.isnan(dataset.static[: dataset.n_agents])
    partly = int((lacking.any(axis=1) & ~lacking.all(axis=1)).sum())
    lacks = f"; {counted(partly, 'agent')} without some of them by the others" if partly else ""
    if static is not None:
        how = "by the linear model" if with_linear else "each agent left out in turn"
        return (
            f"the static columns ({names}) explain {100 * float(static.explained):.0f} % "
            f"of how agents differ, {how}; new agents that have them begin there{lacks}"
        )
    some = int((~lacking.all(axis=1)).sum())
    if some < STATIC.fewest:
        return (
            f"warning: of {counted(some, 'agent')} any of the static columns ({names}) is known, "
            f"{STATIC.fewest} are needed; they are left aside"
        )
    return f"the static columns ({names}) do not tell agents apart; they are left aside"
